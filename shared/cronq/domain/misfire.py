"""What becomes of occurrences that nobody took up in time, as in an outage of every injector."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cronq.domain.duration import format_duration

# One that is taken up no later than this after its instant is on time.
ON_TIME = timedelta(seconds=60)
MOST_LIMIT = 1_000


class Misfire(StrEnum):
    """Which of them run."""

    LATEST = "latest"  # the last one
    SKIP = "skip"  # none that is late
    ALL = "all"  # each, up to a limit


@dataclass(frozen=True, slots=True)
class Misfires:
    """A job's rule. What is older than `start_deadline` never runs; `limit` is that of `all`."""

    rule: Misfire = Misfire.LATEST
    limit: int = 100
    start_deadline: timedelta | None = None

    @property
    def kept(self) -> int:
        """How many occurrences of one step may run."""
        return self.limit if self.rule is Misfire.ALL else 1

    def in_words(self) -> str:
        """What becomes of occurrences that CronQ could not take up in time."""
        words = {
            Misfire.LATEST: "the latest one runs, the earlier ones are missed",
            Misfire.SKIP: f"none runs that is over {int(ON_TIME.total_seconds())} s late",
            Misfire.ALL: f"each one runs, of more than {self.limit:,} the newest",
        }[self.rule]
        if self.start_deadline is None:
            return words
        return f"{words}; none starts later than {format_duration(self.start_deadline)} after its instant"

    def refuses(self, scheduled_for: datetime, now: datetime) -> str | None:
        """Why an occurrence that is the newest, or one of the newest, does not run; None: it does."""
        late = now - scheduled_for
        if self.start_deadline is not None and late > self.start_deadline:
            return "deadline"
        if self.rule is Misfire.SKIP and late > ON_TIME:
            return "misfire"
        return None


LATEST = Misfires()

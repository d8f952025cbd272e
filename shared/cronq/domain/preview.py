"""What comes of a schedule: its occurrences, each with what its reader may not expect of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TypeAlias

from cronq.domain import zone
from cronq.domain.remark import Clocks
from cronq.domain.schedule import Schedule

# What one source, as the clocks of a zone, says of the occurrence at an instant; the second instant is
# that of the occurrence before it, or from which on somebody looks.
Remark: TypeAlias = Callable[[datetime, datetime], str | None]


@dataclass(frozen=True)
class Planned:
    """An occurrence to be; `local` is `at` as its schedule's wall clock shows it."""

    at: datetime
    local: datetime
    remark: str | None


@dataclass(frozen=True)
class Outlook:
    """A schedule's zone, and the sources that remark on its occurrences."""

    place: tzinfo
    sources: Sequence[Remark] = ()

    @classmethod
    def of(cls, schedule: Schedule | None, timezone: str | None, dst: str) -> Outlook:
        """That of a job with these fields; raises ScheduleError `unknown_zone`."""
        place = UTC if timezone is None else zone.load(timezone)
        return cls(place, () if schedule is None else (Clocks(schedule, place, dst).remark,))

    def seen(self, instants: Iterable[datetime], since: datetime) -> Iterator[Planned]:
        """Each of ascending instants after `since` with its remarks, lazily."""
        for instant in instants:
            found = [source(instant, since) for source in self.sources]
            remark = "; ".join(text for text in found if text)
            yield Planned(instant, instant.astimezone(self.place), remark or None)
            since = instant

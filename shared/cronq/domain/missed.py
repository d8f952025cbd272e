"""The outage board: what people do about occurrences that were missed or are held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from cronq.domain.gate import Limit
from cronq.domain.schedule import Schedule

# Rows that one order touches, and so occurrences that it lets out.
MOST = 1_000
MOST_EVERY = timedelta(days=1)
MOST_SHIFT = timedelta(days=366)


class Standing(StrEnum):
    """Why an occurrence is on the board."""

    MISSED = "missed"
    EXPIRED = "expired"  # its deadline to start had passed
    SKIPPED = "skipped"  # by a rule or a person; shown only to those who ask for it
    LOST = "lost"  # and a person is to decide about it
    HELD = "held"  # by a pause or a maintenance window, or it waits its turn after an outage


SHOWN = frozenset({Standing.MISSED, Standing.EXPIRED, Standing.LOST, Standing.HELD})
# What of it an order is about; a lost run may have run, so that is never done in bulk.
ORDERED = frozenset({Standing.MISSED, Standing.EXPIRED, Standing.HELD})


class Action(StrEnum):
    """What a person wants done."""

    RUN = "run"  # let it out now
    SKIP = "skip"  # it never runs
    SHIFT = "shift"  # let it out later


class Which(StrEnum):
    """Of each job, or of a row that stands for many: the newest occurrence, or every one."""

    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do; `to` is when the first is let out (None: now), `every` how far apart they are."""

    action: Action
    actor: str
    which: Which
    to: datetime | None = None
    every: timedelta | None = None
    why: str = ""

    def spread(self, count: int, now: datetime, limit: Limit) -> list[datetime | None]:
        """When each of so many is let out, None: at once. Without `every`: at the rate of the limit."""
        gap = self.every
        if gap is None:
            gap = limit.period / limit.rate if limit.rate and limit.period else timedelta(0)
        first = self.to or now
        instants = (first + k * gap for k in range(count))
        return [at if at > now else None for at in instants]


class Split(NamedTuple):
    """The occurrences of a row that stands for many: those that leave it, and those around them."""

    before: Sequence[datetime]
    taken: Sequence[datetime]
    after: Sequence[datetime]

    @classmethod
    def of(
        cls, instants: Sequence[datetime], which: Which, since: datetime | None, until: datetime | None
    ) -> Split:
        """Take those in [since, until), or the last of them."""
        low = sum(1 for at in instants if since is not None and at < since)
        high = sum(1 for at in instants if until is None or at < until)
        if which is Which.LATEST:
            low = max(low, high - 1)
        return cls(instants[:low], instants[low:high], instants[max(low, high) :])


def instants(schedule: Schedule | None, first: datetime, last: datetime, count: int) -> list[datetime] | None:
    """The occurrences that a row stands for; None where its schedule does not give just as many.

    The first may have been written by hand, the others are the schedule's (see domain/occurrence.py).
    """
    found = [first]
    if schedule is not None:
        found += islice(schedule.between(first, last), count)
    return found if len(found) == count and found[-1] == last else None

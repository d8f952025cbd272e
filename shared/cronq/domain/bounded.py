"""A schedule between a job's `start` and `end`, both included: what lies outside does not exist."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronq.domain import once
from cronq.domain.duration import DAY_S
from cronq.domain.recurrence import Schedule, at, epoch_second
from cronq.domain.schedule_error import ScheduleError


@dataclass(frozen=True)
class Bounded(Schedule):
    """`first` and `last` are seconds since the epoch, None for no bound on that side."""

    text: str
    inner: Schedule
    first: int | None
    last: int | None

    def fixed_period(self) -> timedelta | None:
        return self.inner.fixed_period()

    def remarks(self, now: datetime) -> list[str]:
        found = self.inner.remarks(now)
        if self.last is not None and self.last <= epoch_second(now):
            found.append(f"exhausted: its end was {_shown(self.last)}")
        return found

    def describe(self) -> str:
        begin = "" if self.first is None else f", not before {_shown(self.first)}"
        end = "" if self.last is None else f", not after {_shown(self.last)}"
        return f"{self.inner.describe()}{begin}{end}"

    def walls(self, low: int, high: int) -> Iterator[int]:
        # A day more on each side: where the bounds lie on the wall clock is not known here.
        low = low if self.first is None else max(low, self.first - DAY_S)
        high = high if self.last is None else min(high, self.last + DAY_S)
        return self.inner.walls(low, high)

    def occurrence_key(self) -> Hashable:
        return self.inner.occurrence_key(), self.first, self.last

    def seconds_after(self, second: int) -> Iterator[int]:
        floor = second if self.first is None else max(second, self.first - 1)
        for instant in self.inner.seconds_after(floor):
            if self.last is not None and instant > self.last:
                return
            yield instant


def bounded(schedule: Schedule, first: int | None, last: int | None) -> Schedule:
    """The schedule itself where there are no bounds. Raises ScheduleError if nothing is left between them."""
    if first is None and last is None:
        return schedule
    if first is not None and last is not None and last < first:
        raise ScheduleError("invalid_schedule", f"end {_shown(last)} is before start {_shown(first)}")
    made = Bounded(schedule.text, schedule, first, last)
    if next(made.seconds_after(-1), None) is None:
        begin = "" if first is None else f" from start {_shown(first)}"
        end = "" if last is None else f" to end {_shown(last)}"
        raise ScheduleError("never_fires", f"it never fires{begin}{end}")
    return made


def start_second(text: str, timezone: str | None) -> int:
    """The instant of a job's `start`, local time in `timezone`; raises ScheduleError."""
    return once.instants(text, "start", timezone=timezone, dst="cron")[1][0]


def end_second(text: str, timezone: str | None) -> int:
    """The same of its `end`, in repeated time the later one."""
    return once.instants(text, "end", timezone=timezone, dst="both")[1][-1]


def _shown(second: int) -> str:
    return f"{at(second):%Y-%m-%dT%H:%M:%SZ}"

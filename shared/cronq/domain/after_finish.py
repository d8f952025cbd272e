"""`@every 90s after finish`: so long after the end of the run before, whenever that may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from cronq.domain.duration import format_duration
from cronq.domain.recurrence import SECOND, Schedule, at, epoch_second


@dataclass(frozen=True)
class AfterFinish(Schedule):
    """It knows its first occurrence alone: one period after it begins. The others follow from the runs."""

    text: str
    period: timedelta
    waits_for_end: ClassVar[bool] = True

    def fixed_period(self) -> timedelta | None:
        return None

    def remarks(self, now: datetime) -> list[str]:
        return []

    def describe(self) -> str:
        return f"{format_duration(self.period)} after the end of the run before"

    def seconds_after(self, second: int) -> Iterator[int]:
        yield second + self.period // SECOND

    def after_end(self, end: datetime) -> datetime:
        """The occurrence that follows a run that ended then: in whole seconds, never early."""
        return at(epoch_second_up(end)) + self.period

    def _between(self, after: int, until: int) -> Iterator[datetime]:
        return iter(())


def epoch_second_up(instant: datetime) -> int:
    """Whole seconds since 1970 UTC, rounded up."""
    floor = epoch_second(instant)
    return floor if at(floor) == instant else floor + 1

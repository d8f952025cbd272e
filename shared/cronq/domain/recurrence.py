"""What every kind of schedule is: a value that yields instants in ascending order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR = 1970
LAST_YEAR = 2199
SECOND = timedelta(seconds=1)


class Schedule(ABC):
    """A frozen, hashable value; `text` is the expression it was read from."""

    text: str
    waits_for_end: ClassVar[bool] = False  # of the occurrence before: only then the next one is known

    def next_after(self, instant: datetime) -> datetime | None:
        """The first occurrence strictly after an aware instant, in whole seconds UTC; None when exhausted.

        Nothing occurs before 1970 or after 2199. Raises ValueError for a naive instant.
        """
        for second in self.seconds_after(epoch_second(instant)):
            return at(second)
        return None

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The occurrences in (after, until], ascending and lazily, in whole seconds UTC."""
        return self._between(epoch_second(after), epoch_second(until))

    @abstractmethod
    def fixed_period(self) -> timedelta | None:
        """The real time between any two neighbouring occurrences if that is constant, else None."""

    @abstractmethod
    def remarks(self, now: datetime) -> list[str]:
        """What the author of this schedule should know though it is valid."""

    @abstractmethod
    def describe(self) -> str:
        """In plain English, with the zone: `at 03:00 on weekdays, Europe/Berlin`."""

    @abstractmethod
    def seconds_after(self, second: int) -> Iterator[int]:
        """Occurrences after this second since the epoch, strictly ascending."""

    def walls(self, low: int, high: int) -> Iterator[int]:
        """The wall seconds in [low, high) that it names, ascending, whether or not its clocks show them.

        None where it goes by real time, which no change of the clocks takes anything from. A wall second
        is what the wall clock shows, counted as if it were UTC.
        """
        return iter(())

    def occurrence_key(self) -> Hashable:
        """Equal for two schedules only if they have the same occurrences, however they are written.

        Of two that count from a start, only the occurrences after both starts are the same.
        """
        return self

    def _between(self, after: int, until: int) -> Iterator[datetime]:
        for second in self.seconds_after(after):
            if second > until:
                return
            yield at(second)


def epoch_second(instant: datetime) -> int:
    """Whole seconds since 1970 UTC, rounded down; raises ValueError for a naive instant."""
    if instant.utcoffset() is None:
        raise ValueError(f"instant {instant.isoformat()} must be timezone-aware")
    return (instant - EPOCH) // SECOND


def at(second: int) -> datetime:
    """The aware UTC datetime of a second since the epoch."""
    return EPOCH + timedelta(seconds=second)

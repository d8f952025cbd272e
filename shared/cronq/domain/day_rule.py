"""Which days a calendar lists: a date, one of every year, so many days from Easter, an nth weekday."""

from __future__ import annotations

from abc import ABC, abstractmethod
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

DAYS_OF_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = range(1, 13)
# So far from Easter a day is still in Easter's year: it is on 22 March at the earliest.
FARTHEST_FROM_EASTER = 80
LAST = -1


class DayRule(ABC):
    """A frozen value; `name` is what the day is called, '' where it has no name."""

    name: str

    @abstractmethod
    def in_year(self, year: int) -> Iterator[date]:
        """Its days in a year, in any order."""


@dataclass(frozen=True)
class OnDate(DayRule):
    day: date
    name: str = ""

    def in_year(self, year: int) -> Iterator[date]:
        if self.day.year == year:
            yield self.day


@dataclass(frozen=True)
class EveryYear(DayRule):
    """29 February is one in leap years only."""

    month: int
    day: int
    name: str = ""

    def in_year(self, year: int) -> Iterator[date]:
        if self.day <= monthrange(year, self.month)[1]:
            yield date(year, self.month, self.day)


@dataclass(frozen=True)
class FromEaster(DayRule):
    """`days` after Easter Sunday, before it where negative."""

    days: int
    name: str = ""

    def in_year(self, year: int) -> Iterator[date]:
        yield easter(year) + timedelta(days=self.days)


@dataclass(frozen=True)
class NthWeekday(DayRule):
    """The nth (1 to 5, or -1 for the last) such weekday, Monday being 0, of a month, None for each month."""

    weekday: int
    nth: int
    month: int | None = None
    name: str = ""

    def in_year(self, year: int) -> Iterator[date]:
        for month in MONTHS if self.month is None else (self.month,):
            first_weekday, length = monthrange(year, month)
            first = 1 + (self.weekday - first_weekday) % len(DAYS_OF_WEEK)
            found = range(first, length + 1, len(DAYS_OF_WEEK))
            if self.nth <= len(found):
                yield date(year, month, found[self.nth if self.nth == LAST else self.nth - 1])


def easter(year: int) -> date:
    """Easter Sunday of the western churches.

    The Gregorian computus in the form of Meeus, Jones and Butcher (Meeus, Astronomical Algorithms, ch. 8).
    """
    century, rest = divmod(year, 100)
    golden = year % 19
    leap_centuries, leap_rest = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap_centuries - correction + 15) % 30
    quarter, quarter_rest = divmod(rest, 4)
    to_sunday = (32 + 2 * leap_rest + 2 * quarter - epact - quarter_rest) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)

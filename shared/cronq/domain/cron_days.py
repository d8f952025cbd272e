"""Which days a cron expression means, worked out for the 28 shapes that a month can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cronq.domain.cron_field import Selection

WEEK = 7
EVERY_DAY = frozenset(range(1, 32))
EVERY_WEEKDAY = frozenset(range(WEEK))
# Of the months, February's in a leap year.
LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SUNDAY, _SATURDAY = 0, 6

# (weekday of the 1st, Sunday being 0; number of days) of a month.
MonthShape = tuple[int, int]
Calendar = Mapping[MonthShape, tuple[int, ...]]


@dataclass(frozen=True)
class Days:
    """Which days of a month match: by number, by weekday (Sunday is 0), by both or by either."""

    months: frozenset[int]
    by_number: Selection
    by_weekday: Selection
    needs_both: bool

    def of_month(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """The matching days of a month of that shape, ascending."""
        numbers = _numbers(self.by_number, first_weekday, length)
        weekdays = _weekdays(self.by_weekday, first_weekday, length)
        return tuple(sorted(numbers & weekdays if self.needs_both else numbers | weekdays))

    def only_weekdays(self) -> frozenset[int] | None:
        """The weekdays that say it all, or None when months or day numbers matter too."""
        if len(self.months) < len(LENGTHS):
            return None
        if self.needs_both:
            is_plain = self.by_number.numbers == EVERY_DAY and not self.by_weekday.nth
            return self.by_weekday.numbers if is_plain else None
        return EVERY_WEEKDAY if self.are_all() else None

    def are_all(self) -> bool:
        """Whether every day of its months matches."""
        tests = (self.by_number.numbers == EVERY_DAY, self.by_weekday.numbers == EVERY_WEEKDAY)
        return all(tests) if self.needs_both else any(tests)

    def can_occur(self) -> bool:
        """Whether any of its months ever has such a day."""
        return any(self.of_month(first, LENGTHS[month - 1]) for month in self.months for first in range(WEEK))


@lru_cache(maxsize=1024)
def calendar(days: Days) -> Calendar:
    """The matching days of a month of each shape."""
    return {
        (first, length): days.of_month(first, length) for first in range(WEEK) for length in range(28, 32)
    }


def _numbers(selected: Selection, first_weekday: int, length: int) -> set[int]:
    counted = {length - back for back in selected.from_end}
    working = {_nearest_working(day or length, first_weekday, length) for day in selected.working}
    return {day for day in selected.numbers | counted | working if 1 <= day <= length}


def _nearest_working(day: int, first_weekday: int, length: int) -> int:
    """Monday to Friday, and in the same month; a day that the month does not have stays outside of it."""
    weekday = (first_weekday + day - 1) % WEEK
    if day > length:
        return day
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _weekdays(selected: Selection, first_weekday: int, length: int) -> set[int]:
    return {
        day
        for day in range(1, length + 1)
        if _is_selected(selected, (first_weekday + day - 1) % WEEK, day, length)
    }


def _is_selected(selected: Selection, weekday: int, day: int, length: int) -> bool:
    if weekday in selected.numbers or (weekday, (day - 1) // WEEK + 1) in selected.nth:
        return True
    return day > length - WEEK and (weekday, 0) in selected.nth

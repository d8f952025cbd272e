"""Calendars: which days are business days, and when nothing may start.

A day is closed when it is a holiday or of the weekend, unless it is listed as a workday. An instant is
closed when its day is, or when it lies in a blackout, which no workday opens. Days are those of the
calendar's zone. What a document says is read in `calendar_document`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from types import MappingProxyType

from cronq.domain.day_rule import DayRule
from cronq.domain.recurrence import epoch_second
from cronq.domain.stretch import Stretches

# From a day without a business day in so many days, nothing is shifted.
FARTHEST_SHIFT = 366
FORWARD, BACKWARD = 1, -1
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOLIDAY, BLACKOUT = "holiday", "blackout"


@dataclass(frozen=True)
class Calendar:
    """`text` is its document in canonical form, and all that two of them are compared by.

    `weekend` holds days of the week, Monday being 0.
    """

    text: str
    zone: tzinfo = field(compare=False)
    weekend: frozenset[int] = field(compare=False, default=frozenset({5, 6}))
    holidays: tuple[DayRule, ...] = field(compare=False, repr=False, default=())
    workdays: tuple[DayRule, ...] = field(compare=False, repr=False, default=())
    blackouts: Stretches = field(compare=False, repr=False, default_factory=Stretches)

    def closed(self, instant: datetime) -> str | None:
        """Why nothing may start at an aware instant, in a word or a name; None when it is open."""
        second = epoch_second(instant)
        return self._blackout(second) or self.closed_day(self.day_of(second))

    def closed_day(self, day: date) -> str | None:
        """The same of a day, where blackouts don't count: they are no matter of whole days."""
        if day in _named(self, "workdays", day.year):
            return None
        holiday = _named(self, "holidays", day.year).get(day)
        if holiday is not None:
            return holiday
        return DAY_NAMES[day.weekday()] if day.weekday() in self.weekend else None

    def is_business_day(self, day: date) -> bool:
        return self.closed_day(day) is None

    def next_business_day(self, day: date) -> date | None:
        """The day itself or the first one after it; None when none of the next 366 days is one."""
        distance = days_to_business(self, day, FORWARD)
        return None if distance is None else day + timedelta(days=distance)

    def previous_business_day(self, day: date) -> date | None:
        """The day itself or the last one before it; None when none of the 366 days before is one."""
        distance = days_to_business(self, day, BACKWARD)
        return None if distance is None else day - timedelta(days=distance)

    def day_of(self, second: int) -> date:
        """The day in its zone at a second since the epoch."""
        return datetime.fromtimestamp(second, self.zone).date()

    def _blackout(self, second: int) -> str | None:
        found = self.blackouts.around(second)
        return None if found is None else found.name or BLACKOUT


@lru_cache(maxsize=65_536)
def days_to_business(calendar: Calendar, day: date, direction: int) -> int | None:
    """How many days on (FORWARD or BACKWARD) the nearest business day is, 0 for the day itself.

    None when it is farther than 366 days.
    """
    for distance in range(FARTHEST_SHIFT + 1):
        if calendar.is_business_day(day + timedelta(days=direction * distance)):
            return distance
    return None


@lru_cache(maxsize=4096)
def _named(calendar: Calendar, listed: str, year: int) -> MappingProxyType[date, str]:
    """The days that rules of a calendar list in a year, with their names; the first rule names a day."""
    rules: Iterable[DayRule] = getattr(calendar, listed)
    found: dict[date, str] = {}
    for rule in rules:
        for day in rule.in_year(year):
            found.setdefault(day, rule.name or HOLIDAY)
    return MappingProxyType(found)

"""Five-field cron expressions with the meaning of Debian's cron, and the @aliases.

Day-of-month and day-of-week: when one of them begins with `*` (also `*/5`) a day must match both,
otherwise either. A job is wild when its minute or hour begins with `*`; wild jobs follow real time
through every change of the clock, the others follow their DST rule (see timeline.py).
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import isleap, month_name
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise

from cronq.domain import timeline, zone
from cronq.domain.cron_field import FIELDS, parse_field
from cronq.domain.duration import DAY_S
from cronq.domain.recurrence import Schedule
from cronq.domain.schedule_error import ScheduleError

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ALIAS_HINTS = {
    "@every": "write R/2026-01-01T00:00:00Z/PT5M for every five minutes",
    "@at": "write R1/2026-01-31T12:00:00Z/P1D for a single time",
    "@reboot": "many machines boot: run it from the service manager of each",
}
_WEEK = 7
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EVERY_DAY = frozenset(range(1, 32))
_EVERY_WEEKDAY = frozenset(range(_WEEK))
_FEBRUARY = 2
# 1970-01-01 was a Thursday, day 0; an eve is counted one day earlier.
_EPOCH_EVE_WEEKDAY = 5
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# (weekday of the 1st, Sunday being 0; number of days) of a month.
MonthShape = tuple[int, int]
Calendar = Mapping[MonthShape, tuple[int, ...]]


@dataclass(frozen=True)
class Days:
    """Which days of a month match: by number, by weekday (Sunday is 0), by both or by either."""

    months: frozenset[int]
    numbers: frozenset[int]
    weekdays: frozenset[int]
    needs_both: bool

    def of_month(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """The matching days of a month of that shape, ascending."""
        return tuple(
            day for day in range(1, length + 1) if self._matches(day, (first_weekday + day - 1) % _WEEK)
        )

    def only_weekdays(self) -> frozenset[int] | None:
        """The weekdays that say it all, or None when months or day numbers matter too."""
        if len(self.months) < len(_LENGTHS):
            return None
        if self.numbers == _EVERY_DAY:
            return self.weekdays if self.needs_both else _EVERY_WEEKDAY
        is_every_day = self.weekdays == _EVERY_WEEKDAY and not self.needs_both
        return _EVERY_WEEKDAY if is_every_day else None

    def _matches(self, day: int, weekday: int) -> bool:
        if self.needs_both:
            return day in self.numbers and weekday in self.weekdays
        return day in self.numbers or weekday in self.weekdays


@dataclass(frozen=True)
class Cron(Schedule):
    """`times` are the seconds of a day at which it occurs, ascending; `calendar` is `days` worked out."""

    text: str
    zone: tzinfo
    dst: str
    days: Days = field(compare=False, repr=False)
    times: tuple[int, ...] = field(compare=False, repr=False)
    is_wild: bool = field(compare=False, repr=False)
    calendar: Calendar = field(compare=False, repr=False)

    def fixed_period(self) -> timedelta | None:
        weekdays = self.days.only_weekdays()
        if weekdays is None or not zone.is_fixed(self.zone):
            return None
        week = [day * DAY_S + second for day in sorted(weekdays) for second in self.times]
        periods = {later - earlier for earlier, later in pairwise([*week, week[0] + _WEEK * DAY_S])}
        return timedelta(seconds=periods.pop()) if len(periods) == 1 else None

    def remarks(self, now: datetime) -> list[str]:
        if self.days.needs_both or self.days.only_weekdays() is not None:
            return []
        return ["day-of-month and day-of-week are both restricted: it occurs on days that match either"]

    def _seconds_after(self, second: int) -> Iterator[int]:
        rule = "real" if self.is_wild else self.dst
        return timeline.occurrences(self.zone, rule, second, self._walls)

    def _walls(self, low: int, high: int) -> Iterator[int]:
        """The matching wall seconds in [low, high)."""
        times = self.times
        for day in self._days_between(low // DAY_S, (high - 1) // DAY_S):
            midnight = day * DAY_S
            for index in range(bisect_left(times, low - midnight), len(times)):
                wall = midnight + times[index]
                if wall >= high:
                    return
                yield wall

    def _days_between(self, first: int, last: int) -> Iterator[int]:
        """The matching days from first to last, counted from 1970-01-01."""
        begin = date.fromordinal(_EPOCH_DAY + first)
        for eve, month, shape in _months_from(begin.year, begin.month):
            if eve >= last:
                return
            if month in self.days.months:
                for number in self.calendar[shape]:
                    if first <= eve + number <= last:
                        yield eve + number


def parse(text: str, *, timezone: str | None, dst: str) -> Cron:
    """Reads five fields or an @alias, in wall time of `timezone`, else UTC; raises ScheduleError."""
    parts = _fields(text)
    home = zone.load(timezone) if timezone is not None else UTC
    minutes, hours, numbers, months, weekdays = (
        parse_field(*pair) for pair in zip(FIELDS, parts, strict=True)
    )
    minute, hour, number, _, weekday = (part.startswith("*") for part in parts)
    days = Days(months, numbers, frozenset(day % _WEEK for day in weekdays), needs_both=number or weekday)
    times = tuple(
        at_hour * 3600 + at_minute * 60 for at_hour in sorted(hours) for at_minute in sorted(minutes)
    )
    calendar = _calendar(days)
    _refuse_never(days, calendar)
    return Cron(text, home, dst, days, times, minute or hour, calendar)


def _fields(text: str) -> list[str]:
    parts = _expanded(text).split()
    if len(parts) == len(FIELDS):
        return parts
    extra = {6: "; seconds are not supported", 7: "; seconds and years are not supported"}.get(len(parts), "")
    raise ScheduleError(
        "invalid_schedule",
        f"a cron expression needs 5 fields, got {len(parts)}{extra}",
        "minute hour day-of-month month day-of-week, as 30 2 * * 1-5",
    )


def _expanded(text: str) -> str:
    if not text.startswith("@"):
        return text
    name = text.split(maxsplit=1)[0].lower()
    if text.lower() in ALIASES:
        return ALIASES[name]
    near = [] if name in _ALIAS_HINTS else get_close_matches(name, ALIASES, n=1)
    hint = f"did you mean {near[0]}?" if near else _ALIAS_HINTS.get(name, "")
    raise ScheduleError(
        "invalid_schedule", f"{text[:40]} is not supported; the names are {', '.join(ALIASES)}", hint
    )


@lru_cache(maxsize=1024)
def _calendar(days: Days) -> Calendar:
    return {
        (first, length): days.of_month(first, length) for first in range(_WEEK) for length in range(28, 32)
    }


def _refuse_never(days: Days, calendar: Calendar) -> None:
    if any(calendar[first, _LENGTHS[month - 1]] for month in days.months for first in range(_WEEK)):
        return
    names = ", ".join(month_name[month] for month in sorted(days.months))
    has = "has" if len(days.months) == 1 else "have"
    raise ScheduleError("never_fires", f"it never fires: {names} {has} no day {min(days.numbers)}")


def _months_from(year: int, month: int) -> Iterator[tuple[int, int, MonthShape]]:
    """(day number of the eve of the 1st, month, shape) from that month on, without end."""
    while True:
        eve = date(year, month, 1).toordinal() - _EPOCH_DAY - 1
        length = _LENGTHS[month - 1] - (month == _FEBRUARY and not isleap(year))
        yield eve, month, ((eve + _EPOCH_EVE_WEEKDAY) % _WEEK, length)
        year, month = (year, month + 1) if month < len(_LENGTHS) else (year + 1, 1)

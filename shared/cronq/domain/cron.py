"""Five-field cron expressions with the meaning of Debian's cron, and the @aliases.

Day-of-month and day-of-week: when one of them begins with `*` (also `*/5`) or is `?`, a day must match
both, otherwise either. A job is wild when its minute or hour begins with `*` or `H/`; wild jobs follow
real time through every change of the clock, the others follow their DST rule (see timeline.py).

H stands for a value by the hash of a seed, drawn for each field on its own. Whether an expression with
an H is valid never depends on the seed.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from calendar import isleap, month_name
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import partial
from itertools import pairwise

from cronq.domain import cron_words, timeline, zone
from cronq.domain.cron_days import LENGTHS, WEEK, Calendar, Days, MonthShape, calendar
from cronq.domain.cron_field import DAY_OF_MONTH, FIELDS, MONTH, Pick, Selection, is_hashed, parse_field
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
_NAMES = (*ALIASES, "@every", "@at")  # the last two are read elsewhere
_YEAR = re.compile(r"[12][0-9]{3}(?:-[12][0-9]{3})?")
# `every 5 minutes`, `5m`.
_EVERY = re.compile(r"(?:every ?([0-9]{0,6})|([0-9]{1,6})) ?([smhd])(?:ec|econd|in|inute|r|our|ay)?s?")
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FEBRUARY = 2
# 1970-01-01 was a Thursday, day 0; an eve is counted one day earlier.
_EPOCH_EVE_WEEKDAY = 5


@dataclass(frozen=True)
class Cron(Schedule):
    """`times` are the seconds of a day at which it occurs, ascending; `calendar` is `days` worked out.

    `seed` is '' where no field holds an H.
    """

    text: str
    zone: tzinfo
    dst: str
    seed: str
    days: Days = field(compare=False, repr=False)
    times: tuple[int, ...] = field(compare=False, repr=False)
    is_wild: bool = field(compare=False, repr=False)
    calendar: Calendar = field(compare=False, repr=False)

    def fixed_period(self) -> timedelta | None:
        weekdays = self.days.only_weekdays()
        if weekdays is None or not zone.is_fixed(self.zone):
            return None
        days = sorted(weekdays)
        overnight = self.times[0] - self.times[-1]
        periods = {later - earlier for earlier, later in pairwise(self.times)}
        periods |= {(b - a) * DAY_S + overnight for a, b in pairwise([*days, days[0] + WEEK])}
        return timedelta(seconds=periods.pop()) if len(periods) == 1 else None

    def remarks(self, now: datetime) -> list[str]:
        if self.days.needs_both or self.days.only_weekdays() is not None:
            return []
        return ["day-of-month and day-of-week are both restricted: it occurs on days that match either"]

    def describe(self) -> str:
        return f"{cron_words.describe(self.times, self.days)}, {self.zone}"

    def fields(self) -> list[tuple[str, str, str]]:
        """(name, text, meaning in words) of each of its five fields."""
        words = cron_words.fields(self.times, self.days)
        return list(zip((f.name for f in FIELDS), _fields(self.text), words, strict=True))

    def seconds_after(self, second: int) -> Iterator[int]:
        rule = "real" if self.is_wild else self.dst
        return timeline.occurrences(self.zone, rule, second, self.matches)

    def walls(self, low: int, high: int) -> Iterator[int]:
        """None where minutes or hours are wild: those follow real time."""
        return iter(()) if self.is_wild else self.matches(low, high)

    def occurrence_key(self) -> Hashable:
        return self.zone, "real" if self.is_wild else self.dst, self.times, self.days

    def matches(self, low: int, high: int) -> Iterator[int]:
        """The matching wall seconds in [low, high), ascending."""
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


def parse(text: str, *, timezone: str | None, dst: str, seed: str = "") -> Cron:
    """Reads five fields or an @alias, in wall time of `timezone`, else UTC; raises ScheduleError."""
    parts = _fields(text)
    home = zone.load(timezone) if timezone is not None else UTC
    minutes, hours, *_ = selections = _selections(parts, [partial(_drawn, seed, f.name) for f in FIELDS])
    days = _days(parts, selections)
    times = tuple(
        hour * 3600 + minute * 60 for hour in sorted(hours.numbers) for minute in sorted(minutes.numbers)
    )
    _refuse_never(parts, days)
    is_wild = any(part.startswith(("*", "H/", "h/")) for part in parts[:2])
    kept = seed if is_hashed(text) else ""
    return Cron(text, home, dst, kept, days, times, is_wild, calendar(days))


def _selections(parts: Sequence[str], picks: Sequence[Pick]) -> list[Selection]:
    return [parse_field(*each) for each in zip(FIELDS, parts, picks, strict=True)]


def _days(parts: Sequence[str], selections: Sequence[Selection]) -> Days:
    _, _, number, month, weekday = selections
    weekday = weekday._replace(numbers=frozenset(day % WEEK for day in weekday.numbers))
    needs_both = parts[2].startswith(("*", "?")) or parts[4].startswith(("*", "?"))
    return Days(month.numbers, number, weekday, needs_both)


def _drawn(seed: str, field_name: str, count: int) -> int:
    """Evenly spread over range(count), whatever the seeds look like."""
    digest = hashlib.sha256(f"{seed}\0{field_name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % count


def _fields(text: str) -> list[str]:
    parts = _expanded(text).split()
    if len(parts) == len(FIELDS):
        return parts
    if "=" in parts[0]:
        raise _invalid(
            f"{parts[0][:40]} is no part of a schedule", "a zone is named by timezone, apart from it"
        )
    extra = {6: "; seconds are not supported", 7: "; seconds and years are not supported"}.get(len(parts), "")
    if _has_year(parts):
        extra = "; years are not supported"
    raise _invalid(f"a cron expression needs 5 fields, got {len(parts)}{extra}", _with_five(parts))


def _has_year(parts: Sequence[str]) -> bool:
    return len(parts) == len(FIELDS) + 1 and _YEAR.fullmatch(parts[-1]) is not None


def _with_five(parts: Sequence[str]) -> str:
    """A hint with what a text of more or fewer fields was probably meant to be."""
    if _has_year(parts):
        return f"write {' '.join(parts[:-1])[:80]}"
    if len(parts) == len(FIELDS) + 1 and parts[0] == "0":
        return f"write {' '.join(parts[1:])[:80]}"
    said = " ".join(parts).lower()
    if f"@{said}" in ALIASES:
        return f"write @{said}"
    if period := _EVERY.fullmatch(said):
        return f"write @every {period[1] or period[2] or 1}{period[3]}"
    return "minute hour day-of-month month day-of-week, as 30 2 * * 1-5"


def _expanded(text: str) -> str:
    if not text.startswith("@"):
        return text
    name = text.split(maxsplit=1)[0].lower()
    if text.lower() in ALIASES:
        return ALIASES[name]
    if name == "@reboot":
        raise _invalid(
            "@reboot is refused: hosts come and go, and none of them owns a job",
            "start it from the service manager of each host, as a systemd unit or cron's own @reboot",
        )
    near = get_close_matches(name, _NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    raise _invalid(f"{text[:40]} is not supported; the names are {', '.join(_NAMES)}", hint)


def _refuse_never(parts: Sequence[str], days: Days) -> None:
    for each in (days, *_other_draws(parts)):
        if not each.can_occur():
            names = ", ".join(month_name[month] for month in sorted(each.months))
            has = "has" if len(each.months) == 1 else "have"
            number = min(each.by_number.numbers, default=parts[2])
            hint = "write L for the last day of each month"
            if is_hashed(f"{parts[2]} {parts[3]}"):
                hint = "H may stand for any of its values"
            raise ScheduleError("never_fires", f"it never fires: {names} {has} no day {number}", hint)


def _other_draws(parts: Sequence[str]) -> Iterator[Days]:
    """The days under the seeds that leave the fewest: the last of each H, and any month."""
    if not is_hashed(f"{parts[2]} {parts[3]}"):
        return
    if len([item for item in parts[3].split(",") if is_hashed(item)]) > 1:
        raise _invalid(f"field {MONTH.name}: only one H is allowed")
    for number in range(len(LENGTHS) if is_hashed(parts[3]) else 1):
        picks: list[Pick] = [partial(_nth_or_last, number) for _ in FIELDS]
        picks[FIELDS.index(DAY_OF_MONTH)] = _last
        yield _days(parts, _selections(parts, picks))


def _nth_or_last(number: int, count: int) -> int:
    return min(number, count - 1)


def _last(count: int) -> int:
    return count - 1


def _months_from(year: int, month: int) -> Iterator[tuple[int, int, MonthShape]]:
    """(day number of the eve of the 1st, month, shape) from that month on, without end."""
    while True:
        eve = date(year, month, 1).toordinal() - _EPOCH_DAY - 1
        length = LENGTHS[month - 1] - (month == _FEBRUARY and not isleap(year))
        yield eve, month, ((eve + _EPOCH_EVE_WEEKDAY) % WEEK, length)
        year, month = (year, month + 1) if month < len(LENGTHS) else (year + 1, 1)


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

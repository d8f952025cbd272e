"""The start (or end) of an ISO 8601 interval: a date and time in whole seconds, 1970 to 2199."""

from __future__ import annotations

import re
from calendar import month_name, monthrange
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from cronq.domain.recurrence import FIRST_YEAR, LAST_YEAR
from cronq.domain.schedule_error import ScheduleError

_EXTENDED = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d))?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_BASIC = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)
_FRACTION = re.compile(r"T[0-9:]+[.,][0-9]")
_WEEK_DATE = re.compile(r"[0-9]{4}-?W")
_FARTHEST = timedelta(hours=14)


def parse_start(text: str, name: str = "start") -> datetime:
    """The date and time written; naive if it has no offset. Raises ScheduleError `invalid_schedule`."""
    match = _EXTENDED.fullmatch(text) or _BASIC.fullmatch(text)
    if match is None:
        raise _unreadable(f"{name} {text[:60]!r}", text)
    shown = f"{name} {text}"
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups()[:6])
    _check_date(shown, year, month, day)
    _check_time(shown, hour, minute, second)
    return datetime(year, month, day, hour, minute, second, tzinfo=_offset(shown, match[7]))


def _unreadable(shown: str, text: str) -> ScheduleError:
    if not text.isascii():
        return _invalid(f"{shown}: only ASCII digits and letters are allowed")
    if _FRACTION.search(text):
        return _invalid(f"{shown}: fractions of a second are not supported, occurrences are whole seconds")
    if _WEEK_DATE.match(text):
        return _invalid(f"{shown}: week dates are not supported", "write the date as 2026-01-31")
    fixed = text.upper().replace(" ", "T", 1)
    if fixed != text and (_EXTENDED.fullmatch(fixed) or _BASIC.fullmatch(fixed)):
        return _invalid(f"{shown} needs a capital T and Z", f"write {fixed}")
    return _invalid(f"{shown} is not a date and time", "write 2026-01-31T00:00:00Z")


def _check_date(shown: str, year: int, month: int, day: int) -> None:
    _check(f"{shown}: year", year, FIRST_YEAR, LAST_YEAR)
    _check(f"{shown}: month", month, 1, 12)
    if not 1 <= day <= monthrange(year, month)[1]:
        last = monthrange(year, month)[1]
        hint = f"its last is {year}-{month:02}-{last}" if day > last else "the first is 01"
        raise _invalid(f"{shown}: {month_name[month]} {year} has no day {day}", hint)


def _check_time(shown: str, hour: int, minute: int, second: int) -> None:
    _check(f"{shown}: hour", hour, 0, 23, "midnight is 00:00 of the next day")
    _check(f"{shown}: minute", minute, 0, 59)
    _check(f"{shown}: second", second, 0, 59, "a leap second has no place here: use :59")


def _check(part: str, value: int, low: int, high: int, one_above: str = "") -> None:
    if not low <= value <= high:
        raise _invalid(f"{part} {value} not in {low}-{high}", one_above if value == high + 1 else "")


def _offset(shown: str, text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    minutes = int(text[3:].lstrip(":") or 0)
    _check(f"{shown}: offset minute", minutes, 0, 59)
    distance = timedelta(hours=int(text[1:3]), minutes=minutes)
    if distance > _FARTHEST:
        raise _invalid(f"{shown}: offset {text} not in -14:00 to +14:00")
    return timezone(-distance if text[0] == "-" else distance)


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

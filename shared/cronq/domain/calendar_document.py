"""A calendar's document: how it is read.

    {"description": "Holidays in Germany", "timezone": "Europe/Berlin", "weekend": ["sat", "sun"],
     "holidays": ["2026-12-24", {"date": "12-25", "name": "Christmas"},
                  {"easter": 1, "name": "Easter Monday"},
                  {"weekday": "mon", "nth": 1, "month": 9, "name": "Labour Day"}],
     "workdays": ["2026-12-19"],
     "blackouts": [{"from": "2026-12-24T18:00", "to": "2026-12-27T06:00", "name": "freeze"},
                   {"schedule": "0 22 * * FRI", "duration": "8h", "name": "backup of everything"}]}

Every key may be left out. `timezone` (UTC) is where its days begin and where times without an offset and
schedules are local. A day is a date, which without a year is one of every year; so many days from Easter
Sunday; or the nth weekday of a month (-1 is the last), without `month` of each. A day in `workdays` is a
business day all the same. A blackout ends before `to`.
"""

from __future__ import annotations

import json
import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from cronq.domain import zone
from cronq.domain.calendar import Calendar
from cronq.domain.day_rule import (
    DAYS_OF_WEEK,
    FARTHEST_FROM_EASTER,
    DayRule,
    EveryYear,
    FromEaster,
    NthWeekday,
    OnDate,
)
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import READERS, Path, Refused, did_you_mean
from cronq.domain.reading import Reader, alone, list_of, read_object
from cronq.domain.recurrence import FIRST_YEAR, LAST_YEAR
from cronq.domain.stretch import Recurring, Stretch, Stretches
from cronq.domain.stretch_document import read_stretch_name, stretch_of, stretch_readers, zone_of
from cronq.domain.strict_json import loads, pointer, shown

MAX_BODY_BYTES = 256 * 1024
MAX_DAYS = 2_000
MAX_BLACKOUTS = 2_000
# Each of these is asked one by one.
MAX_RECURRING = 50
DEFAULT_WEEKEND = ("sat", "sun")

_DATE = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")
_LEAP_YEAR = 2000
_KINDS = ("date", "easter", "weekday")
_NTHS = (1, 2, 3, 4, 5, -1)


def parse_calendar(body: bytes) -> Calendar:
    """The calendar of a document as JSON; raises InvalidInput with every problem."""
    return read_calendar(loads(body, max_bytes=MAX_BODY_BYTES))


@lru_cache(maxsize=512)
def stored_calendar(text: str) -> Calendar:
    """The calendar of a document that was read before, as `text` of one has it."""
    return read_calendar(json.loads(text))


def read_calendar(value: object) -> Calendar:
    """The calendar of a decoded document; raises InvalidInput with every problem."""
    home = zone_of(value)
    found = read_object(value, (), _readers(home))
    weekend = found.get("weekend", _weekend(list(DEFAULT_WEEKEND)))
    workdays = found.get("workdays", ())
    if len(weekend) == len(DAYS_OF_WEEK) and not workdays:
        message = "weekend: all days of the week leave no business day"
        hint = "leave one out, or list business days in workdays"
        raise InvalidInput([Problem("invalid_value", "/weekend", message, hint)])
    return Calendar(
        json.dumps(value, sort_keys=True, ensure_ascii=False),
        zone.load(home),
        weekend,
        found.get("holidays", ()),
        workdays,
        _stretches(found.get("blackouts", ())),
    )


def _readers(home: str) -> Mapping[str, Reader]:
    days = list_of(_day, most=MAX_DAYS, what="days")
    return {
        "description": alone(READERS["description"]),
        "timezone": alone(READERS["timezone"]),
        "weekend": alone(_weekend),
        "holidays": days,
        "workdays": days,
        "blackouts": list_of(lambda v, at: _blackout(v, at, home), most=MAX_BLACKOUTS, what="blackouts"),
    }


def _weekend(value: object) -> frozenset[int]:
    if not isinstance(value, list):
        raise Refused(f"{shown(value)} must be a list of days such as sat", code="invalid_type")
    return frozenset(_weekday(word) for word in value)


def _weekday(value: object) -> int:
    if value not in DAYS_OF_WEEK:
        hint = did_you_mean(value[:3], DAYS_OF_WEEK) if isinstance(value, str) else ""
        raise Refused(f"{shown(value)} is not allowed; one of {', '.join(DAYS_OF_WEEK)} is", hint=hint)
    return DAYS_OF_WEEK.index(str(value))


def _blackout(value: object, at: Path, home: str) -> Stretch | Recurring:
    return stretch_of(read_object(value, at, stretch_readers(home)), at)


def _stretches(blackouts: tuple[Stretch | Recurring, ...]) -> Stretches:
    recurring = [each for each in blackouts if isinstance(each, Recurring)]
    if len(recurring) > MAX_RECURRING:
        message = f"blackouts: {len(recurring):,} with a schedule; at most {MAX_RECURRING} are allowed"
        raise InvalidInput([Problem("too_many", "/blackouts", message)])
    return Stretches((each for each in blackouts if isinstance(each, Stretch)), recurring)


def _day(value: object, at: Path) -> DayRule:
    if not isinstance(value, dict):
        return _on(_date(value), "")
    found = read_object(value, at, _DAY_READERS)
    kinds = [kind for kind in _KINDS if kind in found]
    if len(kinds) != 1:
        message = "one of date, easter and weekday is needed, and only one"
        raise InvalidInput([Problem("invalid_value", pointer(*at), message)])
    return _rule(kinds[0], found, at)


def _rule(kind: str, found: Mapping[str, Any], at: Path) -> DayRule:
    name = found.get("name", "")
    if kind == "weekday":
        if "nth" not in found:
            message = "nth: is missing; 1 is the first such day of the month, -1 the last"
            raise InvalidInput([Problem("missing_field", pointer(*at), message)])
        return NthWeekday(found["weekday"], found["nth"], found.get("month"), name)
    if stray := [key for key in ("nth", "month") if key in found]:
        message = f"{stray[0]}: goes with weekday only"
        raise InvalidInput([Problem("invalid_value", pointer(*at, stray[0]), message)])
    return _on(found["date"], name) if kind == "date" else FromEaster(found["easter"], name)


def _on(parts: tuple[int | None, int, int], name: str) -> DayRule:
    year, month, day = parts
    return EveryYear(month, day, name) if year is None else OnDate(date(year, month, day), name)


def _date(value: object) -> tuple[int | None, int, int]:
    """(year or None, month, day) of a day that there is."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Refused(f"{shown(value)} is no date", hint="write 2026-12-25, or 12-25 for every year")
    year = None if match[1] is None else int(match[1])
    month, day = int(match[2]), int(match[3])
    if year is not None and not FIRST_YEAR <= year <= LAST_YEAR:
        raise Refused(f"{shown(value)}: only the years {FIRST_YEAR} to {LAST_YEAR} are allowed")
    if month not in range(1, 13) or not 1 <= day <= monthrange(year or _LEAP_YEAR, month)[1]:
        raise Refused(f"{shown(value)}: there is no such day")
    return year, month, day


def _whole(least: int, most: int) -> Reader:
    return _number(range(least, most + 1), f"{least} to {most} is")


def _number(allowed: range | tuple[int, ...], words: str) -> Reader:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(f"{shown(value)} must be a whole number", code="invalid_type")
        if value not in allowed:
            raise Refused(f"{shown(value)} is not allowed; {words}")
        return value

    return alone(read)


_DAY_READERS: Mapping[str, Reader] = {
    "date": alone(_date),
    "easter": _whole(-FARTHEST_FROM_EASTER, FARTHEST_FROM_EASTER),
    "weekday": alone(_weekday),
    "nth": _number(_NTHS, "1 to 5 or -1 is"),
    "month": _whole(1, 12),
    "name": alone(read_stretch_name),
}

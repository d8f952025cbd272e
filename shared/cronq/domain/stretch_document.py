"""How a document writes a stretch of time: `from` and `to`, or `schedule` and `duration`, and a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from cronq.domain import once
from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import MAX_INSTANT, READERS, Path, Refused, read_text
from cronq.domain.reading import Reader, alone
from cronq.domain.recurrence import Schedule
from cronq.domain.schedule import LONGEST_TEXT, ScheduleError, parse
from cronq.domain.stretch import Recurring, Stretch
from cronq.domain.strict_json import pointer, shown

Value = TypeVar("Value")
DEFAULT_ZONE = "UTC"
MAX_STRETCH_NAME = 100
MAX_DURATION = timedelta(days=31)
_SHORTEST = timedelta(seconds=1)
_PAIRS = (("from", "to"), ("schedule", "duration"))


def zone_of(document: object) -> str:
    """The zone that a document names, UTC where it names none or a wrong one, which is its own problem."""
    try:
        found = READERS["timezone"](document.get("timezone")) if isinstance(document, dict) else None
    except Refused:
        return DEFAULT_ZONE
    return str(found or DEFAULT_ZONE)


def stretch_readers(timezone: str) -> dict[str, Reader]:
    """What reads the keys of a stretch, local times and schedules in this zone."""
    return {
        "from": alone(lambda value: _second("from", value, timezone)),
        "to": alone(lambda value: _second("to", value, timezone)),
        "schedule": alone(lambda value: _schedule(value, timezone)),
        "duration": alone(_duration),
        "name": alone(read_stretch_name),
    }


def read_stretch_name(value: object) -> str:
    return read_text(value, limit=MAX_STRETCH_NAME)


def stretch_of(found: Mapping[str, Any], at: Path) -> Stretch | Recurring:
    """The stretch of what those read; raises InvalidInput unless it is one pair of keys, in order."""
    given = [pair for pair in _PAIRS if any(key in found for key in pair)]
    if len(given) != 1 or not all(key in found for key in given[0]):
        message = "either from and to are needed, or schedule and duration"
        raise InvalidInput([Problem("invalid_value", pointer(*at), message)])
    name = found.get("name", "")
    if given[0] == _PAIRS[1]:
        return Recurring(found["schedule"], found["duration"], name)
    if found["to"] <= found["from"]:
        message = "to: must be later than from"
        raise InvalidInput([Problem("invalid_value", pointer(*at, "to"), message)])
    return Stretch(found["from"], found["to"], name)


def _second(name: str, value: object, timezone: str) -> int:
    """Where the clock shows a time twice, a stretch begins at the first and ends at the second."""
    text = read_text(value, limit=MAX_INSTANT)
    dst, which = ("cron", 0) if name == "from" else ("both", -1)
    return _valid(name, lambda: once.instants(text, name, timezone=timezone, dst=dst)[1][which])


def _schedule(value: object, timezone: str) -> Schedule:
    text = read_text(value, limit=LONGEST_TEXT)
    return _valid("schedule", lambda: parse(text, timezone=timezone))


def _duration(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(f"{shown(value)} must be whole seconds or text such as 8h", code="invalid_type")
    text = read_text(value if isinstance(value, str) else shown(value), limit=64)
    length = _valid("duration", lambda: parse_duration(text))
    if not _SHORTEST <= length <= MAX_DURATION:
        raise Refused(f"{shown(value)} is not allowed; 1s to {format_duration(MAX_DURATION)} is")
    return int(length.total_seconds())


def _valid(name: str, read: Callable[[], Value]) -> Value:
    try:
        return read()
    except ScheduleError as error:
        message = str(error).removeprefix(f"{name} ")
        raise Refused(message, code=error.code, hint=error.hint) from None

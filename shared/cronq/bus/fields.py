"""Reading the fields of a decoded message.

What a decision rests on raises BadMessage with the field's name; what only annotates is noted and
left out, so that a runner with a wrong clock still gets its results heard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from cronq.domain.errors import BadMessage, InvalidInput
from cronq.domain.strict_json import loads

Fields = Mapping[str, object]

MOST_INT = 2**31 - 1  # an INT of the database
MOST_BIG = 2**62  # a BIGINT, with room for a sum
# Of runners' clocks; the database's own columns end at the year 9999, our schedules here.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_HEX = frozenset("0123456789abcdef")
_TOKEN = re.compile(r"[!-~]*")


def read(body: bytes, *, max_bytes: int, version: int) -> Fields:
    """The message's object. Raises BadMessage for other JSON, none, or another version."""
    try:
        value = loads(body, max_bytes=max_bytes)
    except InvalidInput as error:
        raise BadMessage(str(error)) from None
    f = an_object(value, "message")
    found = f.get("v", version)  # the ancestor's messages have none
    if found != version or isinstance(found, bool):
        raise BadMessage(f"v: {shown(found)} is not supported, this release reads {version}; upgrade it")
    return f


def an_object(value: object, what: str) -> Fields:
    if not isinstance(value, dict):
        raise BadMessage(f"{what}: not an object")
    return value


def text(f: Fields, name: str, *, default: str | None = None, most: int = 1024) -> str:
    value = f.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise BadMessage(f"{name}: {shown(value)} is not a text")
    if len(value) > most:
        raise BadMessage(f"{name}: longer than {most} characters")
    if "\0" in value:
        raise BadMessage(f"{name}: U+0000 is not allowed")
    return value


def token(f: Fields, name: str, *, default: str | None = None, most: int = 32) -> str:
    """An id: printable ASCII without blanks, which every database compares alike; empty only by default."""
    value = text(f, name, default=default, most=most)
    if not _TOKEN.fullmatch(value) or (not value and default is None):
        raise BadMessage(f"{name}: {shown(value)} is not printable ASCII without blanks")
    return value


def texts(f: Fields, name: str) -> tuple[str, ...]:
    value = f.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadMessage(f"{name}: not a list of texts")
    return tuple(value)


def whole(f: Fields, name: str, *, low: int = 0, high: int = MOST_INT, default: int | None = None) -> int:
    value = f.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadMessage(f"{name}: {shown(value)} is not a whole number from {low} to {high}")
    return value


def run_id(f: Fields) -> str:
    """32 hex digits; a UUID with dashes is read too, as the ancestor did."""
    value = text(f, "run_id", most=64).replace("-", "").lower()
    if len(value) != 32 or not _HEX.issuperset(value):
        raise BadMessage(f"run_id: {shown(f.get('run_id'))} is not 32 hex digits")
    return value


def pairs(f: Fields, name: str) -> tuple[tuple[str, int], ...]:
    """A list of [run_id, attempt]."""
    value = f.get(name, [])
    if not isinstance(value, list):
        raise BadMessage(f"{name}: not a list")
    return tuple(_pair(item, name) for item in value)


def _pair(item: object, name: str) -> tuple[str, int]:
    try:
        if isinstance(item, list) and len(item) == 2:
            return run_id({"run_id": item[0]}), whole({"attempt": item[1]}, "attempt", low=1)
    except BadMessage as error:
        raise BadMessage(f"{name}: {error}") from None
    raise BadMessage(f"{name}: {shown(item)} is not [run_id, attempt]")


def number(f: Fields, name: str) -> float | None:
    """Seconds."""
    value = f.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 10**10:
        raise BadMessage(f"{name}: {shown(value)} is not a number of seconds")
    return float(value)


def instant(f: Fields, name: str) -> datetime:
    found = noted_instant(f, name, [])
    if found is None:
        raise BadMessage(f"{name}: {shown(f.get(name))} is not an instant")
    return found


# -- what only annotates


def noted_text(f: Fields, name: str, most: int, notes: list[str]) -> str | None:
    """None where it is empty; too long, it is cut."""
    value = f.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        notes.append(f"{name}: {shown(value)} is not a text")
        return None
    if len(value) > most:
        notes.append(f"{name}: longer than {most} characters, the rest is cut")
    return value[:most].replace("\0", "\ufffd")  # some databases end a text there


def noted_whole(f: Fields, name: str, low: int, high: int, notes: list[str]) -> int | None:
    value = f.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    notes.append(f"{name}: {shown(value)} is not from {low} to {high}")
    return None


def noted_number(f: Fields, name: str, notes: list[str]) -> float | None:
    try:
        return number(f, name)
    except BadMessage as error:
        notes.append(str(error))
        return None


def noted_instant(f: Fields, name: str, notes: list[str]) -> datetime | None:
    """RFC 3339, or the ancestor's naive UTC text or epoch seconds."""
    value = f.get(name)
    if value is None:
        return None
    try:
        found = _instant(value)
        if EARLIEST <= found < LATEST:
            return found
    except (ValueError, OverflowError, OSError):
        pass
    notes.append(f"{name}: {shown(value)} is not an instant from 1970 to 2199")
    return None


def _instant(value: object) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    found = datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def shown(value: object) -> str:
    """A value as an error may quote it."""
    quoted = repr(value)
    return quoted if len(quoted) <= 60 else quoted[:57] + "..."

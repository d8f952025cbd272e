"""Reading the fields of a small JSON object: what is allowed, and all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.strict_json import loads, pointer, shown
from cronq.web.api.body import read_json
from cronq.web.api.params import as_instant, is_run_id

T = TypeVar("T")


class Fields:
    """An object, each field read by its kind; `done` refuses everything that was wrong, at once."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given
        self._known: list[str] = []
        self._problems: list[Problem] = []

    @classmethod
    def of_body(cls, *, max_bytes: int = 64 * 1024) -> Fields:
        """Of the request; blocks until its body is here. Raises InvalidInput for what is no object."""
        value = loads(read_json(), max_bytes=max_bytes)
        if not isinstance(value, dict):
            raise InvalidInput([Problem("invalid_type", "", f"{shown(value)} must be an object")])
        return cls({str(name): field for name, field in value.items()})

    def text(self, name: str, *, most: int = 200) -> str | None:
        return self._read(name, f"text of at most {most} characters", lambda v: _text(v, most))

    def whole(self, name: str, least: int, most: int) -> int | None:
        return self._read(name, f"a whole number from {least} to {most}", lambda v: _whole(v, least, most))

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        return self._read(name, f"one of {', '.join(allowed)}", lambda v: _one_of(v, allowed))

    def choices(self, name: str, allowed: Sequence[str]) -> list[str] | None:
        """A list of some of these words."""
        each = f"a list of {', '.join(allowed)}"
        return self._read(name, each, lambda v: _list(v, len(allowed), lambda w: _one_of(w, allowed)))

    def instant(self, name: str) -> datetime | None:
        """An instant of RFC 3339, in UTC."""
        return self._read(name, "an RFC 3339 instant such as 2026-01-31T14:00:00Z", _instant)

    def duration(self, name: str, most: timedelta) -> timedelta | None:
        allowed = f"a duration such as 10s, 5m or 2h, up to {format_duration(most)}"
        return self._read(name, allowed, lambda v: _duration(v, most))

    def run_ids(self, name: str, most: int) -> list[str] | None:
        return self._read(name, f"a list of 1 to {most:,} run ids", lambda v: _list(v, most, _run_id))

    def has(self, name: str) -> bool:
        return name in self._given

    def problem(self, name: str, message: str, hint: str = "", *, code: str = "invalid_value") -> None:
        """Note something that is wrong between fields, or missing."""
        self._problems.append(Problem(code, pointer(name) if name in self._given else "", message, hint))

    def done(self) -> None:
        """Raises InvalidInput with all problems; every field that nobody read is one."""
        unknown = [self._unknown(name) for name in self._given if name not in self._known]
        if unknown or self._problems:
            raise InvalidInput([*unknown, *self._problems][:100])

    def _read(self, name: str, allowed: str, read: Callable[[object], T]) -> T | None:
        self._known.append(name)
        if name not in self._given:
            return None
        value = self._given[name]
        try:
            return read(value)
        except (ValueError, ScheduleError):
            message = f"{name}: {shown(value)} is not allowed; {allowed} is"
            self._problems.append(Problem("invalid_value", pointer(name), message))
            return None

    def _unknown(self, name: str) -> Problem:
        near = difflib.get_close_matches(name[:64], self._known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(sorted(self._known))}"
        return Problem("unknown_field", pointer(name), f"{shown(name)}: there is no such field here", hint)


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise ValueError
    return value


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError
    return value


def _one_of(value: object, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError
    return value


def _list(value: object, most: int, each: Callable[[object], str]) -> list[str]:
    """Each once, in the order given."""
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise ValueError
    return list(dict.fromkeys(each(item) for item in value))


def _instant(value: object) -> datetime:
    return as_instant(_text(value, 64))


def _duration(value: object, most: timedelta) -> timedelta:
    if not isinstance(value, str | int):
        raise ValueError
    length = parse_duration(value)
    if length > most:
        raise ValueError
    return length


def _run_id(value: object) -> str:
    if not isinstance(value, str) or not is_run_id(value):
        raise ValueError
    return value

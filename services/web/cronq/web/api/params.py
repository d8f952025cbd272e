"""Reading what a request says besides its body: its query, its headers, the ids in its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from flask import request
from werkzeug.datastructures import MultiDict

from cronq.domain.errors import InvalidInput, NotFound, Problem
from cronq.domain.run import State
from cronq.domain.strict_json import shown

MAX_ID = 2**31 - 1
MAX_KEY = 190

_JOB_ID = re.compile(r"[1-9][0-9]{0,9}")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_WHOLE = re.compile(r"[0-9]{1,18}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Params:
    """A query, each parameter read by its kind; `done` refuses everything that was wrong, at once."""

    def __init__(self, given: MultiDict[str, str]) -> None:
        self._given = given
        self._known: list[str] = []
        self._problems: list[Problem] = []

    def text(self, name: str, *, most: int = 255) -> str | None:
        value = self._read(name)
        if value is not None and len(value) > most:
            self._refuse(name, value, f"text of at most {most} characters")
        return value

    def texts(self, name: str) -> list[str]:
        """Every value of a parameter that may be given several times."""
        self._known.append(name)
        return self._given.getlist(name)

    def whole(self, name: str, least: int, most: int) -> int | None:
        value = self._read(name)
        if value is None:
            return None
        if _WHOLE.fullmatch(value) and least <= int(value) <= most:
            return int(value)
        self._refuse(name, value, f"a whole number from {least} to {most}")
        return None

    def flag(self, name: str) -> bool:
        value = self._read(name)
        if value is None or value.lower() in _FLAGS:
            return _FLAGS[(value or "false").lower()]
        self._refuse(name, value, "true or false")
        return False

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self._read(name)
        if value is None or value in allowed:
            return value
        self._refuse(name, value, ", ".join(allowed))
        return None

    def states(self, name: str) -> frozenset[State]:
        """States of runs, separated by commas."""
        return frozenset(State(word) for word in self.words(name, tuple(State)))

    def words(self, name: str, allowed: Sequence[str]) -> frozenset[str]:
        """Some of these words, separated by commas."""
        words = [word.strip() for word in (self._read(name) or "").split(",")]
        for word in words:
            if word and word not in allowed:
                self._refuse(name, word, ", ".join(allowed))
        return frozenset(word for word in words if word in allowed)

    def instant(self, name: str) -> datetime | None:
        """An instant of RFC 3339, in UTC."""
        value = self._read(name)
        if value is None:
            return None
        try:
            return as_instant(value)
        except ValueError:
            hint = "in a URL, + is written %2B" if " " in value else ""
            self._refuse(name, value, "an RFC 3339 instant such as 2026-01-31T14:00:00Z", hint)
        return None

    def run_id(self, name: str) -> str | None:
        value = self._read(name)
        if value is None or _RUN_ID.fullmatch(value):
            return value
        self._refuse(name, value, "the next_cursor of the page before")
        return None

    def problem(self, message: str, hint: str = "") -> None:
        """Note something that is wrong beyond a parameter's form; the message begins with its name."""
        self._problems.append(Problem("invalid_parameter", "", message, hint))

    def done(self) -> None:
        """Raises InvalidInput with all problems; every parameter that nobody read is one."""
        unknown = [self._unknown(name) for name in sorted(self._given) if name not in self._known]
        if unknown or self._problems:
            raise InvalidInput([*unknown, *self._problems][:100])

    def _read(self, name: str) -> str | None:
        self._known.append(name)
        values = self._given.getlist(name)
        if len(values) > 1:
            self.problem(f"{name}: is given {len(values)} times; once is allowed")
        return values[0] if values else None

    def _refuse(self, name: str, value: str, allowed: str, hint: str = "") -> None:
        message = f"{name}: {shown(value)} is not allowed; {allowed} is"
        self._problems.append(Problem("invalid_parameter", "", message, hint))

    def _unknown(self, name: str) -> Problem:
        allowed = ", ".join(sorted(self._known)) or "none"
        near = difflib.get_close_matches(name[:64], self._known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else ""
        message = f"{shown(name)} is no parameter of this address; allowed: {allowed}"
        return Problem("unknown_parameter", "", message, hint)


def as_instant(text: str) -> datetime:
    """An instant of RFC 3339, in UTC; raises ValueError."""
    if not _INSTANT.fullmatch(text):
        raise ValueError
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError from None


def no_params() -> None:
    """For an address that takes no query."""
    Params(request.args).done()


def job_id_in(path: str) -> int:
    """Raises NotFound for what can be no job's id."""
    if _JOB_ID.fullmatch(path) and int(path) <= MAX_ID:
        return int(path)
    raise NotFound(f"Job not found for id {shown(path)}")


def is_run_id(text: str) -> bool:
    return _RUN_ID.fullmatch(text) is not None


def run_id_in(path: str) -> str:
    """Raises NotFound for what can be no run's id."""
    if is_run_id(path):
        return path
    raise NotFound(f"no run has the id {shown(path)}")


def idempotency_key() -> str | None:
    """The header's key, with or without the quotes that its draft asks for."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if _KEY.fullmatch(key):
        return key
    message = f"Idempotency-Key: {shown(given)} is not allowed; 1 to {MAX_KEY} printable ASCII characters are"
    raise InvalidInput([Problem("invalid_idempotency_key", "", message)])

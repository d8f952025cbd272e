"""Limits as people set them: of which kind, under which name, and what each may say.

category NAME   so many of its runs at once
queue KEY       so many runs at once, so many starts in a time
lock NAME       how much weight at once; 1 where nobody says more
host NAME       so many runs at once
catch-up all    so many starts in a time of what an outage left
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from cronq.domain import gate
from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.errors import InvalidInput, NotFound, Problem
from cronq.domain.gate import Limit
from cronq.domain.job_fields import Refused, did_you_mean, read_field, whole
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.strict_json import shown

MOST_CAPACITY = 100_000
MOST_STARTS = 100_000
LONGEST_RATE = timedelta(days=1)
# The only name there is of a catch-up limit.
EVERYTHING = "all"
_RATE = re.compile(r"([0-9]{1,9})/([^/]{1,20})")
_LOCK = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Of a gate's name the database keeps 96 characters.
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,90}")


class LimitKind(StrEnum):
    """What a limit is of."""

    CATEGORY = "category"
    QUEUE = "queue"
    LOCK = "lock"
    HOST = "host"
    CATCH_UP = "catch-up"


_FIELDS: Mapping[LimitKind, tuple[str, ...]] = {
    LimitKind.CATEGORY: ("capacity",),
    LimitKind.QUEUE: ("capacity", "rate"),
    LimitKind.LOCK: ("capacity",),
    LimitKind.HOST: ("capacity",),
    LimitKind.CATCH_UP: ("rate",),
}


def read_kind(text: str) -> LimitKind:
    """Raises NotFound for a word that is no kind."""
    if text in tuple(LimitKind):
        return LimitKind(text)
    hint = did_you_mean(text, tuple(LimitKind))
    allowed = f"there are {', '.join(LimitKind)}"
    raise NotFound(f"{shown(text)} is no kind of limit; {allowed}{f'; {hint}' if hint else ''}")


def gate_name(kind: LimitKind, name: str) -> str:
    """The gate of a limit, but for a category's, which goes by its id. Raises InvalidInput for a bad name."""
    if kind is LimitKind.QUEUE:
        try:
            read_field("routing_key", name)
        except Refused as refused:
            raise _refused("queue", str(refused)) from None
        return gate.of_queue(name)
    if kind is LimitKind.LOCK:
        return gate.of_lock(_matching(_LOCK, kind, name, "1 to 64 of A-Z, a-z, 0-9, _, . and - are"))
    if kind is LimitKind.HOST:
        return gate.of_host(_matching(_HOST, kind, name, "1 to 90 of A-Z, a-z, 0-9, _, ., : and - are"))
    if name != EVERYTHING:
        raise _refused(kind, f'{shown(name)} is not allowed; "{EVERYTHING}", its only name, is')
    return gate.CATCH_UP


def kind_of(gate_of_it: str) -> tuple[LimitKind, str] | None:
    """The kind of a limit's gate, and its name, of a category its id; None for a gate of no kind."""
    if gate_of_it == gate.CATCH_UP:
        return LimitKind.CATCH_UP, EVERYTHING
    kind, _, name = gate_of_it.partition(":")
    return (LimitKind(kind), name) if kind in tuple(LimitKind) else None


def read_limit(kind: LimitKind, value: object) -> Limit:
    """A limit as a body writes it: `{"capacity": 5, "rate": "100/1m"}`, at least one of them.

    Raises InvalidInput with every problem.
    """
    allowed = _FIELDS[kind]
    if not isinstance(value, dict):
        message = f"{shown(value)} must be an object with {' or '.join(allowed)}"
        raise InvalidInput([Problem("invalid_type", "", message)])
    problems: list[Problem] = []
    read: dict[str, object] = {}
    for name, given in list(value.items())[:100]:
        try:
            read |= _field(kind, str(name), given)
        except Refused as refused:
            problems.append(refused.problem(str(name)))
    if not read and not problems:
        both = ", or both" if len(allowed) > 1 else ""
        message = f"{allowed[0]}: is missing; a limit of kind {kind} has {_either(allowed)}{both}"
        problems.append(Problem("missing_field", "", message))
    if problems:
        raise InvalidInput(problems)
    return Limit(**read)  # type: ignore[arg-type]  # the fields that `_field` read


def _field(kind: LimitKind, name: str, given: object) -> dict[str, object]:
    if name not in ("capacity", "rate"):
        raise Refused(
            "there is no such field", code="unknown_field", hint=did_you_mean(name, ("capacity", "rate"))
        )
    if name not in _FIELDS[kind]:
        having = [k for k, fields in _FIELDS.items() if name in fields]
        message = f"{shown(given)} is not allowed: only a limit of kind {_either(having)} has a {name}"
        raise Refused(message, code="unsupported_field", hint=f"{kind} has {_either(_FIELDS[kind])}")
    if given is None:
        return {}
    if name == "capacity":
        return {"capacity": read_capacity(given)}
    rate, period = read_rate(given)
    return {"rate": rate, "period": period}


def read_capacity(value: object) -> int:
    """How many at once. Raises Refused."""
    return whole(value, 1, MOST_CAPACITY)


def read_rate(value: object) -> tuple[int, timedelta]:
    """The starts and the time of `100/1m`. Raises Refused."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    period = None if found is None else _duration(found[2])
    if found is None or period is None or not 1 <= int(found[1]) <= MOST_STARTS:
        allowed = f"N/DURATION with N from 1 to {MOST_STARTS:,} and a duration of 1s to 1d is, such as 100/1m"
        raise Refused(f"{shown(value)} is not allowed; {allowed}")
    return int(found[1]), period


def _duration(text: str) -> timedelta | None:
    try:
        length = parse_duration(text)
    except ScheduleError:
        return None
    return length if timedelta(seconds=1) <= length <= LONGEST_RATE else None


def format_rate(limit: Limit) -> str | None:
    """As `read_rate` reads it; None without a rate."""
    if not limit.rate or not limit.period:
        return None
    return f"{limit.rate}/{format_duration(limit.period)}"


def _matching(pattern: re.Pattern[str], kind: LimitKind, name: str, allowed: str) -> str:
    if pattern.fullmatch(name):
        return name
    raise _refused(kind, f"{shown(name)} is not allowed; {allowed}")


def _refused(field: str, message: str) -> InvalidInput:
    return InvalidInput([Problem("invalid_name", "", f"{field}: {message}")])


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)

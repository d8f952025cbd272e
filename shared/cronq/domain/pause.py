"""Pauses and skips: what a person holds back for a while, and what they may write about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cronq.domain.duration import parse_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Refused, did_you_mean, read_text
from cronq.domain.occurrence import Occurrence
from cronq.domain.run import Kind
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.strict_json import shown

LONGEST = timedelta(days=3_653)  # ten years
MOST_SKIPPED = 1_000
MOST_REASON = 255  # characters, as long as the column

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """A subject of domain/gate.py that is held back; `until` None: until somebody resumes it."""

    subject: str
    since: datetime
    until: datetime | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Skip:
    """So many occurrences of a job that are due next don't run."""

    remaining: int
    reason: str
    by: str
    at: datetime

    @property
    def text(self) -> str:
        """The reason of a run that it skips."""
        return ": ".join(part for part in ("skip next", self.by, self.reason) if part)[:MOST_REASON]


def skip_next(occurrences: Sequence[Occurrence], skip: Skip) -> tuple[list[Occurrence], int]:
    """The same with the first of those that would run skipped, and how many that are.

    Wishes are no occurrences; one that is missed or skipped for another reason does not count.
    """
    would_run = sorted(o.scheduled_for for o in occurrences if _would_run(o))
    taken = frozenset(would_run[: skip.remaining])
    kept = [
        replace(o, skipped=skip.text) if _would_run(o) and o.scheduled_for in taken else o
        for o in occurrences
    ]
    return kept, len(taken)


def _would_run(occurrence: Occurrence) -> bool:
    return occurrence.kind is Kind.SLOT and not occurrence.missed and not occurrence.skipped


# -- what people write


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pause as somebody asks for it."""

    reason: str
    until: datetime | None


def read_pause(value: object, now: datetime, *, must_end: bool = False) -> Wanted:
    """Of an object with `reason`, and `until` (an instant) or `for` (a duration), none of them needed.

    With `must_end` one of the latter two is. Raises InvalidInput with every problem.
    """
    fields = _Fields(value, ("reason", "until", "for"))
    reason = fields.read("reason", _reason, "")
    at = fields.read("until", lambda text: _until(text, now), None)
    lasting = fields.read("for", _lasting, None)
    if fields.has("until") and fields.has("for"):
        fields.problem("for", "until and for are both given; one of them is allowed")
    elif must_end and not fields.has("until") and not fields.has("for"):
        message = "until, for: both are missing; a snooze needs one of them"
        fields.problem("", message, hint='{"for": "2h"}, or {"until": "2026-12-24T18:00:00Z"}')
    fields.done()
    return Wanted(reason, now + lasting if lasting is not None else at)


def read_skip(value: object) -> tuple[int, str]:
    """Of an object with `count` (0 cancels; needed) and `reason`. Raises InvalidInput with every problem."""
    fields = _Fields(value, ("count", "reason"))
    if not fields.has("count"):
        fields.problem("", f"count: is missing; 0 to {MOST_SKIPPED:,} is allowed")
    count = fields.read("count", _count, 0)
    reason = fields.read("reason", _reason, "")
    fields.done()
    return count, reason


class _Fields:
    """An object's fields, each read by its kind; `done` refuses everything that was wrong, at once."""

    def __init__(self, value: object, known: Collection[str]) -> None:
        if not isinstance(value, Mapping):
            message = f"{shown(value)} is not allowed; an object with {', '.join(known)} is"
            raise InvalidInput([Problem("invalid_type", "", message)])
        self._value = value
        self._problems = [
            Refused(
                f"there is no such field; allowed: {', '.join(known)}",
                code="unknown_field",
                hint=did_you_mean(str(name), known),
            ).problem(str(name))
            for name in value
            if name not in known
        ]

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def read(self, name: str, reader: Callable[[object], T], default: T) -> T:
        """A null is as good as none."""
        if not self.has(name):
            return default
        try:
            return reader(self._value[name])
        except Refused as refused:
            self._problems.append(refused.problem(name))
            return default

    def problem(self, name: str, message: str, hint: str = "") -> None:
        self._problems.append(Problem("invalid_value", f"/{name}" if name else "", message, hint))

    def done(self) -> None:
        if self._problems:
            raise InvalidInput(self._problems[:100])


def _reason(value: object) -> str:
    return read_text(value, limit=MOST_REASON).strip()


def _until(value: object, now: datetime) -> datetime:
    latest = now + LONGEST
    allowed = f"an instant from {_written(now)} to {_written(latest)} is"
    try:
        at = datetime.fromisoformat(_instant_text(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        hint = "with a time zone, as 2026-12-24T18:00:00Z"
        raise Refused(f"{shown(value)} is not allowed; {allowed}", hint=hint) from None
    if not now < at <= latest:
        raise Refused(f"{shown(value)} is {'over' if at <= now else 'too far away'}; {allowed}")
    return at


def _instant_text(value: object) -> str:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError
    return value.upper()


def _lasting(value: object) -> timedelta:
    allowed = "a duration from 1s to ten years is"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(f"{shown(value)} is not allowed; {allowed}", hint="write 90s, 10m, 2h or 1d")
    try:
        lasting = parse_duration(value)
    except ScheduleError as error:
        raise Refused(f"{error}; {allowed}", hint=error.hint) from None
    if not timedelta(0) < lasting <= LONGEST:
        raise Refused(f"{shown(value)} is not allowed; {allowed}")
    return lasting


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_SKIPPED:
        raise Refused(f"{shown(value)} is not allowed; 0 (none) to {MOST_SKIPPED:,} is")
    return value


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"

"""Chains: a job that starts after others, `after` in its definition, instead of at an instant.

    "load"  or  {"job": "etl/load", "on": "success|failure|end"}   after a run of that job
    [one, other]                                                   after a run of any of them
    {"all": [one, other], "not_before": "4h", "not_after": "7h"}   after all of them, for the same slot

A job is named as `name` in its own category, as `category/name` anywhere. An *end* is a success, a failure
(also a timeout, a launch that failed, a loss) or a run that was cancelled after its start; what never
started is none, and neither is an attempt that is followed by another. The *slot* of a run is its
`scheduled_for`; a run that a chain started has the slot of the run that caused it. `not_before` and
`not_after` are counted from the slot.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.errors import CronqError
from cronq.domain.run import BAD, State
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.strict_json import shown

MOST_UPSTREAMS = 50
# A category's name, a slash and a job's name.
LONGEST_NAME = 511
LONGEST_WAIT = timedelta(days=31)
EXAMPLE = '"load", {"job": "load", "on": "failure"}, a list of these, or {"all": [these]}'


class On(StrEnum):
    """Which ends of a run start the next job."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end"

    def is_met(self, state: State, *, has_started: bool) -> bool:
        """Whether a run that is over in this state is such an end."""
        if self is On.SUCCESS:
            return state is State.SUCCEEDED
        if self is On.FAILURE:
            return state in BAD
        is_killed = state is State.CANCELLED and has_started
        return state is State.SUCCEEDED or state in BAD or is_killed


_VERBS = {On.SUCCESS: "succeeds", On.FAILURE: "fails", On.END: "ends"}


class JobName(NamedTuple):
    """A job by its names."""

    category: str
    name: str

    def __str__(self) -> str:
        return f"{self.category}/{self.name}"


class Upstream(NamedTuple):
    """A job that another one comes after, as its definition names it."""

    job: str
    on: On = On.SUCCESS

    def resolved(self, category: str, names: Collection[str]) -> JobName:
        """Which job that is, for one of a category whose jobs have these names: its own come first."""
        before, slash, name = self.job.partition("/")
        if self.job in names or not slash:
            return JobName(category, self.job)
        return JobName(before, name)

    def plain(self) -> object:
        return self.job if self.on is On.SUCCESS else {"job": self.job, "on": str(self.on)}

    def in_words(self) -> str:
        return f"{self.job} {_VERBS[self.on]}"


@dataclass(frozen=True, slots=True)
class After:
    """What a job comes after, sorted: their order means nothing. `joined`: all of them, for the same slot."""

    upstreams: tuple[Upstream, ...]
    joined: bool = False
    not_before: timedelta | None = None
    not_after: timedelta | None = None

    def plain(self) -> object:
        """As JSON that `read_after` reads back."""
        each = [upstream.plain() for upstream in self.upstreams]
        if not self.joined:
            return each[0] if len(each) == 1 else each
        waits = {"not_before": self.not_before, "not_after": self.not_after}
        return {"all": each, **{k: format_duration(v) for k, v in waits.items() if v is not None}}

    def in_words(self) -> str:
        """Plain English that follows the job's name."""
        each = [upstream.in_words() for upstream in self.upstreams]
        if not self.joined:
            return f"after {' or '.join(each)}"
        waits = [
            f", {word} {format_duration(length)} after it"
            for word, length in (("not before", self.not_before), ("not later than", self.not_after))
            if length is not None
        ]
        return f"after {' and '.join(each)}, for the same slot{''.join(waits)}"


class AfterError(CronqError):
    """A value that `after` does not allow: its text follows the field's name, `part` leads into the value."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "invalid_value",
        hint: str = "",
        part: tuple[str | int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.hint, self.part = code, hint, part


# -- reading


def read_after(value: object) -> After:
    """The value of a job's `after`; raises AfterError."""
    if isinstance(value, dict) and "job" not in value:
        return _read_join(value)
    return After(_read_list(value if isinstance(value, list) else [value], is_list=isinstance(value, list)))


def _read_join(value: Mapping[object, object]) -> After:
    _check_keys(value, ("all", "not_before", "not_after"))
    if "all" not in value:
        raise AfterError(f"{shown(value)} names no job", hint=f"write {EXAMPLE}")
    given = value["all"]
    if not isinstance(given, list):
        raise AfterError(f"{shown(given)} must be a list of jobs", code="invalid_type", part=("all",))
    try:
        upstreams = _read_list(given, is_list=True)
    except AfterError as error:
        raise AfterError(str(error), code=error.code, hint=error.hint, part=("all", *error.part)) from None
    not_before, not_after = _read_wait(value, "not_before"), _read_wait(value, "not_after")
    if not_before is not None and not_after is not None and not_before >= not_after:
        early, late = format_duration(not_before), format_duration(not_after)
        message = f"not_before {early} is not earlier than not_after {late}"
        raise AfterError(message, part=("not_after",))
    return After(upstreams, joined=True, not_before=not_before, not_after=not_after)


def _read_list(given: Sequence[object], *, is_list: bool) -> tuple[Upstream, ...]:
    if not 1 <= len(given) <= MOST_UPSTREAMS:
        raise AfterError(f"{len(given):,} jobs; 1 to {MOST_UPSTREAMS} are allowed")
    found: dict[str, Upstream] = {}
    for index, each in enumerate(given):
        upstream = _read_upstream(each, (index,) if is_list else ())
        if upstream.job in found:
            message = f"{shown(upstream.job)} stands there twice; each job once"
            raise AfterError(message, hint='"on": "end" is for both ends', part=(index,))
        found[upstream.job] = upstream
    return tuple(sorted(found.values()))


def _read_upstream(value: object, part: tuple[int, ...]) -> Upstream:
    if isinstance(value, str):
        return Upstream(_read_name(value, part))
    if not isinstance(value, dict):
        message = f"{shown(value)} must be a job's name, or an object with job and on"
        raise AfterError(message, code="invalid_type", hint=f"write {EXAMPLE}", part=part)
    _check_keys(value, ("job", "on"), part)
    if "job" not in value:
        raise AfterError(f"{shown(value)} names no job", hint=f"write {EXAMPLE}", part=part)
    return Upstream(_read_name(value["job"], (*part, "job")), _read_on(value, part))


def _read_name(value: object, part: tuple[str | int, ...]) -> str:
    if not isinstance(value, str):
        message = f"{shown(value)} must be a job's name"
        raise AfterError(message, code="invalid_type", part=part)
    if not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
        allowed = "name, or category/name, in printable characters, is"
        raise AfterError(f"{shown(value)} is not allowed; {allowed}", code="invalid_name", part=part)
    return value


def _read_on(value: Mapping[object, object], part: tuple[int, ...]) -> On:
    word = value.get("on", On.SUCCESS)
    if word not in tuple(On):
        message = f"{shown(word)} is not allowed; one of {', '.join(On)} is"
        raise AfterError(message, hint=_near(str(word), On), part=(*part, "on"))
    return On(str(word))


def _read_wait(value: Mapping[object, object], name: str) -> timedelta | None:
    given = value.get(name)
    if given is None:
        return None
    hint = "write how long after the slot, such as 4h"
    if isinstance(given, bool) or not isinstance(given, str | int):
        message = f"{shown(given)} must be a duration"
        raise AfterError(message, code="invalid_type", hint=hint, part=(name,))
    # Shortened first: the parser turns the digits into a number, which is slow beyond any sense.
    text = (shown(given) if isinstance(given, int) else given)[:64]
    try:
        length = parse_duration(text)
    except ScheduleError as error:
        is_time = ":" in text
        raise AfterError(str(error), hint=hint if is_time else error.hint or hint, part=(name,)) from None
    if not timedelta(0) < length <= LONGEST_WAIT:
        message = f"{shown(given)} is not allowed; 1s to {format_duration(LONGEST_WAIT)} is"
        raise AfterError(message, part=(name,))
    return length


def _check_keys(value: Mapping[object, object], known: Collection[str], part: tuple[int, ...] = ()) -> None:
    for key in value:
        if key not in known:
            message = f"there is no key {shown(str(key))} here; {', '.join(known)} are"
            hint = _near(str(key), known)
            raise AfterError(message, code="unknown_field", hint=hint, part=(*part, str(key)))


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word[:64].lower(), list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""

"""A job's definition: how it is read from a document, and whether two definitions say the same."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from cronq.domain import schedule as schedules
from cronq.domain.after import After
from cronq.domain.calendar_rule import CalendarUse, JobCalendar
from cronq.domain.duration import format_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Path, Refused, read_field
from cronq.domain.misfire import Misfire, Misfires
from cronq.domain.overlap import Overlap, Rule, parse_overlap
from cronq.domain.retry import Backoff, Guarantee, Policy
from cronq.domain.schedule import Expressions, Schedule, ScheduleError
from cronq.domain.strict_json import pointer, shown
from cronq.domain.timing import timing_problems

MAX_FIELDS = 100
# What says when a job runs: one of them.
STARTS = ("schedule", "after")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to run and when. `read_job` checks what a document says; the constructor takes any stored row.

    `schedule` is None for a job that comes after others, and for a row that was written by hand. `seed`
    is what its H go by, and no part of the definition: a job keeps it for life. No part of it either is
    `job_calendar`, what `calendar` names: it is there once the store has looked it up.
    """

    name: str
    schedule: Expressions | None = None
    command: str
    routing_key: str = "default"
    timezone: str | None = None
    dst: str = "cron"
    start: str | None = None
    end: str | None = None
    enabled: bool = True
    description: str = ""
    timeout: timedelta | None = None
    kill_grace: timedelta = timedelta(seconds=10)
    tags: tuple[str, ...] = ()
    guarantee: str = "at_most_once"
    max_attempts: int = 1
    retry_delay: timedelta = timedelta(seconds=5)
    retry_backoff: str = "constant"
    overlap: str = "allow"
    misfire: str = "latest"
    misfire_limit: int = 100
    start_deadline: timedelta | None = None
    jitter: timedelta = timedelta(0)
    priority: int = 0
    locks: tuple[str, ...] = ()
    calendar: CalendarUse | None = None
    after: After | None = None
    seed: str = field(default="", compare=False)
    job_calendar: JobCalendar | None = field(default=None, compare=False)

    @property
    def retry_policy(self) -> Policy:
        """What becomes of its runs that fail or get lost. A disabled job's are not tried again."""
        attempts = self.max_attempts if self.enabled else 1
        guarantee = Guarantee(self.guarantee)
        if not self.enabled and guarantee is Guarantee.AT_LEAST_ONCE:
            guarantee = Guarantee.AT_MOST_ONCE
        return Policy(guarantee, attempts, self.retry_delay, Backoff(self.retry_backoff))

    @property
    def overlap_rule(self) -> Overlap:
        """What becomes of a run while another one of the job has not ended."""
        return parse_overlap(self.overlap) or Overlap(Rule.ALLOW)

    @property
    def lock_weights(self) -> tuple[tuple[str, int], ...]:
        """The named locks that its runs hold, and how much of each."""
        parts = (text.partition(":") for text in self.locks)
        return tuple((name, int(weight or 1)) for name, _, weight in parts)

    @property
    def misfire_rule(self) -> Misfires:
        """What becomes of occurrences that nobody took up in time."""
        return Misfires(Misfire(self.misfire), self.misfire_limit, self.start_deadline)

    def parsed_schedule(self) -> Schedule | None:
        """The schedule as a value; raises ScheduleError where a stored text is not one."""
        if self.schedule is None:
            return None
        return schedules.parse(
            self.schedule,
            timezone=self.timezone,
            dst=self.dst,
            seed=self.seed,
            start=self.start,
            end=self.end,
            shift=self.job_calendar.shift() if self.job_calendar else None,
        )

    def schedule_words(self) -> str:
        """When it runs, in plain English; '' where nothing says so, or a stored text is none."""
        if self.after is not None:
            return self.after.in_words()
        try:
            schedule = self.parsed_schedule()
        except ScheduleError:
            return ""
        return schedule.describe() if schedule else ""

    def warnings(self, now: datetime) -> list[str]:
        """Sentences on what is allowed but probably not meant; raises as `parsed_schedule` does."""
        schedule = self.parsed_schedule()
        return schedule.remarks(now) if schedule else []

    def definition(self) -> dict[str, object]:
        """The fields as JSON values that `read_job` reads back.

        Fields at their default are left out, so that a field of a later release changes no stored hash.
        """
        values = ((name, getattr(self, name), default) for name, default in _DEFAULTS)
        return {name: _plain(value) for name, value, default in values if value != default}

    @property
    def content_hash(self) -> str:
        """64 hex digits, the same for two jobs exactly when their definitions are."""
        return hash_of(self.definition())


_DEFAULTS = tuple((f.name, f.default) for f in fields(JobSpec) if f.compare)


def hash_of(value: object) -> str:
    """SHA-256 in hex over the canonical JSON of a value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def changed_fields(old: JobSpec, new: JobSpec) -> tuple[str, ...]:
    """The names of the fields in which two jobs differ, in the order of `JobSpec`."""
    return tuple(name for name, _ in _DEFAULTS if getattr(old, name) != getattr(new, name))


def name_key(name: str) -> str:
    """What two names share that differ only in case, accents or width."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(c for c in folded if not unicodedata.combining(c))


@dataclass(frozen=True, slots=True)
class Fields:
    """What was read of a job or of `defaults`: the allowed values, where each field stands, the problems."""

    values: Mapping[str, object] = field(default_factory=dict)
    where: Mapping[str, Path] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


NO_DEFAULTS = Fields()


def read_job(value: object, at: Path = (), defaults: Fields = NO_DEFAULTS) -> JobSpec:
    """One job of a document, at the path `at` in it, over the document's defaults.

    Raises InvalidInput with every problem of the job and of the defaults.
    """
    own = _read_object(value, at)
    other = _overruled(own)
    values: dict[str, Any] = {**_without(defaults.values, other), **own.values}
    where = {**_without(defaults.where, other), **own.where}
    problems = [
        *defaults.problems,
        *own.problems,
        *_missing(where, at),
        *_both(where),
        *timing_problems(values, where),
    ]
    if problems:
        raise InvalidInput(problems)
    return JobSpec(**values)


def read_defaults(value: object, at: Path) -> Fields:
    """The document's `defaults`: fields that each job has unless it says otherwise; keeps its problems."""
    try:
        read = _read_object(value, at)
    except InvalidInput as error:
        return Fields(problems=error.problems)
    if "name" not in read.where:
        return read
    problem = Problem("invalid_value", pointer(*at, "name"), "name: has no default, every job has its own")
    return Fields(read.values, read.where, (*read.problems, problem))


def _read_object(value: object, at: Path) -> Fields:
    if not isinstance(value, dict):
        message = f"{shown(value)} must be an object of job fields"
        raise InvalidInput([Problem("invalid_type", pointer(*at), message)])
    if len(value) > MAX_FIELDS:
        message = f"{len(value):,} fields; at most {MAX_FIELDS} are allowed"
        raise InvalidInput([Problem("too_many", pointer(*at), message)])
    return _read_fields({str(name): given for name, given in value.items()}, at)


def _read_fields(given: Mapping[str, object], at: Path) -> Fields:
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for name, value in given.items():
        try:
            values.update(read_field(name, value))
        except Refused as refused:
            problems.append(refused.problem(*at, name))
    return Fields(values, {name: (*at, name) for name in given}, tuple(problems))


def _overruled(own: Fields) -> str | None:
    """The field of `defaults` that does not count, as the job itself says when it runs by the other one."""
    given = [name for name in STARTS if name in own.where]
    return STARTS[1 - STARTS.index(given[0])] if len(given) == 1 else None


def _without(given: Mapping[str, T], name: str | None) -> dict[str, T]:
    return {each: value for each, value in given.items() if each != name}


def _missing(where: Mapping[str, Path], at: Path) -> list[Problem]:
    needs = {f.name: "every job needs one" for f in fields(JobSpec) if f.default is MISSING}
    if not any(name in where for name in STARTS):
        needs["schedule"] = "exactly one of schedule and after is needed"
    return [
        Problem("missing_field", pointer(*at), f"{f.name}: is missing; {needs[f.name]}")
        for f in fields(JobSpec)
        if f.name in needs and f.name not in where
    ]


def _both(where: Mapping[str, Path]) -> list[Problem]:
    if not all(name in where for name in STARTS):
        return []
    message = "after: exactly one of schedule and after is allowed, not both"
    hint = "leave one out, or make two jobs of it"
    return [Problem("conflicting_fields", pointer(*where["after"]), message, hint)]


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, CalendarUse):
        return value.definition()
    if isinstance(value, After):
        return value.plain()
    return list(value) if isinstance(value, tuple) else value

"""A job's definition: how it is read from a document, and whether two definitions say the same."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from cronq.domain import schedule as schedules
from cronq.domain.duration import format_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Path, Refused, read_field
from cronq.domain.retry import Backoff, Guarantee, Policy
from cronq.domain.schedule import Expressions, Schedule, ScheduleError
from cronq.domain.strict_json import pointer, shown
from cronq.domain.timing import timing_problems

MAX_FIELDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to run and when. `read_job` checks what a document says; the constructor takes any stored row.

    `schedule` is None only for a row that was written by hand: every job of a document has one. `seed`
    is what its H go by, and no part of the definition: a job keeps it for life.
    """

    name: str
    schedule: Expressions | None
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
    seed: str = field(default="", compare=False)

    @property
    def retry_policy(self) -> Policy:
        """What becomes of its runs that fail or get lost. A disabled job's are not tried again."""
        attempts = self.max_attempts if self.enabled else 1
        guarantee = Guarantee(self.guarantee)
        if not self.enabled and guarantee is Guarantee.AT_LEAST_ONCE:
            guarantee = Guarantee.AT_MOST_ONCE
        return Policy(guarantee, attempts, self.retry_delay, Backoff(self.retry_backoff))

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
        )

    def schedule_words(self) -> str:
        """The schedule in plain English; '' without one, or where a stored text is none."""
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
    values: dict[str, Any] = {**defaults.values, **own.values}
    where = {**defaults.where, **own.where}
    problems = [*defaults.problems, *own.problems, *_missing(where, at), *timing_problems(values, where)]
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


def _missing(where: Mapping[str, Path], at: Path) -> list[Problem]:
    required = [f.name for f in fields(JobSpec) if f.default is MISSING]
    return [
        Problem("missing_field", pointer(*at), f"{name}: is missing; every job needs one")
        for name in required
        if name not in where
    ]


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return format_duration(value)
    return list(value) if isinstance(value, tuple) else value

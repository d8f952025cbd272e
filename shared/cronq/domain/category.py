"""A category's document: how it is read, and what applying it to the jobs there are would change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cronq.domain import chain
from cronq.domain.errors import Conflict, InvalidInput, Problem
from cronq.domain.job import Fields, JobSpec, changed_fields, hash_of, name_key, read_defaults, read_job
from cronq.domain.job_fields import MAX_NAME, Refused, did_you_mean, later, read_name, read_text
from cronq.domain.limit import read_capacity
from cronq.domain.strict_json import loads, pointer, shown

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_JOBS = 10_000
SHOWN_PROBLEMS = 100
COUNTED_PROBLEMS = 1_000
MAX_WARNINGS = 100
MAX_SOURCE_TEXT = 500
GUARDED_REMOVALS = 5

_KNOWN = ("category", "jobs", "defaults", "limits", "source", "$schema")
_LATER = ("env", "notify")
_LIMITS = ("concurrency",)
_SOURCE = ("repo", "ref", "commit", "actor", "run_url")
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


@dataclass(frozen=True, slots=True)
class CategoryDocument:
    """A valid document. `source` says where it came from and is no part of the content.

    `limits` are those that it speaks of: `concurrency`, how many of the category's runs may be under way
    at once (None: any number). Of one that it is silent about a person decides.
    """

    name: str
    jobs: tuple[JobSpec, ...]
    source: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """64 hex digits, the same exactly for documents that say the same, with their jobs in any order."""
        of_jobs = sorted(job.content_hash for job in self.jobs)
        return hash_of({"jobs": of_jobs, "limits": dict(self.limits)} if self.limits else of_jobs)

    def definition(self) -> dict[str, object]:
        """The document as JSON values that `parse_value` reads back, without its source."""
        content: dict[str, object] = {"category": self.name, "jobs": [job.definition() for job in self.jobs]}
        return content | ({"limits": dict(self.limits)} if self.limits else {})

    def refuse(self, faults: Iterable[chain.Fault]) -> None:
        """Raise InvalidInput where there is any fault in its chains."""
        places = {job.name: index for index, job in enumerate(self.jobs)}
        found = [
            Problem(f.code, pointer("jobs", places[f.job], "after"), f"after: {f.message}", f.hint)
            for f in faults
        ]
        if found:
            raise InvalidInput(_first(found))

    def warnings(self, now: datetime) -> list[str]:
        """Sentences on what is allowed but probably not meant, each with its job's name; at most 101."""
        found = [f"job {shown(job.name)}: {text}" for job in self.jobs for text in job.warnings(now)]
        more = len(found) - MAX_WARNINGS
        return [*found[:MAX_WARNINGS], *([f"… and {more} more warnings"] if more > 0 else [])]


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many of a category's runs may be under way at once (None: any number), and who says so."""

    capacity: int | None = None
    by_document: bool = False

    def after(self, wanted: CategoryDocument) -> Concurrency:
        """What a document makes of it. One that is silent takes back only what a document set."""
        if "concurrency" in wanted.limits:
            return Concurrency(wanted.limits["concurrency"], by_document=True)
        return Concurrency() if self.by_document else self


@dataclass(frozen=True, slots=True)
class Plan:
    """Job names by what a document does to them; `updated` has the changed fields of each.

    `limits` has those that change: what each was, and what it will be.
    """

    added: tuple[str, ...]
    updated: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    limits: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing."""
        return not (self.added or self.updated or self.removed or self.limits)

    @property
    def changes_jobs(self) -> bool:
        return bool(self.added or self.updated or self.removed)


def parse_document(body: bytes, *, url_name: str) -> CategoryDocument:
    """The document of a request's body, for the category that its URL names.

    Raises InvalidInput: with one problem where the body is not JSON, else with every one found, as
    `parse_value` does.
    """
    return parse_value(loads(body, max_bytes=MAX_BODY_BYTES), url_name=url_name)


def parse_value(value: object, *, url_name: str) -> CategoryDocument:
    """The document of a decoded value, for the category that its URL names.

    Raises InvalidInput with the first 100 problems and the number of the others.
    """
    if not isinstance(value, dict):
        message = f"{shown(value)} is not allowed; the body must be an object with the key jobs"
        raise InvalidInput([*_in_url(url_name), Problem("invalid_type", "", message)])
    defaults = read_defaults(value.get("defaults", {}), ("defaults",))
    source, source_problems = _source(value.get("source", {}))
    limits, limit_problems = _limits(value.get("limits", {}))
    jobs, job_problems = _jobs(value.get("jobs", []), defaults)
    found = [*_in_url(url_name), *_key_problems(value, url_name), *defaults.problems, *source_problems]
    problems = list(dict.fromkeys([*found, *limit_problems, *job_problems]))
    if problems:
        raise InvalidInput(_first(problems))
    wanted = CategoryDocument(url_name, tuple(jobs), source, limits)
    wanted.refuse(chain.faults(url_name, {job.name: job.after for job in jobs}))
    return wanted


def read_category_name(value: object) -> str:
    """A category's name, unchanged: as a job's, but fit to be one part of a URL's path. Raises Refused."""
    name = read_name(value)
    if "/" in name or name in (".", ".."):
        allowed = "a name without / that is neither . nor .. is"
        raise Refused(f"{shown(name)} is not allowed; {allowed}", code="invalid_name")
    return name


def plan(
    current: Mapping[str, JobSpec], wanted: CategoryDocument, concurrency: Concurrency = Concurrency()
) -> Plan:
    """What replacing the jobs there are (by name, without removed ones) with the document's would do.

    `concurrency` is what holds now.
    """
    names = {job.name for job in wanted.jobs}
    changes = {job.name: changed_fields(current[job.name], job) for job in wanted.jobs if job.name in current}
    return Plan(
        added=tuple(job.name for job in wanted.jobs if job.name not in current),
        updated={name: changed for name, changed in changes.items() if changed},
        removed=tuple(sorted(name for name in current if name not in names)),
        unchanged=tuple(name for name, changed in changes.items() if not changed),
        limits=_changed_limits(concurrency.capacity, concurrency.after(wanted).capacity),
    )


def _changed_limits(old: int | None, new: int | None) -> dict[str, tuple[int | None, int | None]]:
    return {} if old == new else {"concurrency": (old, new)}


def removal_guard(plan: Plan, existing_count: int, allow_removals: int | None) -> None:
    """Raises Conflict where five or more jobs, and more than half of those there are, would be removed."""
    count = len(plan.removed)
    if count < GUARDED_REMOVALS or 2 * count <= existing_count or count <= (allow_removals or 0):
        return
    names = ", ".join(shown(name) for name in plan.removed[:3])
    raise Conflict(
        f"this would remove {count} of {existing_count} jobs ({names}, …); "
        f"if that is meant, send it again with allow_removals={count}"
    )


def _in_url(name: str) -> list[Problem]:
    try:
        read_category_name(name)
    except Refused as refused:
        return [Problem(refused.code, "", f"category: {refused}", refused.hint)]
    return []


def _key_problems(value: Mapping[object, object], url_name: str) -> Iterator[Problem]:
    for key in list(map(str, value))[:SHOWN_PROBLEMS]:
        if key not in _KNOWN:
            yield _unknown_key(key).problem(key)
    named = value.get("category", url_name)
    if named != url_name:
        message = f"category: {shown(named)} differs from {shown(url_name)} in the URL"
        yield Problem("category_mismatch", "/category", message, "leave it out, or send it to its own URL")
    if "jobs" not in value:
        yield Problem("missing_field", "", "jobs: is missing; a list of jobs is needed, [] removes all")


def _unknown_key(key: str) -> Refused:
    if key in _LATER:
        return later(key)
    return Refused("there is no such key", code="unknown_field", hint=did_you_mean(key, _KNOWN))


def _source(value: object) -> tuple[dict[str, str], list[Problem]]:
    if not isinstance(value, dict):
        message = f"source: {shown(value)} must be an object with {', '.join(_SOURCE)}"
        return {}, [Problem("invalid_type", "/source", message)]
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for key, given in list(value.items())[:SHOWN_PROBLEMS]:
        try:
            texts[key] = _source_text(str(key), given)
        except Refused as refused:
            problems.append(refused.problem("source", key))
    return texts, problems


def _source_text(key: str, value: object) -> str:
    """CI systems hand out clone URLs with a token inside: that part is not kept."""
    if key not in _SOURCE:
        raise Refused("there is no such key", code="unknown_field", hint=did_you_mean(key, _SOURCE))
    bare = _CREDENTIALS.sub("", value[: 2 * MAX_SOURCE_TEXT]) if isinstance(value, str) else value
    text = read_text(bare, limit=MAX_SOURCE_TEXT)
    if key == "run_url" and not text.startswith(("https://", "http://")):
        raise Refused(f"{shown(text)} is not allowed; a URL with https:// or http:// is")
    return text


def _limits(value: object) -> tuple[dict[str, int | None], list[Problem]]:
    if not isinstance(value, dict):
        message = f"limits: {shown(value)} must be an object with {', '.join(_LIMITS)}"
        return {}, [Problem("invalid_type", "/limits", message)]
    read: dict[str, int | None] = {}
    problems: list[Problem] = []
    for key, given in list(value.items())[:SHOWN_PROBLEMS]:
        try:
            read[key] = _limit(str(key), given)
        except Refused as refused:
            problems.append(refused.problem("limits", key))
    return read, problems


def _limit(key: str, value: object) -> int | None:
    if key not in _LIMITS:
        raise Refused("there is no such key", code="unknown_field", hint=did_you_mean(key, _LIMITS))
    return None if value is None else read_capacity(value)


def _jobs(value: object, defaults: Fields) -> tuple[list[JobSpec], list[Problem]]:
    if not isinstance(value, list):
        return [], [Problem("invalid_type", "/jobs", f"jobs: {shown(value)} must be a list of jobs")]
    if len(value) > MAX_JOBS:
        message = f"jobs: {len(value):,} jobs; at most {MAX_JOBS:,} are allowed in one category"
        return [], [Problem("too_many", "/jobs", message)]
    jobs: list[JobSpec] = []
    problems: list[Problem] = []
    for index, given in enumerate(value):
        try:
            jobs.append(read_job(given, ("jobs", index), defaults))
        except InvalidInput as error:
            problems += error.problems
        if len(problems) >= COUNTED_PROBLEMS:
            break
    return jobs, [*problems, *_same_names(value)]


def _same_names(jobs: list[object]) -> Iterator[Problem]:
    first: dict[str, tuple[int, str]] = {}
    for index, job in enumerate(jobs):
        name = job.get("name") if isinstance(job, dict) else None
        if isinstance(name, str) and len(name) <= MAX_NAME:
            before, other = first.setdefault(name_key(name), (index, name))
            if before != index:
                yield _same_name(before, other, index, name)


def _same_name(before: int, other: str, index: int, name: str) -> Problem:
    here, there = pointer("jobs", index, "name"), pointer("jobs", before, "name")
    if other == name:
        message = f"name: {shown(name)} is at {there} and at {here}; each job of a category has its own"
    else:
        message = (
            f"name: {shown(other)} at {there} and {shown(name)} at {here} differ only in case or accents"
        )
    return Problem("duplicate_name", here, message)


def _first(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - SHOWN_PROBLEMS
    if more <= 0:
        return problems
    least = "at least " if len(problems) >= COUNTED_PROBLEMS else ""
    return [*problems[:SHOWN_PROBLEMS], Problem("more_problems", "", f"… and {least}{more} more problems")]

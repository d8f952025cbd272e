"""Turning rows into values of the domain and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cronq.domain.job import JobSpec
from cronq.domain.job_fields import Refused, read_field
from cronq.domain.occurrence import DueJob
from cronq.domain.schedule import from_column, needs_seed, to_column

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_KEY = "default"
# What of a definition has no column of its own.
EXTRAS = (
    "start", "end", "description", "timeout", "kill_grace", "tags",
    "guarantee", "max_attempts", "retry_delay", "retry_backoff", "overlap", "misfire", "misfire_limit",
    "start_deadline", "jitter", "priority", "locks", "calendar", "after",
)  # fmt: skip

CALENDAR_REVISION = "calendar_revision"

# A row of the database; SQLAlchemy types its keys more widely than text.
Fields = Mapping[Any, Any]


@dataclass(frozen=True)
class JobRecord:
    """A job's row. `spec` is its definition, `interval` the ancestor's (None unless fixed).

    `problem` says what of the definition makes no sense, as only SQL by hand can leave it: such a
    job never runs, and what of it is not understood has its default in `spec`.
    """

    id: int
    category_id: int | None
    spec: JobSpec
    interval: timedelta | None
    next_run: datetime | None
    run_now: bool
    revision: int
    removed_at: datetime | None
    definition_hash: str | None
    planned_run: datetime | None
    last_run_start: datetime | None
    last_run_stop: datetime | None
    last_run_status: str | None
    current_status: str | None
    locked_by: str | None
    fingerprint: str
    problem: str | None = None
    calendar_revision: int | None = None  # of the calendar that it goes by; None: the newest

    @property
    def key(self) -> str:
        """The routing key of its runs."""
        return DEFAULT_KEY if self.problem else self.spec.routing_key

    def due_job(self) -> DueJob:
        spec = self.spec
        return DueJob(
            spec.schedule,
            spec.timezone,
            spec.dst,
            self.interval,
            self.next_run,
            self.run_now,
            seed=spec.seed,
            start=spec.start,
            end=spec.end,
            misfires=spec.misfire_rule,
            calendar=spec.job_calendar,
        )

    def is_changed_by_hand(self) -> bool:
        """Whether somebody wrote the row with SQL since its last revision.

        `run_now` is a wish and no change. Of a removed job only the removal itself is one; it takes the
        hash away, so that a job which somebody brings back is changed.
        """
        if self.removed_at is not None:
            return self.planned_run is not None
        return self.definition_hash != self.fingerprint or self.next_run != self.planned_run


def job_record(row: Fields) -> JobRecord:
    interval = row["interval"]
    extras, problem = _extras(row["definition"])
    calendar_revision = extras.get(CALENDAR_REVISION)
    if calendar_revision is not None:
        extras = {name: value for name, value in extras.items() if name != CALENDAR_REVISION}
    return JobRecord(
        id=row["id"],
        category_id=row["category_id"],
        spec=_spec(row, extras),
        interval=None if interval is None else interval - EPOCH,
        next_run=row["next_run"],
        run_now=bool(row["run_now"]),
        revision=row["revision"],
        removed_at=row["removed_at"],
        definition_hash=row["definition_hash"],
        planned_run=row["planned_run"],
        last_run_start=row["last_run_start"],
        last_run_stop=row["last_run_stop"],
        last_run_status=row["last_run_status"],
        current_status=row["current_status"],
        locked_by=row["locked_by"],
        fingerprint=fingerprint(row),
        problem=problem or _key_problem(row["routing_key"]) or _command_problem(row["command"]),
        calendar_revision=calendar_revision,
    )


@lru_cache(maxsize=16_384)
def _extras(definition: str | None) -> tuple[Mapping[str, Any], str | None]:
    """The fields that have no column of their own, and what is wrong with them."""
    if not definition:
        return {}, None
    read: dict[str, Any] = {}
    try:
        found = json.loads(definition)
        for name in EXTRAS:
            if name in found:
                read |= read_field(name, found[name])
        if "seed" in found:
            read["seed"] = str(found["seed"])
        if CALENDAR_REVISION in found and isinstance(found[CALENDAR_REVISION], int):
            read[CALENDAR_REVISION] = found[CALENDAR_REVISION]
    except (ValueError, TypeError, Refused) as error:
        return {}, f"definition: {error}"[:255]
    return read, None if isinstance(found, dict) else "definition: it is no JSON object"


def _key_problem(routing_key: str | None) -> str | None:
    try:
        read_field("routing_key", routing_key)
    except Refused as refused:
        return f"routing_key: {refused}"[:255]
    return None


def _command_problem(command: str | None) -> str | None:
    return "command: U+0000 cannot be given to a shell" if command and "\0" in command else None


def _spec(row: Fields, extras: Mapping[str, Any]) -> JobSpec:
    schedule = from_column(row["schedule"])
    if "seed" not in extras and schedule is not None and needs_seed(schedule):
        # Written by hand. Not by its name: an UPDATE of that must not move it either.
        extras = {**extras, "seed": f"job {row['id']}"}
    return JobSpec(
        name=row["name"] or "",
        schedule=schedule,
        command=row["command"] or "",
        routing_key=row["routing_key"] or DEFAULT_KEY,
        timezone=row["timezone"],
        dst=row["dst"] or "cron",
        enabled=bool(row["enabled"]),
        **extras,
    )


def job_columns(spec: JobSpec) -> dict[str, object]:
    """The columns that hold a definition, with its fingerprint."""
    definition = spec.definition()
    extras = {name: definition[name] for name in EXTRAS if name in definition}
    if spec.seed:
        extras["seed"] = spec.seed
    if spec.job_calendar:
        extras[CALENDAR_REVISION] = spec.job_calendar.revision
    schedule = spec.parsed_schedule()
    period = schedule.fixed_period() if schedule else None
    # The column is a DATETIME: a period beyond its years is left to `schedule` alone.
    fits = period is not None and period < timedelta(days=365 * 100)
    columns: dict[str, object] = {
        "name": spec.name,
        "schedule": to_column(spec.schedule),
        "interval": EPOCH + period if period is not None and fits else None,
        "timezone": spec.timezone,
        "dst": None if spec.dst == "cron" else spec.dst,
        "enabled": spec.enabled,
        "command": spec.command,
        "routing_key": spec.routing_key,
        "definition": json.dumps(extras, sort_keys=True) if extras else None,
    }
    return columns | {"definition_hash": fingerprint(columns)}


def fingerprint(row: Fields) -> str:
    """Of the columns that a person may change by hand; `next_run` and `run_now` are orders, not these."""
    interval = row["interval"]
    parts = (
        row["name"],
        row["schedule"],
        None if interval is None else str(interval - EPOCH),
        row["timezone"],
        row["dst"],
        str(bool(row["enabled"])),
        row["command"],
        row["routing_key"],
        row["definition"],
    )
    return hashlib.sha256("\x1f".join(p if p is not None else "\x00" for p in parts).encode()).hexdigest()


def document(record_spec: JobSpec, interval: timedelta | None) -> str:
    """A revision's text: the whole definition as JSON, with its seed and the revision of its calendar."""
    content = record_spec.definition()
    if record_spec.seed:
        content["seed"] = record_spec.seed
    if record_spec.job_calendar:
        content[CALENDAR_REVISION] = record_spec.job_calendar.revision
    if record_spec.schedule is None and interval is not None:
        content["interval_s"] = interval.total_seconds()
    return json.dumps(content, sort_keys=True, ensure_ascii=False)

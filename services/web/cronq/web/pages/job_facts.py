"""What the page of one job shows of its definition: coming instants, changes, who made them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from typing import Any

from cronq.domain import zone
from cronq.domain.schedule import ScheduleError
from cronq.store.rows import JobRecord

NEXT_SHOWN = 5
REVISIONS_SHOWN = 10
# Far enough for 29 February on a Monday; beyond that nothing is promised.
HORIZON = timedelta(days=366 * 40)


@dataclass(frozen=True)
class Coming:
    """The next instants, and what the author of the schedule should know; `zone` is None for UTC."""

    instants: Sequence[datetime]
    zone: tzinfo | None
    remarks: Sequence[str]
    problem: str = ""


def coming(job: JobRecord, now: datetime) -> Coming:
    """What `next_run` and the schedule promise; a disabled or removed job promises nothing."""
    try:
        remarks = job.spec.warnings(now)
        place = zone.load(job.spec.timezone) if job.spec.timezone else None
        instants = list(islice(_instants(job, now), NEXT_SHOWN))
    except ScheduleError as error:
        return Coming([], None, [], f"The stored schedule is not valid: {error}")
    return Coming(instants, place, remarks)


def _instants(job: JobRecord, now: datetime) -> Iterator[datetime]:
    if job.next_run is None or job.removed_at is not None or not job.spec.enabled:
        return
    yield job.next_run
    schedule = job.due_job().parsed()
    if schedule is not None:
        yield from schedule.between(max(job.next_run, now), now + HORIZON)


@dataclass(frozen=True)
class Revision:
    """One change of the definition."""

    number: int
    at: datetime
    origin: str
    actor: str
    commit: str
    what: str


def history(rows: Sequence[Mapping[str, Any]]) -> list[Revision]:
    """The latest revisions of rows that are newest first, each with the fields that it changed."""
    documents = [_object(row["document"]) for row in rows[: REVISIONS_SHOWN + 1]]
    return [
        Revision(
            row["revision"],
            row["at"],
            row["origin"],
            row["actor"],
            str(_object(row["provenance"]).get("commit", "")),
            _what(row, documents[n], documents[n + 1] if n + 1 < len(documents) else None),
        )
        for n, row in enumerate(rows[:REVISIONS_SHOWN])
    ]


def _what(row: Mapping[str, Any], new: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    if row["removed"]:
        return "removed"
    if old is None:
        return "made"
    changed = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
    return ", ".join(changed) or "the same definition"


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        read = json.loads(text or "{}")
    except ValueError:  # a row written by hand
        return {}
    return read if isinstance(read, dict) else {}


def command_of(job: JobRecord, revision: int | None, rows: Sequence[Mapping[str, Any]]) -> str:
    """The command as it was at a revision; the present one when that is not known any more."""
    for row in rows:
        if row["revision"] == revision:
            return str(_object(row["document"]).get("command", job.spec.command))
    return job.spec.command

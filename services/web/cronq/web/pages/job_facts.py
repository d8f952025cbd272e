"""What the page of one job shows of its definition: coming instants, changes, who made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from cronq.domain.calendar_remarks import calendar_remarks
from cronq.domain.overlap import Overlap, Rule
from cronq.domain.preview import Planned
from cronq.domain.schedule import ScheduleError
from cronq.store.rows import JobRecord
from cronq.web import coming

NEXT_SHOWN = 10
REVISIONS_SHOWN = 10


@dataclass(frozen=True)
class Coming:
    """The next occurrences, and what the author of the schedule should know."""

    occurrences: Sequence[Planned]
    remarks: Sequence[str]
    problem: str = ""


def _moves(job: JobRecord, now: datetime) -> Sequence[str]:
    """What of its schedule its calendar moves; what that skips is told at each instant."""
    calendar = job.spec.calendar
    return calendar_remarks(job.spec, now) if calendar and calendar.shifts else ()


def next_of(job: JobRecord, now: datetime) -> Coming:
    """What `next_run` and the schedule promise; a disabled or removed job promises nothing."""
    try:
        remarks = [*job.spec.warnings(now), *_moves(job, now)]
        instants = islice(coming.instants(job, now), NEXT_SHOWN)
        found = list(coming.outlook(job).seen(instants, now))
    except ScheduleError as error:
        return Coming([], [], f"The stored schedule is not valid: {error}")
    return Coming(found, remarks)


def overlap_words(overlap: Overlap) -> str:
    """What becomes of a run while another one of its job has not ended."""
    if overlap.rule is Rule.SKIP:
        return "one at a time: the later one is skipped"
    if overlap.rule is Rule.QUEUE:
        waiting = "one waits" if overlap.waiting == 1 else f"{overlap.waiting} wait"
        return f"one at a time: {waiting}, further ones are skipped"
    if overlap.rule is Rule.REPLACE:
        return "one at a time: the earlier one is killed, the later one runs then"
    if overlap.capacity is None:
        return "all of them run"
    return f"{overlap.capacity} at once, the others wait"


def lock_words(weights: Sequence[tuple[str, int]]) -> str:
    """The locks that a run holds, and how much of each where that is more than 1."""
    return ", ".join(name if weight == 1 else f"{name} ({weight} of it)" for name, weight in weights)


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

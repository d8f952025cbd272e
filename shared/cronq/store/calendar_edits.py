"""Changing a calendar: its jobs go by the new revision from the same commit on.

Locks are taken in one order by all who edit: calendars, category, jobs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.calendar import Calendar
from cronq.domain.calendar_rule import JobCalendar
from cronq.domain.errors import Conflict, NotFound
from cronq.domain.run import State
from cronq.domain.strict_json import shown
from cronq.store import dialect, jobs
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord, document, fingerprint
from cronq.store.settling import settle
from cronq.store.tables import calendar_revisions
from cronq.store.tables import calendars as calendars_table
from cronq.store.tables import jobs as jobs_table

ORIGIN = "calendar"  # of the revisions that jobs get
CHUNK = 1_000
NAMED = 5


@dataclass(frozen=True)
class Changed:
    """What an edit did; `jobs` are those that got a revision."""

    changed: bool
    revision: int
    jobs: int = 0


def put(tx: Tx, name: str, wanted: Calendar, actor: str, now: datetime) -> Changed:
    """Make or replace a calendar; one that says the same already is left as it is.

    Jobs that move by it get their next run by the new one, after what was due by the old one has its rows.
    """
    dialect.insert_new(tx, calendars_table, [{"name": name, "revision": 0, "document": "", "at": now}])
    row = _locked(tx, name)
    if row is not None and row["document"] == wanted.text:
        return Changed(changed=False, revision=row["revision"])
    settled = [_settled(tx, job_ids, name, now) for job_ids in _chunks(_users(tx, name))]
    revision = _next_revision(tx, name)
    values = {"revision": revision, "document": wanted.text, "actor": actor[:255], "at": now}
    tx.execute(sa.update(calendars_table).where(calendars_table.c.name == name).values(**values))
    dialect.insert_new(tx, calendar_revisions, [{"name": name, **values}])
    moves = [_Move.of(row, record, revision, wanted, now) for pairs in settled for row, record in pairs]
    dialect.update_rows(tx, jobs_table, [move.columns() for move in moves], keys=("id",))
    jobs.record_revisions(tx, [move.job_revision(actor, now) for move in moves])
    return Changed(changed=True, revision=revision, jobs=len(moves))


def drop(tx: Tx, name: str, actor: str, now: datetime) -> None:
    """Forget a calendar; its revisions stay for the audit.

    Raises NotFound, or Conflict while a job uses it.
    """
    if _locked(tx, name) is None:
        raise NotFound(f"no calendar has the name {shown(name)}")
    users = users_of(tx, name)
    if users:
        shown_ones = ", ".join(shown(each) for each in users[:NAMED])
        more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
        raise Conflict(f"calendar {shown(name)} is used by {shown_ones}{more}")
    gone = {
        "name": name,
        "revision": _next_revision(tx, name),
        "document": None,
        "actor": actor[:255],
        "at": now,
    }
    dialect.insert_new(tx, calendar_revisions, [gone])
    tx.execute(sa.delete(calendars_table).where(calendars_table.c.name == name))


def users_of(tx: Tx, name: str) -> list[str]:
    """The jobs that go by a calendar, as category/name, in the order of their ids."""
    found = jobs.by_ids(tx, _users(tx, name))
    categories = jobs.category_names(tx)
    return [f"{categories.get(job.category_id or 0, '')}/{job.spec.name}" for _, job in sorted(found.items())]


def _locked(tx: Tx, name: str) -> dict[str, Any] | None:
    query = sa.select(calendars_table).where(calendars_table.c.name == name).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def _next_revision(tx: Tx, name: str) -> int:
    """Numbers go on where a calendar of that name was dropped: jobs that are gone name its revisions."""
    last = tx.execute(
        sa.select(sa.func.max(calendar_revisions.c.revision)).where(calendar_revisions.c.name == name)
    ).scalar_one()
    return (last or 0) + 1


def _users(tx: Tx, name: str) -> list[int]:
    """The ids of jobs that name it, in order. Reads every job, without a lock: an edit is rare."""
    found: list[int] = []
    query = (
        sa.select(*jobs.COLUMNS)
        .where(jobs_table.c.removed_at.is_(None), jobs_table.c.definition.contains('"calendar"'))
        .order_by(jobs_table.c.id)
        .limit(CHUNK)
    )
    after = 0
    while True:
        records = jobs.records(tx, tx.execute(query.where(jobs_table.c.id > after)).mappings())
        found += [r.id for r in records if r.spec.calendar and r.spec.calendar.name == name]
        if len(records) < CHUNK:
            return found
        after = records[-1].id


def _chunks(job_ids: Sequence[int]) -> list[Sequence[int]]:
    return [job_ids[first : first + CHUNK] for first in range(0, len(job_ids), CHUNK)]


def _settled(
    tx: Tx, job_ids: Sequence[int], name: str, now: datetime
) -> list[tuple[dict[str, Any], JobRecord]]:
    """Those of these jobs that still name it, locked, with rows for what is due by the calendar as it was."""
    rows = _locked_jobs(tx, job_ids)
    by_hand = [r for r in jobs.records(tx, rows) if r.is_changed_by_hand()]
    if by_hand:
        jobs.record_hand_changes(tx, by_hand, now)
        rows = _locked_jobs(tx, job_ids)
    pairs = [
        (row, record)
        for row, record in zip(rows, jobs.records(tx, rows), strict=True)
        if record.spec.calendar and record.spec.calendar.name == name and record.removed_at is None
    ]
    shifting = [replace(record, run_now=False) for _, record in pairs if _is_moved(record)]
    settle(tx, shifting, State.SCHEDULED, None, now)
    return pairs


def _locked_jobs(tx: Tx, job_ids: Sequence[int]) -> list[dict[str, Any]]:
    query = sa.select(*jobs.COLUMNS).where(jobs_table.c.id.in_(job_ids)).order_by(jobs_table.c.id)
    return [dict(row) for row in tx.execute(query.with_for_update()).mappings()]


def _is_moved(record: JobRecord) -> bool:
    """Whether the calendar decides when it is due; a bare interval knows no days."""
    use = record.spec.calendar
    return use is not None and use.shifts and record.spec.schedule is not None


@dataclass(frozen=True)
class _Move:
    """A job's row, and what it is from the calendar's revision on."""

    row: dict[str, Any]
    before: JobRecord
    after: JobRecord

    @classmethod
    def of(
        cls, row: dict[str, Any], record: JobRecord, revision: int, calendar: Calendar, now: datetime
    ) -> _Move:
        use = record.spec.calendar
        spec = record.spec
        if use is not None:
            spec = replace(spec, job_calendar=JobCalendar(use, revision, calendar))
        next_run = record.next_run
        if _is_moved(record):
            schedule = spec.parsed_schedule()
            next_run = schedule.next_after(now) if schedule else None
        after = replace(record, spec=spec, next_run=next_run, revision=record.revision + 1)
        return cls(row, record, after)

    def columns(self) -> dict[str, object]:
        """The definition keeps what else it has, also what somebody wrote there."""
        job_calendar = self.after.spec.job_calendar
        definition = json.loads(self.row["definition"])
        if job_calendar is not None:
            definition["calendar_revision"] = job_calendar.revision
        text = json.dumps(definition, sort_keys=True)
        return {
            "id": self.after.id,
            "definition": text,
            "definition_hash": fingerprint({**self.row, "definition": text}),
            "next_run": self.after.next_run,
            "planned_run": self.after.next_run,
            "revision": self.after.revision,
        }

    def job_revision(self, actor: str, now: datetime) -> dict[str, object]:
        content = document(self.after.spec, self.after.interval)
        return jobs.revision_row(self.after.id, self.after.revision, now, ORIGIN, content) | {
            "actor": actor[:255],
            "next_run": self.after.next_run,
            "replaced_run": self.before.next_run,
        }

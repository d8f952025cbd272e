"""The audit's reads: the revisions of jobs, and the rows of the ledger that must answer for them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain.audit import MOST_OCCURRENCES, Promise, Report, Revision, Row, Window
from cronq.domain.calendar import Calendar
from cronq.domain.calendar_rule import CalendarUse, JobCalendar, Rule
from cronq.domain.run import Kind, State
from cronq.store import calendars, jobs
from cronq.store.calendars import Pin
from cronq.store.engine import Store, Tx
from cronq.store.rows import CALENDAR_REVISION, JobRecord
from cronq.store.tables import job_revisions, runs
from cronq.store.tables import jobs as jobs_table

# Jobs at a time: the others' rows need not be in memory.
CHUNK = 100
# An edit takes its instant before it waits for locks, which it does for some seconds at most.
_MARGIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Scope:
    """Which jobs: one, those of a category (removed ones too), or all."""

    job_id: int | None = None
    category_id: int | None = None


def audit(db: Store, window: Window, scope: Scope) -> Report:
    """Hold the ledger against the revisions of the jobs in scope, as they are now; reads only.

    Blocks for up to ten seconds or so, in short transactions. Jobs that somebody deleted with SQL, with
    their revisions, are not looked at. Raises InvalidInput when the window holds too many occurrences.
    """
    report = Report()
    for records in _chunks(db, scope):
        room = MOST_OCCURRENCES - report.expected
        promises: dict[int, Promise] = {}
        with db.read() as tx:
            revisions = _revisions(tx, records, window)
        for record in records:
            promises[record.id] = promise = Promise.of(revisions[record.id], window, room)
            room -= len(promise.instants)
        # After the revisions: a row is never there before what it is of.
        with db.read() as tx:
            rows = _rows(tx, list(promises), window)
        for job_id, promise in promises.items():
            report.add(job_id, promise, rows[job_id], window)
    return report


def history(tx: Tx, record: JobRecord, window: Window) -> list[Revision]:
    """A job's revisions in order, as many as it takes to know what it promised for a window."""
    return _revisions(tx, [record], window)[record.id]


def _chunks(db: Store, scope: Scope) -> Iterator[list[JobRecord]]:
    """Jobs in id order, also removed ones; none is locked."""
    query = sa.select(*jobs.COLUMNS).order_by(jobs_table.c.id).limit(CHUNK)
    if scope.job_id is not None:
        query = query.where(jobs_table.c.id == scope.job_id)
    if scope.category_id is not None:
        query = query.where(jobs_table.c.category_id == scope.category_id)
    after = 0
    while True:
        with db.read() as tx:
            found = tx.execute(query.where(jobs_table.c.id > after))
            records = jobs.records(tx, found.mappings())
        if not records:
            return
        yield records
        after = records[-1].id


def _revisions(tx: Tx, records: Sequence[JobRecord], window: Window) -> dict[int, list[Revision]]:
    """Of each job in order, from the last but one before the window on (the primary key).

    A row that somebody wrote since its last revision counts as one more, as an injector would see it.
    """
    older = job_revisions.alias("older")
    last_before = (
        sa.select(sa.func.max(older.c.revision))
        .where(older.c.job_id == job_revisions.c.job_id, older.c.at < _before(window.since))
        .scalar_subquery()
    )
    found = tx.execute(
        sa.select(job_revisions)
        .where(
            job_revisions.c.job_id.in_([record.id for record in records]),
            job_revisions.c.revision >= sa.func.coalesce(last_before - 1, 0),
        )
        .order_by(job_revisions.c.job_id, job_revisions.c.revision)
    )
    known = {record.id: record for record in records}
    rows = [dict(row) for row in found.mappings() if row["revision"] <= known[row["job_id"]].revision]
    rows += [jobs.hand_revision(r, window.until, r.next_run) for r in records if r.is_changed_by_hand()]
    calendars_then = _calendars(tx, rows)
    revisions: dict[int, list[Revision]] = {record.id: [] for record in records}
    for row in rows:
        revisions[row["job_id"]].append(_revision(row, calendars_then))
    return revisions


def _calendars(tx: Tx, rows: Sequence[Any]) -> dict[Pin, Calendar]:
    """Those that the revisions go by, as they were then."""
    contents = [json.loads(row["document"]) for row in rows if '"calendar_revision"' in row["document"]]
    return calendars.as_of(tx, {(c["calendar"]["name"], c[CALENDAR_REVISION]) for c in contents})


def revision_of(tx: Tx, job_id: int, number: int) -> Revision | None:
    """One revision of a job (the primary key)."""
    query = sa.select(job_revisions).where(
        job_revisions.c.job_id == job_id, job_revisions.c.revision == number
    )
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _revision(row, _calendars(tx, [row]))


def _before(since: datetime) -> datetime:
    """Far enough before, where there is such a time."""
    return max(since, datetime.min.replace(tzinfo=since.tzinfo) + _MARGIN) - _MARGIN


def _revision(row: Any, calendars_then: Mapping[Pin, Calendar]) -> Revision:
    content = json.loads(row["document"])
    schedule, interval_s = content.get("schedule"), content.get("interval_s")
    return Revision(
        number=row["revision"],
        at=row["at"],
        by_hand=row["origin"] == "sql",
        is_on=bool(content.get("enabled", True)) and not row["removed"],
        schedule=tuple(schedule) if isinstance(schedule, list) else schedule,
        timezone=content.get("timezone"),
        dst=content.get("dst", "cron"),
        seed=content.get("seed", ""),
        start=content.get("start"),
        end=content.get("end"),
        calendar=_job_calendar(content, calendars_then),
        interval=None if interval_s is None else timedelta(seconds=interval_s),
        next_run=row["next_run"],
        replaced_run=row["replaced_run"],
    )


def _job_calendar(content: Mapping[str, Any], calendars_then: Mapping[Pin, Calendar]) -> JobCalendar | None:
    """A bare interval knows no days, and what is not known any more moves nothing."""
    if CALENDAR_REVISION not in content or content.get("schedule") is None:
        return None
    use, revision = content["calendar"], content[CALENDAR_REVISION]
    calendar = calendars_then.get((use["name"], revision))
    return (
        None
        if calendar is None
        else JobCalendar(CalendarUse(use["name"], Rule(use["rule"])), revision, calendar)
    )


def _rows(tx: Tx, job_ids: Collection[int], window: Window) -> dict[int, list[Row]]:
    """The slots of each job in the window (ux_runs_occurrence), and the rows for many that reach into it."""
    slot = sa.select(
        runs.c.job_id,
        runs.c.run_id,
        runs.c.scheduled_for,
        runs.c.revision,
        runs.c.last_scheduled_for,
        runs.c.missed_count,
    ).where(runs.c.job_id.in_(sorted(job_ids)), runs.c.kind == Kind.SLOT)
    within = slot.where(runs.c.scheduled_for >= window.since, runs.c.scheduled_for < window.until).with_hint(
        runs, "FORCE INDEX (ux_runs_occurrence)", "mysql"
    )
    into = slot.where(
        runs.c.state.in_((State.MISSED, State.SKIPPED)),
        runs.c.scheduled_for < window.since,
        runs.c.last_scheduled_for >= window.since,
    ).with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
    rows: dict[int, list[Row]] = {job_id: [] for job_id in job_ids}
    for query in (into, within):
        for job_id, *columns in tx.execute(query):
            rows[job_id].append(Row(*columns))
    return rows

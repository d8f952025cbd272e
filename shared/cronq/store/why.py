"""Finding what became of one occurrence of a job: the ledger first, else its revisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import why
from cronq.domain.audit import MICROSECOND, Promise, Revision, Window
from cronq.domain.run import Kind, State
from cronq.domain.schedule import Schedule, ScheduleError
from cronq.domain.why import Answer
from cronq.store import audits, jobs, runs, waits
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import runs as table
from cronq.store.waits import Row


@dataclass(frozen=True)
class Told:
    """The answer about an instant, None where nothing was due yet; with its row, and the run in its way."""

    at: datetime | None
    answer: Answer
    run: Row | None = None
    in_the_way: str | None = None


def explain(tx: Tx, job: JobRecord, at: datetime | None, now: datetime) -> Told:
    """What became of a job's occurrence at an instant in whole seconds; without one, of the last due one."""
    wanted = at or _last_due(tx, job, now)
    if wanted is None:
        return Told(None, why.never(job.next_run))
    row = _row(tx, job, wanted, now)
    if row is not None:
        return _of_row(tx, wanted, row, now)
    if wanted > now:
        return Told(wanted, _to_come(tx, job, wanted, now))
    return Told(wanted, _without_row(tx, job, wanted, now))


def _last_due(tx: Tx, job: JobRecord, now: datetime) -> datetime | None:
    """One that no injector took up yet, else the newest of the ledger (ux_runs_occurrence)."""
    if job.next_run is not None and job.next_run < now and job.spec.enabled and job.removed_at is None:
        last = _before(job, now)
        return job.next_run if last is None else max(job.next_run, last)
    found = tx.execute(
        sa.select(table.c.scheduled_for, table.c.last_scheduled_for)
        .where(table.c.job_id == job.id, table.c.kind == Kind.SLOT, table.c.scheduled_for <= now)
        .order_by(table.c.scheduled_for.desc())
        .limit(1)
    ).one_or_none()
    return None if found is None else found.last_scheduled_for or found.scheduled_for


def _before(job: JobRecord, now: datetime) -> datetime | None:
    schedule = _schedule(job)
    return why.last_before(schedule, now) if schedule else None


def _schedule(job: JobRecord) -> Schedule | None:
    try:
        return job.due_job().parsed()
    except ScheduleError:
        return None


# -- with a row


def _row(tx: Tx, job: JobRecord, at: datetime, now: datetime) -> Row | None:
    """The slot of an instant; or a row for many that it is one of."""
    of_job = sa.select(table).where(table.c.job_id == job.id, table.c.kind == Kind.SLOT)
    found = tx.execute(of_job.where(table.c.scheduled_for == at).limit(1)).mappings().one_or_none()
    if found is not None:
        return dict(found)
    many = of_job.where(
        table.c.state == State.MISSED, table.c.scheduled_for < at, table.c.last_scheduled_for >= at
    ).limit(1)
    found = (
        tx.execute(many.with_hint(table, "FORCE INDEX (ix_runs_job_state)", "mysql")).mappings().one_or_none()
    )
    return dict(found) if found is not None and _is_owed(tx, job, at, now) else None


def _of_row(tx: Tx, at: datetime, row: Row, now: datetime) -> Told:
    other = _other(tx, row)
    answer = why.of_run(row, waits.of_run(tx, row), other, now)
    return Told(at, answer, row, None if other is None else other["run_id"])


def _other(tx: Tx, row: Row) -> Row | None:
    """The run that the reason names, or that came instead."""
    named = why.named_run(row)
    if named is not None:
        return runs.by_id(tx, named)
    if row["state"] != State.MISSED or row["reason"] not in ("superseded", "misfire"):
        return None
    last = row["last_scheduled_for"] or row["scheduled_for"]
    query = (
        sa.select(table)
        .where(table.c.job_id == row["job_id"], table.c.kind == Kind.SLOT, table.c.scheduled_for > last)
        .where(table.c.state != State.MISSED)
        .order_by(table.c.scheduled_for)
        .limit(1)
    )
    found = tx.execute(query).mappings().one_or_none()
    return None if found is None else dict(found)


# -- without a row


def _to_come(tx: Tx, job: JobRecord, at: datetime, now: datetime) -> Answer:
    off = _off(jobs.revisions(tx, job.id))
    if off is not None:
        return off
    schedule = _schedule(job)
    is_later = job.next_run is not None and at > job.next_run and why.is_occurrence(schedule, at)
    if at == job.next_run or is_later:
        return why.not_due(at, now)
    return why.no_occurrence(at, schedule, job.spec.timezone, job.spec.dst)


def _without_row(tx: Tx, job: JobRecord, at: datetime, now: datetime) -> Answer:
    every = jobs.revisions(tx, job.id)
    then = [row for row in every if row["at"] <= at]
    if not then:
        return why.no_job(*((every[-1]["at"], _by(every[-1])) if every else (None, "")))
    off = _off(then)
    if off is not None:
        return off
    if _is_owed(tx, job, at, now):
        is_due = job.next_run is not None and job.next_run <= at
        return why.due(at, now) if is_due else why.unaccounted()
    return _not_owed(tx, at, then[0], now, job)


def _not_owed(tx: Tx, at: datetime, row: Mapping[str, Any], now: datetime, job: JobRecord) -> Answer:
    found = {revision.number: revision for revision in _history(tx, job, at, now)}
    revision = found.get(row["revision"])
    schedule = revision.rule(revision.next_run or at) if revision else None
    if revision is not None and why.is_occurrence(schedule, at):
        return why.passed_over(revision.number, row["at"], _by(row), revision.next_run)
    timezone, dst = (revision.timezone, revision.dst) if revision else (None, "cron")
    return why.no_occurrence(at, schedule, timezone, dst)


def _is_owed(tx: Tx, job: JobRecord, at: datetime, now: datetime) -> bool:
    window = Window(at, at + MICROSECOND, now)
    return at in Promise.of(_history(tx, job, at, now), window, 1).instants


def _history(tx: Tx, job: JobRecord, at: datetime, now: datetime) -> list[Revision]:
    return audits.history(tx, job, Window(at, max(at, now), now))


def _off(revisions: Sequence[Mapping[str, Any]]) -> Answer | None:
    """Why nothing is due by the first of these revisions, newest first, and since when; None: it is on."""
    if revisions and revisions[0]["removed"]:
        return why.removed(revisions[0]["at"], _by(revisions[0]))
    first = None
    for row in _disabled(revisions):
        first = row
    return None if first is None else why.disabled(first["at"], _by(first))


def _disabled(revisions: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for row in revisions:
        if row["removed"] or json.loads(row["document"]).get("enabled", True):
            return
        yield row


def _by(row: Mapping[str, Any]) -> str:
    who = row["actor"] or ("SQL by hand" if row["origin"] == "sql" else row["origin"])
    return f" by {who}"

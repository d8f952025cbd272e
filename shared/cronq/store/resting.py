"""Jobs of `@every … after finish`: their next instant follows from the end of their last run.

Level-triggered, as everything that waits for an end: what has ended is found, and told by nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from cronq.domain.after_finish import AfterFinish
from cronq.domain.run import LIVE, WAITING, Kind
from cronq.domain.schedule import ScheduleError
from cronq.store import dialect, jobs
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import jobs as jobs_table
from cronq.store.tables import resting, runs


def rest(tx: Tx, job_ids: Iterable[int]) -> None:
    """These have an occurrence that has not ended, and no `next_run` until it has."""
    dialect.insert_new(tx, resting, [{"job_id": job_id} for job_id in sorted(job_ids)])


def is_any(tx: Tx) -> bool:
    return tx.execute(sa.select(resting.c.job_id).limit(1)).first() is not None


def wake(tx: Tx, now: datetime, limit: int) -> int:
    """Give those whose last occurrence has ended their next instant; returns how many."""
    ids = list(tx.execute(sa.select(resting.c.job_id).order_by(resting.c.job_id).limit(limit)).scalars())
    records = _locked(tx, ids)
    busy = _busy(tx, [record.id for record in records])
    free = [record for record in records if record.id not in busy]
    found = {record.id: _next_run(tx, record, now) for record in free}
    jobs.begin_at(tx, [(job_id, at) for job_id, at in found.items() if at is not None])
    known = set(tx.execute(sa.select(jobs_table.c.id).where(jobs_table.c.id.in_(ids))).scalars())
    over = sorted({*found, *(set(ids) - known)})
    tx.execute(sa.delete(resting).where(resting.c.job_id.in_(over)))
    return sum(at is not None for at in found.values())


def _locked(tx: Tx, ids: Collection[int]) -> list[JobRecord]:
    found = tx.execute(
        sa.select(*jobs.COLUMNS)
        .where(jobs_table.c.id.in_(ids))
        .order_by(jobs_table.c.id)
        .with_for_update(skip_locked=True)
    )
    return jobs.records(tx, found.mappings())


def _busy(tx: Tx, ids: Collection[int]) -> set[int]:
    """Of these jobs those with an occurrence that has not ended (ix_runs_job_state)."""
    query = sa.select(runs.c.job_id).where(
        runs.c.job_id.in_(ids), runs.c.state.in_(WAITING | LIVE), runs.c.kind == Kind.SLOT
    )
    return set(tx.execute(query.with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")).scalars())


def _next_run(tx: Tx, record: JobRecord, now: datetime) -> datetime | None:
    """None where somebody gave it another schedule or instant meanwhile, or removed it."""
    if record.removed_at is not None or record.next_run is not None:
        return None
    try:
        schedule = record.due_job().parsed()
    except ScheduleError:
        return None
    return schedule.after_end(_ended_at(tx, record.id, now)) if isinstance(schedule, AfterFinish) else None


def _ended_at(tx: Tx, job_id: int, now: datetime) -> datetime:
    """When its last occurrence was over (ix_runs_job); one that never ran was over when that was decided."""
    query = (
        sa.select(runs.c.finished_at, runs.c.recorded_at)
        .where(runs.c.job_id == job_id, runs.c.kind == Kind.SLOT)
        .order_by(runs.c.run_id.desc())
        .limit(1)
    )
    found = tx.execute(query).first()
    return now if found is None else found.finished_at or found.recorded_at or now

"""What a forecast is made from: the jobs that will be due, how long their runs last, the slots for them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import sqlalchemy as sa

from cronq.domain.routing import key_of_queue
from cronq.domain.run import State
from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.jobs import COLUMNS
from cronq.store.rows import JobRecord, job_record
from cronq.store.tables import jobs, runners, runs

# The median of so many successful runs of a job, the newest, is what its next one is taken to last.
RUNS_LOOKED_AT = 9
_CHUNK = 1_000


def due_before(tx: Tx, until: datetime, limit: int) -> list[JobRecord]:
    """Enabled jobs with a `next_run` before `until`, those due soonest first (ix_jobs_due)."""
    query = sa.select(*COLUMNS).where(jobs.c.due_at < until, jobs.c.next_run < until)
    query = query.order_by(jobs.c.due_at).limit(limit).with_hint(jobs, "FORCE INDEX (ix_jobs_due)", "mysql")
    return [job_record(row) for row in tx.execute(query).mappings()]


def count_due_before(tx: Tx, until: datetime) -> int:
    """How many jobs that are in all, up to those ordered by hand (ix_jobs_due)."""
    return tx.execute(sa.select(sa.func.count()).where(jobs.c.due_at < until)).scalar_one()


def durations(tx: Tx, job_ids: Collection[int]) -> dict[int, float]:
    """What a run of each job lasts, in seconds: the median of its last successful ones.

    One statement for a thousand jobs; it reads nine entries of ix_runs_job_state for each, and no other
    run however many there are. Jobs without a successful run are left out.
    """
    nth = [_nth_latest(tx, number) for number in range(RUNS_LOOKED_AT)]
    found: dict[int, float] = {}
    for chunk in _chunks(sorted(job_ids)):
        for job_id, *lasted in tx.execute(sa.select(jobs.c.id, *nth).where(jobs.c.id.in_(chunk))):
            known = [seconds for seconds in lasted if seconds is not None]
            if known:
                found[job_id] = median(known)
    return found


def _nth_latest(tx: Tx, number: int) -> sa.ScalarSelect[Any]:
    return (
        sa.select(runs.c.duration_s)
        .where(runs.c.job_id == jobs.c.id, runs.c.state == State.SUCCEEDED)
        .order_by(dialect.entry_order(tx, runs).desc())
        .limit(1)
        .offset(number)
        .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
        .correlate(jobs)
        .scalar_subquery()
    )


def _chunks(job_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(job_ids), _CHUNK):
        yield job_ids[begin : begin + _CHUNK]


def slots(tx: Tx, heard_since: datetime) -> dict[str, int]:
    """By routing key, the slots of the runners that live and take its runs.

    Those of a runner that serves several keys count for each of them.
    """
    found: Counter[str] = Counter()
    query = sa.select(runners.c.queues, runners.c.slots).where(
        runners.c.heartbeat_at >= heard_since, runners.c.draining == sa.false()
    )
    for queues, count in tx.execute(query):
        for key in {key_of_queue(str(name)) for name in json.loads(queues)}:
            found[key] += count
    return dict(found)

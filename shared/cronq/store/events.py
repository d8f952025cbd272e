"""The facts about runs: each is inserted once, and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import events, jobs

# In the payload of an event that ended an attempt, where another may follow it.
OWNER = "lineage"


def event_row(
    job_id: object,
    run_id: object,
    kind: object,
    seq: int,
    at: datetime,
    *,
    attempt: object = 1,
    host: str | None = None,
    return_code: int | None = None,
    payload: str | None = None,
) -> dict[str, object]:
    return {
        "job_id": job_id,
        "datetime": at,
        "run_id": run_id,
        "type": str(kind),
        "host": host,
        "return_code": return_code,
        "attempt": attempt,
        "seq": seq,
        "payload": payload,
    }


def insert_events(tx: Tx, rows: Sequence[dict[str, object]]) -> None:
    """Facts that are there already, by (run, attempt, seq), are left as they are.

    In the order of their jobs, whose rows they lock. Those of a job that somebody deleted by hand are
    kept without it.
    """
    by_job = sorted(rows, key=_job_id)
    try:
        dialect.insert_new(tx, events, by_job)
    except IntegrityError:
        # A statement that is refused leaves the transaction as it was. One that went through before it,
        # of a long list, has its rows there already.
        known = _known(tx, {_job_id(row) for row in rows})
        dialect.insert_new(
            tx, events, [row if _job_id(row) in known else {**row, "job_id": None} for row in by_job]
        )


def _known(tx: Tx, job_ids: set[int]) -> set[int]:
    return set(tx.execute(sa.select(jobs.c.id).where(jobs.c.id.in_(sorted(job_ids)))).scalars())


def _job_id(row: dict[str, object]) -> int:
    job_id = row["job_id"]
    return job_id if isinstance(job_id, int) else int(str(job_id or 0))

"""The ledger's rows of one job's occurrences, in the order of their instants."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.run import Kind, State
from cronq.store.engine import Tx
from cronq.store.tables import runs

_SHOWN = ("run_id", "scheduled_for", "state", "reason", "revision", "last_scheduled_for", "missed_count")


def within(
    tx: Tx, job_id: int, since: datetime, until: datetime | None, *, after: datetime | None = None, limit: int
) -> list[dict[str, Any]]:
    """Rows in [since, until), with `after` only those later than that, ascending (ux_runs_occurrence).

    A row that stands for many occurrences counts where its first one is. Without `after`, one that began
    before `since` and reaches into the window comes first.
    """
    query = _slots(job_id).with_hint(runs, "FORCE INDEX (ux_runs_occurrence)", "mysql")
    query = query.where(runs.c.scheduled_for >= since)
    if after is not None:
        query = query.where(runs.c.scheduled_for > after)
    if until is not None:
        query = query.where(runs.c.scheduled_for < until)
    found = tx.execute(query.order_by(runs.c.scheduled_for).limit(limit)).mappings()
    earlier = [] if after is not None else _reaching_into(tx, job_id, since, limit)
    return [*earlier, *(dict(row) for row in found)][:limit]


def _reaching_into(tx: Tx, job_id: int, since: datetime, limit: int) -> list[dict[str, Any]]:
    """Rows for many that began before (ix_runs_job_state)."""
    query = (
        _slots(job_id)
        .where(
            runs.c.state == State.MISSED,
            runs.c.scheduled_for < since,
            runs.c.last_scheduled_for >= since,
        )
        .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
    )
    found = tx.execute(query.order_by(runs.c.scheduled_for).limit(limit))
    return [dict(row) for row in found.mappings()]


def _slots(job_id: int) -> sa.Select[Any]:
    columns = (runs.c[name] for name in _SHOWN)
    return sa.select(*columns).where(runs.c.job_id == job_id, runs.c.kind == Kind.SLOT)

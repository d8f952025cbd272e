"""What a list of jobs shows of each job's past, for all of them in one statement."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import sqlalchemy as sa

from cronq.domain.run import NOT_RUN, State
from cronq.store.engine import Tx
from cronq.store.tables import events, runs

SHOWN = ("run_id", "job_id", "state", "started_at", "finished_at", "recorded_at", "return_code", "host")
# What ends a run, in the words of its events.
ENDINGS = ("finished", "failed", "interrupted", "cancelled", "lost")


class Edges(NamedTuple):
    """The ids of the events that began and ended a run; None where there is none yet."""

    started: int | None = None
    completed: int | None = None


def of_jobs(tx: Tx, job_ids: Collection[int], most: int) -> dict[int, list[dict[str, Any]]]:
    """The newest runs of each job, the newest first, without those that never were to start.

    One range of ix_runs_job for each job, and no window function: that would read every run of them.
    """
    if not job_ids:
        return {}
    newest = [sa.select(_newest(job_id, most).subquery()) for job_id in sorted(job_ids)]
    found: dict[int, list[dict[str, Any]]] = {}
    for row in tx.execute(sa.union_all(*newest)).mappings():
        found.setdefault(row["job_id"], []).append(dict(row))
    for rows in found.values():
        rows.sort(key=lambda row: str(row["run_id"]), reverse=True)
    return found


def _newest(job_id: int, most: int) -> sa.Select[Any]:
    never_started = (runs.c.state == State.CANCELLED) & runs.c.started_at.is_(None)
    return (
        sa.select(*(runs.c[name] for name in SHOWN))
        .where(runs.c.job_id == job_id, runs.c.state.not_in(NOT_RUN), ~never_started)
        .order_by(runs.c.run_id.desc())
        .limit(most)
    )


def edges(tx: Tx, run_ids: Collection[str]) -> dict[str, Edges]:
    """The events that began and ended each of these runs (ux_events_seq)."""
    started = sa.func.min(sa.case((events.c.type == "starting", events.c.id)))
    completed = sa.func.max(sa.case((events.c.type.in_(ENDINGS), events.c.id)))
    found = tx.execute(
        sa.select(events.c.run_id, started, completed)
        .where(events.c.run_id.in_(sorted(run_ids)))
        .group_by(events.c.run_id)
    )
    return {run_id: Edges(first, last) for run_id, first, last in found}

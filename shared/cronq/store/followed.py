"""Runs whose end may start others: noted when they are made, forgotten when their end was acted upon.

A run that was lost and turns out to have ended, or runs again, is noted once more. All of it is judged
by the state that a run has in the ledger, so that nobody has to tell its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from cronq.domain.run import ENDED, LIVE, WAITING
from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import categories, chains, followed, jobs, runs

# At so many of them one step looks, whether they have ended or not.
LOOKED_AT = 2_000

IS_UPSTREAM = (chains.c.upstream_category == categories.c.name) & (chains.c.upstream_name == jobs.c.name)


def upstreams(tx: Tx, job_ids: Iterable[int]) -> frozenset[int]:
    """Of these jobs, those that another one comes after (ix_chains_upstream)."""
    if tx.execute(sa.select(chains.c.job_id).limit(1)).first() is None:
        return frozenset()
    query = (
        sa.select(jobs.c.id)
        .join(categories, categories.c.id == jobs.c.category_id)
        .join(chains, IS_UPSTREAM)
        .where(jobs.c.id.in_(sorted(set(job_ids))))
    )
    return frozenset(tx.execute(query).scalars())


def note_new(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Follow those of these rows that were inserted just now, of jobs that are an upstream."""
    found = upstreams(tx, (int(row["job_id"]) for row in rows)) if rows else ()
    if found:
        note(tx, [str(row["run_id"]) for row in rows if row["job_id"] in found])


def note_again(tx: Tx, run_ids: Collection[str]) -> None:
    """Follow runs whose end was acted upon as a loss, and is another."""
    if not run_ids:
        return
    found = dict(
        tx.execute(sa.select(runs.c.run_id, runs.c.job_id).where(runs.c.run_id.in_(sorted(run_ids)))).all()
    )
    of_upstreams = upstreams(tx, found.values())
    note(tx, [run_id for run_id, job_id in found.items() if job_id in of_upstreams])


def note_open(tx: Tx, job_ids: Collection[int]) -> None:
    """Follow what has not ended of the jobs that these come after from now on (ix_runs_job_state)."""
    query = (
        sa.select(jobs.c.id)
        .join(categories, categories.c.id == jobs.c.category_id)
        .join(chains, IS_UPSTREAM)
        .where(chains.c.job_id.in_(sorted(job_ids)))
    )
    upstream_ids = sorted(set(tx.execute(query).scalars()))
    if upstream_ids:
        is_open = runs.c.job_id.in_(upstream_ids) & runs.c.state.in_(WAITING | LIVE)
        note(tx, list(tx.execute(sa.select(runs.c.run_id).where(is_open)).scalars()))


def note(tx: Tx, run_ids: Collection[str]) -> None:
    """Follow these runs, as far as there are such rows."""
    if not run_ids:
        return
    found = tx.execute(sa.select(runs.c.run_id, runs.c.job_id).where(runs.c.run_id.in_(sorted(run_ids))))
    rows = [{"run_id": run_id, "job_id": job_id} for run_id, job_id in found]
    dialect.insert_new(tx, followed, sorted(rows, key=lambda row: str(row["run_id"])))


class Page(NamedTuple):
    """Followed runs that are over, and where to look on: '' from the first again."""

    over: list[str]
    cursor: str


def over(tx: Tx, cursor: str, limit: int) -> Page:
    """Those beyond the cursor whose end can be acted upon, at most `limit`; by run id (PRIMARY of both).

    Rows of runs that somebody deleted are among them.
    """
    found = tx.execute(
        sa.select(followed.c.run_id, runs.c.state, runs.c.needs_decision)
        .join(runs, runs.c.run_id == followed.c.run_id, isouter=True)
        .where(followed.c.run_id > cursor)
        .order_by(followed.c.run_id)
        .limit(LOOKED_AT)
    ).all()
    is_over = [row.run_id for row in found if row.state is None or _is_over(row)]
    if len(is_over) > limit:
        return Page(is_over[:limit], is_over[limit - 1])
    return Page(is_over, found[-1].run_id if len(found) == LOOKED_AT else "")


def _is_over(row: Any) -> bool:
    return row.state in ENDED and not row.needs_decision


def take(tx: Tx, run_ids: Collection[str]) -> list[Any]:
    """Lock those that nobody else is acting upon, forget them, and return their runs, by run id.

    A run that ends in another way at this moment is noted again when this transaction is over.
    """
    mine = list(
        tx.execute(
            sa.select(followed.c.run_id)
            .where(followed.c.run_id.in_(sorted(run_ids)))
            .order_by(followed.c.run_id)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if not mine:
        return []
    found = tx.execute(sa.select(runs).where(runs.c.run_id.in_(mine)).order_by(runs.c.run_id)).all()
    kept = {row.run_id for row in found if not _is_over(row)}
    tx.execute(sa.delete(followed).where(followed.c.run_id.in_([m for m in mine if m not in kept])))
    return [row for row in found if row.run_id not in kept]

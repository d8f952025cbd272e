"""Skips: the next occurrences of a job that don't run, because somebody said so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.occurrence import Occurrence
from cronq.domain.pause import MOST_REASON, Skip, skip_next
from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import jobs, skips


def put(tx: Tx, job_ids: Collection[int], wanted: Skip, now: datetime) -> None:
    """From now on so many occurrences of each job that come next are skipped, whatever was said before.

    None of them cancels it.
    """
    ids = sorted(job_ids)
    if not wanted.remaining:
        for some in _chunks(ids):
            tx.execute(sa.delete(skips).where(skips.c.job_id.in_(some)))
        return
    rows: list[dict[str, object]] = [
        {
            "job_id": job_id,
            "remaining": wanted.remaining,
            "reason": wanted.reason[:MOST_REASON],
            "actor": wanted.by[:MOST_REASON],
            "at": now,
        }
        for job_id in ids
    ]
    dialect.insert_new(tx, skips, rows)
    dialect.update_rows(tx, skips, rows, keys=("job_id",))


def _chunks(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + 1_000] for start in range(0, len(ids), 1_000)]


def take(tx: Tx, due: Mapping[int, Sequence[Occurrence]]) -> dict[int, list[Occurrence]]:
    """Count down for the occurrences of these jobs that are due; returns those of jobs that skip some.

    To be called in the transaction that gives the occurrences their rows.
    """
    if not due:
        return {}
    found = tx.execute(
        sa.select(skips).where(skips.c.job_id.in_(sorted(due))).order_by(skips.c.job_id).with_for_update()
    )
    wanted = {row["job_id"]: _skip(row) for row in found.mappings()}
    changed: dict[int, list[Occurrence]] = {}
    left: dict[int, int] = {}
    for job_id, skip in wanted.items():
        kept, count = skip_next(due[job_id], skip)
        if count:
            changed[job_id], left[job_id] = kept, skip.remaining - count
    _count_down(tx, left)
    return changed


def _count_down(tx: Tx, left: Mapping[int, int]) -> None:
    done = [job_id for job_id, remaining in left.items() if remaining <= 0]
    rows: list[dict[str, object]] = [
        {"job_id": job_id, "remaining": remaining} for job_id, remaining in left.items() if remaining > 0
    ]
    if done:
        tx.execute(sa.delete(skips).where(skips.c.job_id.in_(done)))
    dialect.update_rows(tx, skips, rows, keys=("job_id",))


def of_jobs(tx: Tx, job_ids: Collection[int]) -> dict[int, Skip]:
    """Of the jobs that skip some occurrences."""
    found: dict[int, Skip] = {}
    for some in _chunks(sorted(job_ids)):
        rows = tx.execute(sa.select(skips).where(skips.c.job_id.in_(some)))
        found |= {row["job_id"]: _skip(row) for row in rows.mappings()}
    return found


def by_category(tx: Tx) -> dict[int, int]:
    """How many jobs of each category skip some."""
    query = (
        sa.select(jobs.c.category_id, sa.func.count())
        .select_from(skips.join(jobs, jobs.c.id == skips.c.job_id))
        .where(jobs.c.removed_at.is_(None), jobs.c.category_id.is_not(None))
        .group_by(jobs.c.category_id)
    )
    return dict(tx.execute(query).all())


def _skip(row: Any) -> Skip:
    return Skip(row["remaining"], row["reason"], row["actor"], row["at"])

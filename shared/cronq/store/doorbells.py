"""Releasing runs to their queues, and publishing them until they are claimed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain.run import State
from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import jobs, runs

MAX_REPUBLISH = timedelta(minutes=10)


@dataclass(frozen=True)
class Doorbell:
    """A queued run as it is published."""

    run_id: str
    attempt: int
    job_id: int
    name: str
    command: str
    routing_key: str
    publishes: int


Counts = dict[str, dict[int, int]]  # by routing key, then by category


def queued_counts(tx: Tx) -> Counts:
    """Unclaimed runs that were let out (ix_runs_waiting)."""
    found = tx.execute(
        sa.select(runs.c.routing_key, runs.c.category_id, sa.func.count())
        .where(runs.c.state == State.QUEUED, runs.c.release_at.is_(None))
        .group_by(runs.c.routing_key, runs.c.category_id)
    )
    return _by_key(found.all())


def waiting(tx: Tx) -> Counts:
    """The best priority of the runs that stand in line (ix_runs_waiting).

    With the minimum MariaDB jumps from group to group in the index, and does not read every waiting run.
    """
    query = (
        sa.select(runs.c.routing_key, runs.c.category_id, sa.func.min(runs.c.priority))
        .where(runs.c.state == State.SCHEDULED, runs.c.release_at.is_(None))
        .group_by(runs.c.state, runs.c.release_at, runs.c.routing_key, runs.c.category_id)
    )
    return _by_key(tx.execute(query).all())


def _by_key(found: Iterable[Any]) -> Counts:
    counts: Counts = {}
    for key, category_id, number in found:
        counts.setdefault(key, {})[category_id] = int(number)
    return counts


def ripen(tx: Tx, now: datetime, limit: int) -> int:
    """Runs whose time has come stand in line from now on (ix_runs_waiting). Returns how many."""
    found = tx.execute(
        sa.select(runs.c.run_id)
        .where(runs.c.state == State.SCHEDULED, runs.c.release_at <= now)
        .order_by(runs.c.release_at)
        .limit(limit)
        .with_hint(runs, "FORCE INDEX (ix_runs_waiting)", "mysql")
        .with_for_update(skip_locked=True)
    ).scalars()
    ripe = sorted(found)
    if ripe:
        tx.execute(
            sa.update(runs)
            .where(runs.c.run_id.in_(ripe), runs.c.state == State.SCHEDULED)
            .values(release_at=None)
        )
    return len(ripe)


def has_ripe(tx: Tx, now: datetime) -> bool:
    """Whether there is anything to `ripen` (ix_runs_waiting)."""
    query = sa.select(runs.c.run_id).where(runs.c.state == State.SCHEDULED, runs.c.release_at <= now).limit(1)
    return tx.execute(query).first() is not None


def lease_unpublished(tx: Tx, now: datetime, until: datetime, limit: int) -> list[Doorbell]:
    """Queued runs that are to be (re)published now, reserved until `until` (ix_runs_publish).

    By priority, then age.
    """
    columns = ("run_id", "attempt", "job_id", "routing_key", "publishes", "priority")
    found = tx.execute(
        sa.select(*(runs.c[name] for name in columns))
        .where(runs.c.publish_at <= now)
        .order_by(runs.c.publish_at)
        .limit(limit)
        .with_hint(runs, "FORCE INDEX (ix_runs_publish)", "mysql")
        .with_for_update(skip_locked=True)
    ).all()
    if not found:
        return []
    tx.execute(sa.update(runs).where(runs.c.run_id.in_([r.run_id for r in found])).values(publish_at=until))
    named = _names_and_commands(tx, {r.job_id for r in found})
    return [
        Doorbell(r.run_id, r.attempt, r.job_id, *named.get(r.job_id, ("", "")), r.routing_key, r.publishes)
        for r in sorted(found, key=lambda r: (r.priority, r.run_id))
    ]


def ring_again(tx: Tx, now: datetime) -> None:
    """The broker may have lost what it had: publish all that waits on it again (ix_runs_publish)."""
    tx.execute(
        sa.update(runs)
        .where(runs.c.publish_at > now, runs.c.state == State.QUEUED, runs.c.published_at.is_not(None))
        .values(publish_at=now)
    )


def _names_and_commands(tx: Tx, job_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    found = tx.execute(
        sa.select(jobs.c.id, jobs.c.name, jobs.c.command).where(jobs.c.id.in_(sorted(job_ids)))
    )
    return {i: (name or "", command or "") for i, name, command in found}


def mark_published(
    tx: Tx, bells: Sequence[Doorbell], now: datetime, republish: timedelta, plain: frozenset[str]
) -> None:
    """These were confirmed. They are published again, at doubling intervals, until claimed.

    Keys in `plain` are served by runners that never claim: those are not published twice. An
    attempt that is over by now is left alone.
    """
    groups: dict[tuple[int, int, bool], list[str]] = {}
    for bell in bells:
        group = (bell.attempt, bell.publishes, bell.routing_key in plain)
        groups.setdefault(group, []).append(bell.run_id)
    for (attempt, publishes, is_plain), run_ids in groups.items():
        again = None if is_plain else now + min(republish * 2 ** min(publishes, 10), MAX_REPUBLISH)
        tx.execute(
            sa.update(runs)
            .where(runs.c.run_id.in_(run_ids), runs.c.attempt == attempt)
            .values(
                published_at=sa.func.coalesce(runs.c.published_at, now),
                publishes=publishes + 1,
                # A fast runner may have claimed it before its confirm came back.
                publish_at=sa.case((runs.c.state == State.QUEUED, again), else_=None),
                reason=sa.case(
                    ((runs.c.state == State.QUEUED) & (runs.c.reason == "no_queue"), None),
                    else_=runs.c.reason,
                ),
            )
        )


def mark_unroutable(tx: Tx, bells: Sequence[Doorbell], again: datetime) -> None:
    """No queue is bound to their key: they say so, and are tried again at `again`."""
    rows: list[dict[str, object]] = [
        {"run_id": bell.run_id, "attempt": bell.attempt, "reason": "no_queue", "publish_at": again}
        for bell in sorted(bells, key=lambda bell: bell.run_id)
    ]
    dialect.update_rows(tx, runs, rows, keys=("run_id", "attempt"), where="t.state = 'queued'")

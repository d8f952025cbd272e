"""Somebody's wish to run a job now: as many runs as wishes, or one per idempotency key."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from cronq.domain.errors import Conflict, InvalidInput, NotFound, Problem
from cronq.domain.ids import run_id
from cronq.domain.run import Kind, State, Trigger
from cronq.store import dialect, jobs, runs
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import idempotency_keys

KEPT = timedelta(hours=24)
MOST_KEY = 190


@dataclass(frozen=True)
class Wish:
    """A request for one run. `fingerprint` is of the whole request that carries the key."""

    job_id: int
    trigger: Trigger
    actor: str = ""
    key: str | None = None
    fingerprint: str = ""
    force: bool = False


def request_run(tx: Tx, wish: Wish, now: datetime) -> str:
    """Insert a run that waits for release, and return its id; for a known key that key's run.

    Raises NotFound for an unknown or removed job, Conflict for a disabled one (unless forced) or one
    that can't run, and InvalidInput for a key that is too long or came with another request.
    """
    job = _existing(tx, wish)
    fresh = run_id(now, secrets.randbits)
    if wish.key is not None:
        kept = _keep_key(tx, wish.key, wish.fingerprint, fresh, now)
        if kept != fresh:
            return kept
    row = runs.new_row(
        fresh,
        job.id,
        kind=Kind.REQUEST,
        scheduled_for=now.replace(microsecond=0),
        triggered_by=wish.trigger,
        state=State.SCHEDULED,
        routing_key=job.spec.routing_key,
        now=now,
        request=secrets.token_hex(16),
        actor=wish.actor[:255] or None,
        revision=job.revision,
        category_id=job.category_id,
        priority=job.spec.priority,
    )
    runs.insert(tx, [row], now)
    return fresh


def _existing(tx: Tx, wish: Wish) -> JobRecord:
    job = jobs.by_id(tx, wish.job_id)
    if job is None or job.removed_at is not None:
        raise NotFound(f"Job not found for id {wish.job_id}")
    if not job.spec.enabled and not wish.force:
        raise Conflict(f"job {job.spec.name!r} is disabled; send force=true to run it all the same")
    if job.problem:
        raise Conflict(f"job {job.spec.name!r} can't run: {job.problem}")
    return job


def _keep_key(tx: Tx, key: str, fingerprint: str, fresh: str, now: datetime) -> str:
    """The run that this key stands for; the insert makes concurrent requests agree on one."""
    if len(key) > MOST_KEY:
        message = f"Idempotency-Key: {len(key)} characters; at most {MOST_KEY} are allowed"
        raise InvalidInput([Problem("idempotency_key_too_long", "", message)])
    tx.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < now - KEPT))
    row = {"key": key, "fingerprint": fingerprint, "run_id": fresh, "created_at": now}
    dialect.insert_new(tx, idempotency_keys, [row])
    kept = tx.execute(
        sa.select(idempotency_keys).where(idempotency_keys.c.key == key).with_for_update()
    ).one()
    if kept.fingerprint != fingerprint:
        message = f"Idempotency-Key {key!r} was used for another request in the last 24 hours"
        raise InvalidInput([Problem("idempotency_key_reused", "", message, "use a new key")])
    return str(kept.run_id)

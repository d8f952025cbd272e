"""Release: runs go from their line to their queue, no more than a window; gates are judged, and opened."""

from __future__ import annotations

import structlog

from cronq import store
from cronq.runtime import crash
from cronq.store import doorbells, freeing, holding, limits, line, pauses, resting, runs

log = structlog.get_logger()

BATCH = 500


def set_free_once(db: store.Store, *, catch_up_rate: int) -> int:
    """Put those back in line who wait at a gate that has room; returns how many."""
    with db.read() as tx:
        now = store.now(tx)
        names = freeing.gates_with_waiting(tx)
        found = freeing.open_gates(tx, names, limits.closed(tx, now), now, catch_up_rate) if names else []
    if not found:
        return 0

    def work(tx: store.Tx) -> int:
        now = store.now(tx)
        closed = limits.closed(tx, now)
        return freeing.set_free(tx, found, closed, now, most=BATCH, catch_up_rate=catch_up_rate)

    freed = db.transact(work)
    if freed:
        crash.reach("injector.gate.freed")
    return freed


def release_once(db: store.Store, window: int) -> int:
    """Decide about the first in line of each key, up to its window; returns how many left the line."""
    with db.read() as tx:
        is_any = doorbells.has_ripe(tx, store.now(tx)) or doorbells.waiting(tx)
    moved = db.transact(lambda tx: _release(tx, window)) if is_any else 0
    if moved:
        crash.reach("injector.release.committed")
    return moved


def _release(tx: store.Tx, window: int) -> int:
    now = store.now(tx)
    doorbells.ripen(tx, now, BATCH)
    queued = doorbells.queued_counts(tx)
    first = []
    for key, waiting in doorbells.waiting(tx).items():
        ahead = queued.get(key, {})
        room = min(window - sum(ahead.values()), BATCH)
        if room > 0:
            first += line.first_in_line(tx, key, waiting, ahead, room)
    if not first:
        return 0
    done = line.let_out(tx, first, limits.closed(tx, now), now)
    for run_id in done.killed:
        log.info("run.replaced", run_id=run_id)
    crash.reach("injector.release.uncommitted")
    return done.moved


def wake_once(db: store.Store) -> int:
    """Give jobs that rest until their run has ended their next instant; returns how many."""
    with db.read() as tx:
        if not resting.is_any(tx):
            return 0
    return db.transact(lambda tx: resting.wake(tx, store.now(tx), BATCH))


def expire_once(db: store.Store) -> int:
    """Give up runs whose deadline to start has passed; returns how many."""
    return db.transact(lambda tx: runs.expire(tx, store.now(tx), BATCH))


def forget_once(db: store.Store) -> int:
    """Delete holds of runs that have ended, and snoozes that are over; returns how many."""
    over = db.transact(lambda tx: pauses.forget_over(tx, store.now(tx), BATCH))
    for pause in over:
        log.info("pause.over", subject=pause.subject, since=pause.since, until=pause.until, by=pause.by)
    return len(over) + db.transact(lambda tx: holding.forget_ended(tx, BATCH))

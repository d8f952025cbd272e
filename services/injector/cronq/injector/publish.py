"""Publish: runs that were let out go to their queues, again and again until they are claimed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cronq import store
from cronq.bus.interface import Bus, Confirm, Message
from cronq.bus.messages import JobMessage, encode_job
from cronq.bus.topology import queue_for_key
from cronq.runtime import crash
from cronq.store import alerts, doorbells
from cronq.store.doorbells import Doorbell

BATCH = 500
NO_QUEUE = "no_queue"
# An unroutable run is tried again this often: a runner may declare its queue at any time.
UNROUTABLE_AGAIN = timedelta(seconds=2)


def lease_once(db: store.Store, lease: timedelta) -> list[Doorbell]:
    """Bells that nobody has rung yet, or not lately enough; leased to the caller."""

    def work(tx: store.Tx) -> list[Doorbell]:
        now = store.now(tx)
        return doorbells.lease_unpublished(tx, now, now + lease, BATCH)

    return db.transact(work)


class Publisher:
    """Rings bells and writes down what became of them."""

    def __init__(
        self, db: store.Store, bus: Bus, *, republish: timedelta, plain_queues: frozenset[str]
    ) -> None:
        self._db = db
        self._bus = bus
        self._republish = republish
        self._plain_queues = plain_queues

    def publish(self, bells: Sequence[Doorbell]) -> None:
        """Publish a batch and mark it. No verdict means unknown: those stay leased and come again."""
        verdicts = self._bus.publish([self._message(b) for b in bells])
        crash.reach("injector.publish.sent")
        by_verdict: dict[Confirm, list[Doorbell]] = {}
        for bell, verdict in zip(bells, verdicts, strict=True):
            by_verdict.setdefault(verdict, []).append(bell)
        self._mark(by_verdict.get(Confirm.CONFIRMED, []), by_verdict.get(Confirm.UNROUTABLE, []))

    def _message(self, bell: Doorbell) -> Message:
        """Copies expire when the next one is sent, so that they don't pile up."""
        body = encode_job(JobMessage(bell.run_id, bell.attempt, bell.job_id, bell.name, bell.command))
        if self._is_plain(bell.routing_key):
            return Message(bell.routing_key, body)
        wait = min(self._republish * 2 ** min(bell.publishes, 10), doorbells.MAX_REPUBLISH)
        return Message(bell.routing_key, body, expiration_ms=int(wait.total_seconds() * 1000))

    def _is_plain(self, routing_key: str) -> bool:
        """Served by runners that know only the ancestor's dialect, and so never claim."""
        return queue_for_key(routing_key) in self._plain_queues

    def _mark(self, confirmed: Sequence[Doorbell], unroutable: Sequence[Doorbell]) -> None:
        if not confirmed and not unroutable:
            return
        lost = {b.routing_key for b in unroutable}
        found = {b.routing_key for b in confirmed} - lost
        plain = frozenset(b.routing_key for b in confirmed if self._is_plain(b.routing_key))

        def work(tx: store.Tx) -> None:
            now = store.now(tx)
            if confirmed:
                doorbells.mark_published(tx, confirmed, now, self._republish, plain)
            if unroutable:
                again = now + UNROUTABLE_AGAIN
                doorbells.mark_unroutable(tx, unroutable, again)
            for key in lost:
                text = f"no queue for key {key!r}: start a runner with --queue {key}"
                alerts.raise_alert(tx, NO_QUEUE, key, text, now)
            # Whoever raised them: another injector, or this one before its restart.
            alerts.clear_all(tx, NO_QUEUE, found, now)
            crash.reach("injector.publish.uncommitted")

        self._db.transact(work)
        crash.reach("injector.publish.marked")

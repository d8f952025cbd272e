"""The results aggregator: claims are granted, events applied, in batches, each one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from cronq import store
from cronq.bus.interface import Bus, Delivery, Message
from cronq.bus.messages import decode_claim, decode_events
from cronq.bus.topology import CLAIMS_QUEUE, RESULTS_QUEUE, shared_queues
from cronq.domain.errors import BadMessage, CronqError, Unavailable
from cronq.domain.run import Claim, Denial
from cronq.results.batch import Batch, apply_batch
from cronq.results.gather import Gatherer
from cronq.results.grants import reply_message
from cronq.results.letters import DeadLetters
from cronq.results.poison import POISON, Readable, bury, groups, poison_of
from cronq.runtime import crash
from cronq.runtime.settings import Settings
from cronq.store import claims, epoch
from cronq.store.claims import Granted
from cronq.store.epoch import Held, Witness

log = structlog.get_logger()

BATCH = 500
WAIT_S = 0.2
# How long a batch waits for company: so many times what the last one took, and no longer than that many
# seconds. A claim holds a slot meanwhile, an event nothing.
EVENTS_REST, EVENTS_PAUSE_S = 2.0, 0.1
CLAIMS_REST, CLAIMS_PAUSE_S = 1.0, 0.03
# Events in one transaction, which holds its locks as long as it takes.
MOST_EVENTS = 5_000


class Results:
    """`step` applies events; claims have a thread, so that they never wait behind those, letters another."""

    name = "results"

    def __init__(self, settings: Settings, db: store.Store, bus: Bus) -> None:
        self._db = db
        self._bus = bus
        self._lease = timedelta(seconds=settings.lease_s)
        self._events: Gatherer | None = None
        self._letters = DeadLetters(db, bus)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = "not started"
        self._epoch = 1
        self._witness = Witness("")
        self._granted: tuple[str, int, int] | None = None  # a run, its attempt, in which epoch

    def step(self) -> bool:
        """Apply one batch of events; blocks up to WAIT_S for its first. Returns whether any came."""
        deliveries = self._consuming().take()
        if deliveries:
            self._guarded(deliveries, self._apply)
        self._problem = None
        return True  # `take` has waited already

    def _consuming(self) -> Gatherer:
        if self._events is None:
            self._bus.declare(shared_queues())
            self._events = self._gatherer(RESULTS_QUEUE, EVENTS_REST, EVENTS_PAUSE_S)
            claims_gatherer = self._gatherer(CLAIMS_QUEUE, CLAIMS_REST, CLAIMS_PAUSE_S)
            self._thread = threading.Thread(
                target=self._grant_loop, args=[claims_gatherer], name="claims", daemon=True
            )
            self._thread.start()
            self._letters.start()
        return self._events

    def _gatherer(self, queue: str, rest: float, pause_s: float) -> Gatherer:
        consumer = self._bus.consume([queue], prefetch=2 * BATCH)
        return Gatherer(consumer, most=BATCH, wait_s=WAIT_S, rest=rest, pause_s=pause_s)

    def _guarded(self, deliveries: Sequence[Delivery], work: Callable[[Sequence[Delivery]], None]) -> None:
        """What could not be done now goes back to its queue; the caller's loop backs off."""
        try:
            work(deliveries)
        except BaseException as error:
            self._problem = str(error)
            for delivery in deliveries:
                delivery.reject(requeue=True)
            raise

    # -- events

    def _apply(self, deliveries: Sequence[Delivery]) -> None:
        readable: list[Readable] = []
        for delivery in deliveries:
            try:
                readable.append((delivery, Batch.of(decode_events(delivery.body))))
            except BadMessage as error:
                self._apply_parts(delivery, error)
        for group in groups(readable, MOST_EVENTS):
            self._apply_together(group)

    def _apply_together(self, group: Sequence[Readable]) -> None:
        try:
            self._commit([batch for _, batch in group])
        except POISON:
            # One of them is: find it, so that the others are applied.
            for delivery, batch in group:
                self._apply_alone(delivery, batch)
        else:
            for delivery, _ in group:
                delivery.ack()

    def _apply_alone(self, delivery: Delivery, batch: Batch) -> None:
        try:
            self._commit([batch])
        except POISON as error:
            self._apply_parts(delivery, error)
        else:
            delivery.ack()

    def _apply_parts(self, delivery: Delivery, why: CronqError) -> None:
        """What of a message can be applied is; the rest goes to `cronq_dead`, once, with its reason."""
        poison = poison_of(delivery.body, why, self._commit)
        if poison is None:
            delivery.ack()
        else:
            bury(self._bus, delivery, poison.reason, poison.body)

    def _commit(self, batches: Sequence[Batch]) -> None:
        merged = Batch.merged(batches)
        _reach("results.events.taken", merged)
        self._db.transact(lambda tx: apply_batch(tx, merged, self._lease))
        _reach("results.events.committed", merged)

    # -- claims

    def _grant_loop(self, gatherer: Gatherer) -> None:
        while not self._closing.is_set():
            try:
                deliveries = gatherer.take()
                if deliveries:
                    self._guarded(deliveries, self._grant)
            except Unavailable as error:
                log.warning("claims.unavailable", error=str(error))
                self._closing.wait(0.5)
            except Exception:  # the thread's outermost step: it must go on
                log.exception("claims.failed")
                self._closing.wait(0.5)

    def _grant(self, deliveries: Sequence[Delivery]) -> None:
        asked: list[tuple[Delivery, Claim]] = []
        for delivery in deliveries:
            try:
                asked.append((delivery, decode_claim(delivery.body)))
            except BadMessage as error:
                bury(self._bus, delivery, str(error), delivery.body)
        crash.reach("results.claim.taken")
        answers = self._decide([c for _, c in asked])
        crash.reach("results.claim.committed")
        self._reply([d.reply_to for d, _ in asked], answers)
        crash.reach("results.claim.replied")
        for delivery, _ in asked:
            delivery.ack()

    def _decide(self, asked: Sequence[Claim]) -> list[claims.Answer]:
        """Nothing is granted while the database is older than what was committed to it."""
        try:
            answers = self._db.transact(lambda tx: self._answer(tx, asked))
        except Held as held:
            epoch.hold(self._db, str(held))
            return [(claim, Denial("held: the database is older than what was committed")) for claim in asked]
        granted = [claim for claim, answer in answers if isinstance(answer, Granted)]
        if granted:
            self._granted = (granted[-1].run_id, granted[-1].attempt, self._epoch)
        return answers

    def _answer(self, tx: store.Tx, asked: Sequence[Claim]) -> list[claims.Answer]:
        now = store.now(tx)
        current = epoch.current(tx)
        self._witness = epoch.check(tx, self._witness, current, now)
        self._epoch = current.number
        if self._granted is not None and self._granted[2] == self._epoch:
            epoch.check_grant(tx, *self._granted[:2], now)
        answers = claims.answer(tx, asked, now, now + self._lease, epoch=self._epoch)
        crash.reach("results.claim.uncommitted")
        return answers

    def _reply(self, keys: Sequence[str | None], answers: Sequence[claims.Answer]) -> None:
        """An answer that gets lost is asked for again."""
        messages: list[Message] = []
        for key, (claim, answer) in zip(keys, answers, strict=True):
            if isinstance(answer, Denial):
                log.info("claim.denied", run_id=claim.run_id, reason=answer.reason)
            if key:
                messages.append(reply_message(key, claim, answer))
        if messages:
            self._bus.publish(messages, 2.0)

    # -- service

    def is_ready(self) -> dict[str, str | None]:
        """The checks of `/readyz`: None where all is well."""
        return {
            "broker": None if self._bus.is_connected() else "not connected",
            "database": self._problem,
        }

    def close(self) -> None:
        """Give back what is not applied yet."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5)
        self._letters.close()
        self._bus.close()
        self._db.close()


def _reach(point: str, batch: Batch) -> None:
    """Heartbeats and canaries come all the time, and lose nothing."""
    if batch.runs:
        crash.reach(point)

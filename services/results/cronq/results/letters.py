"""Dead letters leave their queue for a table, where people can see them, and come back when told to.

A thread of its own, so that a flood of garbage costs claims and events nothing but the database's time.
"""

from __future__ import annotations

import base64
import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence

import structlog

from cronq import store
from cronq.bus.dead import QUEUE, REASON
from cronq.bus.interface import Bus, Consumer, Delivery
from cronq.bus.topology import DEAD_QUEUE
from cronq.domain.errors import Unavailable
from cronq.results.redrive import redrive_once
from cronq.runtime import crash
from cronq.runtime.backoff import Backoff
from cronq.store import dead_letters
from cronq.store.dead_letters import MOST_QUEUE, MOST_REASON, Letter

log = structlog.get_logger()

BATCH = 50
WAIT_S = 0.2
RETRIES_EVERY_S = 0.5
# Of bodies in one transaction; a letter is never cut for it.
MOST_BYTES = 8 * 1024 * 1024
# What the log shows of a body that the database takes in no form.
SHOWN_BYTES = 512

Kept = tuple[Delivery, Letter]


def letter_of(delivery: Delivery) -> Letter:
    """Whatever lies in the queue, as a letter; anybody may have sent it, with any headers or none.

    Its id is of all that identifies the message. Ours carry a header of random text; of strangers'
    messages without any, those of the same bytes are one letter.
    """
    headers = sorted((str(name), str(value)) for name, value in delivery.headers.items())
    said = repr((delivery.key, delivery.reply_to, headers)).encode(errors="replace")
    digest = hashlib.blake2b(said, digest_size=16)
    digest.update(delivery.body)
    return Letter(
        digest.hexdigest(),
        _text(delivery, QUEUE, MOST_QUEUE) or DEAD_QUEUE,
        _text(delivery, REASON, MOST_REASON) or "no reason given",
        delivery.body,
    )


def _text(delivery: Delivery, header: str, most: int) -> str:
    return str(delivery.headers.get(header, "")).encode(errors="replace").decode()[:most]


class DeadLetters:
    """The thread and its two steps: `keep_once`, and sending again what is wanted."""

    def __init__(self, db: store.Store, bus: Bus) -> None:
        self._db = db
        self._bus = bus
        self._consumer: Consumer | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="letters", daemon=True)

    def start(self) -> None:
        """The queue must be declared."""
        self._thread.start()

    def close(self) -> None:
        """Blocks until the step under way has ended, up to 5 s."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _loop(self) -> None:
        backoff = Backoff(random.Random())
        retries_at = 0.0
        while not self._closing.is_set():
            try:
                self.keep_once()
                if time.monotonic() >= retries_at and not redrive_once(self._db, self._bus):
                    retries_at = time.monotonic() + RETRIES_EVERY_S
                backoff.reset()
            except Unavailable as error:
                log.warning("letters.unavailable", error=str(error))
                self._closing.wait(backoff.next_s())
            except Exception:  # the thread's outermost step: it must go on
                log.exception("letters.failed")
                self._closing.wait(backoff.next_s())

    def keep_once(self) -> bool:
        """Move some of the queue into the table; blocks up to WAIT_S for the first. Whether any came."""
        if self._consumer is None:
            self._consumer = self._bus.consume([DEAD_QUEUE], prefetch=BATCH)
        deliveries = self._consumer.take(BATCH, WAIT_S)
        try:
            for group in _groups(deliveries):
                self._keep_together(group)
        except BaseException:
            for delivery in deliveries:
                delivery.reject(requeue=True)  # those that are settled stay so
            raise
        return bool(deliveries)

    def _keep_together(self, group: Sequence[Kept]) -> None:
        try:
            self._keep([letter for _, letter in group])
        except store.Refused:
            for delivery, letter in group:
                self._keep_alone(delivery, letter)
        else:
            for delivery, _ in group:
                delivery.ack()

    def _keep_alone(self, delivery: Delivery, letter: Letter) -> None:
        try:
            self._keep([letter])
        except store.Refused as error:
            self._keep_cut(delivery, letter, error)
        else:
            delivery.ack()

    def _keep_cut(self, delivery: Delivery, letter: Letter, why: store.Refused) -> None:
        log.warning("letter.refused", queue=letter.queue, bytes=len(letter.body), error=str(why)[:500])
        try:
            self._keep([letter.cut()])
        except store.Refused as error:
            # The log is all that is left; back in its queue it would come again for ever.
            head = base64.b64encode(letter.body[:SHOWN_BYTES]).decode()
            log.error("letter.lost", queue=letter.queue, reason=letter.reason, head=head, error=str(error))
        delivery.ack()

    def _keep(self, letters: Sequence[Letter]) -> None:
        """All of them in one transaction; a body that is too large for the database is cut."""

        def work(tx: store.Tx) -> list[str]:
            most = dead_letters.most_body(tx)
            fitting = [letter if len(letter.body) <= most else letter.cut() for letter in letters]
            return dead_letters.keep(tx, fitting, store.now(tx))

        crash.reach("results.letter.taken")
        alerted = self._db.transact(work)
        crash.reach("results.letter.kept")
        for queue in alerted:
            log.warning("alert.raised", kind=dead_letters.KIND, subject=queue, message="it has dead letters")


def _groups(deliveries: Sequence[Delivery]) -> Iterator[list[Kept]]:
    """Letters for one transaction each, of MOST_BYTES or a little more."""
    group: list[Kept] = []
    size = 0
    for delivery in deliveries:
        group.append((delivery, letter_of(delivery)))
        size += len(delivery.body)
        if size >= MOST_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group

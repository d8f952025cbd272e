"""The runner: takes deliveries for free slots, claims, has the keeper start, and tells.

One thread owns all state and runs `step`; three others only put what arrives (deliveries, orders and
replies, the keeper's news) into its inbox. The processes belong to the keeper, so that this process may
die, be killed or upgraded at any time.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import structlog

from cronq.bus.dead import dead_message
from cronq.bus.interface import Bus, Consumer, Delivery, Message, Queue
from cronq.bus.messages import Denied, Grant, Order, decode_job, decode_reply, encode_events
from cronq.bus.topology import RESULTS_KEY, runner_queue
from cronq.domain.errors import BadMessage, Unavailable
from cronq.domain.event import Boot, Heartbeat
from cronq.domain.run import Owner
from cronq.runner.attempts import Attempts
from cronq.runner.claiming import Claims, Key, clock
from cronq.runner.environment import base_environment
from cronq.runner.folder import Folder
from cronq.runner.options import Options, host_name, new_instance
from cronq.runner.outbox import Outbox, Settled
from cronq.runtime import crash
from cronq.runtime.clock import utc_now
from cronq.runtime.settings import Settings

log = structlog.get_logger()

INBOX_WAIT_S = 0.2
INBOX_BATCH = 500
# A slot that frees within this keeps its next delivery waiting here; else it goes to another runner.
HOLD_S = 0.1
SILENCE_S = 15.0
SETTLE_S = 3.0


@dataclass(frozen=True)
class _Arrived:
    """A delivery of a job queue, as it came."""

    delivery: Delivery


class Runner:
    """See the module. `step` blocks up to INBOX_WAIT_S for news."""

    name = "runner"

    def __init__(
        self, settings: Settings, options: Options, *, bus: Bus, folder: Folder, queues: Sequence[Queue]
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._folder = folder
        self._slots = options.slots or settings.slots
        self._host = host_name()
        self._queues = [q.name for q in queues]
        self._runner_name = options.name or f"{socket.gethostname()}-{folder.name}"
        self._owner = Owner(self._runner_name, folder.lineage, new_instance(folder))
        self._own_queue = runner_queue(self._owner.instance)
        self._declared = [*queues, self._own_queue]
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._outbox = Outbox(bus, self._inbox.put)
        self._claims = Claims(self._owner, self._host)
        environ = base_environment(os.environ, self._host)
        self._attempts = Attempts(
            folder,
            self._owner,
            host=self._host,
            environ=environ,
            outbox=self._outbox,
            tell=self._inbox.put,
        )
        self._held: deque[tuple[float, Delivery]] = deque()
        self._jobs: Consumer | None = None
        self._is_paused = False
        self._is_draining = False
        self._silent_until = 0.0
        self._beat_at = 0.0
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    # -- the loop

    def step(self) -> bool:
        """Handle what arrived, then claim, tell and beat. Raises Unavailable before the first connect."""
        self._begin_once()
        self._attempts.mend()
        self._handle_arrived()
        now = clock()
        self._take_held(now)
        self._give_up_unanswered(now)
        self._send(now)
        self._mind_consumer(now)
        return True  # the inbox was waited for

    def _begin_once(self) -> None:
        if self._jobs is not None:
            return
        self._bus.declare(self._declared)
        self._attempts.connect()
        crash.reach("runner.boot.connected")
        self._outbox.put(self._boot(), partial(crash.reach, "runner.boot.told"))
        self._bus.on_reconnect(self._beat_soon)
        replies = self._bus.consume([self._own_queue.name], prefetch=1000)
        self._jobs = self._bus.consume(self._queues, prefetch=max(1, self._slots))
        self._listen("replies", replies, self._on_reply)
        self._listen("deliveries", self._jobs, lambda d: self._inbox.put(_Arrived(d)))

    def _boot(self) -> Boot:
        known = self._attempts.known()
        return Boot(
            self._heartbeat(),
            known=known.keys,
            journal_complete=known.is_complete,
            journal_since=known.since,
        )

    def _listen(self, name: str, consumer: Consumer, on: Callable[[Delivery], None]) -> None:
        def loop() -> None:
            while not self._closing.is_set():
                try:
                    for delivery in consumer.take(100, 0.5):
                        on(delivery)
                except Exception:  # the thread's outermost step: it must go on
                    log.exception("runner.listening_failed", thread=name)
                    self._closing.wait(0.5)
            consumer.close()

        thread = threading.Thread(target=loop, name=f"runner-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _on_reply(self, delivery: Delivery) -> None:
        try:
            self._inbox.put(decode_reply(delivery.body))
        except BadMessage as error:
            log.warning("message.bad", queue=delivery.queue, reason=str(error))
        delivery.ack()

    def _handle_arrived(self) -> None:
        """Up to INBOX_BATCH items; one that breaks does not take the others with it."""
        timeout_s = HOLD_S / 2 if self._held else INBOX_WAIT_S
        for _ in range(INBOX_BATCH):
            try:
                item = self._inbox.get(timeout=timeout_s)
            except queue.Empty:
                return
            timeout_s = 0.0
            self._handle(item)

    def _handle(self, item: object) -> None:
        if isinstance(item, _Arrived):
            self._held.append((clock(), item.delivery))
        elif isinstance(item, Grant):
            self._on_grant(item)
        elif isinstance(item, Denied):
            self._on_denied(item)
        elif isinstance(item, Order):
            self._on_order(item)
        elif isinstance(item, Settled):
            self._outbox.on_settled(item)
        else:
            self._on_news(item)

    # -- deliveries and claims

    def _free(self) -> int:
        return self._slots - len(self._claims) - self._attempts.live_count()

    def _take_held(self, now: float) -> None:
        while self._held and self._free() > 0:
            _, delivery = self._held.popleft()
            self._consider(delivery, now)

    def _consider(self, delivery: Delivery, now: float) -> None:
        try:
            job = decode_job(delivery.body)
        except BadMessage as error:
            self._bury(delivery, str(error))
            return
        key = (job.run_id, job.attempt)
        if key in self._claims or self._attempts.is_live(key):
            delivery.ack()  # a copy of what is here already
        else:
            crash.reach("runner.delivery.taken")
            self._claims.add(key, job.job_id, delivery, now)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """A message that nobody can read goes to `cronq_dead`, once."""
        [verdict] = self._bus.publish([dead_message(delivery.queue, delivery.body, reason)], 5.0)
        log.warning("message.dead", queue=delivery.queue, reason=reason)
        if verdict.name == "CONFIRMED":
            delivery.ack()
        else:
            delivery.reject(requeue=True)

    def _on_grant(self, grant: Grant) -> None:
        self._silent_until = 0.0
        key = (grant.run_id, grant.attempt)
        pending = self._claims.get(key)
        if pending is not None and pending.grant is not None:
            return  # a copy of the grant that is being carried out
        if pending is not None and not pending.is_cancelled and self._claims.is_valid(grant, clock()):
            crash.reach("runner.grant.received")
            pending.grant = grant
            self._attempts.start(grant, pending.job_id)
            crash.reach("runner.start.ordered")
        elif grant.instance == self._owner.instance and not self._attempts.is_live(key):
            self._decline(key)

    def _decline(self, key: Key) -> None:
        """Permission came too late or for a cancelled run: say that it was not used."""
        pending = self._claims.pop(key)
        if pending is not None:
            pending.delivery.ack()
        self._attempts.decline(key)

    def _on_denied(self, denied: Denied) -> None:
        self._silent_until = 0.0
        pending = self._claims.get((denied.run_id, denied.attempt))
        if pending is not None and denied.nonce in pending.sent and pending.grant is None:
            self._claims.pop(pending.key)
            pending.delivery.ack()
            log.info("claim.denied", run_id=denied.run_id, reason=denied.reason)

    def _give_up_unanswered(self, now: float) -> None:
        given_up = self._claims.unanswered(now)
        for pending in given_up:
            pending.delivery.reject(requeue=True)
        if given_up:
            log.warning("claims.unanswered", count=len(given_up))
            self._silent_until = now + SILENCE_S

    # -- orders and news

    def _on_order(self, order: Order) -> None:
        key = (order.run_id, order.attempt)
        pending = self._claims.get(key)
        if order.verb == "kill" and pending is not None and pending.grant is None:
            pending.is_cancelled = True
        elif order.verb == "kill" and self._attempts.is_live(key):
            self._attempts.kill(key)
        elif pending is None:
            self._beat_at = 0.0
            self._attempts.report(key)

    def _on_news(self, item: object) -> None:
        key = self._attempts.on_news(item)
        if key is not None:
            # The keeper has it in its journal, one way or the other: the doorbell has done its work.
            pending = self._claims.pop(key)
            if pending is not None:
                crash.reach("runner.start.recorded")
                pending.delivery.ack()
                crash.reach("runner.delivery.acked")

    # -- telling

    def _send(self, now: float) -> None:
        others: list[Message] = []
        sent = None
        if self._bus.is_connected():
            others = list(self._claims.due(now, self._own_queue.name))
            sent = partial(crash.reach, "runner.claim.sent") if others else None
            if now >= self._beat_at:
                self._beat_at = now + self._settings.heartbeat_s
                others.append(self._beat_message())
        self._outbox.flush(others, sent)

    def _beat_soon(self) -> None:
        self._beat_at = 0.0

    def _beat_message(self) -> Message:
        expiry = int(self._settings.lease_s * 1000)
        return Message(
            RESULTS_KEY, encode_events([self._heartbeat()]), persistent=False, expiration_ms=expiry
        )

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            runner=self._owner.runner,
            lineage=self._owner.lineage,
            instance=self._owner.instance,
            host=self._host,
            pid=os.getpid(),
            version=version("cronq"),
            queues=tuple(self._queues),
            slots=self._slots,
            live=tuple(self._attempts.live_keys()),
            at=utc_now(),
            control_key=self._own_queue.name,
            draining=self._is_draining,
        )

    def _mind_consumer(self, now: float) -> None:
        """Deliveries that no slot wants soon go to another runner, and no more come until one does."""
        assert self._jobs is not None
        is_full = bool(self._held) and now - self._held[0][0] > HOLD_S
        is_silent = now < self._silent_until
        if (is_full or is_silent) and not self._is_paused:
            self._is_paused = True
            self._jobs.pause()
        if self._is_paused:
            self._give_back_held()
            if self._free() > 0 and not is_silent:
                self._is_paused = False
                self._jobs.resume()

    def _give_back_held(self) -> None:
        while self._held:
            self._held.popleft()[1].reject(requeue=True)

    # -- the service's life

    def is_ready(self) -> dict[str, str | None]:
        """The checks of `/readyz`: None where all is well."""
        return {
            "broker": None if self._bus.is_connected() else "not connected",
            "queues": None if self._jobs is not None else "not consumed yet",
        }

    def close(self) -> None:
        """Take nothing new; then leave the jobs, wait for them, or kill them, as configured."""
        self._is_draining = True
        if self._jobs is not None:
            self._jobs.pause()
            self._is_paused = True
            self._settle_claims()
            self._end_jobs()
            self._pump(lambda: len(self._outbox) == 0, SETTLE_S)
            self._outbox.flush([self._beat_message()] if self._bus.is_connected() else [])
        self._closing.set()
        for thread in self._threads:
            thread.join(2)
        self._attempts.close()
        self._bus.close()
        self._folder.close()

    def _settle_claims(self) -> None:
        """Claims on their way may be granted: what is granted is started, the rest is given back."""
        self._give_back_held()
        self._pump(lambda: len(self._claims) == 0, SETTLE_S)
        for key in self._claims.keys():  # noqa: SIM118 - Claims is not a mapping
            pending = self._claims.pop(key)
            if pending is not None:
                pending.delivery.reject(requeue=True)

    def _end_jobs(self) -> None:
        if self._settings.on_term == "leave":
            return
        if self._settings.on_term == "wait":
            self._pump(lambda: self._attempts.live_count() == 0, self._settings.drain_s)
        left = self._attempts.kill_all()
        if left:
            log.warning("runner.killing", jobs=left)
            self._pump(lambda: self._attempts.live_count() == 0, self._attempts.longest_grace() + 2)

    def _pump(self, is_done: Callable[[], bool], within_s: float) -> None:
        """The loop without its consumer; blocks up to `within_s`."""
        deadline = clock() + within_s
        while not is_done() and clock() < deadline:
            with suppress(Unavailable):
                self._attempts.mend()
            self._handle_arrived()
            self._give_back_held()
            self._send(clock())

"""Watching the rest: leases, cancellations, the canary, queues without consumers, late starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from cronq import store
from cronq.bus.interface import Bus, Message
from cronq.bus.messages import Order, encode_events, encode_order
from cronq.bus.topology import RESULTS_KEY, queue_for_key
from cronq.domain.errors import Unavailable
from cronq.domain.event import Canary
from cronq.injector.publish import NO_QUEUE
from cronq.runtime import crash
from cronq.store import alerts, doorbells, facts, leases, lost, runs

log = structlog.get_logger()

BATCH = 500
CANARY_EVERY = timedelta(seconds=5)
# A pipeline whose last canary is older than this is stale, and somebody has to look.
STALE_AFTER = timedelta(seconds=30)
AWAITED = "canary_awaited"  # when an injector first waited for a canary
SILENT = "pipeline_silent"  # when one last saw that the pipeline was not fresh
LATE_AFTER = timedelta(seconds=60)
PIPELINE, LATE, NO_CONSUMER = "pipeline_stale", "late_start", "no_consumer"


class Watch:
    """The injector's chores. Each is one step; the caller decides how often."""

    def __init__(self, db: store.Store, bus: Bus, *, name: str, lease: timedelta) -> None:
        self._db = db
        self._bus = bus
        self._name = name
        self._lease = lease
        self._answer_within = lease / 2
        # Soon enough that no lease has run out yet for want of heartbeats, which are a third of it apart.
        self._fresh_for = min(STALE_AFTER, lease / 2)
        self.canary_every = min(CANARY_EVERY, lease / 6)

    def send_canary(self) -> None:
        """A message of our own through the results queue; results notes when it was sent."""
        with self._db.read() as tx:
            now = store.now(tx)
        body = encode_events([Canary(self._name, now)])
        expiry = int(STALE_AFTER.total_seconds() * 1000)
        self._bus.publish([Message(RESULTS_KEY, body, persistent=False, expiration_ms=expiry)], 2.0)

    def judge_pipeline(self) -> bool:
        """Whether the event pipeline is proved fresh, and was for a whole lease; raises or clears its alert.

        After a silence the first canary may come through before the runners have found their way back.
        """
        return self._db.transact(self._judge)

    def _judge(self, tx: store.Tx) -> bool:
        now = store.now(tx)
        heard = facts.get(tx, facts.CANARY)
        age = now - (heard[1] if heard else self._awaited_since(tx, now))
        self._tell_of_pipeline(tx, age, now)
        if heard is None or age >= self._fresh_for:
            facts.put(tx, SILENT, self._name, now)
            return False
        silent = facts.get(tx, SILENT)
        return silent is None or now - silent[1] >= self._lease

    def _awaited_since(self, tx: store.Tx, now: datetime) -> datetime:
        """Nothing was ever heard: time counts from when an injector first looked."""
        first = facts.get(tx, AWAITED)
        if first is None:
            facts.put(tx, AWAITED, self._name, now)
        return first[1] if first else now

    def _tell_of_pipeline(self, tx: store.Tx, age: timedelta, now: datetime) -> None:
        if age < STALE_AFTER:
            alerts.clear(tx, PIPELINE, "results", now)
            return
        seconds = int(age.total_seconds())
        text = f"no event came through results for {seconds} s; runners can't be judged meanwhile"
        if alerts.raise_alert(tx, PIPELINE, "results", text, now):
            log.warning("alert.raised", kind=PIPELINE, subject="results", message=text)

    def reap(self) -> int:
        """Ask about leases that ran out; those asked and unanswered in time are lost.

        Only while the pipeline is fresh: silence of the pipeline is not silence of the runners.
        """
        if not self.judge_pipeline() or not self._bus.is_connected():
            return 0
        # Answers to what was asked in a silence were lost in it.
        count = self._db.transact(self._lose)
        questions = self._db.transact(self._ask)
        if questions:
            crash.reach("injector.reap.asked")
        self._send([(q.control_key, Order("report", q.run_id, q.attempt, self._name)) for q in questions])
        return count

    def _lose(self, tx: store.Tx) -> int:
        now = store.now(tx)
        losses = leases.lose_unanswered(tx, now, BATCH, heard_since=_silent_at(tx))
        count = len(losses.lost) + len(losses.retried)
        if count:
            crash.reach("injector.reap.lost")
        lost.tell(tx, losses, "its runner is silent", now)
        return count

    def _ask(self, tx: store.Tx) -> list[leases.Question]:
        """New questions, and those that are still open: one of them may have been lost."""
        now = store.now(tx)
        answer_by = now + self._answer_within
        leases.ask_expired(tx, now, answer_by, BATCH, heard_since=_silent_at(tx))
        return leases.unanswered(tx, now, answer_by, BATCH)

    def send_kills(self) -> None:
        """Repeat the order for every cancelled run that still lives."""
        with self._db.read() as tx:
            wanted = runs.kills_wanted(tx, BATCH)
            keys = leases.control_keys(tx, {w.runner for w in wanted if w.runner})
        self._send(
            [
                (keys[w.runner], Order("kill", w.run_id, w.attempt, w.cancelled_by or ""))
                for w in wanted
                if w.runner in keys
            ]
        )

    def _send(self, orders: list[tuple[str, Order]]) -> None:
        """Orders are repeated until they took effect, so none has to arrive."""
        if orders and self._bus.is_connected():
            self._bus.publish(
                [
                    Message(key, encode_order(order), persistent=False, expiration_ms=10_000)
                    for key, order in orders
                ],
                2.0,
            )

    def measure_queues(self, literal_keys: Callable[[], set[str]]) -> None:
        """Write what only the broker knows to the store, and alert on queues nobody consumes."""
        keys = literal_keys()
        with self._db.read() as tx:
            known = {queue["name"] for queue in facts.all_queues(tx)}
        measured: dict[str, tuple[int, int]] = {}
        for name in {queue_for_key(k) for k in keys} | {queue_for_key("default")} | known:
            try:
                stats = self._bus.stats(name)
            except Unavailable:
                return
            if stats is not None:
                measured[name] = (stats.ready, stats.consumers)
            elif name in known:
                measured[name] = (0, 0)
        self._db.transact(lambda tx: self._note_queues(tx, measured, keys))

    def _note_queues(
        self, tx: store.Tx, measured: dict[str, tuple[int, int]], waiting_keys: set[str]
    ) -> None:
        now = store.now(tx)
        facts.put_queues(tx, [(n, r, c) for n, (r, c) in measured.items()], now)
        # A runner whose slots are all taken stops consuming, and still serves its queues.
        served = leases.served_queues(tx, now - self._lease)
        idle = {n for n, (ready, consumers) in measured.items() if ready and not consumers} - served
        for name in idle:
            text = f"queue {name} holds {measured[name][0]} messages and has no runner"
            alerts.raise_alert(tx, NO_CONSUMER, name, text, now)
        alerts.clear_all_but(tx, NO_CONSUMER, idle, now)
        # Of a key whose last run was cancelled or superseded nobody publishes any more.
        alerts.clear_all_but(tx, NO_QUEUE, waiting_keys, now)

    def waiting_keys(self) -> set[str]:
        """Routing keys that have runs waiting, in the database or in the broker."""
        with self._db.read() as tx:
            return set(doorbells.queued_counts(tx)) | set(doorbells.waiting(tx))

    def judge_late(self) -> None:
        """Alert for each routing key whose runs have waited for over a minute."""

        def work(tx: store.Tx) -> None:
            now = store.now(tx)
            late = runs.late(tx, now - LATE_AFTER)
            for key, count, oldest in late:
                waited = int((now - oldest).total_seconds())
                runs_wait = "1 run waits" if count == 1 else f"{count} runs wait"
                text = f"{runs_wait} for a runner of key {key!r}, the oldest for {waited} s"
                if alerts.raise_alert(tx, LATE, key, text, now):
                    log.warning("alert.raised", kind=LATE, subject=key, message=text)
            alerts.clear_all_but(tx, LATE, {key for key, _, _ in late}, now)

        self._db.transact(work)


def _silent_at(tx: store.Tx) -> datetime | None:
    """When the pipeline was last found silent."""
    silent = facts.get(tx, SILENT)
    return None if silent is None else silent[1]

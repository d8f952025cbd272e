"""The injector: due jobs → runs → bus, and the watch over what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from cronq import store
from cronq.bus.interface import Bus
from cronq.bus.topology import shared_queues
from cronq.domain.errors import Unavailable
from cronq.injector.chains import Chains, give_up_once
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.injector.publish import Publisher, lease_once
from cronq.injector.release import expire_once, forget_once, release_once, set_free_once, wake_once
from cronq.injector.watch import Watch
from cronq.injector.witness import Memory
from cronq.runtime import crash
from cronq.runtime.settings import Settings
from cronq.store import doorbells, epoch, facts
from cronq.store.doorbells import Doorbell
from cronq.store.epoch import Held

log = structlog.get_logger()

# Another injector publishes what a crashed one had leased.
PUBLISH_LEASE = timedelta(seconds=2)


class Chore:
    """Something to do every so often; due at once at the start."""

    def __init__(self, every_s: float, work: Callable[[], object]) -> None:
        self.every_s = every_s
        self.work = work
        self.due_at = 0.0

    def run_if_due(self, now: float) -> None:
        """`now` is monotonic seconds. A chore that fails waits its turn like one that worked."""
        if now >= self.due_at:
            self.due_at = now + self.every_s
            self.work()


class Injector:
    """One step: expand, release, publish, and what else is due. Any number run side by side."""

    name = "injector"

    def __init__(self, settings: Settings, db: store.Store, bus: Bus, owner: str) -> None:
        self._db = db
        self._bus = bus
        self._owner = owner
        self._window = settings.window
        self._catch_up_rate = settings.catch_up_rate
        self._publisher = Publisher(
            db,
            bus,
            republish=timedelta(seconds=settings.republish_s),
            plain_queues=frozenset(settings.plain_queues),
        )
        self._chains = Chains(db)
        self._watch = Watch(db, bus, name=owner, lease=timedelta(seconds=settings.lease_s))
        self._canary = Chore(self._watch.canary_every.total_seconds(), self._send_canary)
        self._chores = self._make_chores(settings.lease_s)
        self._memory = Memory(settings.state_dir / "injector")
        self._held: str | None = None
        self._stepped_at = 0.0
        self._is_declared = False
        self._is_broker_back = threading.Event()
        bus.on_reconnect(self._is_broker_back.set)

    def _make_chores(self, lease_s: float) -> list[Chore]:
        watch = self._watch
        return [
            Chore(1.0, lambda: adopt_unseen_once(self._db)),
            self._canary,
            Chore(min(2.0, lease_s / 6), watch.reap),
            Chore(2.0, watch.send_kills),
            Chore(0.2, lambda: wake_once(self._db)),
            Chore(0.5, lambda: expire_once(self._db)),
            Chore(0.5, lambda: give_up_once(self._db)),
            Chore(2.0, lambda: forget_once(self._db)),
            Chore(5.0, self._measure),
            Chore(5.0, watch.judge_late),
            Chore(2.0, self._note_step),
        ]

    def step(self) -> bool:
        """Returns whether there was anything to do. Raises Unavailable when the store is away."""
        self._declare_once()
        try:
            expanded = expand_once(
                self._db,
                locked_by=self._owner,
                window=self._window,
                publish_lease=PUBLISH_LEASE,
                check=self._memory.check,
            )
        except Held as held:
            self._stand_still(held)
            raise
        self._held = None
        if expanded.last_run:
            self._memory.note(expanded.last_run)
        if expanded.bells:
            crash.reach("injector.expand.committed")
        followed = self._chains.follow_once()
        released = set_free_once(self._db, catch_up_rate=self._catch_up_rate)
        released += release_once(self._db, self._window)
        published = self._publish(expanded.bells)
        if expanded.jobs:
            log.debug("injector.expanded", jobs=expanded.jobs, missed=expanded.missed)
        now = time.monotonic()
        for chore in self._chores:
            chore.run_if_due(now)
        self._stepped_at = now
        return bool(expanded.jobs or followed or released or published)

    def _stand_still(self, held: Held) -> None:
        """Until a person has accepted the database as it is; what comes from runners still goes through."""
        if self._held is None:
            epoch.hold(self._db, str(held))
            self._held = str(held)
        self._stepped_at = time.monotonic()
        self._canary.run_if_due(self._stepped_at)

    def _publish(self, fresh: list[Doorbell]) -> int:
        """While the broker is away, bells stay leased or due: no occurrence waits for it."""
        if not self._bus.is_connected():
            return 0
        if self._is_broker_back.is_set():
            self._db.transact(lambda tx: doorbells.ring_again(tx, store.now(tx)))
            self._is_broker_back.clear()
        if fresh:
            self._publisher.publish(fresh)
        stale = lease_once(self._db, PUBLISH_LEASE)
        if stale:
            crash.reach("injector.republish.leased")
            self._publisher.publish(stale)
        return len(fresh) + len(stale)

    def _declare_once(self) -> None:
        """Occurrences are due all the same while there is no broker to declare at."""
        if not self._is_declared and self._bus.is_connected():
            with suppress(Unavailable):  # they stay on the bus's list
                self._bus.declare(shared_queues())
                self._is_declared = True

    def _send_canary(self) -> None:
        if self._bus.is_connected():
            self._watch.send_canary()

    def _measure(self) -> None:
        if self._bus.is_connected():
            self._watch.measure_queues(self._watch.waiting_keys)

    def _note_step(self) -> None:
        self._db.transact(lambda tx: facts.put(tx, facts.INJECTOR, self._owner, store.now(tx)))
        self._memory.save()

    def is_ready(self) -> dict[str, str | None]:
        """The checks of `/readyz`: None where all is well."""
        stepped = time.monotonic() - self._stepped_at < 30 if self._stepped_at else False
        return {
            "broker": None if self._bus.is_connected() else "not connected",
            "database": None if stepped else "no step went through for 30 s",
            "epoch": self._held,
        }

    def close(self) -> None:
        self._bus.close()
        self._db.close()

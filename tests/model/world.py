"""One small installation of the real code, on a hostile bus, with every step made by hand.

Real: the store with its tables, the injector's steps, results' batches and grants, the whole runner, the
messages as bytes, the keeper's journal. Made up: the broker (`network`), the keeper's sockets and processes
(`keeper`, `host`), the clocks and chance (`hands`). What really started is written down in `forks`, outside
of every database. After each step `watcher` compares all of this with the invariants.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from cronq.bus.messages import Event, decode_events
from cronq.bus.topology import CLAIMS_QUEUE, RESULTS_QUEUE, shared_queues
from cronq.injector.publish import Publisher
from cronq.injector.watch import Watch
from cronq.store import doorbells
from cronq.store.doorbells import Doorbell
from cronq.store.engine import Store
from tests.factories import NOON, SECOND, Clock, definition, job_named, make_settings, put
from tests.model.hands import Crash, CrashingStore, lay_on
from tests.model.host import Fork, HandRunner, Host
from tests.model.keeper import KeeperProcess
from tests.model.network import Fate, Link, Network
from tests.model.watcher import Watcher

expanding, publishing = import_module("cronq.injector.expand"), import_module("cronq.injector.publish")
releasing = import_module("cronq.injector.release")
Results = import_module("cronq.results.service").Results

WINDOW = 3
PUBLISH_LEASE = timedelta(seconds=2)
SETTINGS = make_settings(CRONQ_WINDOW=str(WINDOW))
LEASE = timedelta(seconds=SETTINGS.lease_s)
REPUBLISH = timedelta(seconds=SETTINGS.republish_s)
MILLISECOND = timedelta(milliseconds=1)
MOST_TOLD = 250  # steps


@dataclass(frozen=True)
class Plan:
    """What one world is like. `guarantees` are the jobs', one each."""

    guarantees: tuple[str, ...] = ("at_most_once", "at_most_once")
    max_attempts: int = 1
    hosts: int = 2
    are_twins: bool = False  # two hosts were given one runner name
    skews: tuple[int, ...] = (0, 0, 0)  # seconds, of the hosts' clocks
    jobs_take_s: int = 0  # at the end, when there are no more faults
    seed: int = 0


@dataclass(frozen=True)
class Mark:
    """The verdicts on a batch that was published, not written down yet."""

    confirmed: Sequence[Doorbell]
    unroutable: Sequence[Doorbell]


class SlowPublisher(Publisher):
    """Publishes; what it has to write down about it waits in `marks`, perhaps for ever."""

    marks: list[Mark]

    def _mark(self, confirmed: Sequence[Doorbell], unroutable: Sequence[Doorbell]) -> None:
        self.marks.append(Mark(confirmed, unroutable))

    def mark(self, index: int) -> None:
        mark = self.marks.pop(index)
        super()._mark(mark.confirmed, mark.unroutable)


class World:
    """See the module. Every method that acts ends with a look at the invariants; see `watched`."""

    def __init__(self, db: Store, folder: Path, plan: Plan) -> None:
        self.db = CrashingStore(db)
        self.plan = plan
        self.settings = SETTINGS
        self.clock = Clock(NOON + 10 * SECOND)
        self.chance = random.Random(plan.seed)
        self.network = Network()
        self.forks: list[Fork] = []
        self.trace: list[str] = []
        self.acting: Host | None = None
        self.is_broken = False  # a step ended in an exception
        self.hosts = [self._host(number, folder) for number in range(1, plan.hosts + 1)]
        self.bells: list[list[Doorbell]] = []
        self.watcher = Watcher(self)

    @classmethod
    @contextmanager
    def lived_in(cls, db: Store, folder: Path, plan: Plan) -> Iterator[World]:
        """A world that the real code lives in as long as the context is open."""
        world = cls(db, folder, plan)
        with pytest.MonkeyPatch.context() as patch:
            lay_on(world, patch)
            world._open_services()
            world._put_jobs()
            world.watcher.look()
            yield world

    def _host(self, number: int, folder: Path) -> Host:
        path = folder / f"host{number}"
        path.mkdir()
        name = "twin" if self.plan.are_twins else f"runner{number}"
        return Host(self, number, name, path, timedelta(seconds=self.plan.skews[number - 1]))

    def _open_services(self) -> None:
        self._injector_link, self._results_link = Link(self.network), Link(self.network)
        self._injector_link.declare(shared_queues())
        self.publisher = SlowPublisher(
            self.db, self._injector_link, republish=REPUBLISH, plain_queues=frozenset()
        )
        self.publisher.marks = []
        self.watch = Watch(self.db, self._injector_link, name="injector", lease=LEASE)
        self.results = Results(SETTINGS, self.db, self._results_link)

    def _put_jobs(self) -> None:
        self.specs = [
            definition(
                f"job{number}",
                schedule="* * * * *" if number == 0 else "*/2 * * * *",
                guarantee=guarantee,
                max_attempts=self.plan.max_attempts,
            )
            for number, guarantee in enumerate(self.plan.guarantees)
        ]
        put(self.db, *self.specs, now=self.clock.now)
        self.job_ids = [job_named(self.db, str(spec["name"])).id for spec in self.specs]

    def explain(self, error: BaseException) -> None:
        """Tell with an error by what way the world came to it, without the beginning of very long ones."""
        error.add_note(f"{self.plan}:\n  " + "\n  ".join(self.trace[-MOST_TOLD:]))

    # -- clocks

    def monotonic(self) -> float:
        return (self.clock.now - NOON).total_seconds() + 1000.0

    def host_now(self) -> datetime:
        return self.clock.now + (self.acting.skew if self.acting is not None else timedelta(0))

    def host_time(self) -> float:
        return self.host_now().timestamp()

    # -- one step

    @contextmanager
    def watched(self, what: str, host: Host | None = None, fate: Fate = Fate.KEPT) -> Iterator[None]:
        """One step of one process; a crash in it is nobody else's matter."""
        self.trace.append(what)
        self.acting, self.network.fate = host, fate
        try:
            yield
        except Crash:
            self.trace[-1] += ", and crashes"
        except BaseException:
            self.is_broken = True
            raise
        finally:
            self.acting, self.network.fate, self.db.crash = None, Fate.KEPT, None
        self.clock.tick(MILLISECOND)
        self.is_broken = True
        self.watcher.look()
        self.is_broken = False

    # -- the injector

    def expand(self, crash: str | None = None) -> None:
        """A crash after the commit loses the bells that were to be rung."""
        with self.watched(f"expand, crash {crash}"):
            self.db.crash = crash
            found = expanding.expand_once(
                self.db, locked_by="injector", window=WINDOW, publish_lease=PUBLISH_LEASE
            )
            if found.bells:
                self.bells.append(found.bells)

    def release(self) -> None:
        with self.watched("release"):
            releasing.set_free_once(self.db, catch_up_rate=100)
            releasing.release_once(self.db, WINDOW)

    def lease_bells(self) -> None:
        with self.watched("lease bells"):
            leased = publishing.lease_once(self.db, PUBLISH_LEASE)
            if leased:
                self.bells.append(leased)

    def publish(self, index: int, fate: Fate = Fate.KEPT) -> None:
        with self.watched(f"publish, {fate.value}", fate=fate):
            self.publisher.publish(self.bells.pop(index))

    def mark(self, index: int) -> None:
        with self.watched("mark what was published"):
            self.publisher.mark(index)

    def crash_injector(self) -> None:
        with self.watched("the injector crashes"):
            self.bells.clear()
            self.publisher.marks.clear()

    def ring_again(self) -> None:
        with self.watched("ring again"):
            self.db.transact(lambda tx: doorbells.ring_again(tx, self.clock.now))

    def send_canary(self, fate: Fate = Fate.KEPT) -> None:
        with self.watched(f"canary, {fate.value}", fate=fate):
            self.watch.send_canary()

    def reap(self, fate: Fate = Fate.KEPT) -> None:
        with self.watched("reap", fate=fate):
            self.watcher.is_reaping = True
            self.watch.reap()

    def chores(self) -> None:
        with self.watched("kills, late starts"):
            self.watch.send_kills()
            self.watch.judge_late()

    # -- results

    def grant(self, indices: Sequence[int], crash: str | None = None, fate: Fate = Fate.KEPT) -> None:
        """Answer these claims. After the crash the broker has them again, and the replies are lost."""
        with self.watched(f"answer claims {list(indices)}, crash {crash}, replies {fate.value}", fate=fate):
            taken = [self._results_link.take(CLAIMS_QUEUE, index) for index in indices]
            self.db.crash = crash
            self.results._guarded(taken, self.results._grant)

    def apply(self, indices: Sequence[int], crash: str | None = None) -> None:
        """Apply these messages of events, in this order, in one transaction."""
        with self.watched(f"apply events {list(indices)}, crash {crash}"):
            taken = [self._results_link.take(RESULTS_QUEUE, index) for index in indices]
            self.trace[-1] += " " + ", ".join(_title(e) for d in taken for e in decode_events(d.body))
            self.watcher.told = [event for d in taken for event in decode_events(d.body)]
            self.db.crash = crash
            self.results._guarded(taken, self.results._apply)

    # -- hosts

    def start_runner(self, host: Host, fate: Fate = Fate.KEPT) -> None:
        with self.watched(f"the runner of {host.name} starts", host, fate):
            host.start_runner()

    def step_runner(self, host: Host, fate: Fate = Fate.KEPT) -> None:
        with self.watched(f"{host.name} steps, {fate.value}", host, fate):
            cast(HandRunner, host.runner).step()

    def deliver(self, host: Host, queue: str, index: int) -> None:
        with self.watched(f"deliver from {queue} to {host.name}", host):
            runner = cast(HandRunner, host.runner)
            consumer = next(c for q, c in runner.queues_with_room() if q == queue)
            runner.hand(runner.link.take(queue, index), consumer)

    def deliverable(self, host: Host) -> list[tuple[str, int]]:
        """What a host's runner could be handed, as queues and places in them; answers before doorbells."""
        if host.runner is None:
            return []
        rooms = {queue for queue, _ in host.runner.queues_with_room()}
        return [
            (queue, i)
            for queue in sorted(rooms, reverse=True)
            for i in range(len(self.network.queues[queue]))
        ]

    def obey(self, host: Host, how: str = "") -> None:
        """The keeper carries out its next order; `how` is "dies" before the fork, "fails" at it, or empty."""
        keeper = cast(KeeperProcess, host.keeper)
        with self.watched(f"the keeper of {host.name} obeys {keeper.orders[0]['type']} {how}", host):
            keeper.obey(dies_before_the_fork=how == "dies", cannot_launch=how == "fails")

    def on_host(self, host: Host, what: str, act: Callable[[], object]) -> None:
        """Something that happens to a host."""
        with self.watched(f"{host.name}: {what}", host):
            act()

    # -- people

    def edit(self, number: int, **fields: object) -> None:
        with self.watched(f"job{number} is edited: {fields}"):
            self.specs[number] = {**self.specs[number], **fields}
            self.watcher.is_editing = True
            put(self.db, *self.specs, now=self.clock.now)

    def ask_people(self, what: str, act: Callable[[], object]) -> None:
        """What somebody does through the web or the API."""
        with self.watched(what):
            act()

    # -- the network

    def on_network(self, what: str, act: Callable[[], object]) -> None:
        with self.watched(what):
            act()

    def wait(self, by: timedelta) -> None:
        with self.watched(f"{by.total_seconds():g} s pass"):
            self.clock.tick(by)


def _title(event: Event) -> str:
    kind = type(event).__name__
    return f"{kind} {getattr(event, 'type', '')} {getattr(event, 'attempt', '')}"

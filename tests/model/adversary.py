"""Everything that can happen in a world, each with how often it should; a driver chooses what and how.

An action asks `choose(n)` for each number from 0 to n - 1 that it needs, and returns False when there was
nothing to do. The numbers come from Hypothesis, or from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from cronq.bus.topology import CLAIMS_QUEUE, RESULTS_QUEUE
from cronq.domain.run import LIVE, WAITING, State, Trigger
from cronq.results.grants import START_WITHIN_S
from cronq.store import lost, requests, runs
from tests.model.drain import flow
from tests.model.host import Host
from tests.model.network import Copy, Fate
from tests.model.world import World

Choose = Callable[[int], int]
T = TypeVar("T")

MOST_TOGETHER = 3  # messages in one batch of results
MOST_OPEN = 6  # runs
CRASHES = (*[None] * 8, "before", "after")
FATES = (*[Fate.KEPT] * 8, Fate.UNSURE, Fate.LOST)
STEPS_S = (1, 1, 4, 4, 20, 35, 70)


class Adversary:
    """The actions on one world, by name."""

    def __init__(self, world: World, choose: Choose) -> None:
        self._world = world
        self._choose = choose

    def act(self, name: str) -> bool:
        """Do one of the actions; whether there was anything to do."""
        return getattr(self, name)() is not False

    def _one(self, among: Sequence[T]) -> T:
        return among[self._choose(len(among))]

    # -- time, and nothing but time

    def wait(self) -> bool | None:
        self._world.wait(timedelta(seconds=self._one(STEPS_S)))
        return None

    def wait_long(self) -> bool | None:
        """Until a permission to start is too old."""
        self._world.wait(timedelta(seconds=START_WITHIN_S + 1))
        return None

    def flow(self) -> bool | None:
        """For a moment all goes well."""
        flow(self._world)
        return None

    # -- the injector

    def expand(self) -> bool | None:
        self._world.expand(self._one(CRASHES))
        return None

    def release(self) -> bool | None:
        self._world.release()
        return None

    def lease(self) -> bool | None:
        self._world.lease_bells()
        return None

    def publish(self) -> bool | None:
        if not self._world.bells:
            return False
        self._world.publish(self._choose(len(self._world.bells)), self._one(FATES))
        return None

    def mark(self) -> bool | None:
        if not self._world.publisher.marks:
            return False
        self._world.mark(self._choose(len(self._world.publisher.marks)))
        return None

    def crash_injector(self) -> bool | None:
        self._world.crash_injector()
        return None

    def canary(self) -> bool | None:
        self._world.send_canary(self._one(FATES))
        return None

    def reap(self) -> bool | None:
        self._world.reap(self._one(FATES))
        return None

    def chores(self) -> bool | None:
        self._world.chores()
        return None

    def suspect(self) -> bool | None:
        """Only canaries come through, until runners are given up that may be silent by no fault of theirs."""
        for _ in range(11):
            self._world.wait(timedelta(seconds=10))
            self._world.send_canary()
            self._world.apply([len(self._world.network.queues[RESULTS_QUEUE]) - 1])
            self._world.reap()
        return None

    def silence(self) -> bool | None:
        """Nothing comes through results for a while, and the injectors watch."""
        for _ in range(6):
            self._world.wait(timedelta(seconds=20))
            self._world.reap()
        return None

    # -- results

    def _some(self, queue: str) -> list[int]:
        """Indices of some copies, as they are taken one after the other."""
        size = len(self._world.network.queues[queue])
        count = min(size, 1 + self._choose(MOST_TOGETHER))
        return [self._choose(size - taken) for taken in range(count)]

    def grant(self) -> bool | None:
        indices = self._some(CLAIMS_QUEUE)
        if not indices:
            return False
        self._world.grant(indices, self._one(CRASHES), self._one(FATES))
        return None

    def crash_grant(self) -> bool | None:
        indices = self._some(CLAIMS_QUEUE)
        if not indices:
            return False
        self._world.grant(indices, self._one(("before", "after")))
        return None

    def apply(self) -> bool | None:
        indices = self._some(RESULTS_QUEUE)
        if not indices:
            return False
        self._world.apply(indices, self._one(CRASHES))
        return None

    # -- runners

    def _a_host(self, condition: Callable[[Host], object]) -> Host | None:
        found = [host for host in self._world.hosts if not host.is_gone and condition(host)]
        return self._one(found) if found else None

    def start(self) -> bool | None:
        host = self._a_host(lambda h: h.runner is None)
        if host is None:
            return False
        # What the earlier runner sent its keeper may still be obeyed.
        while host.keeper is not None and host.keeper.orders and self._choose(2):
            self._world.obey(host)
        self._world.start_runner(host, self._one(FATES))
        return None

    def step(self) -> bool | None:
        host = self._a_host(lambda h: h.runner)
        if host is None:
            return False
        self._world.step_runner(host, self._one(FATES))
        return None

    def deliver(self) -> bool | None:
        wanted = [(h, q, i) for h in self._world.hosts for q, i in self._world.deliverable(h)]
        if not wanted:
            return False
        host, queue, index = self._one(wanted)
        self._world.deliver(host, queue, index)
        if self._choose(4):
            self._world.step_runner(host)
        return None

    def obey(self) -> bool | None:
        host = self._a_host(lambda h: h.keeper and h.keeper.orders)
        if host is None:
            return False
        self._world.obey(host, self._one(("", "", "", "", "", "", "", "", "dies", "fails")))
        return None

    def end(self) -> bool | None:
        host = self._a_host(lambda h: h.processes)
        if host is None:
            return False
        key = self._one(sorted(host.processes))
        code, why = self._one(((1, None), (0, None), (0, None), (0, "timeout")))
        self._world.on_host(host, f"a process ends with {code} {why}", lambda: host.end(key, code, why))
        return None

    def kill_runner(self) -> bool | None:
        host = self._a_host(lambda h: h.runner)
        if host is None:
            return False
        self._world.on_host(host, "its runner is killed", host.kill_runner)
        return None

    def kill_keeper(self) -> bool | None:
        host = self._a_host(lambda h: h.keeper)
        if host is None:
            return False
        self._world.on_host(host, "its keeper is killed", host.kill_keeper)
        return None

    def reboot(self) -> bool | None:
        host = self._a_host(lambda h: True)
        if host is None:
            return False
        self._world.on_host(host, "it reboots", host.reboot)
        return None

    def lose_host(self) -> bool | None:
        """For ever; but one stays."""
        if sum(not host.is_gone for host in self._world.hosts) < 2:
            return False
        host = self._a_host(lambda h: True)
        assert host is not None
        self._world.on_host(host, "it is gone for ever", host.reboot)
        host.is_gone = True
        return None

    def rotate(self) -> bool | None:
        host = self._a_host(lambda h: h.keeper)
        if host is None or host.keeper is None:
            return False
        self._world.on_host(host, "its journal forgets the old", host.keeper.forget_the_old)
        return None

    # -- the network

    def _a_copy(self) -> tuple[list[Copy], int] | None:
        busy = self._world.network.busy()
        if not busy:
            return None
        copies = self._world.network.queues[self._one(busy)]
        return copies, len(copies) - 1 - self._choose(len(copies))

    def double(self) -> bool | None:
        found = self._a_copy()
        if found is None:
            return False
        copies, index = found
        self._world.on_network(
            f"{_body(copies[index])} is doubled", lambda: copies.append(Copy(copies[index].message))
        )
        return None

    def drop(self) -> bool | None:
        found = self._a_copy()
        if found is None:
            return False
        copies, index = found
        self._world.on_network(f"{_body(copies[index])} is lost", lambda: copies.pop(index))
        return None

    def wipe(self) -> bool | None:
        self._world.on_network("the broker loses everything", self._world.network.wipe)
        return None

    def ring_again(self) -> bool | None:
        self._world.ring_again()
        return None

    # -- people

    def edit(self) -> bool | None:
        """Never the guarantee: the world's plan has it."""
        number = self._choose(len(self._world.specs))
        field, value = self._one(
            (
                ("command", f"echo {len(self._world.trace)}"),
                ("schedule", "* * * * *"),
                ("schedule", "*/3 * * * *"),
                ("enabled", False),
                ("enabled", True),
            )
        )
        self._world.edit(number, **{field: value})
        return None

    def wish(self) -> bool | None:
        """Not more than what a single runner can do soon."""
        if len(self._open_runs()) >= MOST_OPEN:
            return False
        job_id = self._one(self._world.job_ids)
        wish = requests.Wish(job_id, Trigger.API, force=True)

        def ask() -> None:
            self._world.db.transact(lambda tx: requests.request_run(tx, wish, self._world.clock.now))

        self._world.ask_people(f"somebody wants job {job_id} to run", ask)
        return None

    def _open_runs(self) -> list[str]:
        return sorted(i for i, r in self._world.watcher.runs.items() if State(r["state"]) in LIVE | WAITING)

    def cancel(self) -> bool | None:
        open_runs = self._open_runs()
        if not open_runs:
            return False
        run_id = self._one(open_runs)

        def ask() -> None:
            self._world.db.transact(
                lambda tx: runs.request_cancel(tx, run_id, "somebody", self._world.clock.now)
            )

        self._world.ask_people(f"somebody cancels {run_id}", ask)
        return None

    def decide(self) -> bool | None:
        held = sorted(i for i, r in self._world.watcher.runs.items() if r["needs_decision"])
        if not held:
            return False
        run_id, decision = self._one(held), self._one(list(lost.Decision))

        def ask() -> None:
            self._world.db.transact(
                lambda tx: lost.decide(tx, run_id, decision, "somebody", self._world.clock.now)
            )

        self._world.ask_people(f"somebody decides {decision} on {run_id}", ask)
        return None


# How often, of about 100.
WEIGHTS = {
    "wait": 5, "wait_long": 0.5, "flow": 2, "expand": 5, "release": 2, "lease": 3, "publish": 8, "mark": 4,
    "crash_injector": 0.5, "canary": 0.5, "reap": 1, "chores": 1.5, "suspect": 1, "silence": 0.3, "grant": 14,
    "crash_grant": 1, "apply": 8, "start": 6,
    "step": 6, "deliver": 26, "obey": 14, "end": 6, "kill_runner": 3, "kill_keeper": 0.7, "reboot": 0.7,
    "lose_host": 0.2, "rotate": 0.5, "double": 5, "drop": 1, "wipe": 0.5, "ring_again": 0.7, "edit": 1,
    "wish": 3, "cancel": 1.5, "decide": 0.5,
}  # fmt: skip


def _body(copy: Copy) -> str:
    return copy.message.body[:90].decode()

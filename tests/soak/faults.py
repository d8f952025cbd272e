"""What the soak does to the system, drawn by a seeded generator.

Two lanes go on at once, one fault at a time in each: what happens to our processes, and what happens to
the servers and to the ways there. So there is always somebody left who works, or will in a moment.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.proxy import Proxy, Way
from tests.servers import MariaDB, RabbitMQ
from tests.soak.check import KEEPER_KILLED, Window, read_lines
from tests.stack import Process, Stack, wait_until


@dataclass
class Targets:
    """All that can be hurt. `ways` are the proxies, by whose way it is to what; `log` is the jobs' own."""

    stack: Stack
    mariadb: MariaDB
    rabbitmq: RabbitMQ
    services: Sequence[Process]
    runners: Sequence[Process]
    ways: dict[str, Proxy]
    log: Path
    killed: list[str] = field(default_factory=list)  # ids of the runs whose processes a fault killed


class Faults:
    """One lane: draws its faults until told to stop, and keeps a list of them."""

    def __init__(
        self, targets: Targets, lane: Mapping[str, Fault], rng: random.Random, *, longest_s: float
    ) -> None:
        self.targets = targets
        self.rng = rng
        self.longest_s = longest_s
        self.windows: list[Window] = []
        self._lane = lane
        self._stop = threading.Event()

    def run(self, until: float) -> None:
        """Blocks until that instant (monotonic); each fault is over before the next begins."""
        names = list(self._lane)
        while time.monotonic() < until:
            # Each kind in turn, in another order each time, so that a short soak has many of them.
            self.rng.shuffle(names)
            for name in names:
                if time.monotonic() >= until:
                    return
                self._pause(1, 4)
                with self._noted(name):
                    self._lane[name](self)

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        window = Window(name, time.time(), time.time())
        self.windows.append(window)
        try:
            yield
        finally:
            window.until = time.time()

    def _hit(self, what: str) -> None:
        self.windows[-1].on = what

    def _pause(self, least_s: float, most_s: float) -> None:
        """Time is what a fault takes: there is nothing to wait for."""
        self._stop.wait(self.rng.uniform(least_s, most_s))

    # -- our processes

    def kill_service(self) -> None:
        self._kill(self.rng.choice(self.targets.services))

    def kill_runner(self) -> None:
        self._kill(self.rng.choice(self.targets.runners))

    def _kill(self, victim: Process) -> None:
        self._hit(victim.name)
        victim.kill()
        self._pause(0, self.longest_s / 2)
        victim.start()

    def kill_keeper(self) -> None:
        pid = self._keeper()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze_keeper(self) -> None:
        pid = self._keeper()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._pause(1, self.longest_s)
                os.kill(pid, signal.SIGCONT)

    def _keeper(self) -> int | None:
        keepers = sorted(self.targets.stack.keepers().items())
        if not keepers:
            return None
        pid, folder = self.rng.choice(keepers)
        self._hit(folder.name)
        return pid

    def kill_job(self) -> None:
        """All processes of a run that has begun and not ended."""
        open_runs = {line.run_id: line.what for line in read_lines(_whole_lines(self.targets.log))}
        begun = [run_id for run_id, what in open_runs.items() if what == "S"][-20:]
        if not begun:
            return
        run_id = self.rng.choice(begun)
        self._hit(run_id)
        self.targets.killed.append(run_id)
        for pid in self.targets.stack.job_pids(run_id):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart_in_order(self) -> None:
        victim = self._any_process()
        code = victim.terminate()
        assert code == 0, f"{victim.name} ended with {code} after SIGTERM"
        victim.start()

    def freeze(self) -> None:
        victim = self._any_process()
        victim.freeze()
        try:
            self._pause(1, self.longest_s)
        finally:
            victim.thaw()

    def _any_process(self) -> Process:
        victim = self.rng.choice([*self.targets.services, *self.targets.runners])
        self._hit(victim.name)
        return victim

    # -- servers, and the ways there

    def kill_broker(self) -> None:
        self.targets.rabbitmq.kill()
        self._pause(0, self.longest_s / 2)
        self.targets.rabbitmq.start()

    def wipe_broker(self) -> None:
        self.targets.rabbitmq.wipe()

    def kill_database(self) -> None:
        self.targets.mariadb.kill()
        self._pause(0, self.longest_s / 2)
        self.targets.mariadb.start()

    def black_hole(self) -> None:
        self._cut(Proxy.black_hole)

    def one_way(self) -> None:
        way = self.rng.choice(list(Way))
        self._cut(lambda proxy: proxy.swallow(way))

    def hold(self) -> None:
        self._cut(Proxy.hold)

    def slow(self) -> None:
        self._cut(lambda proxy: proxy.delay(0.1))

    def throttle(self) -> None:
        self._cut(lambda proxy: proxy.throttle(20_000))

    def refuse(self) -> None:
        def refuse(proxy: Proxy) -> None:
            proxy.refuse()
            proxy.reset()

        self._cut(refuse)

    def reset(self) -> None:
        self._some_way().reset()

    def _cut(self, how: Callable[[Proxy], None]) -> None:
        proxy = self._some_way()
        how(proxy)
        try:
            self._pause(1, self.longest_s)
        finally:
            proxy.heal()

    def _some_way(self) -> Proxy:
        name = self.rng.choice(list(self.targets.ways))
        self._hit(name)
        return self.targets.ways[name]


Fault = Callable[[Faults], None]

PROCESSES: dict[str, Fault] = {
    "kill -9 of a service": Faults.kill_service,
    "kill -9 of a runner": Faults.kill_runner,
    KEEPER_KILLED: Faults.kill_keeper,
    "kill -9 of a job": Faults.kill_job,
    "restart in good order": Faults.restart_in_order,
    "freeze (SIGSTOP)": Faults.freeze,
    "freeze of a keeper": Faults.freeze_keeper,
}
SERVERS: dict[str, Fault] = {
    "kill -9 of the broker": Faults.kill_broker,
    "broker wiped": Faults.wipe_broker,
    "kill -9 of the database": Faults.kill_database,
    "partition, everything lost": Faults.black_hole,
    "partition, one way lost": Faults.one_way,
    "partition, everything late": Faults.hold,
    "slow network": Faults.slow,
    "narrow network": Faults.throttle,
    "connections refused": Faults.refuse,
    "connections reset": Faults.reset,
}


def _whole_lines(log: Path) -> str:
    """What jobs have written so far, without a line that is being written."""
    text = log.read_text() if log.exists() else ""
    return text[: text.rfind("\n") + 1]


def wait_until_well(stack: Stack, processes: Sequence[Process], within_s: float) -> None:
    """Until each process runs and says in its log that it is ready since its last start."""
    for process in processes:
        wait_until(f"{process.name} runs", lambda p=process: p.is_running, within_s)  # type: ignore[misc]
        process.ready_line()
    wait_until("there are keepers", stack.keepers, within_s)

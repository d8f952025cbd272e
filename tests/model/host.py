"""A machine of the model: one runner's folder, its keeper, its processes, and the real runner, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cronq.bus.interface import Consumer, Delivery
from cronq.bus.topology import job_queue
from cronq.runner.folder import Folder
from cronq.runner.keeper_client import KeeperEvent
from cronq.runner.options import Options
from cronq.runner.service import Runner
from cronq.runtime.settings import Settings
from tests.model.keeper import KeeperClient, KeeperProcess, Key
from tests.model.network import HandConsumer, HandDelivery, Link

if TYPE_CHECKING:
    from tests.model.world import World

SLOTS = 2


@dataclass
class Fork:
    """A real start, written down outside of every database and journal."""

    run_id: str
    attempt: int
    lineage: str
    is_running: bool = True
    return_code: int | None = None  # None: it runs, or was cut off
    why: str | None = None

    @property
    def is_bad(self) -> bool:
        """It ended, and everybody can know that it did, but not well."""
        return not self.is_running and self.return_code is not None and not self.is_good

    @property
    def is_good(self) -> bool:
        return self.return_code == 0 and self.why is None


class HandRunner(Runner):
    """The runner without its listening threads."""

    def __init__(self, settings: Settings, options: Options, link: Link, folder: Folder) -> None:
        self.link = link
        self.on: dict[int, Callable[[Delivery], None]] = {}  # by consumer
        super().__init__(settings, options, bus=link, folder=folder, queues=[job_queue("default")])

    def _listen(self, name: str, consumer: Consumer, on: Callable[[Delivery], None]) -> None:
        self.on[id(consumer)] = on

    def queues_with_room(self) -> list[tuple[str, HandConsumer]]:
        return [(q, c) for c in self.link.consumers for q in c.queues if c.has_room(q)]

    def hand(self, delivery: HandDelivery, consumer: HandConsumer) -> None:
        self.on[id(consumer)](delivery)

    @property
    def instance(self) -> str:
        return self._owner.instance


class Host:
    """Its `skew` is how far its wall clock is ahead. It is also what its runner takes for its folder."""

    def __init__(self, world: World, number: int, runner_name: str, path: Path, skew: timedelta) -> None:
        self.world = world
        self.number = number
        self.name = f"host{number}"
        self.runner_name = runner_name
        self.skew = skew
        self.path = path
        self.lineage = f"{number:x}" * 32
        self.boots = 1
        self.is_gone = False  # for ever
        self.processes: dict[Key, Fork] = {}
        self.keeper: KeeperProcess | None = None
        self.runner: HandRunner | None = None
        self._counted = 0

    # -- what the runner asks of its folder

    def count_process(self) -> int:
        self._counted += 1
        return self._counted

    @property
    def boot_id(self) -> str:
        return f"boot {self.boots}"

    def time(self) -> float:
        """Seconds since the epoch, by its own clock."""
        return (self.world.clock.now + self.skew).timestamp()

    def connect(self, tell: Callable[[KeeperEvent], None]) -> KeeperClient:
        if self.keeper is None:
            self.keeper = KeeperProcess(self)
        return KeeperClient(self.keeper, tell)

    # -- the runner

    def start_runner(self) -> None:
        link = Link(self.world.network)
        options = Options(name=self.runner_name, slots=SLOTS)
        self.runner = HandRunner(self.world.settings, options, link, cast(Folder, self))
        self.runner.step()

    def kill_runner(self) -> None:
        if self.runner is None:
            return
        self.runner.link.close()
        self.runner = None
        if self.keeper is not None and self.keeper.client is not None:
            self.keeper.client.close()

    # -- the keeper and its processes

    def kill_keeper(self) -> None:
        """Its processes run on until the next keeper of the folder finds them."""
        if self.keeper is not None:
            self.keeper.die()
            self.keeper = None

    def fork(self, key: Key) -> int:
        fork = Fork(*key, self.lineage)
        self.processes[key] = fork
        self.world.forks.append(fork)
        return 4711

    def end(self, key: Key, code: int, why: str | None = None) -> None:
        """A process ends; its exit code is known only to a keeper that lives."""
        fork = self.processes.pop(key)
        fork.is_running = False
        if self.keeper is not None:
            fork.return_code, fork.why = code, why
            self.keeper.ended(key, code, why)

    def kill(self, key: Key, why: str) -> None:
        if key in self.processes:
            self.end(key, -15, why)

    def cut_off(self, key: Key) -> None:
        fork = self.processes.pop(key, None)
        if fork is not None:
            fork.is_running = False

    def reboot(self) -> None:
        """The power fails, and comes back: nothing starts by itself."""
        self.kill_runner()
        self.kill_keeper()
        for key in list(self.processes):
            self.cut_off(key)
        self.boots += 1

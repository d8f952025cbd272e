"""The hands that the model puts in place of clocks, chance, sockets and logs, in the real services."""

from __future__ import annotations

import queue
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from cronq import store
from cronq.store.engine import Store, Tx

if TYPE_CHECKING:
    from tests.model.world import World

T = TypeVar("T")

LOGGING = (
    "cronq.injector.watch",
    "cronq.results.batch",
    "cronq.results.poison",
    "cronq.results.service",
    "cronq.runner.attempts",
    "cronq.runner.service",
    "cronq.store.lost",
)


class Crash(BaseException):
    """The process is gone, at this very place."""


class CrashingStore(Store):
    """A service's way to the database; the service dies at its next commit when it is told to."""

    def __init__(self, db: Store) -> None:
        super().__init__(db.engine)
        self.crash: str | None = None  # "before" or "after" the commit
        self.commits = 0

    def transact(self, work: Callable[[Tx], T]) -> T:
        crash, self.crash = self.crash, None

        def doomed(tx: Tx) -> T:
            result = work(tx)
            if crash == "before":
                raise Crash
            return result

        result = super().transact(doomed)
        self.commits += 1
        if crash == "after":
            raise Crash
        return result


class Inbox(queue.SimpleQueue[Any]):
    """Never waits."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(block=False)


class _Queues:
    SimpleQueue = Inbox
    Empty = queue.Empty


class Silence:
    """A logger."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class _Time:
    def __init__(self, time: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.time = time
        self.monotonic = monotonic


class _Secrets:
    """Chance, the same in each run of the same test."""

    def __init__(self, world: World) -> None:
        self.randbits = world.chance.getrandbits
        self._chance = world.chance

    def token_hex(self, size: int) -> str:
        return f"{self._chance.getrandbits(8 * size):0{2 * size}x}"


def lay_on(world: World, patch: pytest.MonkeyPatch) -> None:
    """Let the real code live in this world until `patch` is undone."""
    patch.setattr(store, "now", lambda tx: world.clock.now)
    for name in LOGGING:
        patch.setattr(import_module(name), "log", Silence())
    chance, clocks = _Secrets(world), _Time(world.host_time, world.monotonic)
    for name in (
        "injector.expand",
        "runner.claiming",
        "runner.options",
        "store.requests",
        "store.settling",
    ):
        patch.setattr(import_module(f"cronq.{name}"), "secrets", chance)
    for name in ("runner.outbox", "runner.keeper.writer"):
        patch.setattr(import_module(f"cronq.{name}"), "time", clocks)
    service, attempts = import_module("cronq.runner.service"), import_module("cronq.runner.attempts")
    patch.setattr(service, "clock", world.monotonic)
    patch.setattr(service, "queue", _Queues)
    patch.setattr(service, "version", lambda _: "1.0")
    patch.setattr(service, "host_name", lambda: world.acting.name if world.acting else "")
    for module in (service, attempts):
        patch.setattr(module, "utc_now", world.host_now)
    patch.setattr(attempts.Keeper, "connect_or_spawn", lambda folder, on_event: folder.connect(on_event))

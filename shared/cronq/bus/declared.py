"""The queues a bus was asked to declare, so that it can declare them again."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from cronq.bus.interface import Queue


class Declared:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, Queue] = {}

    def add(self, queues: Iterable[Queue]) -> None:
        """Remember these; a later one of the same name replaces the earlier."""
        with self._lock:
            self._queues.update({queue.name: queue for queue in queues})

    def all(self) -> list[Queue]:
        with self._lock:
            return list(self._queues.values())

    def durable(self) -> list[Queue]:
        """All but the private ones, which only one connection may touch."""
        return [queue for queue in self.all() if not queue.private]

    def find(self, name: str) -> Queue | None:
        with self._lock:
            return self._queues.get(name)

    def has_key(self, key: str) -> bool:
        """Whether a durable queue of ours should get messages of this key."""
        return any(key in queue.keys for queue in self.durable())

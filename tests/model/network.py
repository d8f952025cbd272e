"""A broker in the hands of an adversary: it loses, doubles, delays and reorders whatever it likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from cronq.bus.interface import Confirm, Consumer, Delivery, Message, Queue, QueueStats


class Fate(Enum):
    """What becomes of messages at the moment of their publishing."""

    KEPT = "kept"
    UNSURE = "kept, but the confirm is lost"
    LOST = "lost, without a confirm"


@dataclass(eq=False)
class Copy:
    """One message in one queue."""

    message: Message
    redelivered: bool = False


class Network:
    """The queues. Any copy may be taken next, at any time: one that nobody takes is delayed."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Copy]] = {}
        self.fate = Fate.KEPT  # of what is published now
        self._bound: dict[str, set[str]] = {}

    def declare(self, queue: Queue) -> None:
        self.queues.setdefault(queue.name, [])
        for key in queue.keys:
            self._bound.setdefault(key, set()).add(queue.name)

    def drop(self, name: str) -> None:
        """A private queue goes, and all in it, with its connection."""
        del self.queues[name]
        for names in self._bound.values():
            names.discard(name)

    def route(self, message: Message) -> Confirm:
        names = self._bound.get(message.key, set())
        if self.fate is Fate.LOST:
            return Confirm.UNKNOWN
        for name in sorted(names):
            self.queues[name].append(Copy(message))
        if self.fate is Fate.UNSURE:
            return Confirm.UNKNOWN
        return Confirm.CONFIRMED if names else Confirm.UNROUTABLE

    def busy(self) -> list[str]:
        """The queues that hold something."""
        return sorted(name for name, copies in self.queues.items() if copies)

    def wipe(self) -> None:
        """The broker comes back without its data."""
        for copies in self.queues.values():
            copies.clear()


class Link:
    """One service's connection; a `Bus`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._private: list[str] = []
        self.consumers: list[HandConsumer] = []
        self.unacked: list[HandDelivery] = []
        self.is_open = True

    def declare(self, queues: Sequence[Queue]) -> None:
        for queue in queues:
            self._network.declare(queue)
            if queue.private:
                self._private.append(queue.name)

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        if not self.is_open:
            return [Confirm.UNKNOWN] * len(messages)
        return [self._network.route(message) for message in messages]

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        settled(self.publish(messages))

    def consume(self, queues: Sequence[str], prefetch: int) -> Consumer:
        consumer = HandConsumer(self, tuple(queues), prefetch)
        self.consumers.append(consumer)
        return consumer

    def stats(self, queue: str) -> QueueStats | None:
        found = self._network.queues.get(queue)
        return None if found is None else QueueStats(len(found), 1)

    def is_connected(self) -> bool:
        return self.is_open

    @property
    def last_error(self) -> str | None:
        return None

    def on_reconnect(self, call: Callable[[], None]) -> None:
        """The links of this model never come back: a new process opens a new one."""

    def close(self) -> None:
        """The connection is gone: what it had and did not ack goes back to the queues."""
        self.is_open = False
        for delivery in self.unacked[:]:
            delivery.give_back()
        for name in self._private:
            self._network.drop(name)
        self._private.clear()

    def take(self, queue: str, index: int) -> HandDelivery:
        """Any copy of a queue, in whatever place."""
        delivery = HandDelivery(self, self._network, queue, self._network.queues[queue].pop(index))
        self.unacked.append(delivery)
        return delivery


class HandConsumer:
    """A `Consumer` that is given deliveries and does not take them."""

    def __init__(self, link: Link, queues: tuple[str, ...], prefetch: int) -> None:
        self._link = link
        self.queues = queues
        self._prefetch = prefetch
        self._is_paused = False

    def has_room(self, queue: str) -> bool:
        """Whether the broker would deliver another message of this queue."""
        taken = sum(delivery.queue == queue for delivery in self._link.unacked)
        return queue in self.queues and not self._is_paused and taken < self._prefetch

    def take(self, most: int, timeout_s: float) -> list[Delivery]:
        raise AssertionError("nobody waits in a model")

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False

    def close(self) -> None:
        self._is_paused = True


class HandDelivery:
    """A `Delivery`."""

    def __init__(self, link: Link, network: Network, queue: str, copy: Copy) -> None:
        self._link = link
        self._network = network
        self.queue = queue
        self._copy = copy

    @property
    def key(self) -> str:
        return self._copy.message.key

    @property
    def body(self) -> bytes:
        return self._copy.message.body

    @property
    def reply_to(self) -> str | None:
        return self._copy.message.reply_to

    @property
    def headers(self) -> Mapping[str, str | int]:
        return self._copy.message.headers

    @property
    def redelivered(self) -> bool:
        return self._copy.redelivered

    def ack(self) -> None:
        if self in self._link.unacked:
            self._link.unacked.remove(self)

    def reject(self, *, requeue: bool) -> None:
        if self in self._link.unacked:
            self.give_back() if requeue else self.ack()

    def give_back(self) -> None:
        self._link.unacked.remove(self)
        self._network.queues[self.queue].append(Copy(self._copy.message, redelivered=True))

"""The bus inside one process: every `open` of one URL shares one exchange, and nothing outlives it."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cronq.bus.interface import Confirm, Consumer, Delivery, Message, Queue, QueueStats, check_prefetch
from cronq.domain.errors import Unavailable

_exchanges: dict[str, _Exchange] = {}
_exchanges_lock = threading.Lock()


def open_memory(url: str) -> MemoryBus:
    """A bus on the exchange of this URL, made at its first use and kept as long as the process."""
    with _exchanges_lock:
        return MemoryBus(_exchanges.setdefault(url, _Exchange()))


@dataclass(order=True)
class _Entry:
    """One message in one queue; `place` is where it came in, which a requeue keeps."""

    place: int
    message: Message = field(compare=False)
    expires_at: float | None = field(compare=False)
    redelivered: bool = field(compare=False, default=False)

    def is_expired(self, now_s: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now_s


class _Queue:
    """Entries that wait, in the order they came; used under the exchange's lock."""

    def __init__(self, name: str, owner: MemoryBus | None) -> None:
        self.name = name
        self.owner = owner  # of a private queue
        self._waiting: list[_Entry] = []
        self._places = 0

    def put(self, message: Message, now_s: float) -> None:
        self._places += 1
        expires_at = None if message.expiration_ms is None else now_s + message.expiration_ms / 1000
        heapq.heappush(self._waiting, _Entry(self._places, message, expires_at))

    def put_back(self, entry: _Entry) -> None:
        entry.redelivered = True
        heapq.heappush(self._waiting, entry)

    def next(self, now_s: float) -> _Entry | None:
        while self._waiting:
            entry = heapq.heappop(self._waiting)
            if not entry.is_expired(now_s):
                return entry
        return None

    def ready(self, now_s: float) -> int:
        return sum(not entry.is_expired(now_s) for entry in self._waiting)


class _Exchange:
    """The queues and bindings that buses share; whoever reads or changes them holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, _Queue] = {}
        self.consumers: list[_Consumer] = []
        self._bound: dict[str, list[str]] = {}

    def declare(self, spec: Queue, owner: MemoryBus) -> None:
        queue = self.queues.setdefault(spec.name, _Queue(spec.name, owner if spec.private else None))
        if queue.owner not in (None, owner):
            raise Unavailable(f"queue {spec.name!r} belongs to another bus")
        for key in spec.keys:
            names = self._bound.setdefault(key, [])
            if spec.name not in names:
                names.append(spec.name)

    def route(self, message: Message, now_s: float) -> list[str]:
        names = self._bound.get(message.key, [])
        for name in names:
            self.queues[name].put(message, now_s)
        return names

    def drop_queues_of(self, owner: MemoryBus) -> None:
        for name in [name for name, queue in self.queues.items() if queue.owner is owner]:
            del self.queues[name]
            for names in self._bound.values():
                if name in names:
                    names.remove(name)

    def wake(self, names: Iterable[str]) -> None:
        for consumer in self.consumers:
            if any(consumer.listens_to(name) for name in names):
                consumer.changed.notify()


class MemoryBus:
    """A `Bus`; its messages live as long as the process, private queues as long as the bus."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._closed = False

    def declare(self, queues: Sequence[Queue]) -> None:
        with self._exchange.lock:
            self._raise_if_closed()
            for queue in queues:
                self._exchange.declare(queue, self)

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        with self._exchange.lock:
            if self._closed:
                return [Confirm.UNKNOWN] * len(messages)
            now_s = time.monotonic()
            routes = [self._exchange.route(message, now_s) for message in messages]
            self._exchange.wake({name for names in routes for name in names})
            return [Confirm.CONFIRMED if names else Confirm.UNROUTABLE for names in routes]

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        settled(self.publish(messages))

    def consume(self, queues: Sequence[str], prefetch: int) -> Consumer:
        with self._exchange.lock:
            self._raise_if_closed()
            check_prefetch(prefetch)
            consumer = _Consumer(self._exchange, self, tuple(queues), prefetch)
            self._exchange.consumers.append(consumer)
            return consumer

    def stats(self, queue: str) -> QueueStats | None:
        with self._exchange.lock:
            self._raise_if_closed()
            found = self._exchange.queues.get(queue)
            if found is None:
                return None
            consumers = sum(consumer.listens_to(queue) for consumer in self._exchange.consumers)
            return QueueStats(found.ready(time.monotonic()), consumers)

    def is_connected(self) -> bool:
        return not self._closed

    @property
    def last_error(self) -> str | None:
        return "closed" if self._closed else None

    def on_reconnect(self, call: Callable[[], None]) -> None:
        """Nothing to do: there is no connection to lose."""

    def close(self) -> None:
        with self._exchange.lock:
            self._closed = True
            for consumer in [one for one in self._exchange.consumers if one.owner is self]:
                consumer.close()
            self._exchange.drop_queues_of(self)

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the bus is closed")


class _Consumer:
    """A `Consumer` that takes straight from the queues: what it did not take was never away."""

    def __init__(self, exchange: _Exchange, owner: MemoryBus, queues: tuple[str, ...], prefetch: int) -> None:
        self.owner = owner
        self.changed = threading.Condition(exchange.lock)
        self._exchange = exchange
        self._queues = queues
        self._prefetch = prefetch
        self._unacked: dict[str, dict[_Delivery, None]] = {queue: {} for queue in queues}
        self._paused = False
        self._closed = False

    def listens_to(self, queue: str) -> bool:
        return queue in self._queues and not self._paused and queue in self._exchange.queues

    def take(self, most: int, timeout_s: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not self._closed:
                taken = self._take_now(most)
                left_s = deadline - time.monotonic()
                if taken or left_s <= 0:
                    return list(taken)
                self.changed.wait(left_s)
            return []

    def pause(self) -> None:
        with self.changed:
            self._paused = True

    def resume(self) -> None:
        with self.changed:
            self._paused = False
            self.changed.notify()

    def close(self) -> None:
        with self.changed:
            if self._closed:
                return
            self._closed = True
            self._exchange.consumers.remove(self)
            for deliveries in self._unacked.values():
                for delivery in list(deliveries):
                    delivery.reject(requeue=True)
            self.changed.notify_all()

    def settle(self, delivery: _Delivery, *, requeue: bool) -> None:
        with self.changed:
            if delivery not in self._unacked[delivery.queue]:
                return
            del self._unacked[delivery.queue][delivery]
            self.changed.notify()  # there is room under the prefetch
            if requeue and self._exchange.queues.get(delivery.queue) is delivery.source:
                delivery.source.put_back(delivery.entry)
                self._exchange.wake([delivery.queue])

    def _take_now(self, most: int) -> list[_Delivery]:
        now_s = time.monotonic()
        taken: list[_Delivery] = []
        for name in () if self._paused else self._queues:
            queue = self._exchange.queues.get(name)
            while queue and len(taken) < most and len(self._unacked[name]) < self._prefetch:
                entry = queue.next(now_s)
                if entry is None:
                    break
                delivery = _Delivery(self, queue, entry, entry.redelivered)
                self._unacked[name][delivery] = None
                taken.append(delivery)
        return taken


@dataclass(frozen=True, eq=False)
class _Delivery:
    """A `Delivery`, compared by identity."""

    consumer: _Consumer
    source: _Queue
    entry: _Entry
    redelivered: bool

    @property
    def queue(self) -> str:
        return self.source.name

    @property
    def key(self) -> str:
        return self.entry.message.key

    @property
    def body(self) -> bytes:
        return self.entry.message.body

    @property
    def reply_to(self) -> str | None:
        return self.entry.message.reply_to

    @property
    def headers(self) -> Mapping[str, str | int]:
        return self.entry.message.headers

    def ack(self) -> None:
        self.consumer.settle(self, requeue=False)

    def reject(self, *, requeue: bool) -> None:
        self.consumer.settle(self, requeue=requeue)

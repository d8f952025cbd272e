"""The bus on RabbitMQ: one connection to publish, which the broker may block, and one to consume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from cronq.bus.amqp_link import Link
from cronq.bus.amqp_login import tls_context
from cronq.bus.amqp_publish import Publisher
from cronq.bus.amqp_receive import Receiver
from cronq.bus.amqp_url import servers
from cronq.bus.declared import Declared
from cronq.bus.interface import Confirm, Consumer, Message, Queue, QueueStats, check_prefetch
from cronq.domain.errors import Unavailable

log = structlog.get_logger()

_DECLARE_TIMEOUT_S = 3.0  # short, since a service that is told to end waits for it
_STATS_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 3.0


def open_amqp(url: str, *, name: str) -> AmqpBus:
    """Start connecting in the background. Raises ConfigError for a bad URL or certificate file."""
    return AmqpBus(url, name=name)


class AmqpBus:
    """A `Bus`."""

    def __init__(self, url: str, *, name: str) -> None:
        hosts = servers(url)
        for tls in {server.tls for server in hosts if server.tls}:
            tls_context(tls)
        declared = Declared()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []
        self._was_connected = self._was_lost = self._closed = False
        self._out = Link(hosts, name=name, role="publish", changed=self._changed)
        self._in = Link(hosts, name=name, role="consume", changed=self._changed)
        self._publisher = Publisher(self._out, declared)
        self._receiver = Receiver(self._in, declared)
        self._out.start(self._publisher)
        self._in.start(self._receiver)

    def declare(self, queues: Sequence[Queue]) -> None:
        self._raise_if_closed()
        self._receiver.declare(queues, _DECLARE_TIMEOUT_S)

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        if self._closed:
            return [Confirm.UNKNOWN] * len(messages)
        return self._publisher.publish(messages, timeout_s)

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        if self._closed or not messages:
            settled([Confirm.UNKNOWN] * len(messages))
        else:
            self._publisher.send(messages, settled)

    def consume(self, queues: Sequence[str], prefetch: int) -> Consumer:
        self._raise_if_closed()
        check_prefetch(prefetch)
        return self._receiver.consume(queues, prefetch)

    def stats(self, queue: str) -> QueueStats | None:
        self._raise_if_closed()
        return self._receiver.stats(queue, _STATS_TIMEOUT_S)

    def is_connected(self) -> bool:
        return self._out.is_up and self._in.is_up

    @property
    def last_error(self) -> str | None:
        if self._closed:
            return "closed"
        return None if self.is_connected() else self._out.last_error or self._in.last_error

    def on_reconnect(self, call: Callable[[], None]) -> None:
        with self._lock:
            self._calls.append(call)

    def close(self) -> None:
        self._closed = True
        self._receiver.close()
        self._publisher.close()
        for link in (self._in, self._out):
            link.close(_CLOSE_TIMEOUT_S)
        for link in (self._in, self._out):
            link.join()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the bus is closed")

    def _changed(self) -> None:
        with self._lock:
            is_connected = self.is_connected()
            is_back = is_connected and self._was_lost
            self._was_lost = not is_connected and (self._was_lost or self._was_connected)
            self._was_connected = is_connected
            calls = list(self._calls) if is_back and not self._closed else []
        for call in calls:
            try:
                call()
            except Exception:  # a caller's bug must not cost the connection
                log.exception("bus.on_reconnect_failed")

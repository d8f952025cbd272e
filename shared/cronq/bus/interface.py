"""What a bus can do; `amqp` and `memory` are its two implementations, held to one contract.

The bus only rings: a message that is lost, doubled or late must be harmless to its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

_SHORT_STRING = 255  # bytes in an AMQP short string
_MOST_PREFETCH = 65535  # 16 bits


@dataclass(frozen=True)
class Message:
    """What is published to the exchange `cronq` under the routing key `key`."""

    key: str
    body: bytes
    persistent: bool = True
    expiration_ms: int | None = None  # the broker drops it undelivered after this
    reply_to: str | None = None  # routing key that an answer goes to
    headers: Mapping[str, str | int] = field(default_factory=dict)  # pika can't encode floats

    def __post_init__(self) -> None:
        """Raises ValueError for what AMQP can't carry: here, where the caller sees it."""
        _check_short(self.key, self.reply_to or "", *self.headers)
        for name, value in self.headers.items():
            if not _is_header_value(value):
                raise ValueError(f"header {name!r} is {value!r}; allowed is text or a 64-bit integer")
        if self.expiration_ms is not None and not 0 <= self.expiration_ms < 2**32:
            raise ValueError(f"expiration_ms is {self.expiration_ms}; allowed is 0 to {2**32 - 1}")


def check_prefetch(prefetch: int) -> None:
    """Raises ValueError for what AMQP doesn't know; its 0 is "no limit", which nobody here wants."""
    if not 1 <= prefetch <= _MOST_PREFETCH:
        raise ValueError(f"prefetch is {prefetch}; allowed is 1 to {_MOST_PREFETCH}")


def _check_short(*texts: str) -> None:
    for text in texts:
        if len(text.encode()) > _SHORT_STRING:
            raise ValueError(f"{text[:40]!r}… is longer than the {_SHORT_STRING} bytes allowed")


def _is_header_value(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or bool(value.encode())  # a lone surrogate raises, as ValueError
    return isinstance(value, int) and -(2**63) <= value < 2**63


class Confirm(Enum):
    """What became of one published message."""

    CONFIRMED = "confirmed"  # the broker has it in at least one queue
    UNROUTABLE = "unroutable"  # returned: no queue is bound to its key
    UNKNOWN = "unknown"  # nacked, timed out or connection lost: it may still be delivered


@dataclass(frozen=True)
class Queue:
    """A queue to declare and the routing keys it is bound to.

    A durable queue that exists with other properties is used as it is. A private one belongs to the
    bus that declared it: nobody else may use it, it is gone with the connection, and it is declared
    again after each reconnect. (Exclusive, not auto-delete: that would lose it at the first pause.)
    """

    name: str
    keys: tuple[str, ...]
    private: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for names that AMQP can't carry."""
        if not self.name:
            raise ValueError("the name of a queue is empty")
        _check_short(self.name, *self.keys)


@dataclass(frozen=True)
class QueueStats:
    """Messages ready for delivery, and consumers, at the time of asking."""

    ready: int
    consumers: int


class Delivery(Protocol):
    """One message taken from a queue; it must be acked or rejected once.

    Both are thread-safe, don't block, and do nothing when the connection it came by is gone (the
    broker then delivers the message again).
    """

    @property
    def queue(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def headers(self) -> Mapping[str, str | int]: ...
    @property
    def redelivered(self) -> bool: ...

    def ack(self) -> None: ...
    def reject(self, *, requeue: bool) -> None: ...


class Consumer(Protocol):
    """Deliveries of one or more queues, pulled by one thread; survives reconnects by itself."""

    def take(self, most: int, timeout_s: float) -> list[Delivery]:
        """Wait up to `timeout_s` for a first delivery, then return all at hand, `most` at the most."""
        ...

    def pause(self) -> None:
        """Stop deliveries; those that nobody took yet go back to their queue. Idempotent."""
        ...

    def resume(self) -> None:
        """Deliver again. Idempotent."""
        ...

    def close(self) -> None:
        """Stop for good; unacked deliveries go back to their queue."""
        ...


class Bus(Protocol):
    """Thread-safe. Reconnects for ever with jittered backoff; declared queues are declared again."""

    def declare(self, queues: Sequence[Queue]) -> None:
        """Declare the exchange and these queues and bind them; blocks until done.

        Raises Unavailable when the broker can't be reached within the connect timeout, or refuses;
        the queues stay on the list and are declared at the next connect.
        """
        ...

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        """Publish a batch, mandatory and confirmed, and block for the verdict on each.

        Never raises for the broker's sake: what has no verdict within `timeout_s` is UNKNOWN.
        """
        ...

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        """Publish a batch as `publish` does, without waiting for it.

        `settled` gets the verdicts once all are there, or UNKNOWN when the connection is lost: from a
        thread of the bus, where it must not block. What can't be sent now waits until it can; what waited
        for 10 s is UNKNOWN then, and not sent.
        """
        ...

    def consume(self, queues: Sequence[str], prefetch: int) -> Consumer:
        """Consume queues declared before; at most `prefetch` unacked deliveries per queue."""
        ...

    def stats(self, queue: str) -> QueueStats | None:
        """Depth and consumers, or None when there is no such queue. Raises Unavailable."""
        ...

    def is_connected(self) -> bool:
        """Whether both connections (publishing, consuming) are up now and not blocked."""
        ...

    @property
    def last_error(self) -> str | None:
        """Why the bus is not connected, without secrets; None when it is or nothing was tried yet."""
        ...

    def on_reconnect(self, call: Callable[[], None]) -> None:
        """Call this (from a bus thread, it must not block) each time a lost connection is back."""
        ...

    def close(self) -> None:
        """Close the connections; blocks up to a few seconds. Idempotent."""
        ...

"""One message from RabbitMQ, tied to the channel that it came by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pika.channel import Channel


@dataclass(slots=True, eq=False)
class AmqpDelivery:
    """A `Delivery`; once its channel is gone it can no longer be settled."""

    settle: Callable[[AmqpDelivery, bool | None], None]  # ack is None, reject whether to requeue
    channel: Channel
    tag: int
    queue: str
    key: str
    body: bytes
    reply_to: str | None
    headers: Mapping[str, str | int]
    redelivered: bool
    is_settled: bool = False

    def ack(self) -> None:
        self.settle(self, None)

    def reject(self, *, requeue: bool) -> None:
        self.settle(self, requeue)


def known_headers(received: dict[Any, Any] | None) -> dict[str, str | int]:
    """Those that a `Message` could have had; others may send any type."""
    return {name: value for name, value in (received or {}).items() if isinstance(value, str | int)}

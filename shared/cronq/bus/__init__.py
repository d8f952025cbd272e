"""Messages between the services: `open` a bus by its URL, RabbitMQ's or the one in memory."""

from __future__ import annotations

from cronq.bus.interface import Bus, Confirm, Consumer, Delivery, Message, Queue, QueueStats
from cronq.domain.errors import ConfigError

__all__ = ["Bus", "Confirm", "Consumer", "Delivery", "Message", "Queue", "QueueStats", "open"]


def open(url: str, *, name: str) -> Bus:
    """A bus that connects in the background, at once and for ever; `name` is shown on the broker.

    `amqp://…` and `amqps://…` (several hosts, or whole URLs, separated by commas) are RabbitMQ,
    `memory:` is inside this process. Doesn't block. Raises ConfigError for any other URL.
    """
    if url.startswith(("amqp://", "amqps://")):
        from cronq.bus.amqp import open_amqp  # noqa: PLC0415 - embedded mode loads no AMQP client

        return open_amqp(url, name=name)
    if url.startswith("memory:"):
        from cronq.bus.memory import open_memory  # noqa: PLC0415 - nor a real bus the one in memory

        return open_memory(url)
    scheme = url.partition(":")[0] if ":" in url else ""
    raise ConfigError(f"bus URL scheme is {scheme!r}; allowed are amqp://host/vhost, amqps://… and memory:")

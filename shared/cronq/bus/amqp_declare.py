"""Declaring on a broker that others use too: look first, create only what is missing, change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import ChannelClosedByBroker

from cronq.bus.amqp_script import NOT_FOUND, PRECONDITION_FAILED, Reply, Script, once, refused_with
from cronq.bus.interface import Queue, QueueStats
from cronq.bus.topology import EXCHANGE

log = structlog.get_logger()


def declare_all(connection: Connection, queues: Sequence[Queue]) -> Script[dict[str, str]]:
    """Declare the exchange and the queues; returns what the broker refused, name → its reason."""
    refused: dict[str, str] = {}
    try:
        yield from _ensure_exchange(connection)
    except ChannelClosedByBroker as error:
        refused[EXCHANGE] = _reason(error)
    for queue in queues:
        try:
            yield from ensure_queue(connection, queue)
        except ChannelClosedByBroker as error:
            refused[queue.name] = _reason(error)
    return refused


def ensure_queue(connection: Connection, queue: Queue) -> Script[None]:
    """Have the queue exist and bound. Throws ChannelClosedByBroker when it can't be created."""
    if queue.private:
        yield from once(connection, partial(_create_private, queue.name))
        yield from _bind(connection, queue)
        return
    existed = (yield from stats(connection, queue.name)) is not None
    if not existed:
        yield from _create(connection, partial(_create_durable, queue.name))
    try:
        yield from _bind(connection, queue)
    except ChannelClosedByBroker as error:
        if not existed:
            raise
        log.warning("bus.bind_refused", queue=queue.name, keys=queue.keys, reason=_reason(error))


def stats(connection: Connection, name: str) -> Script[QueueStats | None]:
    """Depth and consumers of a queue, None if there is none."""
    try:
        frame: Any = yield from once(
            connection, lambda channel, reply: channel.queue_declare(name, passive=True, callback=reply)
        )
    except ChannelClosedByBroker as error:
        if refused_with(error, NOT_FOUND):
            return None
        raise
    return QueueStats(ready=frame.method.message_count, consumers=frame.method.consumer_count)


def _ensure_exchange(connection: Connection) -> Script[None]:
    try:
        yield from once(
            connection, lambda channel, done: channel.exchange_declare(EXCHANGE, passive=True, callback=done)
        )
    except ChannelClosedByBroker as error:
        if not refused_with(error, NOT_FOUND):
            raise
        yield from _create(
            connection,
            lambda channel, reply: channel.exchange_declare(EXCHANGE, "direct", durable=True, callback=reply),
        )


def _create(connection: Connection, call: Callable[[Channel, Reply], object]) -> Script[None]:
    try:
        yield from once(connection, call)
    except ChannelClosedByBroker as error:
        if not refused_with(error, PRECONDITION_FAILED):  # else another made it first, in its own way
            raise


def _create_durable(name: str, channel: Channel, reply: Reply) -> None:
    channel.queue_declare(name, durable=True, callback=reply)


def _create_private(name: str, channel: Channel, reply: Reply) -> None:
    channel.queue_declare(name, exclusive=True, callback=reply)


def _bind(connection: Connection, queue: Queue) -> Script[None]:
    for key in queue.keys:
        yield from once(connection, partial(_bind_one, queue.name, key))


def _bind_one(name: str, key: str, channel: Channel, reply: Reply) -> None:
    channel.queue_bind(name, EXCHANGE, key, callback=reply)


def _reason(error: ChannelClosedByBroker) -> str:
    return f"{error.reply_code} {error.reply_text}"

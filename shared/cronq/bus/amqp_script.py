"""A sequence of channel calls written as a generator, run by callbacks on the connection's thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import AMQPError, ChannelClosedByBroker

T = TypeVar("T")
Reply = Callable[[Any], None]
Failed = Callable[[BaseException], None]
Ask = Callable[[Reply, Failed], object]  # starts one call; later calls back one of the two
Script = Generator[Ask, Any, T]

NOT_FOUND = 404
PRECONDITION_FAILED = 406


def run(script: Script[T], done: Callable[[T | None, BaseException | None], None]) -> None:
    """Run the script on this I/O thread; `done` gets its result, or the AMQP error that ended it."""
    _Run(script, done).resume(0, lambda: next(script))


class _Run:
    def __init__(self, script: Script[T], done: Callable[[T | None, BaseException | None], None]) -> None:
        self._script = script
        self._done: Callable[[Any, BaseException | None], None] = done
        self._step = 0

    def resume(self, step: int, go_on: Callable[[], Ask]) -> None:
        if step != self._step:
            return  # the close of a channel that an earlier step had asked
        self._step += 1
        try:
            ask = go_on()
        except StopIteration as end:
            self._done(end.value, None)
        except AMQPError as error:
            self._done(None, error)
        else:
            self._start(ask, self._step)

    def _start(self, ask: Ask, step: int) -> None:
        def failed(error: BaseException) -> None:
            self.resume(step, lambda: self._script.throw(error))

        try:
            ask(lambda reply: self.resume(step, lambda: self._script.send(reply)), failed)
        except AMQPError as error:  # the channel or connection was closed meanwhile
            failed(error)


def opened(connection: Connection) -> Script[Channel]:
    """A new channel."""

    def ask(reply: Reply, failed: Failed) -> None:
        channel = connection.channel(on_open_callback=reply)
        channel.add_on_close_callback(lambda _channel, reason: failed(reason))

    channel: Channel = yield ask
    return channel


def asked(channel: Channel, call: Callable[[Reply], object]) -> Script[Any]:
    """The broker's reply to one call; throws what closed the channel instead."""

    def ask(reply: Reply, failed: Failed) -> None:
        channel.add_on_close_callback(lambda _channel, reason: failed(reason))
        call(reply)

    return (yield ask)


def once(connection: Connection, call: Callable[[Channel, Reply], object]) -> Script[Any]:
    """The broker's reply to one call on a throwaway channel: a refusal closes no other."""
    channel = yield from opened(connection)
    reply = yield from asked(channel, lambda answer: call(channel, answer))
    channel.close()
    return reply


def refused_with(error: BaseException, code: int) -> bool:
    """Whether the broker closed the channel for this reason."""
    return isinstance(error, ChannelClosedByBroker) and error.reply_code == code

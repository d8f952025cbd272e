"""Publishing in batches: all messages out at once, then their confirms, in whatever order they come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pika
import structlog
from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import AMQPError
from pika.spec import Basic

from cronq.bus.amqp_declare import declare_all
from cronq.bus.amqp_link import Link
from cronq.bus.amqp_script import Script, asked, opened, run
from cronq.bus.declared import Declared
from cronq.bus.interface import Confirm, Message
from cronq.bus.topology import EXCHANGE

log = structlog.get_logger()

_RETRY_S = 0.5  # between attempts to set the channel up again
_STALE_S = 10.0  # what could not be sent for so long is old news: whoever asked for it asks again
_REPAIR_S = 5.0  # at most one repair of the queues in this time
# Goes nowhere: it comes back at once from a broker that takes messages, and not from one in alarm. Its body
# must not be empty: RabbitMQ blocks at the header of the first message, and one without a body ends there.
_PROBE = Message("cronq_probe", b"{}", persistent=False)


class _Batch:
    """Messages on their way; `verdicts` are filled in on the link's thread."""

    def __init__(self, messages: Sequence[Message], done: Callable[[], None]) -> None:
        self.messages = messages
        self.verdicts: list[Confirm | None] = [None] * len(messages)
        self.made_at = time.monotonic()
        self.first_tag = 0
        self.is_abandoned = False
        self._returned: set[int] = set()
        self._left = len(messages)
        self._low = 0  # all below are settled
        self._done = done

    @property
    def is_settled(self) -> bool:
        return self._left == 0

    def known(self) -> list[Confirm]:
        return [verdict or Confirm.UNKNOWN for verdict in self.verdicts]

    def returned(self, tag: int) -> None:
        self._returned.add(tag - self.first_tag)

    def settle(self, tag: int, verdict: Confirm, *, multiple: bool) -> None:
        """The broker's verdict on one message, or on all up to it."""
        last = min(tag - self.first_tag, len(self.messages) - 1)
        for index in range(self._low if multiple else last, last + 1):
            self._settle(index, verdict)
        if multiple:
            self._low = last + 1
        self._finish()

    def give_up(self) -> None:
        """Nobody will tell what became of the rest."""
        for index in range(len(self.messages)):
            self._settle(index, Confirm.UNKNOWN)
        self._finish()

    def _settle(self, index: int, verdict: Confirm) -> None:
        if self.verdicts[index] is None:
            self.verdicts[index] = Confirm.UNROUTABLE if index in self._returned else verdict
            self._left -= 1

    def _finish(self) -> None:
        if self.is_settled:
            self._done()


class Publisher:
    """The owner of the publishing link: one channel in confirm mode."""

    def __init__(self, link: Link, declared: Declared) -> None:
        self._link = link
        self._declared = declared
        self._channel: Channel | None = None
        self._next_tag = 1
        self._waiting: deque[_Batch] = deque()
        self._sent: deque[_Batch] = deque()  # in the order of their tags
        self._is_repairing = False
        self._said = ""  # the last refusal that was logged

    def publish(self, messages: Sequence[Message], timeout_s: float) -> list[Confirm]:
        """Blocks for the verdicts; what has none in time is UNKNOWN. From any thread."""
        if not messages:
            return []
        done = threading.Event()
        batch = _Batch(messages, done.set)
        self._link.call(lambda: self._take(batch))
        done.wait(timeout_s)
        batch.is_abandoned = True
        return batch.known()

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        """Returns at once; the verdicts come on the link's thread. From any thread."""
        batch = _Batch(messages, lambda: settled(batch.known()))
        self._link.call(lambda: self._take(batch))

    def close(self) -> None:
        """What still waits to be sent is UNKNOWN at once."""
        self._link.call(self._give_up_waiting)

    # What follows runs on the link's thread.

    def opened(self, connection: Connection) -> None:
        run(self._set_up(connection), lambda _, error: self._is_set_up(connection, error))

    def lost(self) -> None:
        self._channel = None
        self._give_up_sent()

    def unblocked(self) -> None:
        self._flush()

    def _take(self, batch: _Batch) -> None:
        self._waiting.append(batch)
        self._flush()

    def _flush(self) -> None:
        while self._waiting and self._channel and not self._link.is_blocked:
            batch = self._waiting.popleft()
            if time.monotonic() > batch.made_at + _STALE_S:
                batch.give_up()
            elif not batch.is_abandoned:
                self._send(self._channel, batch)

    def _send(self, channel: Channel, batch: _Batch) -> None:
        batch.first_tag = self._next_tag
        self._next_tag += len(batch.messages)
        self._sent.append(batch)
        try:
            for tag, message in enumerate(batch.messages, batch.first_tag):
                properties = _properties(message, tag)
                channel.basic_publish(EXCHANGE, message.key, message.body, properties, mandatory=True)
        except AMQPError:  # closed meanwhile
            batch.give_up()

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        verdict = Confirm.CONFIRMED if isinstance(method, Basic.Ack) else Confirm.UNKNOWN
        for batch in self._sent:
            if batch.first_tag > method.delivery_tag:
                break
            if method.multiple or method.delivery_tag < batch.first_tag + len(batch.messages):
                batch.settle(method.delivery_tag, verdict, multiple=method.multiple)
        while self._sent and self._sent[0].is_settled:
            self._sent.popleft()

    def _on_return(self, _channel: Channel, method: Any, properties: Any, _body: bytes) -> None:
        tag = int(properties.message_id)
        for batch in self._sent:
            if batch.first_tag <= tag < batch.first_tag + len(batch.messages):
                batch.returned(tag)
        if self._declared.has_key(method.routing_key):
            self._repair()

    def _repair(self) -> None:
        """A queue that we declared was deleted: declare all again."""
        if self._is_repairing or not self._link.connection:
            return
        self._is_repairing = True
        run(declare_all(self._link.connection, self._declared.durable()), lambda _, __: None)
        self._link.later(_REPAIR_S, self._repaired)

    def _repaired(self) -> None:
        self._is_repairing = False

    def _set_up(self, connection: Connection) -> Script[None]:
        self._is_repairing = False
        yield from declare_all(connection, self._declared.durable())
        channel = yield from opened(connection)
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_channel_closed)
        yield from asked(channel, lambda reply: channel.confirm_delivery(self._on_confirm, reply))
        self._channel = channel
        self._next_tag = 1

    def _is_set_up(self, connection: Connection, error: BaseException | None) -> None:
        if self._channel is None:
            self._retry_set_up(connection, error)
            return
        self._link.mark_ready()
        if self._link.is_blocked:
            probe = _Batch([_PROBE], lambda: self._probed(probe))
            self._send(self._channel, probe)
        self._flush()

    def _probed(self, probe: _Batch) -> None:
        if probe.verdicts != [Confirm.UNKNOWN]:
            self._link.mark_unblocked()

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if not self._is_current(channel):
            return
        self._channel = None
        self._give_up_sent()
        self._retry_set_up(channel.connection, reason)

    def _is_current(self, channel: Channel) -> bool:
        return channel is self._channel

    def _retry_set_up(self, connection: Connection, reason: BaseException | None) -> None:
        if not connection.is_open:
            return
        if self._said != str(reason):
            self._said = str(reason)
            log.warning("bus.publisher_refused", reason=self._said)
        self._link.mark_unready()
        self._link.later(_RETRY_S, lambda: self.opened(connection))

    def _give_up_sent(self) -> None:
        while self._sent:
            self._sent.popleft().give_up()

    def _give_up_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().give_up()


def _properties(message: Message, tag: int) -> Any:
    make: Any = pika.BasicProperties  # the library leaves it untyped
    return make(
        content_type="application/json",
        delivery_mode=2 if message.persistent else 1,
        expiration=None if message.expiration_ms is None else str(message.expiration_ms),
        reply_to=message.reply_to,
        headers=dict(message.headers) or None,
        message_id=str(tag),  # a return does not name the delivery tag
    )

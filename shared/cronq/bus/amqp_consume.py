"""A consumer on a channel of its own: deliveries wait for `take`, acks go out many at a time."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import structlog
from pika.channel import Channel
from pika.connection import Connection

from cronq.bus.amqp_declare import ensure_queue, stats
from cronq.bus.amqp_delivery import AmqpDelivery, known_headers
from cronq.bus.amqp_link import STEADY_S, Link
from cronq.bus.amqp_script import Script, asked, opened, run
from cronq.bus.declared import Declared
from cronq.bus.interface import Delivery
from cronq.bus.unacked import Unacked
from cronq.runtime.backoff import Backoff

log = structlog.get_logger()


class _Subscription:
    """One queue of a consumer: asked to deliver, delivering (it has a tag), or neither."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.tag: str | None = None
        self.is_busy = False
        self.said = ""  # the last trouble that was logged
        self.backoff = Backoff(random.Random())

    def reset(self) -> None:
        self.tag = None
        self.is_busy = False


class AmqpConsumer:
    """A `Consumer`; `start`, `lost` and what they lead to run on the link's thread."""

    def __init__(
        self,
        link: Link,
        declared: Declared,
        queues: Sequence[str],
        prefetch: int,
        *,
        closed: Callable[[AmqpConsumer], None],
    ) -> None:
        self._link = link
        self._declared = declared
        self._prefetch = prefetch
        self._on_closed = closed
        self._channel: Channel | None = None
        self._unacked = Unacked()
        self._subscriptions = [_Subscription(queue) for queue in queues]
        self._backoff = Backoff(random.Random())
        self._opened_at = 0.0
        self._tags = count(1)
        # Shared with the threads that call take, pause, ack …:
        self._changed = threading.Condition()
        self._untaken: deque[AmqpDelivery] = deque()
        self._settled: list[tuple[AmqpDelivery, bool | None]] = []
        self._is_paused = False
        self._is_closed = False

    def take(self, most: int, timeout_s: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._untaken and not self._is_closed:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            return [self._untaken.popleft() for _ in range(min(most, len(self._untaken)))]

    def pause(self) -> None:
        with self._changed:
            self._is_paused = True
            untaken = list(self._untaken)
            self._untaken.clear()
        self._link.call(self._sync)
        for delivery in untaken:
            delivery.reject(requeue=True)

    def resume(self) -> None:
        with self._changed:
            self._is_paused = False
        self._link.call(self._sync)

    def close(self) -> None:
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._untaken.clear()
            self._changed.notify_all()
        self._link.call(self._close)

    def _settle(self, delivery: AmqpDelivery, requeue: bool | None) -> None:
        """Soon, and together with others: called from any thread."""
        with self._changed:
            if delivery.is_settled or self._is_closed:
                return
            delivery.is_settled = True
            self._settled.append((delivery, requeue))
            is_first = len(self._settled) == 1
        if is_first:
            self._link.call(self._flush)

    # What follows runs on the link's thread.

    def start(self, connection: Connection) -> None:
        """Open the channel and consume; again after each reconnect."""
        if not self._is_closed:
            run(self._open(connection), partial(self._is_open, connection))

    def lost(self) -> None:
        """The channel is gone, and with it what nobody took from it yet."""
        self._channel = None
        self._unacked = Unacked()
        for subscription in self._subscriptions:
            subscription.reset()
        with self._changed:
            self._untaken.clear()

    def _open(self, connection: Connection) -> Script[Channel]:
        channel = yield from opened(connection)
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_cancel_callback(self._on_cancelled)
        yield from asked(
            channel, lambda done: channel.basic_qos(prefetch_count=self._prefetch, callback=done)
        )
        return channel

    def _is_open(self, connection: Connection, channel: Channel | None, error: BaseException | None) -> None:
        if channel is None:
            self._start_again(connection, error)
        elif self._is_closed:
            channel.close()
        else:
            self._channel = channel
            self._opened_at = time.monotonic()
            self._sync()

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._is_current(channel):
            self.lost()
            self._start_again(channel.connection, reason)

    def _is_current(self, channel: Channel) -> bool:
        return channel is self._channel

    def _start_again(self, connection: Connection, reason: BaseException | None) -> None:
        if connection.is_open and not self._is_closed:
            queues = [subscription.queue for subscription in self._subscriptions]
            log.warning("bus.channel_closed", queues=queues, reason=str(reason))
            if time.monotonic() - self._opened_at > STEADY_S:
                self._backoff.reset()
            self._link.later(self._backoff.next_s(), lambda: self.start(connection))

    def _sync(self) -> None:
        """Bring what each queue does to what it should do."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        for subscription in self._subscriptions:
            if subscription.is_busy or (subscription.tag is None) is self._is_paused:
                continue
            subscription.is_busy = True
            if self._is_paused:
                done = partial(self._is_cancelled, subscription, channel)
                channel.basic_cancel(str(subscription.tag), done)
            else:
                script = self._subscribe(channel, subscription)
                run(script, partial(self._is_subscribed, subscription, channel))

    def _subscribe(self, channel: Channel, subscription: _Subscription) -> Script[str | None]:
        queue = subscription.queue
        known = self._declared.find(queue)
        if known:
            yield from ensure_queue(channel.connection, known)
        elif (yield from stats(channel.connection, queue)) is None:
            return None
        tag = f"cronq-{next(self._tags)}"
        on_message = partial(self._on_message, queue)
        yield from asked(
            channel, lambda reply: channel.basic_consume(queue, on_message, consumer_tag=tag, callback=reply)
        )
        return tag

    def _is_subscribed(
        self, subscription: _Subscription, channel: Channel, tag: str | None, error: BaseException | None
    ) -> None:
        if not self._is_current(channel):
            return
        subscription.is_busy = False
        subscription.tag = tag
        if tag is not None:
            subscription.said = ""
            subscription.backoff.reset()
            self._sync()  # it may have been paused meanwhile
        elif channel.is_open:
            self._complain(subscription, str(error) if error else "there is no such queue")
            self._link.later(subscription.backoff.next_s(), self._sync)

    def _complain(self, subscription: _Subscription, reason: str) -> None:
        if subscription.said != reason:
            subscription.said = reason
            log.warning("bus.not_consuming", queue=subscription.queue, reason=reason)

    def _is_cancelled(self, subscription: _Subscription, channel: Channel, _frame: Any) -> None:
        if self._is_current(channel):
            subscription.reset()
            self._sync()

    def _on_cancelled(self, frame: Any) -> None:
        """The broker ended a subscription: its queue was deleted, or moved to another node."""
        for subscription in self._subscriptions:
            if subscription.tag == frame.method.consumer_tag:
                log.warning("bus.consumer_cancelled", queue=subscription.queue)
                subscription.reset()
                self._sync()

    def _on_message(self, queue: str, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        delivery = AmqpDelivery(
            self._settle,
            channel,
            method.delivery_tag,
            queue,
            method.routing_key,
            body,
            properties.reply_to,
            known_headers(properties.headers),
            method.redelivered,
        )
        with self._changed:
            is_wanted = self._is_current(channel) and not self._is_paused and not self._is_closed
            if is_wanted:
                self._unacked.add(delivery.tag)
                self._untaken.append(delivery)
                self._changed.notify()
        if not is_wanted and channel.is_open:
            channel.basic_reject(delivery.tag, requeue=True)

    def _flush(self) -> None:
        with self._changed:
            settled, self._settled = self._settled, []
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        current = [(delivery.tag, requeue) for delivery, requeue in settled if delivery.channel is channel]
        for tag, requeue in current:  # rejects first: an ack of "all up to" would swallow them
            if requeue is not None and self._unacked.drop(tag):
                channel.basic_reject(tag, requeue=requeue)
        upto, singles = self._unacked.settle(tag for tag, requeue in current if requeue is None)
        if upto is not None:
            channel.basic_ack(upto, multiple=True)
        for tag in singles:
            channel.basic_ack(tag)

    def _close(self) -> None:
        self._flush()
        self._on_closed(self)
        channel, self._channel = self._channel, None
        if channel and channel.is_open:
            channel.close()

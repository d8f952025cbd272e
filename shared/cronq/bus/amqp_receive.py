"""The consuming connection: what was declared is declared at each connect, then consumers start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from functools import partial
from typing import Any, TypeVar

import structlog
from pika.connection import Connection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from cronq.bus.amqp_consume import AmqpConsumer
from cronq.bus.amqp_declare import declare_all, stats
from cronq.bus.amqp_link import Link
from cronq.bus.amqp_script import Script, run
from cronq.bus.declared import Declared
from cronq.bus.interface import Queue, QueueStats
from cronq.domain.errors import Unavailable

log = structlog.get_logger()

# Between attempts to declare what was refused, as a private queue that our last connection still holds.
_RETRY_S = 1.0

T = TypeVar("T")


class _Request:
    """A script that some thread waits for; it is run again when the connection is lost meanwhile."""

    def __init__(self, script: Callable[[Connection], Script[Any]]) -> None:
        self.script = script
        self.answer: Future[Any] = Future()
        self.is_abandoned = False


class Receiver:
    """The owner of the consuming link."""

    def __init__(self, link: Link, declared: Declared) -> None:
        self._link = link
        self._declared = declared
        self._requests: list[_Request] = []
        self._consumers: list[AmqpConsumer] = []
        self._refused: dict[str, str] = {}

    def declare(self, queues: Sequence[Queue], timeout_s: float) -> None:
        """Blocks. Raises Unavailable with the broker's reason. From any thread."""
        self._declared.add(queues)
        refused = self._ask(lambda connection: declare_all(connection, queues), timeout_s)
        if refused:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in refused.items())
            raise Unavailable(f"the broker refused to declare {reasons}")

    def stats(self, queue: str, timeout_s: float) -> QueueStats | None:
        """Blocks. Raises Unavailable. From any thread."""
        return self._ask(lambda connection: stats(connection, queue), timeout_s)

    def consume(self, queues: Sequence[str], prefetch: int) -> AmqpConsumer:
        """A consumer that starts as soon as there is a connection. From any thread."""
        consumer = AmqpConsumer(self._link, self._declared, queues, prefetch, closed=self._forget)
        self._link.call(lambda: self._add(consumer))
        return consumer

    def close(self) -> None:
        """End all consumers. From any thread."""
        for consumer in list(self._consumers):
            consumer.close()

    def _ask(self, script: Callable[[Connection], Script[T]], timeout_s: float) -> T:
        request = _Request(script)
        self._link.call(lambda: self._start(request))
        try:
            answer: T = request.answer.result(timeout_s)
        except NoAnswer:
            request.is_abandoned = True
            reason = self._link.last_error or "it is slow"
            raise Unavailable(f"no answer from the broker in {timeout_s:g} s: {reason}") from None
        except AMQPError as error:
            raise Unavailable(f"the broker refused: {error}") from None
        return answer

    # What follows runs on the link's thread.

    def opened(self, connection: Connection) -> None:
        run(declare_all(connection, self._declared.all()), partial(self._is_declared, connection))

    def lost(self) -> None:
        for consumer in self._consumers:
            consumer.lost()

    def unblocked(self) -> None:
        """Nothing to do: it publishes nothing."""

    def _is_declared(
        self, connection: Connection, refused: dict[str, str] | None, error: BaseException | None
    ) -> None:
        if refused is None:
            if connection.is_open:
                log.warning("bus.declare_failed", reason=str(error))
                self._link.later(_RETRY_S, lambda: self.opened(connection))
            return
        self._report(refused)
        if refused:
            self._link.later(_RETRY_S, lambda: self._declare_again(connection))
        self._link.mark_ready()
        self._link.mark_unblocked()
        for consumer in self._consumers:
            consumer.start(connection)
        waiting, self._requests = self._requests, []
        for request in waiting:
            self._start(request)

    def _declare_again(self, connection: Connection) -> None:
        queues = [queue for queue in self._declared.all() if queue.name in self._refused]
        run(declare_all(connection, queues), partial(self._is_declared_again, connection))

    def _is_declared_again(
        self, connection: Connection, refused: dict[str, str] | None, _error: BaseException | None
    ) -> None:
        if refused is not None:
            self._report(refused)
            if refused:
                self._link.later(_RETRY_S, lambda: self._declare_again(connection))

    def _report(self, refused: dict[str, str]) -> None:
        for name, reason in refused.items():
            if self._refused.get(name) != reason:
                log.warning("bus.declare_refused", queue=name, reason=reason)
        self._refused = refused

    def _start(self, request: _Request) -> None:
        connection = self._link.connection
        if request.is_abandoned:
            return
        if connection is None or not connection.is_open or not self._link.is_ready:
            self._requests = [one for one in self._requests if not one.is_abandoned]
            self._requests.append(request)
            return
        run(request.script(connection), partial(self._answer, request))

    def _answer(self, request: _Request, result: Any, error: BaseException | None) -> None:
        if error is None:
            request.answer.set_result(result)
        elif isinstance(error, ChannelClosedByBroker):
            request.answer.set_exception(error)
        else:  # the connection is gone: ask again on the next
            self._start(request)

    def _add(self, consumer: AmqpConsumer) -> None:
        self._consumers.append(consumer)
        if self._link.connection and self._link.is_ready:
            consumer.start(self._link.connection)

    def _forget(self, consumer: AmqpConsumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)

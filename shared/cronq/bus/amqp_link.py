"""One connection to the broker that is always there or being made again, on a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from pika import SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.connection import Connection
from pika.exceptions import AMQPConnectionError, AMQPError

from cronq.bus.amqp_login import explain, parameters
from cronq.bus.amqp_url import Server
from cronq.runtime.backoff import Backoff

log = structlog.get_logger()

STEADY_S = 10.0  # what has worked for as long is retried fast when it fails
_STUCK_S = 5.0  # a connection that does not end by itself after an error of ours is given up


class Owner(Protocol):
    """What a link's connection is for; all are called on the link's thread."""

    def opened(self, connection: Connection) -> None:
        """Set the connection up, then say so by `Link.mark_ready`."""

    def lost(self) -> None:
        """The connection and all its channels are gone."""

    def unblocked(self) -> None:
        """The broker takes messages again."""


class Link:
    """Reconnects for ever: fast at first, with jitter, up to 5 s apart, taking the hosts in turn.

    `is_blocked` outlives the connection: a broker in alarm accepts a new one and only blocks it at
    its first message, so the owner must see one message through before calling `mark_unblocked`.
    """

    def __init__(
        self, servers: Sequence[Server], *, name: str, role: str, changed: Callable[[], None]
    ) -> None:
        """`changed` is called, on this link's thread, whenever `is_up` may have changed."""
        self.is_ready = False
        self.is_blocked = False
        self.last_error: str | None = None
        self.connection: Connection | None = None
        self._servers = servers
        self._name = name
        self._role = role
        self._changed = changed
        self._log = log.bind(bus=name, role=role)
        self._owner: Owner
        self._loop = IOLoop()
        self._thread = threading.Thread(target=self._run, name=f"bus-{role}", daemon=True)
        self._backoff = Backoff(random.Random())
        self._opened_at = 0.0
        self._attempts = 0
        self._retry: Any = None  # the library's timer, whose type is private
        self._was_up = False
        self._said: set[str] = set()  # the failures logged since it was up
        self._closing = False
        self._stopped = False

    @property
    def is_up(self) -> bool:
        """Whether it is connected, set up, and the broker takes messages."""
        return self.is_ready and not self.is_blocked

    def start(self, owner: Owner) -> None:
        """Begin to connect; returns at once."""
        # The client library reports each failed attempt, in several errors; we report changes ourselves.
        library = logging.getLogger("pika")
        if library.level in (logging.NOTSET, logging.WARNING, logging.ERROR):  # nobody asked for its details
            library.setLevel(logging.CRITICAL)
        self._owner = owner
        self._loop.add_callback_threadsafe(self._connect)
        self._thread.start()

    def call(self, action: Callable[[], None]) -> None:
        """Run this on the link's thread, after what was asked before. From any thread."""
        self._loop.add_callback_threadsafe(action)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run this in a while unless the connection was lost until then. On the link's thread."""
        connection = self.connection
        self._loop.call_later(delay_s, lambda: action() if self.connection is connection else None)

    def mark_ready(self) -> None:
        """The owner has set the connection up."""
        self.is_ready = True
        self._report()

    def mark_unready(self) -> None:
        """The owner has to set the connection up again."""
        self.is_ready = False
        self._report()

    def mark_unblocked(self) -> None:
        """The broker was seen to take a message."""
        if self.is_blocked:
            self.is_blocked = False
            self._log.info("bus.unblocked")
            self._report()
            self._owner.unblocked()

    def close(self, timeout_s: float) -> None:
        """End the connection after what was asked before, or in `timeout_s`; don't wait. Idempotent."""
        self.call(lambda: self._close(timeout_s))

    def join(self) -> None:
        """Wait until it is closed."""
        self._thread.join()

    # What follows runs on the link's thread.

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._loop.start()
            except Exception:  # noqa: BLE001 - the outermost step: record it and make a new connection
                self._log.exception("bus.failed")
                self._drop()
        self._loop.close()

    def _connect(self) -> None:
        self._retry = None
        server = self._servers[self._attempts % len(self._servers)]
        self._attempts += 1
        self.connection = SelectConnection(
            parameters(server, name=self._name, role=self._role),
            on_open_callback=lambda connection: self._opened(connection, server),
            on_open_error_callback=lambda connection, error: self._failed(connection, error, server),
            on_close_callback=lambda connection, error: self._lost(connection, error, server),
            custom_ioloop=self._loop,
        )

    def _opened(self, connection: Connection, server: Server) -> None:
        connection.add_on_connection_blocked_callback(lambda _, frame: self._blocked(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda _, __: self.mark_unblocked())
        self._opened_at = time.monotonic()
        self._log = self._log.bind(server=str(server), vhost=server.vhost)
        self._owner.opened(connection)

    def _failed(self, connection: Connection, error: BaseException, server: Server) -> None:
        if connection is not self.connection:
            return
        reason = explain(error, server)
        if reason not in self._said and not self._closing:
            self._said.add(reason)
            self._log.warning("bus.unreachable", server=str(server), reason=reason)
        self._down(reason)

    def _lost(self, connection: Connection | None, error: BaseException, server: Server) -> None:
        if connection is not self.connection:
            return  # given up before
        reason = explain(error, server)
        if self._was_up and not self._closing:
            self._log.warning("bus.lost", server=str(server), reason=reason)
        if time.monotonic() - self._opened_at > STEADY_S:
            self._backoff.reset()
        self._down(reason)
        self._owner.lost()

    def _down(self, reason: str) -> None:
        self.connection = None
        self.is_ready = False
        self.last_error = reason
        if self._closing:
            self._stop()
        else:
            self._cancel_retry()
            self._retry = self._loop.call_later(self._backoff.next_s(), self._connect)
        self._report()

    def _blocked(self, reason: Any) -> None:
        if not self.is_blocked:
            self.is_blocked = True
            self._log.warning("bus.blocked", reason=reason)
            self.last_error = f"the broker takes no messages: {reason}"
            self._report()

    def _report(self) -> None:
        if self.is_up and not self._was_up:
            self.last_error = None
            self._said.clear()
            self._log.info("bus.connected")
        self._was_up = self.is_up
        self._changed()

    def _drop(self) -> None:
        """After an error in a callback nothing is known of the connection: make a new one."""
        connection = self.connection
        try:
            if connection:
                connection.close(320, "error in the client")
        except AMQPError:
            self._log.debug("bus.was_closing")
        self._loop.call_later(_STUCK_S, lambda: self._give_up(connection))

    def _give_up(self, connection: Connection | None) -> None:
        if self._retry is None:
            self._lost(connection, AMQPConnectionError("error in the client"), self._servers[0])

    def _close(self, timeout_s: float) -> None:
        if self._closing:
            return
        self._closing = True
        self._cancel_retry()
        self._loop.call_later(timeout_s, self._stop)
        if self.connection is None:
            self._stop()
        elif not (self.connection.is_closing or self.connection.is_closed):
            self.connection.close()

    def _stop(self) -> None:
        self._stopped = True
        self._loop.stop()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._loop.remove_timeout(self._retry)
            self._retry = None

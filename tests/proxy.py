"""A TCP proxy on a loopback port of its own, between a client and a server, that can be a bad network.

Whatever it is told holds for the connections that there are and for those to come, until `heal`. It
looks at no byte, so it serves AMQP and MySQL alike. A connection that has lost bytes can't go on after
that: `heal` resets it, so that no stream ever arrives with a hole in it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Self, TypeVar

from tests.servers import free_port

T = TypeVar("T")

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time at all: close sends RST


class Way(Enum):
    """Which way bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


BOTH = frozenset(Way)


@dataclass(frozen=True)
class Rules:
    """What is done to bytes. Held ones wait, swallowed ones are lost; rates are in bytes per second."""

    latency_s: float = 0.0
    rate: float | None = None
    held: frozenset[Way] = frozenset()
    swallowed: frozenset[Way] = frozenset()


class _Connection:
    """One client and its server; either end closes both."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = {Way.TO_SERVER: (client, server), Way.TO_CLIENT: (server, client)}
        self.has_lost = False
        self.tasks: list[asyncio.Task[None]] = []

    def ends(self, way: Way) -> tuple[socket.socket, socket.socket]:
        """(from, to)."""
        return self._ends[way]

    def reset(self) -> None:
        """RST to both."""
        for end in self._ends[Way.TO_SERVER]:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for end in self._ends[Way.TO_SERVER]:
            end.close()


class Proxy:
    """See the module. Runs in a thread of its own; every method may be called from any thread.

    Blocks until what was asked for holds. `close` it, or use it as a context manager.
    """

    def __init__(self, server_port: int, host: str = "127.0.0.1") -> None:
        self._server = (host, server_port)
        self.port = free_port()
        self.accepted = 0
        self._rules = Rules()
        self._changed = asyncio.Event()  # set and replaced at each change of the rules
        self._connections: set[_Connection] = set()
        self._listener = _listener(host, self.port)
        self._accepting: asyncio.Task[None] | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()
        self._do(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, url: str) -> str:
        """The same URL by way of this proxy."""
        parts = urllib.parse.urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{self._server[0]}:{self.port}").geturl()

    # -- what a network does

    def heal(self) -> None:
        """Pass everything, new connections too. Held bytes go on; who has lost some is reset."""

        def heal() -> None:
            self._set(Rules())
            for connection in [c for c in self._connections if c.has_lost]:
                self._drop(connection)
            self._open()

        self._do(heal)

    def delay(self, seconds: float) -> None:
        """Each piece arrives so much later, in both ways."""
        self._do(lambda: self._set(replace(self._rules, latency_s=seconds)))

    def throttle(self, bytes_per_s: float) -> None:
        """No more than this in each way of each connection."""
        self._do(lambda: self._set(replace(self._rules, rate=bytes_per_s)))

    def hold(self, *ways: Way) -> None:
        """Nothing arrives and nothing is lost: as a partition that ends before TCP gives up."""
        self._do(lambda: self._set(replace(self._rules, held=frozenset(ways) or BOTH)))

    def black_hole(self) -> None:
        """Connections stand, and new ones are accepted; whatever is sent on them is gone."""
        self.swallow(*Way)

    def swallow(self, *ways: Way) -> None:
        """Lose what goes these ways only: the other end still hears, and is not heard."""
        self._do(lambda: self._set(replace(self._rules, swallowed=frozenset(ways))))

    def refuse(self) -> None:
        """New connections are refused; those that there are go on."""
        self._do(self._shut)

    def reset(self) -> None:
        """RST to all connections that there are; new ones are accepted as before."""

        def reset() -> None:
            for connection in list(self._connections):
                self._drop(connection)

        self._do(reset)

    def connections(self) -> int:
        """How many there are."""
        return self._do(lambda: len(self._connections))

    def close(self) -> None:
        """Reset everything and end; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self.reset()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    # -- in the proxy's own thread

    def _do(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return self._run(call())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _set(self, rules: Rules) -> None:
        self._rules = rules
        self._changed.set()
        self._changed = asyncio.Event()

    def _open(self) -> None:
        if self._accepting is None:
            self._listener.listen(128)
            self._accepting = self._loop.create_task(self._accept())

    def _shut(self) -> None:
        """Linux: the socket keeps its port, and connecting to it is refused until it listens again."""
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
            self._listener.shutdown(socket.SHUT_RDWR)

    async def _end(self) -> None:
        tasks = [*self._pending, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            _ = self._spawn(self._serve(client))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task

    async def _serve(self, client: socket.socket) -> None:
        server = socket.socket()
        server.setblocking(False)
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            await self._loop.sock_connect(server, self._server)
        except OSError:  # nobody is there: the client hears of it as from the server itself
            self._drop(connection)
            return
        if connection in self._connections:
            connection.tasks = [self._spawn(self._pump(connection, way)) for way in Way]

    async def _pump(self, connection: _Connection, way: Way) -> None:
        try:
            while data := await self._receive(connection, way):
                await self._loop.sock_sendall(connection.ends(way)[1], data)
            connection.ends(way)[1].shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        if all(task.done() or task is asyncio.current_task() for task in connection.tasks):
            self._connections.discard(connection)
            connection.close()

    async def _receive(self, connection: _Connection, way: Way) -> bytes:
        """The next piece when it is due; b"" at the end, which no rule lets through early."""
        data = b""
        is_taken = False
        while True:
            if not is_taken:
                data = await self._loop.sock_recv(connection.ends(way)[0], _CHUNK)
                is_taken = True
                await self._travel(len(data))
            if way in self._rules.held:
                await self._changed.wait()
            elif way in self._rules.swallowed:
                connection.has_lost = True
                if not data:
                    await self._loop.create_future()  # even the end is lost: until it is reset
                is_taken = False
            else:
                return data

    async def _travel(self, size: int) -> None:
        rules = self._rules
        seconds = rules.latency_s + (size / rules.rate if rules.rate else 0.0)
        if seconds:
            await asyncio.sleep(seconds)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        connection.reset()


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    listener.bind((host, port))
    return listener

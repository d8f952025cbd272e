"""The connection with one runner: what it asks for, and what is on its way to it."""

from __future__ import annotations

from collections import deque

from cronq.runner.keeper.loop import READ, WRITE
from cronq.runner.keeper.wire import Decoder, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cronq.runner.keeper.loop import Loop
    from cronq.runner.keeper.wire import Message

RECEIVE_BYTES = 64 << 10
FULL_BYTES = 512 << 10


class Link:
    """A connected socket. It never blocks: what can't be sent now waits, and `is_full` says so."""

    def __init__(self, loop: Loop, sock: socket.socket, lost: Callable[[Link], None]) -> None:
        """`lost` is called once when the other end is gone or sends garbage."""
        self.inbox: deque[Message] = deque()
        self._loop = loop
        self._socket = sock
        self._lost = lost
        self._decoder = Decoder()
        self._outbox = bytearray()
        self._awaits_room = False
        self._is_deaf = False
        self._is_open = True
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._on_ready)

    @property
    def is_full(self) -> bool:
        return len(self._outbox) >= FULL_BYTES

    def send(self, message: Message, data: bytes = b"") -> None:
        self.send_line(encode(message), data)

    def send_line(self, line: bytes, data: bytes = b"") -> None:
        """Send a message that is encoded already."""
        if not self._is_deaf:
            self._outbox += line
            self._outbox += data

    def flush(self) -> None:
        """Send as much as the socket takes; the loop wakes up when there is room for the rest."""
        if not self._outbox or not self._is_open:
            return
        try:
            sent = self._socket.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            # What the runner sent before it went is still to be read.
            self._is_deaf = True
            sent = len(self._outbox)
        del self._outbox[:sent]
        self._await_room(bool(self._outbox))

    def close(self) -> None:
        """Close, and drop what came and was not looked at. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self.inbox.clear()
            self._outbox.clear()

    def _on_ready(self) -> None:
        """Only read: what is to be sent may not be in the journal yet, and is flushed when it is."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            self.inbox.extend(message for message, _ in self._decoder.feed(data))
        except ValueError:
            data = b""
        if not data:
            self._lost(self)

    def _await_room(self, wanted: bool) -> None:
        if wanted != self._awaits_room:
            self._awaits_room = wanted
            self._loop.await_events(self._socket.fileno(), READ | WRITE if wanted else READ)

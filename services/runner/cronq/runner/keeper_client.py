"""The runner's side of its keeper: finds or starts it, gives orders, and passes on its news."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from cronq.domain.errors import Unavailable
from cronq.runner.folder import Folder
from cronq.runner.keeper.wire import VERSION, Decoder, Message, encode
from cronq.runner.keeper_events import (
    AttemptEvent,
    Duplicate,
    Finished,
    Interrupted,
    KeeperEvent,
    KeeperLost,
    LaunchFailed,
    NotStarted,
    Output,
    Started,
    StartOrder,
    event_of,
    instant,
)
from cronq.runner.keeper_spawn import connect, spawn

__all__ = [
    "AttemptEvent",
    "Duplicate",
    "Finished",
    "Interrupted",
    "Keeper",
    "KeeperEvent",
    "KeeperLost",
    "LaunchFailed",
    "NotStarted",
    "Output",
    "StartOrder",
    "Started",
]

CONNECT_S = 15.0
HELLO_S = 10.0
SEND_S = 30
ORPHAN_IDLE_S = 60.0
RECEIVE_BYTES = 64 << 10

Frames = Iterator[tuple[Message, bytes]]


class Keeper:
    """A connection with the keeper of one folder. Its methods are thread-safe and raise Unavailable when
    the connection is gone; the news come to `on_event`, one at a time, from a thread of its own.

    `known` is what the keeper had when we connected: `Started` of each that is live, and the end of
    each that is over and was not `reported`. Those ends come as events too, each after its output. What
    is neither there nor was reported earlier has no trace: it did not start, if it was granted after
    `journal_since`.
    """

    def __init__(
        self, sock: socket.socket, frames: Frames, hello: Message, on_event: Callable[[KeeperEvent], None]
    ) -> None:
        """For `connect_or_spawn`."""
        known = (event_of(message, b"") for message in hello["known"])
        self.known: Mapping[tuple[str, int], AttemptEvent] = {event.key: event for event in known if event}
        self.journal_since = instant(hello["journal_since"])
        self.pid: int = hello["pid"]
        self._socket = sock
        self._frames = frames
        self._on_event = on_event
        self._base_env: Mapping[str, str] | None = None
        self._sending = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._listen, name="keeper-news", daemon=True)
        self._thread.start()

    @classmethod
    def connect_or_spawn(
        cls,
        folder: Folder,
        *,
        on_event: Callable[[KeeperEvent], None],
        orphan_idle_s: float = ORPHAN_IDLE_S,
    ) -> Keeper:
        """Connect with the folder's keeper, started if need be; any earlier connection ends by that.

        A keeper started here leaves when nothing runs and no runner was connected for `orphan_idle_s`.
        Blocks, seconds at the most. Raises Unavailable.
        """
        deadline = time.monotonic() + CONNECT_S
        while True:
            with suppress(FileNotFoundError, ConnectionError):
                sock = connect(folder.path)
                return cls(*_greet(sock, folder.path), on_event)
            if time.monotonic() > deadline:
                raise Unavailable(f"the keeper of {folder.path} ends whenever it is asked")
            spawn(folder.path, orphan_idle_s)

    @property
    def live(self) -> Mapping[tuple[str, int], Started]:
        """The attempts that ran, or were about to, when we connected."""
        return {key: event for key, event in self.known.items() if isinstance(event, Started)}

    def start(self, order: StartOrder) -> None:
        """Answered by Started, LaunchFailed, NotStarted, or Duplicate when the attempt has a trace."""
        with self._sending:
            if order.base_env is not self._base_env:
                self._base_env = order.base_env
                self._send_all(encode({"type": "base_env", "env": dict(order.base_env)}))
            self._send_all(encode(order.as_message()))

    def kill(self, run_id: str, attempt: int, *, why: str, grace_s: float) -> None:
        """TERM to all its processes, KILL after the grace; `why` comes back in Finished.

        Sooner than a kill under way: shortens its grace. No answer when the attempt isn't live.
        """
        self._command("kill", run_id, attempt, why=why, grace_s=grace_s)

    def ack_output(self, run_id: str, attempt: int, upto: int) -> None:
        """Free the output before the offset `upto`: no later runner needs it."""
        self._command("ack_output", run_id, attempt, upto=upto)

    def reported(self, run_id: str, attempt: int) -> None:
        """The end of the attempt is told for good: forget all but the trace."""
        self._command("reported", run_id, attempt)

    def tombstone(self, run_id: str, attempt: int, reason: str) -> None:
        """See to it that it never starts: answered by NotStarted, or Duplicate when it has a trace."""
        self._command("tombstone", run_id, attempt, reason=reason)

    def quit_when_idle(self) -> None:
        """Let the keeper leave as soon as nothing runs; what is unreported waits for the next one."""
        self._send({"type": "quit_when_idle"})

    def close(self) -> None:
        """Disconnect; what was sent is still obeyed, and no further news come. Idempotent."""
        self._is_closed = True
        self._shut()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _command(self, kind: str, run_id: str, attempt: int, **fields: str | float) -> None:
        self._send({"type": kind, "run_id": run_id, "attempt": attempt, **fields})

    def _send(self, message: Message) -> None:
        frame = encode(message)
        with self._sending:
            self._send_all(frame)

    def _send_all(self, frame: bytes) -> None:
        try:
            self._socket.sendall(frame)
        except OSError as error:
            self._shut()  # half a frame may be sent
            raise Unavailable(f"the keeper (process {self.pid}) takes no orders: {error}") from error

    def _shut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        reason = "the keeper closed the connection"
        try:
            for message, data in self._frames:
                event = event_of(message, data)
                if event is not None and not self._is_closed:
                    self._on_event(event)
        except OSError as error:
            reason = f"the connection with the keeper broke: {error}"
        finally:
            self._socket.close()
            if not self._is_closed:
                self._on_event(KeeperLost(reason))


def _greet(sock: socket.socket, folder: Path) -> tuple[socket.socket, Frames, Message]:
    frames = _frames(sock)
    try:
        sock.settimeout(HELLO_S)
        sock.sendall(encode({"type": "hello", "v": VERSION}))
        hello, _ = next(frames)
    except StopIteration:
        sock.close()
        raise ConnectionResetError("the keeper left") from None
    except TimeoutError as error:
        sock.close()
        raise Unavailable(f"the keeper of {folder} does not answer within {HELLO_S:g} s") from error
    except OSError:
        sock.close()
        raise
    if hello["v"] != VERSION:
        sock.close()
        raise Unavailable(f"the keeper of {folder} speaks version {hello['v']}, and we {VERSION}")
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))
    return sock, frames, hello


def _frames(sock: socket.socket) -> Frames:
    decoder = Decoder()
    while data := sock.recv(RECEIVE_BYTES):
        yield from decoder.feed(data)

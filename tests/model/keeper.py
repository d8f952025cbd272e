"""The keeper of one runner's folder without its sockets and processes, on the keeper's real journal.

What it does follows `cronq.runner.keeper.service`: a `go` is on the disk before the process is forked,
what was told is told again to the next runner until it is reported, a key with a trace never starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cronq.domain.errors import Unavailable
from cronq.runner import journal
from cronq.runner.keeper.wire import decode
from cronq.runner.keeper.writer import SEGMENTS_KEPT, Writer
from cronq.runner.keeper_client import KeeperEvent, StartOrder
from cronq.runner.keeper_events import AttemptEvent, KeeperLost, Started, event_of

if TYPE_CHECKING:
    from tests.model.host import Host

Key = tuple[str, int]
Record = dict[str, Any]


class KeeperProcess:
    """A living keeper. Its processes are the host's, so that they outlive nothing but it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._journal = Writer(str(host.path), host.boot_id)
        self._stories: dict[Key, bytes] = {}  # of what is not reported, the latest line
        self.orders: deque[Record] = deque()  # sent, and not looked at yet
        self.client: KeeperClient | None = None
        self._interrupt()

    def _interrupt(self) -> None:
        for key, entry in self._journal.unreported().items():
            if entry.state == "live":
                self._host.cut_off(key)
                self._note("interrupted", key, at=self._host.time())
            else:
                self._stories[key] = entry.line
        self._journal.flush()

    def _note(self, kind: str, key: Key, **fields: object) -> None:
        self._stories[key] = self._journal.append(record(kind, key, **fields))
        self._journal.flush()

    def attach(self, client: KeeperClient) -> Mapping[Key, AttemptEvent]:
        """Greet a runner; returns what is not reported. Orders of an earlier one are dropped."""
        self.orders.clear()
        self.client = client
        events = {key: event_of(decode(line), b"") for key, line in self._stories.items()}
        known = {key: event for key, event in events.items() if event is not None}
        for event in known.values():
            if not isinstance(event, Started):
                client.tell(event)
        return known

    def obey(self, *, dies_before_the_fork: bool = False, cannot_launch: bool = False) -> None:
        """Carry out the next order."""
        order = self.orders.popleft()
        key = journal.key_of(order)
        if order["type"] == "start":
            self._start(key, dies_before_the_fork, cannot_launch)
        elif order["type"] == "tombstone":
            self._tombstone(key, order["reason"])
        elif order["type"] == "kill":
            self._host.kill(key, order["why"])
        elif order["type"] == "reported" and key in self._stories and key not in self._host.processes:
            self._journal.append(record("reported", key))
            self._journal.flush()
            del self._stories[key]

    def has_trace(self, key: Key) -> bool:
        return self._journal.has_trace(key)

    def _start(self, key: Key, dies_before_the_fork: bool, cannot_launch: bool) -> None:
        if self.has_trace(key):
            self._say_duplicate(key)
            return
        self._stories[key] = self._journal.append_now([record("go", key, at=self._host.time())])[0]
        if dies_before_the_fork:
            self._host.kill_keeper()
        elif cannot_launch:
            self._note("launch_failed", key, at=self._host.time(), reason="no such file")
            self._tell(self._stories[key])
        else:
            pid = self._host.fork(key)
            self._note("started", key, at=self._host.time(), pid=pid, ticks=[0, 0])
            self._tell(self._stories[key])

    def _tombstone(self, key: Key, reason: str) -> None:
        if self.has_trace(key):
            self._say_duplicate(key)
        else:
            self._note("not_started", key, at=self._host.time(), reason=reason)
            self._tell(self._stories[key])

    def _say_duplicate(self, key: Key) -> None:
        state = "reported"
        if key in self._stories:
            kind = decode(self._stories[key])["type"]
            state = "live" if kind in journal.LIVE else kind
        self._tell_record(record("duplicate", key, state=state))

    def ended(self, key: Key, code: int, why: str | None) -> None:
        """A process of this keeper is over."""
        self._note(
            "finished",
            key,
            at=self._host.time(),
            duration_s=1.0,
            return_code=code,
            signal=-code if code < 0 else None,
            cpu_s=0.0,
            max_rss_kb=None,
            output_bytes=0,
            dropped_bytes=0,
            why=why,
            left=0,
        )
        self._tell(self._stories[key])

    def _tell(self, line: bytes) -> None:
        self._tell_record(decode(line))

    def _tell_record(self, message: Record) -> None:
        event = event_of(message, b"")
        if self.client is not None and event is not None:
            self.client.tell(event)

    def forget_the_old(self) -> None:
        """So much happened that only what is open or unreported is still in the journal's files."""
        for _ in range(SEGMENTS_KEPT):
            self._journal._rotate()

    def die(self) -> None:
        if self.client is not None:
            self.client.tell(KeeperLost("killed"))
            self.client.is_deaf = True


class KeeperClient:
    """The runner's side; takes the place of `cronq.runner.keeper_client.Keeper`."""

    def __init__(self, keeper: KeeperProcess, tell: Callable[[KeeperEvent], None]) -> None:
        self.tell = tell
        self.is_deaf = False
        self._keeper = keeper
        self.known = keeper.attach(self)

    def start(self, order: StartOrder) -> None:
        self._send(dict(order.as_message()))

    def kill(self, run_id: str, attempt: int, *, why: str, grace_s: float) -> None:
        self._send(record("kill", (run_id, attempt), why=why, grace_s=grace_s))

    def reported(self, run_id: str, attempt: int) -> None:
        self._send(record("reported", (run_id, attempt)))

    def tombstone(self, run_id: str, attempt: int, reason: str) -> None:
        self._send(record("tombstone", (run_id, attempt), reason=reason))

    def close(self) -> None:
        """What was sent is still obeyed, unless another runner says hello first."""
        self.is_deaf = True
        if self._keeper.client is self:
            self._keeper.client = None

    def _send(self, order: Record) -> None:
        if self.is_deaf:
            raise Unavailable("the keeper is gone")
        self._keeper.orders.append(order)


def record(kind: str, key: Key, **fields: object) -> Record:
    return {"type": kind, "run_id": key[0], "attempt": key[1], **fields}

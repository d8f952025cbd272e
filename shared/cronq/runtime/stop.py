"""Signals between threads: `Stop` ends a process, `Bell` wakes one sleeping loop early.

Both may be used in a signal handler. threading.Event may not: its lock is not reentrant, so a handler
that interrupts the same thread inside `wait` would block for ever. SimpleQueue.put is reentrant:
https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType


class Bell:
    """Wakes one sleeping loop early; rung while nobody sleeps, it cuts the next sleep short."""

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the loop; never blocks."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Sleep up to `timeout_s`; whether the bell rang. All rings so far count as one."""
        try:
            self._rings.get(timeout=timeout_s)
        except Empty:
            return False
        return True


class Stop:
    """Set once, by a signal or another thread, it stays set; wakes everybody who waits."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._token: SimpleQueue[None] = SimpleQueue()
        self._bells: list[Bell] = []

    @property
    def reason(self) -> str | None:
        """Why, in the words of the first who set it."""
        return self._reason

    def set(self, reason: str) -> None:
        """Ask for the end; never blocks. Only the first reason is kept."""
        if self._reason is None:
            self._reason = reason
            self._token.put(None)
        for bell in self._bells:
            bell.ring()

    def is_set(self) -> bool:
        """Whether somebody asked for the end."""
        return self._reason is not None

    def wait(self, timeout_s: float) -> bool:
        """Block up to `timeout_s`; whether it is set."""
        try:
            self._token.get(timeout=timeout_s)
        except Empty:
            return self.is_set()
        self._token.put(None)  # one token wakes all who wait, one after the other
        return True

    def also_ring(self, bell: Bell) -> None:
        """Ring this bell too when it is set, or now if it is."""
        self._bells.append(bell)
        if self.is_set():
            bell.ring()


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Within it SIGTERM and SIGINT set `stop`; a second SIGINT interrupts at once. Main thread only."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.set(signal.Signals(number).name)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

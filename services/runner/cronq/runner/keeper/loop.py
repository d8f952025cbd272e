"""One thread that sleeps until a file descriptor is ready or a deadline is reached; it never polls."""

from __future__ import annotations

import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_WORTH_COMPACTING = 64


class Timer:
    """A call that is due at a monotonic instant; cancelled through its loop."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Watched descriptors and pending deadlines.

    A handler may be called without cause (its descriptor's number was used again within one turn), so
    what it reads from must not block.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._timers: list[Timer] = []
        self._cancelled = 0

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        """Call this each time the descriptor is readable or its other end is gone."""
        self._handlers[fd] = call
        self._epoll.register(fd, READ)

    def await_events(self, fd: int, events: int) -> None:
        """Change what a watched descriptor is awaited for."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call this once, when `delay_s` seconds have passed."""
        timer = Timer(time.monotonic() + delay_s, call)
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer; nothing happens when it is None, was called or was cancelled already."""
        if timer is None or timer.call is None:
            return
        timer.call = None
        self._cancelled += 1
        if self._cancelled > max(_WORTH_COMPACTING, len(self._timers) // 2):
            self._compact()

    def step(self, *, block: bool) -> bool:
        """Wait for something to do when asked to block, and do all that is ready; whether anything was."""
        ready = self._epoll.poll(self._patience_s() if block else 0)
        for fd, _ in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler()
        if self._timers:
            self._call_due(time.monotonic())
        return bool(ready)

    def _patience_s(self) -> float:
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else -1

    def _call_due(self, now: float) -> None:
        while self._timers and self._timers[0].at <= now:
            call, timer = self._timers[0].call, heapq.heappop(self._timers)
            if call is None:
                self._cancelled -= 1
                continue
            timer.call = None
            call()

    def _compact(self) -> None:
        self._timers = [timer for timer in self._timers if timer.call is not None]
        heapq.heapify(self._timers)
        self._cancelled = 0

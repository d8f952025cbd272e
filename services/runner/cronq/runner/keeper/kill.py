"""Ends all processes of one run: TERM to its group, after the grace KILL to all that belongs to it."""

from __future__ import annotations

import signal
import time

from cronq.runner.keeper import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cronq.runner.keeper.loop import Loop

HUNT_S = 0.05
UNKILLABLE_S = 5.0


class Kill:
    """A kill under way.

    It is over when, after the main process, every other process of the run is gone too, or is still there
    5 s after KILL (stuck in the kernel, or another user's): those are counted in `left`. The main process
    must not be waited for until then, so that its pid stays the name of its group and session.
    """

    def __init__(
        self,
        pid: int,
        fence: str,
        grace_s: float,
        *,
        loop: Loop,
        census: processes.Census,
        over: Callable[[], None],
    ) -> None:
        self.left = 0
        self.is_over = False
        self._pid = pid
        self._fence = fence
        self._loop = loop
        self._census = census
        self._over = over
        self._struck_at: float | None = None
        self._asked: set[int] = set()
        processes.signal_group(pid, signal.SIGTERM)
        processes.signal_group(pid, signal.SIGCONT)
        self._timer = loop.after(grace_s, self._strike)

    def hasten(self, grace_s: float) -> None:
        """Let the grace end in `grace_s` seconds, if that is sooner."""
        if self._struck_at is None and time.monotonic() + grace_s < self._timer.at:
            self._loop.cancel(self._timer)
            self._timer = self._loop.after(grace_s, self._strike)

    def main_ended(self) -> None:
        """The main process is a zombie: look for the others, once nothing older is in the census."""
        self._loop.after(HUNT_S, self._hunt)

    def _strike(self) -> None:
        self._struck_at = time.monotonic()
        processes.signal_group(self._pid, signal.SIGKILL)
        processes.kill(self._remaining(), signal.SIGKILL)

    def _hunt(self) -> None:
        remaining = self._remaining()
        if not remaining or self._is_given_up():
            self._end(len(remaining))
            return
        if self._struck_at is None:
            self._ask_strangers(remaining)
        else:
            processes.kill(remaining, signal.SIGKILL)
        self._loop.after(2 * HUNT_S, self._hunt)

    def _remaining(self) -> list[processes.Process]:
        return self._census.of_run(self._fence, self._pid, max_age_s=HUNT_S)

    def _is_given_up(self) -> bool:
        return self._struck_at is not None and time.monotonic() - self._struck_at > UNKILLABLE_S

    def _ask_strangers(self, remaining: list[processes.Process]) -> None:
        """TERM, once, to those that left the group and so didn't get the first one."""
        strangers = [p for p in remaining if p.group != self._pid and p.pid not in self._asked]
        self._asked |= {p.pid for p in strangers}
        processes.kill(strangers, signal.SIGTERM)

    def _end(self, left: int) -> None:
        self._loop.cancel(self._timer)
        self.left = left
        self.is_over = True
        self._over()

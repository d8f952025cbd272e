"""One attempt: its process while it lives, its output, and what the runner is still owed of it.

The main process decides when a run ends and its exit code; then its pipe is drained, for 2 s at most
because a background child may hold it. A killed run ends only when all its processes are gone.
"""

from __future__ import annotations

import os
import time

from cronq.runner.keeper import processes
from cronq.runner.keeper.kill import Kill
from cronq.runner.keeper.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable

    from cronq.runner.journal import Key
    from cronq.runner.keeper.loop import Loop, Timer
    from cronq.runner.keeper.wire import Message

READ_BYTES = 64 << 10
LISTEN_AFTER_S = 0.01
DRAIN_S = 2.0
_DRAIN_READS = 16  # in one turn of the loop: a child that stayed may write for ever
_LEFT_AGE_S = 1.0


class Story:
    """What is to be told to the runner of an attempt: pieces of output, then how it ended."""

    is_live = False

    def __init__(self, key: Key, output: Output, line: bytes) -> None:
        """`line` is the latest of its records: `go`, `started`, or the one that tells its end."""
        self.key = key
        self.output = output
        self.line = line
        self.is_told = False
        self.is_queued = False
        self.is_saved = False


class Attempt(Story):
    """An attempt whose process was started by this keeper."""

    def __init__(
        self,
        key: Key,
        line: bytes,
        pipe: int,
        *,
        output_limit: int,
        loop: Loop,
        census: processes.Census,
        wrote: Callable[[Attempt], None],
        ended: Callable[[Attempt, Message], None],
    ) -> None:
        """An attempt that is about to start and will write to `pipe`.

        `wrote` is called each time it has, and `ended` once, with all that is known of the end.
        """
        super().__init__(key, Output(output_limit), line)
        self.is_live = True
        self._pid = self._pidfd = -1
        self._began = 0.0
        self._fence = f"{key[0]}:{key[1]}"
        self._loop = loop
        self._census = census
        self._wrote = wrote
        self._ended = ended
        self._timeout: Timer | None = None
        self._ear: Timer | None = None
        self._drain: Timer | None = None
        self._why: str | None = None
        self._kill: Kill | None = None
        self._end: Message | None = None  # when the main process ended
        self._exit: Message | None = None  # how, once it was waited for
        self._is_group_left = False
        self._pipe: int | None = pipe
        self._is_listening = False
        self._early_kill: tuple[str, float] | None = None

    def begin(self, pid: int, pidfd: int, began: float) -> None:
        """Watch its process, started at the monotonic instant `began`."""
        self._pid, self._pidfd, self._began = pid, pidfd, began
        self._loop.watch(pidfd, self._on_exit)
        # Most jobs are over by then, and their pipe needs reading only once.
        self._ear = self._loop.after(LISTEN_AFTER_S, self._listen)
        if self._early_kill is not None:
            self.kill(*self._early_kill)

    def fail(self) -> None:
        """There is no process: it could not be started."""
        self.is_live = False
        self._close_pipe()

    def limit_time(self, timeout_s: float, grace_s: float) -> None:
        """Kill it as timed out when it has run for this long."""
        if self._end is not None:
            return
        left_s = self._began + timeout_s - time.monotonic()
        self._timeout = self._loop.after(left_s, lambda: self.kill("timeout", grace_s))

    def kill(self, why: str, grace_s: float) -> None:
        """Begin to kill it, or let the grace of a kill under way end sooner; nothing once it has ended."""
        if self._pid < 0:
            self._early_kill = self._early_kill or (why, grace_s)
            return
        if self._kill is not None:
            self._kill.hasten(grace_s)
            return
        self._on_exit()
        if self._end is None:
            self._why = why
            self._kill = Kill(
                self._pid, self._fence, grace_s, loop=self._loop, census=self._census, over=self._on_killed
            )

    def _read(self) -> bool:
        """Take what the pipe has, up to a size; says whether there may be more."""
        if self._pipe is None:
            return False
        try:
            data = os.read(self._pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self.output.append(data)
            self._wrote(self)
            return True
        self._close_pipe()
        return False

    def _listen(self) -> None:
        if self._pipe is not None and not self._is_listening:
            self._is_listening = True
            self._loop.watch(self._pipe, self._on_readable)

    def _on_readable(self) -> None:
        self._read()
        if self._pipe is None:
            self._on_exit()  # most processes end right after they close their output
            self._settle()

    def _on_exit(self) -> None:
        if self._end is not None or not self._has_ended():
            return
        self._end = {"at": time.time(), "duration_s": round(time.monotonic() - self._began, 6)}
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._loop.cancel(self._timeout)
        if self._kill is None:
            self._read_rest()
        else:
            self._kill.main_ended()

    def _has_ended(self) -> bool:
        """Whether its main process is over; one that is not being killed is waited for by that."""
        if self._kill is not None:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._wait(os.WNOHANG)

    def _wait(self, options: int) -> bool:
        pid, status, usage = os.wait4(self._pid, options)
        if pid == 0:
            return False
        self._is_group_left = processes.is_group_alive(self._pid)
        code = os.waitstatus_to_exitcode(status)
        self._exit = {
            "return_code": code,
            "signal": -code if code < 0 else None,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 6),
            "max_rss_kb": _max_rss_kb(usage),
        }
        return True

    def _on_killed(self) -> None:
        self._wait(0)
        self._read_rest()

    def _read_rest(self) -> None:
        for _ in range(_DRAIN_READS):
            if not self._read():
                break
        if self._pipe is not None:
            self._listen()
            self._drain = self._loop.after(DRAIN_S, self._stop_reading)
        self._settle()

    def _stop_reading(self) -> None:
        self._close_pipe()
        self._settle()

    def _close_pipe(self) -> None:
        if self._pipe is None:
            return
        self._loop.cancel(self._ear)
        if self._is_listening:
            self._loop.unwatch(self._pipe)
        os.close(self._pipe)
        self._pipe = None

    def _settle(self) -> None:
        """Report the end when nothing is to be expected any more."""
        if not self.is_live or self._end is None or self._exit is None or self._pipe is not None:
            return
        self.is_live = False
        self._loop.cancel(self._drain)
        self.output.end()
        left = self._count_left()
        size = {"output_bytes": self.output.total, "dropped_bytes": self.output.dropped}
        self._ended(self, {**self._end, **self._exit, **size, "why": self._why, "left": left})

    def _count_left(self) -> int:
        if self._kill is not None:
            return self._kill.left
        if not self._is_group_left:
            return 0
        return max(1, len(self._census.of_run(self._fence, None, max_age_s=_LEFT_AGE_S)))


def _max_rss_kb(usage: resource.struct_rusage) -> int | None:
    """The peak of the run's largest process, or None when it can't be told.

    Linux counts the memory of the process that forked as the child's own until it execs, so a figure
    not above our own peak says nothing.
    """
    return usage.ru_maxrss if processes.is_above_own_peak(usage.ru_maxrss) else None

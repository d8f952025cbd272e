"""Starts processes, or says in words why that is impossible; in threads, because a start may have to wait.

While a new process looks up its folder and loads its program, whoever made it is suspended: that is most
of the time that a start takes, and for ever when the folder is on a file server that is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from collections import deque
from queue import SimpleQueue

from cronq.runner.keeper import processes
from cronq.runner.keeper.spawn import Direct, Program, entries, start_by_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cronq.runner.keeper.attempt import Attempt
    from cronq.runner.keeper.loop import Loop
    from cronq.runner.keeper.spawn import Environment
    from cronq.runner.keeper.wire import Message

THREADS = 6
THREADS_MOST = 64
STUCK_S = 1.0
_NULL = os.open(os.devnull, os.O_RDWR)
_FAILURES = (OSError, ValueError, TypeError, LookupError, OverflowError, subprocess.SubprocessError)


class LaunchError(Exception):
    """The process could not be started; the text names what, its value, and why."""


class Launch:
    """One start under way, and then its result: `error`, or the process."""

    def __init__(self, order: Message, base_env: Environment, output: int, attempt: Attempt) -> None:
        """The descriptor `output` takes what the process writes, and is closed by `run`."""
        self.order = order
        self.base_env = base_env
        self.output = output
        self.attempt = attempt
        self.error = ""
        self.began = 0.0  # monotonic
        self.at = 0.0
        self.pid = self.pidfd = -1
        self.ticks = (0, 0)  # between which it started

    def run(self, direct: Direct | None) -> None:
        """Start the process. Blocks until it executes its program, or can't."""
        self.began, self.at, earliest = time.monotonic(), time.time(), processes.ticks_now()
        try:
            self.pid = launch(self.order, self.base_env, self.output, direct)
            self.ticks = (earliest, processes.ticks_now())
            self._watch()
        except LaunchError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 whatever it is, the attempt must get its answer
            self.error = f"command {self.order['argv'][0]}: {error!r}"
        finally:
            os.close(self.output)

    def _watch(self) -> None:
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            processes.signal_group(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise LaunchError(f"the process could not be watched: {error.strerror}") from error


class Launchers:
    """A few threads that start processes, and tell the loop's thread when that is done."""

    def __init__(self, loop: Loop, launched: Callable[[Launch], None]) -> None:
        """`launched` is called by the loop."""
        self._launched = launched
        self._orders: SimpleQueue[Launch] = SimpleQueue()
        self._results: deque[Launch] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_rung = False
        self._busy: dict[int, float] = {}  # thread → since when
        self._threads = 0
        self._is_direct = Direct.works()
        loop.watch(self._bell, self._tell)
        for _ in range(THREADS):
            self._add_thread()

    def submit(self, launch: Launch) -> None:
        """Have it run soon."""
        self._orders.put(launch)
        if self._threads - self._stuck() < THREADS and self._threads < THREADS_MOST:
            with contextlib.suppress(RuntimeError):  # the system has no room for another
                self._add_thread()

    def _stuck(self) -> int:
        since = time.monotonic() - STUCK_S
        return sum(began < since for began in list(self._busy.values()))

    def _add_thread(self) -> None:
        threading.Thread(target=self._work, args=(self._threads,), daemon=True).start()
        self._threads += 1

    def _work(self, number: int) -> None:
        direct = Direct() if self._is_direct else None
        while True:
            launch = self._orders.get()
            self._busy[number] = time.monotonic()
            launch.run(direct)
            del self._busy[number]
            self._results.append(launch)
            if not self._is_rung:
                self._is_rung = True
                os.eventfd_write(self._bell, 1)

    def _tell(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        self._is_rung = False  # before looking: what is appended from now on rings again
        while self._results:
            self._launched(self._results.popleft())


def launch(order: Message, base_env: Environment, output: int, direct: Direct | None) -> int:
    """Start the order's process, writing to the descriptor `output`; returns its pid. Raises LaunchError."""
    stdin = _NULL
    try:
        if order.get("stdin") is not None:
            stdin = _text_file(order["stdin"])
        program = Program(order["argv"], {**base_env, **entries(order["env"])}, stdin, output)
        program.cwd = order.get("cwd")
        program.umask = -1 if order.get("umask") is None else order["umask"]
        program.uid, program.gid, program.groups = order.get("uid"), order.get("gid"), order.get("groups")
        if direct is None or program.is_as_other_user:
            return start_by_popen(program)
        return direct.start(program)
    except _FAILURES as error:
        raise LaunchError(_in_words(error, order)) from error
    finally:
        if stdin != _NULL:
            os.close(stdin)


def _text_file(text: str) -> int:
    """A file in memory to read the text from: unlike a pipe, it never makes the writer wait."""
    fd = os.memfd_create("stdin")
    content = text.encode("utf-8", "surrogateescape")
    while content:
        content = content[os.write(fd, content) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _in_words(error: Exception, order: Message) -> str:
    program, cwd = order["argv"][0], order.get("cwd")
    if not isinstance(error, OSError):
        return f"command, environment or working directory: {error}"
    reason = (error.strerror or str(error)).lower()
    if error.filename is None:
        return f"no process could be made for {program}: {reason}"
    if cwd is not None and os.fsdecode(error.filename) == cwd:
        return f"working directory {cwd}: {reason}"
    return f"command {program}: {_exec_error(error, program) or reason}"


def _exec_error(error: OSError, program: str) -> str:
    """What the kernel's own words don't say."""
    if error.errno == errno.E2BIG:
        return "arguments and environment are too long for this system"
    if error.errno == errno.ENOEXEC:
        return "neither a program nor a script that begins with #!"
    if error.errno == errno.ENOENT and os.path.exists(program):
        return "the interpreter that it names does not exist"
    return ""

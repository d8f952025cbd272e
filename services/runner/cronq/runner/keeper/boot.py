"""The keeper's start: its lock, what an earlier keeper left behind, its socket."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
import time

from cronq.runner.keeper import processes, saved
from cronq.runner.keeper.loop import Loop
from cronq.runner.keeper.service import Keeper, log
from cronq.runner.keeper.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cronq.runner.journal import Entry, Key

ORPHAN_IDLE_S = 60.0
LOCK_WAIT_S = 5.0
KILL_WAIT_S = 2.0
LOCK = "keeper.lock"
SOCKET = "keeper.sock"
READY = b"ready\n"
EXIT_IN_USE = 75


def main(arguments: list[str]) -> int:
    """Keep the processes of the runner's folder `arguments[0]`; returns the process's exit code.

    `arguments[1]`, if given, is how many seconds to stay when nothing runs and no runner is connected.
    Writes `ready` to standard output once it listens.
    """
    folder = arguments[0]
    orphan_idle_s = float(arguments[1]) if len(arguments) > 1 else ORPHAN_IDLE_S
    _shed_signals()
    if not _take_lock(os.path.join(folder, LOCK)):
        log(f"another keeper holds {os.path.join(folder, LOCK)}")
        return EXIT_IN_USE
    journal = Writer(folder, processes.boot_id())
    _interrupt(journal)
    keeper = Keeper(folder, journal, Loop(), _listen(folder), orphan_idle_s=orphan_idle_s)
    _hand_over(folder, journal, keeper)
    _say_ready()
    gc.freeze()
    keeper.run()
    os.unlink(os.path.join(folder, SOCKET))
    return 0


def _shed_signals() -> None:
    """Survive what ends a runner. Handlers, since ignored signals would be ignored by the jobs as well."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _take_lock(path: str) -> bool:
    """Hold the lock until this process ends; an earlier keeper that is leaving gets time to go."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    os.truncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return True


def _interrupt(journal: Writer) -> None:
    """What was open when the last keeper died is over: end its processes, and record it so."""
    cut_off = {key: entry for key, entry in journal.unreported().items() if entry.state == "live"}
    if cut_off and journal.is_same_boot:
        _kill_survivors(cut_off)
    for key in cut_off:
        record = {"type": "interrupted", "run_id": key[0], "attempt": key[1], "at": time.time()}
        journal.append(record)
    if cut_off:
        log(f"interrupted, since an earlier keeper died: {', '.join(f'{k[0]}:{k[1]}' for k in cut_off)}")
    journal.flush()


def _kill_survivors(entries: dict[Key, Entry]) -> None:
    """KILL what is left of these runs, and wait a little until it is gone.

    Sessions are theirs only while their leader is the process that was recorded.
    """
    fences = {f"{run_id}:{attempt}" for run_id, attempt in entries}
    leaders = {e.facts["pid"]: e.facts["ticks"] for e in entries.values() if "pid" in e.facts}
    sessions = {pid for pid, (a, b) in leaders.items() if a <= processes.start_ticks(pid) <= b}
    deadline = time.monotonic() + KILL_WAIT_S
    while time.monotonic() < deadline:
        found = [p for p in processes.census() if p.fence in fences or p.session in sessions]
        # The runner that started us may itself have been started from within a job.
        survivors = [p for p in found if p.pid != os.getppid()]
        if not survivors:
            return
        processes.kill(survivors, signal.SIGKILL)
        time.sleep(0.02)


def _hand_over(folder: str, journal: Writer, keeper: Keeper) -> None:
    """Let the keeper tell what ended before its time and was not reported."""
    unreported = journal.unreported()
    saved.drop_others(folder, unreported)
    for key, entry in unreported.items():
        keeper.remember(key, entry.line)


def _listen(folder: str) -> socket.socket:
    """Listen on the folder's socket, by a path that is short however long the folder's is."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    path = f"/proc/self/fd/{directory}/{SOCKET}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener.bind(path)
    os.chmod(path, 0o600)
    os.close(directory)
    listener.listen(16)
    return listener


def _say_ready() -> None:
    """Tell the process that started us, and let go of its descriptors."""
    with contextlib.suppress(OSError):
        os.write(1, READY)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)

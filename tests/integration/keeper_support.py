"""A runner's side of a real keeper: orders, and waiting for news with a deadline."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cronq.runner.folder import Folder, open_folder
from cronq.runner.keeper.processes import census, kill
from cronq.runner.keeper_client import Finished, Keeper, KeeperEvent, KeeperLost, Output, StartOrder

T = TypeVar("T")
Event = TypeVar("Event", bound=KeeperEvent)

DEADLINE_S = 20.0
ENV = {"PATH": os.environ["PATH"]}


def wait_until(what: str, condition: Callable[[], T], within_s: float = DEADLINE_S) -> T:
    """Poll until `condition` is true and return its value; fails naming `what` and the last value."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; at last {value!r}")
        time.sleep(0.01)
    return value


def signals_of_a_shell(status: bytes) -> dict[str, set[int]]:
    """The sets of signals in lines of /proc/PID/status, by name.

    32 and 33 are left out: the C library keeps them for itself, so that neither we nor a shell can reset
    what whoever started us had done to them.
    """
    found = {}
    for line in status.decode().splitlines():
        name, bits = line.split(":")
        found[name] = {n for n in range(1, 65) if int(bits, 16) >> (n - 1) & 1} - {32, 33}
    return found


def new_run() -> str:
    return secrets.token_hex(16)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, zombies excluded."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pid(file: Path) -> int:
    """The pid that a job writes to a file, once it is there in full."""
    wait_until(f"a pid in {file.name}", lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


class Runner:
    """One connection with a folder's keeper, and all its news."""

    def __init__(self, folder: Folder, *, orphan_idle_s: float = 30.0) -> None:
        self.folder = folder
        self.events: list[KeeperEvent] = []
        self._news = threading.Condition()
        self.keeper = Keeper.connect_or_spawn(folder, on_event=self._on_event, orphan_idle_s=orphan_idle_s)

    def start(self, command: str, *, run_id: str | None = None, attempt: int = 1, **more: Any) -> str:
        """Order `sh -c command`; returns its run id."""
        run_id = run_id or new_run()
        env = {**ENV, "CRONQ_FENCE": f"{run_id}:{attempt}"}
        argv = ("/bin/sh", "-c", command)
        self.keeper.start(StartOrder(run_id, attempt, **{"argv": argv, "env": env, **more}))
        return run_id

    def wait(self, kind: type[Event], run_id: str | None = None, *, within_s: float = DEADLINE_S) -> Event:
        """The first event of this kind, of this run unless None."""
        with self._news:
            if not self._news.wait_for(lambda: self._find(kind, run_id), within_s):
                log = (self.folder.path / "keeper.log").read_text()
                raise AssertionError(f"no {kind.__name__} within {within_s:g} s, only {self.events}; {log}")
            return self._find(kind, run_id)[0]

    def finish(self, command: str, **more: Any) -> Finished:
        """Run a command to its end."""
        return self.wait(Finished, self.start(command, **more))

    def output(self, run_id: str) -> bytes:
        """All that came of its output, which must have come in order and without a gap."""
        joined = b""
        for piece in self._find(Output, run_id):
            assert piece.offset == len(joined)
            joined += piece.data
        return joined

    def pieces(self, run_id: str) -> list[Output]:
        with self._news:
            return self._find(Output, run_id)

    def report_all(self) -> None:
        for event in list(self.events):
            if isinstance(event, Finished):
                self.keeper.reported(*event.key)

    def _find(self, kind: type[Event], run_id: str | None) -> list[Event]:
        return [
            e for e in self.events if isinstance(e, kind) and run_id in (None, getattr(e, "run_id", None))
        ]

    def _on_event(self, event: KeeperEvent) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()


class Runners:
    """Runner connections of one folder, one after another; whatever is left ends with the test."""

    def __init__(self, state: Path) -> None:
        self.folder = open_folder(state, "r")
        self._connected: list[Runner] = []

    def connect(self, *, orphan_idle_s: float = 30.0) -> Runner:
        runner = Runner(self.folder, orphan_idle_s=orphan_idle_s)
        self._connected.append(runner)
        return runner

    def kill_keeper(self, runner: Runner) -> None:
        """kill -9 the keeper, and wait until the runner knows."""
        os.kill(runner.keeper.pid, signal.SIGKILL)
        runner.wait(KeeperLost)

    def end(self) -> None:
        for runner in self._connected:
            runner.keeper.close()
        self._end_keeper()
        self.folder.close()

    def _end_keeper(self) -> None:
        """Only what holds the folder's lock: the pid of a keeper that is gone may be anybody's by now."""
        lock = self.folder.path / "keeper.lock"
        if not lock.exists() or not _is_locked(lock):
            return
        keeper = int(lock.read_text())
        processes = census()
        leaders = {process.pid for process in processes if _parent(process.pid) == keeper}
        kill([p for p in processes if p.session in leaders or p.pid == keeper], signal.SIGKILL)
        wait_until("the keeper is gone", lambda: not _is_locked(lock))


def _is_locked(file: Path) -> bool:
    with file.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


@contextmanager
def runners_in(state: Path) -> Iterator[Runners]:
    runners = Runners(state)
    try:
        yield runners
    finally:
        runners.end()

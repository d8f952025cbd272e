"""Services as real processes: started, killed, frozen and started again, and gone at the end.

Each stack has a folder, a database and a virtual host of its own. Its jobs leave their traces in
files, so that what ran can be told without our tables.
"""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.servers import free_port
from tests.system.outside import Api, Broker, Database

__all__ = ["DEADLINE_S", "Api", "Broker", "Database", "Process", "Stack", "Traces", "wait_until"]

T = TypeVar("T")

DEADLINE_S = 60.0
TAIL_LINES = 40
MARK = "STACK_MARK"  # in the environment of every service and job of a stack, and of nothing else
# One line per start, appended in one write.
TRACE = 'echo "$CRONQ_RUN_ID $CRONQ_ATTEMPT" >> {file}'


def wait_until(what: str, condition: Callable[[], T], within_s: float = DEADLINE_S) -> T:
    """Poll until `condition` is true and return its value; fails naming `what` and the last value."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; at last {value!r}")
        time.sleep(0.02)
    return value


class Process:
    """One program; after its end it may be started again, and goes on in the same log."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._env = dict(env)
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    def set_env(self, **more: str) -> None:
        """For its next start."""
        self._env |= more

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> Process:
        """Start it and return at once; it dies with us whatever happens."""
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
                start_new_session=True,
            )
        return self

    def output(self) -> str:
        """What it wrote since its last start."""
        return self.log.read_bytes()[self._log_from :].decode(errors="replace")

    def ready_line(self, begins: str = "ready ") -> str:
        """Wait for the line by which it says that it is ready; fails when it ends before."""

        def said() -> str:
            lines = [line for line in self.output().splitlines() if line.startswith(begins)]
            assert lines or self.is_running, f"{self.name} ended with {self.exit_code()}:\n{self.output()}"
            return lines[0] if lines else ""

        return wait_until(f"{self.name} is ready", said)

    def wait_for_log(self, text: str) -> None:
        """Until it has logged this since its last start."""
        wait_until(f"{self.name} logs {text!r}", lambda: text in self.output())

    def exit_code(self, within_s: float = DEADLINE_S) -> int:
        """Wait for its end; negative after a signal."""
        assert self._popen is not None
        return self._popen.wait(within_s)

    def signal(self, number: int) -> None:
        assert self.is_running, f"{self.name} does not run"
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.exit_code()

    def freeze(self) -> None:
        """SIGSTOP, and wait until each of its threads has stopped."""
        self.signal(signal.SIGSTOP)
        wait_until(f"{self.name} is frozen", lambda: _state(self.pid) == "T")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def terminate(self, within_s: float = DEADLINE_S) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code(within_s)

    def end(self) -> None:
        if self.is_running:
            self.kill()

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"---- {self.name}: last lines of its log", *lines[-TAIL_LINES:]])


class Traces:
    """A file that jobs append a line to when they start: (run id, attempt)."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.command = TRACE.format(file=file)

    def all(self) -> list[tuple[str, int]]:
        text = self.file.read_text() if self.file.exists() else ""
        pairs = [line.split() for line in text.splitlines()]
        return [(run_id, int(attempt)) for run_id, attempt in pairs]

    def __len__(self) -> int:
        return len(self.all())

    def wait_for(self, count: int) -> None:
        """Until so many jobs have started."""
        wait_until(f"{count} jobs have started", lambda: len(self) >= count)


class Stack:
    """The services of one test."""

    def __init__(self, folder: Path, *, database_url: str = "", broker: Broker | None = None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.database = Database(database_url)
        self._broker = broker
        self.processes: list[Process] = []
        self._mark = secrets.token_hex(8)
        self._database_url = database_url
        self.env = {
            **_outer_env(),
            MARK: self._mark,
            **({"RABBITMQ_URL": broker.url} if broker else {}),
            "CRONQ_STATE_DIR": str(self.state),
            "CRONQ_SECRET_KEY": secrets.token_hex(32),
            "CRONQ_AUTH": "none",
        }

    @property
    def broker(self) -> Broker:
        assert self._broker is not None
        return self._broker

    def short_clocks(self) -> Stack:
        """Leases that run out while a test waits."""
        self.env |= {"CRONQ_HEARTBEAT_S": "1", "CRONQ_LEASE_S": "6", "CRONQ_REPUBLISH_S": "5"}
        return self

    def migrate(self) -> Stack:
        """The tables, without a process of ours."""
        from cronq import store  # noqa: PLC0415 - a worker node's tests do without
        from cronq.store import migrate  # noqa: PLC0415

        db = store.open_store(self._database_url)
        migrate.upgrade(db)
        db.close()
        return self

    def service(self, kind: str, *args: str, name: str = "", **env: str) -> Process:
        """A service that is not started yet; a runner gets no way to the database."""
        found = self.env | env | ({} if kind == "runner" else {"DATABASE_URL": self._database_url})
        return self.command(kind, *args, name=name or kind, env=found)

    def runner(self, name: str = "runner", *args: str, slots: int = 4, **env: str) -> Process:
        """A runner of this name, and so with this folder."""
        return self.service("runner", "--name", name, "--slots", str(slots), *args, name=name, **env)

    def web(self) -> tuple[Process, Api]:
        """The web, started, on a port of its own."""
        port = free_port()
        process = self.service("web", PORT=str(port))
        self.start(process)
        return process, Api(f"http://127.0.0.1:{port}")

    def command(self, *args: str, name: str, env: Mapping[str, str]) -> Process:
        """Any `cronq …`."""
        command = [sys.executable, "-m", "cronq.cli", *args]
        process = Process(name, command, env, self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def start(self, *processes: Process) -> None:
        """Start them all, and wait until each is ready."""
        for process in processes:
            process.start()
        for process in processes:
            process.ready_line()

    def traces(self, name: str = "traces") -> Traces:
        return Traces(self.folder / name)

    def keepers(self) -> dict[int, Path]:
        """Keepers of folders in this stack's: pid → the runner's folder."""
        found = {}
        for pid, folder in self._keeper_processes():
            with suppress(FileNotFoundError, ValueError):
                if int((folder / "keeper.lock").read_text()) == pid:
                    found[pid] = folder
        return found

    def _keeper_processes(self) -> Iterator[tuple[int, Path]]:
        """Keepers by their command line, and what they have forked and not yet made something else."""
        for pid, command in _commands():
            if len(command) >= 3 and command[-3].endswith("/keeper/__main__.py"):
                folder = Path(command[-2])
                if folder.is_relative_to(self.state.resolve()):
                    yield pid, folder

    def keeper(self, runner: str = "runner") -> int:
        """The pid of the keeper of this runner's folder."""
        [pid] = [pid for pid, folder in self.keepers().items() if folder.name == runner]
        return pid

    def sqlite(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on the database of an embedded `cronq up`, committed."""
        with closing(sqlite3.connect(self.state / "cronq.db", timeout=30)) as connection, connection:
            return list(connection.execute(statement))

    def services(self) -> set[str]:
        """Which services run as children of a `cronq up` of this stack, or were left by it."""
        found = set()
        for pid, command in _commands():
            if "child" in command and f"{MARK}={self._mark}" in _words(pid, "environ"):
                found.add(command[command.index("child") + 2])
        return found

    def job_pids(self, run_id: str) -> list[int]:
        """The processes of a run that are alive."""
        return [pid for pid, env in _environments() if f"CRONQ_RUN_ID={run_id}" in env]

    def story(self) -> str:
        """All that helps when a test has failed."""
        parts = [process.tail() for process in self.processes]
        logs = self.state.glob("runners/*/keeper.log")
        parts += [f"---- {log}\n{log.read_text(errors='replace')[-4000:]}" for log in logs]
        with suppress(Exception):
            parts.append(self._ledger())
        return "\n".join(parts)

    def _ledger(self) -> str:
        if self._database_url:
            return self.database.summary()
        groups = self.sqlite("SELECT state, attempt, reason, COUNT(*) FROM runs GROUP BY 1, 2, 3")
        return "\n".join(["---- the ledger", *map(str, groups)])

    def end(self) -> None:
        """Kill all that is left, by pid: services, keepers, jobs."""
        for process in self.processes:
            process.end()
        wait_until("nothing of the stack is left", lambda: not self._kill_the_rest())

    def _kill_the_rest(self) -> bool:
        """Kill what is found; whether there was anything."""
        marked = [pid for pid, env in _environments() if f"{MARK}={self._mark}" in env]
        found = [*(pid for pid, _ in self._keeper_processes()), *marked]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)


def _outer_env() -> dict[str, str]:
    ours = ("CRONQ_", "RABBITMQ_", "DATABASE_URL", "PYTEST_", "PORT", "LISTEN_INTERFACE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _state(pid: int) -> str:
    """R, S, T … as in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _pids() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _commands() -> Iterator[tuple[int, list[str]]]:
    for pid in _pids():
        yield pid, _words(pid, "cmdline")


def _environments() -> Iterator[tuple[int, list[str]]]:
    for pid in _pids():
        yield pid, _words(pid, "environ")


def _words(pid: int, file: str) -> list[str]:
    """A zombie has none."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []

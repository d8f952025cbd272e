"""The folder in which a runner keeps what it must not forget, and the proof that it is still the same one.

`lock` is held by the runner's process; `keeper.lock`, `keeper.sock` and `journal-<n>.log` are the keeper's.
`identity` names the folder's lineage: whoever remembers it may take this folder's word about the past. A
copy of the folder, or a disk put into another machine, is not the same folder and gets a lineage of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from cronq.domain.errors import ConfigError
from cronq.runner.keeper.processes import boot_id

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_IDENTITY = "identity"
_LOCK = "lock"
_PROCESSES = "processes"


@dataclass(frozen=True)
class Identity:
    """What `identity` records: whose folder this is, where it was, and since which boot."""

    lineage: str
    host: str
    boot_id: str
    dev: int
    ino: int


class Folder:
    """A runner's folder, locked against other runners until `close()` or the end of this process.

    `lineage` is 32 hex digits; `previous_boot` says that the machine was booted since the last use.
    """

    def __init__(self, path: Path, name: str, lock: int, *, lineage: str, previous_boot: bool) -> None:
        self.path = path
        self.name = name
        self.lineage = lineage
        self.previous_boot = previous_boot
        self._lock = lock

    def count_process(self) -> int:
        """The number of this runner process in the folder's life, from 1; on the disk before it is known."""
        path = self.path / _PROCESSES
        number = _number_in(path) + 1
        new = path.with_suffix(".new")
        with new.open("w") as file:
            file.write(f"{number}\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        return number

    def close(self) -> None:
        """Let another runner use the folder. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_folder(state_dir: Path, name: str | None) -> Folder:
    """Lock and return `runners/<name>` in the state folder, made if need be.

    Without a name it is the first number from 0 on that no runner uses. Raises ConfigError when the name
    is in use or not allowed, or the folder can't be used.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError(
            f"runner name {name!r}: allowed are 1 to 64 letters, digits and '_', and not first '-' and '.'"
        )
    try:
        return _open(state_dir / "runners", name)
    except OSError as error:
        path = error.filename or state_dir
        raise ConfigError(f"state folder {state_dir} can't be used: {path}: {error.strerror}") from error


def _open(runners: Path, name: str | None) -> Folder:
    for candidate in _candidates(name):
        path = runners / candidate
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _try_lock(path / _LOCK)
        if lock is not None:
            return _identified(path, candidate, lock)
    holder = _holder(runners / str(name) / _LOCK)
    raise ConfigError(f"runner name {name!r} is in use{holder}: allowed is a name that no other runner has")


def _candidates(name: str | None) -> Iterator[str]:
    return iter([name]) if name is not None else map(str, count())


def _try_lock(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.truncate(fd, 0)
    os.write(fd, f"{os.getpid()} {socket.gethostname()}\n".encode())
    return fd


def _holder(lock: Path) -> str:
    pid, _, host = lock.read_text().strip().partition(" ")
    return f" by process {pid} on {host} ({lock})" if host else f" ({lock})"


def _identified(path: Path, name: str, lock: int) -> Folder:
    try:
        lineage, previous_boot = _identify(path)
    except OSError:
        os.close(lock)
        raise
    return Folder(path, name, lock, lineage=lineage, previous_boot=previous_boot)


def _identify(path: Path) -> tuple[str, bool]:
    """The folder's lineage, and whether the machine was booted since it was last used."""
    recorded, now = _recorded(path), boot_id()
    # Without a journal it can say nothing of its past: it must not vouch for it either.
    if recorded is None or not _is_same(recorded, path, now) or not any(path.glob("journal-*.log")):
        _set_aside(path, recorded.lineage if recorded else "unknown")
        recorded = None
    lineage = recorded.lineage if recorded else secrets.token_hex(16)
    if recorded is None or recorded.boot_id != now:
        _record(path, lineage, now)
    return lineage, recorded is not None and recorded.boot_id != now


def _number_in(path: Path) -> int:
    with suppress(FileNotFoundError, ValueError):
        return int(path.read_text())
    return 0


def _recorded(path: Path) -> Identity | None:
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Identity(**json.loads((path / _IDENTITY).read_text()))
    return None


def _is_same(recorded: Identity, path: Path, boot_id_now: str) -> bool:
    """Whether this is the folder that was recorded, on its own machine.

    Within one boot the machine is certain, whatever it is called now; across boots a device may have got
    another number, so that only the file's own number and the machine's name tell.
    """
    stat = (path / _IDENTITY).stat()
    if recorded.boot_id == boot_id_now:
        return (recorded.dev, recorded.ino) == (stat.st_dev, stat.st_ino)
    return recorded.ino == stat.st_ino and recorded.host == socket.gethostname()


def _record(path: Path, lineage: str, boot_id_now: str) -> None:
    """Write the identity, complete and on the disk before it has its name."""
    new = path / f"{_IDENTITY}.new"
    with new.open("w") as file:
        stat = os.fstat(file.fileno())
        identity = Identity(lineage, socket.gethostname(), boot_id_now, stat.st_dev, stat.st_ino)
        json.dump(asdict(identity), file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path / _IDENTITY)


def _set_aside(path: Path, lineage: str) -> None:
    """Keep what another lineage left, if anything, out of the way."""
    left = [file for pattern in ("journal-*", "output-*") for file in path.glob(pattern)]
    aside = path / f"aside-{lineage}-{int(time.time())}"
    if left:
        aside.mkdir(mode=0o700, exist_ok=True)
    for file in left:
        file.rename(aside / file.name)

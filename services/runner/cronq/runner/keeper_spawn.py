"""Finds the keeper of a folder, or starts one that is a child of nobody's terminal."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cronq.domain.errors import Unavailable
from cronq.runner import keeper

READY_S = 15.0
LOG = "keeper.log"
LOG_BYTES = 1 << 20
# The rest of our environment is no business of a process that outlives us; jobs get theirs by order.
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "TZ", "CRONQ_CRASH_POINT")
_PROGRAM = Path(keeper.__file__).with_name("__main__.py")


def connect(folder: Path) -> socket.socket:
    """Connect with the folder's keeper. Raises FileNotFoundError or ConnectionError when there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        # However long the folder's path is: a socket's may have 108 bytes.
        sock.connect(f"/proc/self/fd/{directory}/keeper.sock")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


def spawn(folder: Path, orphan_idle_s: float) -> None:
    """Start a keeper and block until it listens. Raises Unavailable with its own words when it doesn't."""
    with _open_log(folder / LOG) as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-X",
                "utf8",
                str(_PROGRAM),
                str(folder.resolve()),
                str(orphan_idle_s),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={name: os.environ[name] for name in _NEEDED if name in os.environ},
            start_new_session=True,
        )
    # Somebody has to wait for it when it ends, or it stays a zombie as long as we live.
    threading.Thread(target=process.wait, name="keeper-wait", daemon=True).start()
    if not _says_ready(process):
        raise Unavailable(f"the keeper of {folder} did not start: {_last_words(folder / LOG)}")


def _says_ready(process: subprocess.Popen[bytes]) -> bool:
    if process.stdout is None:
        return False
    with process.stdout as pipe:
        ready, _, _ = select.select([pipe], [], [], READY_S)
        return bool(ready) and pipe.readline() == b"ready\n"


def _open_log(path: Path) -> BinaryIO:
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.unlink()
    return open(path, "ab", opener=lambda p, flags: os.open(p, flags, 0o600))


def _last_words(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else f"nothing in {path}"

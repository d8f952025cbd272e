"""Output that no runner had acked when a keeper left: one file each, for the next keeper to tell."""

from __future__ import annotations

import contextlib
import os

from cronq.runner.keeper.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from cronq.runner.journal import Key

_PREFIX = "output-"


def save(folder: str, key: Key, output: Output) -> None:
    """Write an ended output, all or nothing. Raises OSError."""
    path = _path(folder, key)
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as file:
        file.write(output.dump())
    os.rename(f"{path}.new", path)


def load(folder: str, key: Key) -> Output:
    """What was saved; an output without a byte when nothing was, or it can't be read."""
    try:
        with open(_path(folder, key), "rb") as file:
            return Output.load(file.read())
    except (OSError, ValueError, KeyError):
        return Output(0)


def drop(folder: str, key: Key) -> None:
    """Forget what was saved, if anything was."""
    with contextlib.suppress(OSError):
        os.unlink(_path(folder, key))


def drop_others(folder: str, keys: Container[Key]) -> None:
    """Forget what was saved of all attempts but these."""
    for name in os.listdir(folder):
        if name.startswith(_PREFIX) and _key(name) not in keys:
            os.unlink(os.path.join(folder, name))


def _path(folder: str, key: Key) -> str:
    return os.path.join(folder, f"{_PREFIX}{key[0]}-{key[1]}")


def _key(name: str) -> Key:
    run_id, _, attempt = name.removeprefix(_PREFIX).partition("-")
    return run_id, int(attempt) if attempt.isdigit() else 0

"""What a measurement costs: seconds of CPU, which other load on the machine hardly changes.

Wall-clock rates need a quiet machine; these tell two versions apart on a busy one too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Meter:
    """From its making on: how much CPU each of these processes took, by name, and how much their children.

    The children are the jobs, which the keeper of the runner waits for.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: _used_s(pid) for name, pid in self._pids.items()}

    def ms_per(self, count: int) -> dict[str, float]:
        """Milliseconds of CPU since then, over `count` runs."""
        used: dict[str, float] = {}
        for name, pid in self._pids.items():
            own, children = (now - then for now, then in zip(_used_s(pid), self._before[name], strict=True))
            used[name] = own
            if children:
                used["jobs"] = used.get("jobs", 0.0) + children
        used["all"] = sum(used.values())
        return {name: round(1000 * seconds / count, 3) for name, seconds in used.items()}


def keeper_of(state: str) -> int:
    """The process that keeps the jobs of the runner with this state folder."""
    for process in Path("/proc").iterdir():
        arguments = _arguments(process) if process.name.isdecimal() else ""
        if "/keeper/" in arguments and state in arguments:
            return int(process.name)
    raise SystemExit(f"no keeper works in {state}")


def _arguments(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:  # it has ended
        return ""


def _used_s(pid: int) -> tuple[float, float]:
    """Of the process itself, and of its children that ended: user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, of_children, system_of_children = (int(text) * _TICK_S for text in fields[11:15])
    return user + system, of_children + system_of_children

"""Which processes belong to a run: by session, and by the fence that every descendant inherits.

A pid alone proves nothing, since the kernel gives it out again. A process is the one that was seen when
its start time (in clock ticks since boot, field 22 of /proc/<pid>/stat) is the same, in the same boot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_FENCE = b"CRONQ_FENCE="
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_own_peak_kb = 0


class Process:
    """A process that is not a zombie; `fence` is its CRONQ_FENCE, empty when it can't be read."""

    __slots__ = ("fence", "group", "pid", "session", "ticks")

    def __init__(self, pid: int, group: int, session: int, ticks: int, fence: str) -> None:
        self.pid = pid
        self.group = group
        self.session = session
        self.ticks = ticks
        self.fence = fence


def boot_id() -> str:
    """The kernel's name for this boot of this machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def ticks_now() -> int:
    """The present, in the unit and from the origin of a process's start time."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)


def is_above_own_peak(rss_kb: int) -> bool:
    """Whether this is more memory than this process ever had."""
    global _own_peak_kb  # noqa: PLW0603 it only grows, and reading it for every process that ends would tell
    if rss_kb > _own_peak_kb:
        with open("/proc/self/status", encoding="ascii") as lines:
            _own_peak_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return rss_kb > _own_peak_kb


def start_ticks(pid: int) -> int:
    """When this process started, in ticks since boot; 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def is_group_alive(group: int) -> bool:
    """Whether a process group has members, zombies included."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def signal_group(group: int, number: int) -> None:
    """Signal the group of a process that was not waited for yet, so that its id can't be another's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill(processes: Iterable[Process], number: int) -> None:
    """Signal each of these processes if it is still the one that was seen."""
    for process in processes:
        try:
            fd = os.pidfd_open(process.pid)
        except OSError:
            continue
        try:
            if start_ticks(process.pid) == process.ticks:
                signal.pidfd_send_signal(fd, number)
        except OSError:
            pass
        finally:
            os.close(fd)


class Census:
    """The machine's processes as they were a moment ago; one look serves many runs that end together."""

    def __init__(self) -> None:
        self._taken_at = float("-inf")
        self._processes: list[Process] = []

    def of_run(self, fence: str, session: int | None, *, max_age_s: float) -> list[Process]:
        """Who carried the fence or lived in the session, at most `max_age_s` ago.

        Give a session only while its leader is not waited for: after that its id may be another's.
        """
        if time.monotonic() - self._taken_at > max_age_s:
            self._taken_at = time.monotonic()
            self._processes = census()
        return [p for p in self._processes if fence == p.fence or session == p.session]


def census() -> list[Process]:
    """Every process of this machine that isn't a zombie."""
    seen = (_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in seen if process]


def _process(pid: int) -> Process | None:
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[2]), int(fields[3]), int(fields[19]), _fence(pid))


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third (the state) on; empty when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return []
    finally:
        os.close(fd)


def _fence(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read()
    except OSError:
        return ""
    _, found, rest = (b"\0" + content).partition(b"\0" + _FENCE)
    return rest.partition(b"\0")[0].decode("ascii", "replace") if found else ""

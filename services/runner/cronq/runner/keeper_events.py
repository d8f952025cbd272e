"""What a runner orders from its keeper, and the news that it gets from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from cronq.runner.keeper.wire import Message

_RUN_ID = re.compile(r"[0-9a-f]{32}")
MAX_ATTEMPT = (1 << 16) - 1
MAX_ID = (1 << 32) - 1
_NO_ENV: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class StartOrder:
    """One process to start, at most once per (run_id, attempt).

    `argv[0]` is a path, or a name that is looked up in the PATH of its environment. That is `base_env`,
    which is sent once as long as orders name the same object and so must not change, with `env` over it;
    CRONQ_FENCE (`run_id:attempt`) in it is how a kill finds processes that left the session.
    `stdin` is text to read, else there is none. `output_limit` is in bytes, half of it for the head.
    """

    run_id: str  # 32 lower-case hex digits
    attempt: int
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    base_env: Mapping[str, str] = field(default_factory=lambda: _NO_ENV, repr=False)
    cwd: str | None = None
    stdin: str | None = field(default=None, repr=False)
    umask: int | None = None
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    output_limit: int = 1 << 20
    timeout_s: float | None = None
    kill_grace_s: float = 10.0

    def __post_init__(self) -> None:
        if not _RUN_ID.fullmatch(self.run_id):
            raise ValueError(f"run_id {self.run_id!r}: allowed are 32 lower-case hex digits")
        if not 0 <= self.attempt <= MAX_ATTEMPT:
            raise ValueError(f"attempt {self.attempt}: allowed are 0 to {MAX_ATTEMPT}")
        if not self.argv:
            raise ValueError("argv (): allowed is at least a program")
        if self.output_limit < 0:
            raise ValueError(f"output_limit {self.output_limit}: allowed are 0 bytes and more")
        for name, number in (("uid", self.uid), ("gid", self.gid)):
            # The kernel reads the highest one as "leave it as it is", which would be root's.
            if number is not None and not 0 <= number < MAX_ID:
                raise ValueError(f"{name} {number}: allowed are 0 to {MAX_ID - 1}")

    def as_message(self) -> Message:
        return {"type": "start", **vars(self), "env": dict(self.env), "base_env": None}


@dataclass(frozen=True)
class _OfAttempt:
    run_id: str
    attempt: int

    @property
    def key(self) -> tuple[str, int]:
        return self.run_id, self.attempt


@dataclass(frozen=True)
class Started(_OfAttempt):
    """The process runs its program, or, in what is known at the connection, is about to: then pid is 0."""

    pid: int
    started_at: datetime


@dataclass(frozen=True)
class LaunchFailed(_OfAttempt):
    """There was never a process of this attempt that ran its program; `reason` says why, in words."""

    reason: str
    failed_at: datetime


@dataclass(frozen=True)
class NotStarted(_OfAttempt):
    """It did not start and never will: a tombstone was asked for, or the keeper could not even try."""

    reason: str
    at: datetime


@dataclass(frozen=True)
class Duplicate(_OfAttempt):
    """What was asked for is refused, since the attempt has a trace.

    `state`: live, finished, launch_failed, interrupted, not_started, or reported (it is over and told).
    """

    state: str


@dataclass(frozen=True)
class Output(_OfAttempt):
    """Bytes that it wrote, from `offset` on; a jump in offsets is what was dropped."""

    offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Finished(_OfAttempt):
    """Its main process ended, and all output that was kept has been told.

    `return_code` is minus the signal's number when one ended it. `finished_at` is the process's own end,
    `duration_s` comes from a monotonic clock. `max_rss_kb` is None when it is too small to be told.
    `why` is timeout or cancelled when the keeper killed it; `left` counts processes that stayed.
    """

    return_code: int
    signal: int | None
    finished_at: datetime
    duration_s: float
    cpu_s: float
    max_rss_kb: int | None
    output_bytes: int
    dropped_bytes: int
    why: str | None
    left: int


@dataclass(frozen=True)
class Interrupted(_OfAttempt):
    """The keeper itself died while this ran; what was left of it has been killed. Found `at` this instant."""

    at: datetime


@dataclass(frozen=True)
class KeeperLost:
    """The connection is gone: connect again to learn what became of what was under way."""

    reason: str


KeeperEvent = Started | LaunchFailed | NotStarted | Duplicate | Output | Finished | Interrupted | KeeperLost
AttemptEvent = Started | LaunchFailed | NotStarted | Duplicate | Output | Finished | Interrupted


def event_of(message: Message, data: bytes) -> AttemptEvent | None:
    """The event that a keeper's message tells; None for kinds that a newer keeper may have."""
    make = _MAKERS.get(message["type"])
    return make(message, data) if make else None


def instant(seconds: float) -> datetime:
    """An aware datetime in UTC from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _started(m: Message, _: bytes) -> Started:
    return Started(m["run_id"], m["attempt"], m["pid"], instant(m["at"]))


def _going(m: Message, _: bytes) -> Started:
    return Started(m["run_id"], m["attempt"], 0, instant(m["at"]))


def _launch_failed(m: Message, _: bytes) -> LaunchFailed:
    return LaunchFailed(m["run_id"], m["attempt"], m["reason"], instant(m["at"]))


def _not_started(m: Message, _: bytes) -> NotStarted:
    return NotStarted(m["run_id"], m["attempt"], m["reason"], instant(m["at"]))


def _duplicate(m: Message, _: bytes) -> Duplicate:
    return Duplicate(m["run_id"], m["attempt"], m["state"])


def _output(m: Message, data: bytes) -> Output:
    return Output(m["run_id"], m["attempt"], m["offset"], data)


def _interrupted(m: Message, _: bytes) -> Interrupted:
    return Interrupted(m["run_id"], m["attempt"], instant(m["at"]))


def _finished(m: Message, _: bytes) -> Finished:
    return Finished(
        m["run_id"],
        m["attempt"],
        return_code=m["return_code"],
        signal=m["signal"],
        finished_at=instant(m["at"]),
        duration_s=m["duration_s"],
        cpu_s=m["cpu_s"],
        max_rss_kb=m["max_rss_kb"],
        output_bytes=m["output_bytes"],
        dropped_bytes=m["dropped_bytes"],
        why=m["why"],
        left=m["left"],
    )


_MAKERS: dict[str, Callable[[Message, bytes], AttemptEvent]] = {
    "go": _going,
    "started": _started,
    "launch_failed": _launch_failed,
    "not_started": _not_started,
    "duplicate": _duplicate,
    "output": _output,
    "finished": _finished,
    "interrupted": _interrupted,
}

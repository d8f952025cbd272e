"""What a runner tells of its runs: immutable facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    """The first three are the ancestor's words and mean what they meant."""

    STARTING = "starting"
    FINISHED = "finished"
    FAILED = "failed"  # could not be launched at all
    NOT_STARTED = "not_started"  # granted, given back: proof that the attempt never started
    INTERRUPTED = "interrupted"  # started, but its keeper or host died: nobody knows its end
    OUTPUT = "output"
    HEARTBEAT = "heartbeat"
    BOOT = "boot"
    CANARY = "canary"


# Facts about an attempt happen once each, so their place in its sequence is fixed: a second copy
# of one, from whichever process, meets the first copy's row. Places 1 and 2 are the database's own.
SEQ_QUEUED = 1
SEQ_CLAIMED = 2
SEQ = {
    EventType.STARTING: 3,
    EventType.FINISHED: 4,
    EventType.FAILED: 4,
    EventType.NOT_STARTED: 5,
    EventType.INTERRUPTED: 6,
}
SEQ_SUPERSEDED = 100  # added to the place of an event that changed nothing
SEQ_ENDED_HERE = 7  # missed, skipped, expired, cancelled or lost: decided by the database's side
SEQ_DECIDED = 8  # by a person, about an attempt whose end nobody knew, or that is not wanted
SEQ_LET_OUT = 9  # by a person, of an occurrence that was missed or held


@dataclass(frozen=True)
class RunEvent:
    """One fact about one attempt of a run.

    `at` is when the runner sent it and `run_time_s` a monotonic duration; instants are by the
    runner host's clock and only annotate. `attempt` is None in the ancestor's dialect.
    """

    type: EventType
    run_id: str
    job_id: int
    at: datetime
    attempt: int | None = None
    runner: str = ""
    lineage: str = ""
    instance: str = ""
    host: str | None = None
    pid: int | None = None
    return_code: int | None = None
    signal: int | None = None
    run_time_s: float | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    why: str | None = None  # "timeout" or "cancelled" when the runner ended it
    reason: str | None = None
    notes: tuple[str, ...] = ()  # fields that were rejected; the rest of the event still counts


@dataclass(frozen=True)
class OutputChunk:
    """Bytes of an attempt's output from `offset` on; bytes between chunks were dropped."""

    run_id: str
    attempt: int
    lineage: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Heartbeat:
    """A runner lives, and so do these attempts of it: (run_id, attempt)."""

    runner: str
    lineage: str
    instance: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    live: tuple[tuple[str, int], ...]
    at: datetime
    control_key: str
    draining: bool = False


@dataclass(frozen=True)
class Boot:
    """A runner's first words: what its folder's journal knows.

    `known` are all attempts with a trace in the journal, `live` those of them that still run. An
    attempt granted to an earlier instance of this lineage, in the time that the journal covers, and
    not known, was never started. It covers everything when it is complete, else all since
    `journal_since`; None: it proves nothing (the host was rebooted, so its end may be missing).
    """

    heartbeat: Heartbeat
    known: tuple[tuple[str, int], ...]
    journal_complete: bool
    journal_since: datetime | None


@dataclass(frozen=True)
class Canary:
    """The injector's own message through the results queue, to prove the pipeline fresh."""

    injector: str
    at: datetime

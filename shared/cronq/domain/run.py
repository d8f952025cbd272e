"""The life of a run: its states, and what one event does to it.

    scheduled → queued → claimed → running → succeeded | failed | timed_out | cancelled
                                           | launch_failed | lost
    scheduled | queued → cancelled | expired | skipped | missed
    claimed | lost → queued, attempt + 1, only on proof that the attempt never started

`lost` alone can still be corrected, by a finish event of the same attempt and owner. An event of
another attempt or owner changes nothing: it is kept as superseded. Everything here is a pure
decision; the store carries it out under the run's row lock, as a compare-and-set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cronq.domain.event import EventType, RunEvent


class State(StrEnum):
    """Where a run stands."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LAUNCH_FAILED = "launch_failed"
    LOST = "lost"
    EXPIRED = "expired"
    SKIPPED = "skipped"
    MISSED = "missed"


WAITING = frozenset({State.SCHEDULED, State.QUEUED})
LIVE = frozenset({State.CLAIMED, State.RUNNING})
ENDED = frozenset(State) - WAITING - LIVE
# Ended without a start: they say why an occurrence did not run.
NOT_RUN = frozenset({State.EXPIRED, State.SKIPPED, State.MISSED})
BAD = frozenset({State.FAILED, State.TIMED_OUT, State.LAUNCH_FAILED, State.LOST})
ENDS = frozenset({EventType.FINISHED, EventType.FAILED})


class Trigger(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch-up"
    MANUAL = "manual"
    API = "api"
    RERUN = "rerun"
    CHAIN = "chain"
    ENQUEUE = "enqueue"


class Kind(StrEnum):
    """`slot` is one due instant of a job; `request` is somebody's wish, as often as they wish."""

    SLOT = "slot"
    REQUEST = "request"


@dataclass(frozen=True)
class Owner:
    """Who was granted an attempt.

    `lineage` is the identity of the runner's folder, which outlives its process: whoever holds the
    folder's lock has its journal, and so speaks for every attempt that was granted to it.
    `instance` is drawn at each process start and sorts after those of earlier processes on the same
    folder; only the instance that was granted may start.
    """

    runner: str
    lineage: str
    instance: str


@dataclass(frozen=True)
class RunView:
    """What of a run's row a decision needs."""

    run_id: str
    job_id: int
    state: State
    attempt: int
    owner: Owner | None
    cancel_requested: bool = False
    has_newer: bool = False  # the job had a later occurrence since


@dataclass(frozen=True)
class Change:
    """What an event does to a run: the new state, if any, and the columns it fills."""

    state: State | None = None
    reason: str | None = None
    next_attempt: bool = False  # the attempt is over without a start; the run is queued again
    recovered: bool = False  # a lost run turned out to have ended
    started_at: datetime | None = None
    finished_at: datetime | None = None
    return_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    host: str | None = None
    duration_s: float | None = None
    owner: Owner | None = None


@dataclass(frozen=True)
class Superseded:
    """The event is about another attempt or owner, or comes too late: it changes nothing."""

    why: str
    is_copy: bool = False  # very likely told before, by the same owner


Verdict = Change | Superseded


def decide(run: RunView, event: RunEvent) -> Verdict:
    """What `event` does to `run`."""
    if event.attempt is None:
        return _decide_plain(run, event)
    if event.attempt != run.attempt:
        return Superseded(f"attempt {event.attempt}, the run is at {run.attempt}")
    if run.owner is None or event.lineage != run.owner.lineage:
        return Superseded("not the attempt's owner")
    return _by_type(run, event)


def _by_type(run: RunView, event: RunEvent) -> Verdict:
    if event.type is EventType.STARTING:
        return _started(run, event)
    if event.type in ENDS:
        return _ended(run, event, from_states=LIVE | {State.LOST})
    if event.type is EventType.NOT_STARTED:
        return _not_started(run, event)
    if event.type is EventType.INTERRUPTED:
        return _interrupted(run, event)
    return Superseded(f"unknown event {event.type}")


def _decide_plain(run: RunView, event: RunEvent) -> Verdict:
    """An event in the ancestor's dialect: no attempt, no owner; the first of its run is the claim."""
    if run.owner is not None and run.owner.lineage:
        return Superseded("the run belongs to a runner that claims")
    owner = Owner(event.host or "", "", "") if run.state in WAITING else None
    if event.type in ENDS:
        return _ended(run, event, from_states=WAITING | LIVE | {State.LOST}, owner=owner)
    if event.type is not EventType.STARTING:
        return Superseded(f"unknown event {event.type}")
    if run.state is State.RUNNING:
        return Superseded("duplicate start")
    return _started(run, event, owner=owner)


def _started(run: RunView, event: RunEvent, owner: Owner | None = None) -> Verdict:
    """A start that is told after the end still fills in when and where it was."""
    goes = run.state is State.CLAIMED or owner is not None
    if not goes and run.state is not State.RUNNING and run.state not in ENDED:
        return Superseded(f"a start while {run.state}")
    return Change(
        state=State.RUNNING if goes else None,
        started_at=event.started_at or event.at,
        pid=event.pid,
        host=event.host,
        owner=owner,
    )


def _ended(
    run: RunView, event: RunEvent, *, from_states: frozenset[State], owner: Owner | None = None
) -> Verdict:
    if run.state not in from_states:
        return Superseded(f"an end while {run.state}", is_copy=True)
    state, reason = outcome(event)
    return Change(
        state=state,
        reason=reason,
        recovered=run.state is State.LOST,
        started_at=event.started_at,
        finished_at=event.finished_at or event.at,
        return_code=event.return_code,
        signal=event.signal,
        pid=event.pid,
        host=event.host,
        duration_s=event.run_time_s,
        owner=owner,
    )


def outcome(event: RunEvent) -> tuple[State, str | None]:
    """The verdict on an end, and why where the return code alone does not say."""
    if event.type is EventType.FAILED:
        return State.LAUNCH_FAILED, event.reason
    if event.why == "timeout":
        return State.TIMED_OUT, event.reason
    if event.why == "cancelled":
        return State.CANCELLED, event.reason or "cancelled"
    if event.return_code == 0:
        return State.SUCCEEDED, event.reason
    return State.FAILED, event.reason


def _not_started(run: RunView, event: RunEvent) -> Verdict:
    """The proof that lets an attempt be followed by another: the owner never started it."""
    if run.state not in (State.CLAIMED, State.LOST):
        return Superseded(f"not started, while {run.state}")
    if run.state is State.LOST and run.has_newer:
        # It was given up, and its job went on: its time is over.
        return Superseded("not started, but there is a newer occurrence")
    if run.cancel_requested:
        return Change(state=State.CANCELLED, reason="cancelled before its start")
    return Change(state=State.QUEUED, reason=event.reason, next_attempt=True)


def _interrupted(run: RunView, event: RunEvent) -> Verdict:
    if run.state not in LIVE:
        return Superseded(f"interrupted, while {run.state}", is_copy=run.state is State.LOST)
    return Change(state=State.LOST, reason="interrupted", finished_at=event.at, started_at=event.started_at)


@dataclass(frozen=True)
class Claim:
    """A runner's wish to execute one attempt."""

    run_id: str
    attempt: int
    owner: Owner
    nonce: str
    host: str = ""
    queue: str = ""


@dataclass(frozen=True)
class Denial:
    """Why a claim is not granted."""

    reason: str
    retry: bool = False  # the run waits again in the database; the message itself is done with


GRANTED = "granted"


@dataclass(frozen=True)
class ClaimView(RunView):
    """A run as a claim meets it."""

    expired: bool = field(default=False)


def decide_claim(run: ClaimView | None, claim: Claim) -> Denial | None:
    """None: grant. A repeated claim of the owner is granted again: it may not have heard."""
    if run is None:
        return Denial("unknown_run")
    if claim.attempt != run.attempt:
        return Denial("superseded")
    if run.state is State.CLAIMED and run.owner == claim.owner:
        return None
    if run.state is not State.QUEUED:
        return Denial("duplicate" if run.state in LIVE else f"run is {run.state}")
    if run.expired:
        return Denial("expired")
    return None

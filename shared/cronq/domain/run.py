"""The life of a run: its states, and what one event does to it.

    scheduled → queued → claimed → running → succeeded | failed | timed_out | cancelled
                                           | launch_failed | lost
    scheduled | queued → cancelled | expired | skipped | missed
    claimed → queued, lost → scheduled, attempt + 1, only on proof that the attempt never started
    claimed | running → scheduled, attempt + 1, where the job asks for it: after a failure
    (`max_attempts`), or when nobody knows the end (`guarantee`)

`lost` alone can still be corrected, by a finish event of the same attempt and owner: also while the
attempt that followed the lost one waits. An event of another attempt or owner changes nothing: it is
kept as superseded. Everything here is a pure decision; the store carries it out under the run's row
lock, as a compare-and-set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cronq.domain.event import EventType, RunEvent
from cronq.domain.retry import ONCE, Guarantee, Policy


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
RETRIED = frozenset({State.FAILED, State.TIMED_OUT, State.LAUNCH_FAILED})


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
    retries: int = 0  # how many of its attempts follow a failure or loss
    policy: Policy = ONCE


@dataclass(frozen=True)
class Change:
    """What an event does to a run: the new state, if any, and the columns it fills."""

    state: State | None = None
    reason: str | None = None
    attempt: int | None = None  # the event is of the attempt before, which now is the run's last
    next_attempt: bool = False  # this one is over, and the run waits again
    retry_after: timedelta | None = None  # how long, after a failure or loss
    lost: bool = False  # nobody knows how the attempt ended
    needs_decision: bool = False  # and a person is to say
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
        return _late_truth(run, event)
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


def _late_truth(run: RunView, event: RunEvent) -> Verdict:
    """The end of an attempt that was given up for lost counts while the next one waits to be claimed.

    The run still has the owner of the lost attempt then, and only then: no other wait keeps one.
    """
    is_retry = run.retries > 0 and run.state in WAITING
    lineage = run.owner.lineage if is_retry and run.owner is not None else None
    before = run.attempt - 1
    if event.attempt != before or event.lineage != lineage or event.type not in ENDS:
        return Superseded(f"attempt {event.attempt}, the run is at {run.attempt}")
    was = replace(run, attempt=before, state=State.LOST, retries=run.retries - 1)
    verdict = _ended(was, event, from_states=frozenset({State.LOST}))
    if isinstance(verdict, Change) and verdict.next_attempt:
        return Superseded(f"attempt {event.attempt}, whose retry waits already")
    return verdict if isinstance(verdict, Superseded) else replace(verdict, attempt=before)


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
    if state in RETRIED and run.policy.retries_failure(run.retries) and not _is_over(run):
        return _retry(run, _in_words(state, event))
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
        return Superseded("not started, but there is a newer occurrence")
    if run.cancel_requested:
        return Change(state=State.CANCELLED, reason="cancelled before its start")
    # A lost run may have given up its place at a gate: it has to ask again.
    state = State.QUEUED if run.state is State.CLAIMED else State.SCHEDULED
    return Change(state=state, reason=event.reason, next_attempt=True)


def _interrupted(run: RunView, event: RunEvent) -> Verdict:
    if run.state not in LIVE:
        return Superseded(f"interrupted, while {run.state}", is_copy=run.state is State.LOST)
    verdict = loss(run, "interrupted")
    if verdict.next_attempt:
        return verdict
    return replace(verdict, finished_at=event.at, started_at=event.started_at)


def loss(run: RunView, reason: str) -> Change:
    """What becomes of a live run whose end nobody knows."""
    if run.policy.retries_loss(run.retries) and not _is_over(run):
        return replace(_retry(run, reason), lost=True)
    needs_decision = run.policy.guarantee is Guarantee.HOLD
    return Change(state=State.LOST, reason=reason, lost=True, needs_decision=needs_decision)


def _is_over(run: RunView) -> bool:
    """Whether nobody wants another attempt: it was cancelled, or given up while its job went on."""
    return run.cancel_requested or (run.state is State.LOST and run.has_newer)


def _retry(run: RunView, reason: str) -> Change:
    return Change(
        state=State.SCHEDULED,
        reason=f"attempt {run.attempt} {reason}",
        next_attempt=True,
        retry_after=run.policy.wait(run.retries, run.run_id),
    )


def _in_words(state: State, event: RunEvent) -> str:
    if state is State.FAILED:
        how = f"signal {event.signal}" if event.signal else f"code {event.return_code}"
        return f"failed with {how}"
    return "timed out" if state is State.TIMED_OUT else "could not be launched"


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

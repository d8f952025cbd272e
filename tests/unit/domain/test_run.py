"""What one event or one claim does to a run, in every state it may meet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.event import EventType, RunEvent
from cronq.domain.retry import ONCE, Guarantee, Policy
from cronq.domain.run import (
    BAD,
    ENDED,
    LIVE,
    NOT_RUN,
    WAITING,
    Change,
    Claim,
    ClaimView,
    Denial,
    Owner,
    RunView,
    State,
    Superseded,
    decide,
    decide_claim,
    loss,
    outcome,
)

RUN = "0" * 32
AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
OURS = Owner("host/1", "a" * 32, "1" * 32)
NEXT_INSTANCE = replace(OURS, instance="2" * 32)
CLONE = replace(OURS, instance="3" * 32)
STRANGER = Owner("host/2", "b" * 32, "4" * 32)
PLAIN = Owner("old.example.org", "", "")
ENDS = (EventType.FINISHED, EventType.FAILED)
FACTS = (EventType.STARTING, *ENDS, EventType.NOT_STARTED, EventType.INTERRUPTED)


def a_run(state: State, owner: Owner | None = OURS, *, attempt: int = 1, cancelled: bool = False) -> RunView:
    return RunView(RUN, 7, state, attempt, owner, cancel_requested=cancelled)


def told(
    kind: EventType, owner: Owner = OURS, *, attempt: int | None = 1, code: int | None = None
) -> RunEvent:
    return RunEvent(
        kind,
        RUN,
        7,
        AT,
        attempt=attempt,
        runner=owner.runner,
        lineage=owner.lineage,
        instance=owner.instance,
        host="host",
        return_code=code,
    )


def plainly_told(kind: EventType, code: int | None = None) -> RunEvent:
    return RunEvent(kind, RUN, 7, AT, host=PLAIN.runner, return_code=code)


def changed(run: RunView, event: RunEvent) -> Change:
    verdict = decide(run, event)
    assert isinstance(verdict, Change), verdict
    return verdict


def refused(run: RunView, event: RunEvent) -> Superseded:
    verdict = decide(run, event)
    assert isinstance(verdict, Superseded), verdict
    return verdict


# -- states


def test_every_state_is_waiting_live_or_ended() -> None:
    assert set(State) == WAITING | LIVE | ENDED
    assert len(WAITING) + len(LIVE) + len(ENDED) == len(State)


def test_what_did_not_run_and_what_went_wrong_are_ends() -> None:
    assert NOT_RUN | BAD < ENDED
    assert not NOT_RUN & BAD


# -- starts


def test_the_owners_start_makes_a_claimed_run_running() -> None:
    change = changed(a_run(State.CLAIMED), replace(told(EventType.STARTING), pid=12))

    assert (change.state, change.started_at, change.pid, change.host) == (State.RUNNING, AT, 12, "host")


def test_a_start_tells_its_own_instant_before_that_of_its_sending() -> None:
    started = AT - timedelta(seconds=3)

    change = changed(a_run(State.CLAIMED), replace(told(EventType.STARTING), started_at=started))

    assert change.started_at == started


@pytest.mark.parametrize("state", [State.RUNNING, *sorted(ENDED)])
def test_a_start_told_late_fills_in_when_it_was_and_moves_nothing(state: State) -> None:
    change = changed(a_run(state), told(EventType.STARTING))

    assert (change.state, change.started_at) == (None, AT)


@pytest.mark.parametrize("state", sorted(WAITING))
def test_a_start_of_a_run_that_waits_again_changes_nothing(state: State) -> None:
    assert str(state) in refused(a_run(state), told(EventType.STARTING)).why


# -- ends


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize(
    ("event", "end"),
    [
        (told(EventType.FINISHED, code=0), State.SUCCEEDED),
        (told(EventType.FINISHED, code=1), State.FAILED),
        (told(EventType.FINISHED, code=-9), State.FAILED),
        (told(EventType.FINISHED), State.FAILED),
        (told(EventType.FAILED), State.LAUNCH_FAILED),
        (replace(told(EventType.FINISHED, code=0), why="timeout"), State.TIMED_OUT),
        (replace(told(EventType.FINISHED, code=-15), why="cancelled"), State.CANCELLED),
    ],
)
def test_the_owners_end_ends_a_live_run(state: State, event: RunEvent, end: State) -> None:
    change = changed(a_run(state), event)

    assert (change.state, change.finished_at, change.recovered) == (end, AT, False)
    assert change.return_code == event.return_code


def test_an_end_without_a_return_code_is_no_success() -> None:
    assert outcome(told(EventType.FINISHED))[0] is State.FAILED


def test_a_reason_is_kept_with_the_verdict() -> None:
    event = replace(told(EventType.FINISHED, code=137), reason="killed by the kernel: out of memory")

    assert outcome(event) == (State.FAILED, "killed by the kernel: out of memory")


def test_an_end_corrects_a_lost_run_and_says_so() -> None:
    change = changed(a_run(State.LOST), told(EventType.FINISHED, code=0))

    assert (change.state, change.recovered) == (State.SUCCEEDED, True)


@pytest.mark.parametrize("state", sorted(ENDED - {State.LOST}))
@pytest.mark.parametrize("kind", ENDS)
def test_a_second_end_changes_nothing_and_counts_as_a_copy(state: State, kind: EventType) -> None:
    assert refused(a_run(state), told(kind, code=0)).is_copy


# -- not started


@pytest.mark.parametrize(("state", "then"), [(State.CLAIMED, State.QUEUED), (State.LOST, State.SCHEDULED)])
def test_the_proof_of_no_start_brings_the_next_attempt(state: State, then: State) -> None:
    """A claimed run keeps its place at every gate; a lost one may have given it up."""
    change = changed(a_run(state), replace(told(EventType.NOT_STARTED), reason="draining"))

    assert (change.state, change.next_attempt, change.reason) == (then, True, "draining")


@pytest.mark.parametrize("state", [State.CLAIMED, State.LOST])
def test_a_cancelled_run_that_was_not_started_is_cancelled(state: State) -> None:
    change = changed(a_run(state, cancelled=True), told(EventType.NOT_STARTED))

    assert (change.state, change.next_attempt) == (State.CANCELLED, False)


def test_a_lost_run_that_was_not_started_stays_lost_once_its_job_went_on() -> None:
    verdict = refused(replace(a_run(State.LOST), has_newer=True), told(EventType.NOT_STARTED))

    assert "newer occurrence" in verdict.why


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLAIMED, State.LOST}))
def test_no_other_run_gets_another_attempt(state: State) -> None:
    assert "not started" in refused(a_run(state), told(EventType.NOT_STARTED)).why


# -- interrupted


@pytest.mark.parametrize("state", sorted(LIVE))
def test_an_interrupted_run_is_lost(state: State) -> None:
    change = changed(a_run(state), told(EventType.INTERRUPTED))

    assert (change.state, change.reason, change.next_attempt) == (State.LOST, "interrupted", False)


@pytest.mark.parametrize("state", sorted(set(State) - LIVE))
def test_only_a_live_run_can_be_interrupted(state: State) -> None:
    assert "interrupted" in refused(a_run(state), told(EventType.INTERRUPTED)).why


def test_a_second_copy_of_an_interruption_is_one() -> None:
    assert refused(a_run(State.LOST), told(EventType.INTERRUPTED)).is_copy


# -- strangers


@pytest.mark.parametrize("kind", FACTS)
@pytest.mark.parametrize("state", sorted(State))
def test_an_event_of_another_attempt_changes_nothing(state: State, kind: EventType) -> None:
    for attempt in (1, 3):
        refusal = refused(a_run(state, attempt=2), told(kind, attempt=attempt, code=0))
        assert refusal == Superseded(f"attempt {attempt}, the run is at 2")


@pytest.mark.parametrize("kind", FACTS)
@pytest.mark.parametrize("state", sorted(State))
def test_an_event_of_another_lineage_changes_nothing(state: State, kind: EventType) -> None:
    assert refused(a_run(state), told(kind, STRANGER, code=0)) == Superseded("not the attempt's owner")


@pytest.mark.parametrize("kind", FACTS)
@pytest.mark.parametrize("state", sorted(State))
def test_an_event_about_a_run_without_owner_changes_nothing(state: State, kind: EventType) -> None:
    assert isinstance(decide(a_run(state, owner=None), told(kind, code=0)), Superseded)


def test_the_next_process_of_a_lineage_speaks_for_its_attempts() -> None:
    assert (
        changed(a_run(State.RUNNING), told(EventType.FINISHED, NEXT_INSTANCE, code=0)).state
        is State.SUCCEEDED
    )


@pytest.mark.parametrize("kind", [EventType.OUTPUT, EventType.CANARY])
def test_a_word_that_is_no_fact_of_a_run_changes_nothing(kind: EventType) -> None:
    assert "unknown event" in refused(a_run(State.RUNNING), told(kind)).why


# -- the ancestor's dialect


@pytest.mark.parametrize("state", sorted(WAITING))
def test_a_plain_start_is_the_claim(state: State) -> None:
    change = changed(a_run(state, owner=None), plainly_told(EventType.STARTING))

    assert (change.state, change.owner, change.started_at) == (State.RUNNING, PLAIN, AT)


def test_a_second_plain_start_is_a_duplicate() -> None:
    assert refused(a_run(State.RUNNING, PLAIN), plainly_told(EventType.STARTING)).why == "duplicate start"


@pytest.mark.parametrize("state", sorted(WAITING))
@pytest.mark.parametrize("kind", ENDS)
def test_a_plain_end_before_its_start_ends_the_run_and_names_the_host(state: State, kind: EventType) -> None:
    change = changed(a_run(state, owner=None), plainly_told(kind, 0))

    assert change.state in (State.SUCCEEDED, State.LAUNCH_FAILED)
    assert change.owner == PLAIN


def test_a_plain_start_after_its_end_fills_in_when_it_was() -> None:
    change = changed(a_run(State.SUCCEEDED, PLAIN), plainly_told(EventType.STARTING))

    assert (change.state, change.started_at, change.owner) == (None, AT, None)


@pytest.mark.parametrize("kind", [EventType.STARTING, *ENDS])
@pytest.mark.parametrize("state", sorted(LIVE | {State.LOST}))
def test_plain_words_about_a_claimed_run_change_nothing(state: State, kind: EventType) -> None:
    assert "claims" in refused(a_run(state), plainly_told(kind, 0)).why


@pytest.mark.parametrize("kind", [EventType.NOT_STARTED, EventType.INTERRUPTED])
@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_the_ancestor_knows_no_other_words(state: State, kind: EventType) -> None:
    owner = PLAIN if state is State.RUNNING else None

    assert isinstance(decide(a_run(state, owner), plainly_told(kind)), Superseded)


# -- claims


def a_claim(owner: Owner = OURS, *, attempt: int = 1) -> Claim:
    return Claim(RUN, attempt, owner, "n" * 32)


def seen(state: State, owner: Owner | None = None, *, expired: bool = False) -> ClaimView:
    return ClaimView(RUN, 7, state, 1, owner, expired=expired)


def test_a_queued_run_is_granted() -> None:
    assert decide_claim(seen(State.QUEUED), a_claim()) is None


def test_the_owner_that_asks_again_is_granted_again() -> None:
    assert decide_claim(seen(State.CLAIMED, OURS), a_claim()) is None


@pytest.mark.parametrize("owner", [STRANGER, CLONE, NEXT_INSTANCE])
def test_nobody_else_is(owner: Owner) -> None:
    assert decide_claim(seen(State.CLAIMED, OURS), a_claim(owner)) == Denial("duplicate")


def test_a_running_run_is_not_granted_again_even_to_its_owner() -> None:
    assert decide_claim(seen(State.RUNNING, OURS), a_claim()) == Denial("duplicate")


@pytest.mark.parametrize("state", sorted(ENDED | {State.SCHEDULED}))
def test_a_run_that_is_not_queued_is_denied_with_its_state(state: State) -> None:
    assert decide_claim(seen(state), a_claim()) == Denial(f"run is {state}")


@pytest.mark.parametrize("attempt", [2, 99])
def test_a_claim_for_another_attempt_is_denied(attempt: int) -> None:
    assert decide_claim(seen(State.QUEUED), a_claim(attempt=attempt)) == Denial("superseded")


def test_a_run_nobody_knows_is_denied() -> None:
    assert decide_claim(None, a_claim()) == Denial("unknown_run")


def test_an_expired_run_is_denied() -> None:
    assert decide_claim(seen(State.QUEUED, expired=True), a_claim()) == Denial("expired")


# -- attempts that follow a failure or a loss


AGAIN = Policy(max_attempts=3)
AT_LEAST_ONCE = Policy(Guarantee.AT_LEAST_ONCE)


def retried(
    policy: Policy = ONCE, state: State = State.RUNNING, *, retries: int = 0, newer: bool = False
) -> RunView:
    """A run of a job that asks for something."""
    run = replace(a_run(state), retries=retries, attempt=retries + 1, has_newer=newer)
    return replace(run, policy=policy)


BAD_ENDS = (
    told(EventType.FINISHED, code=3),
    replace(told(EventType.FINISHED, code=None), signal=9),
    replace(told(EventType.FINISHED, code=-15), why="timeout"),
    told(EventType.FAILED),
)


@pytest.mark.parametrize("event", BAD_ENDS)
def test_a_failure_with_attempts_left_waits_for_the_next(event: RunEvent) -> None:
    change = changed(retried(AGAIN), event)

    assert (change.state, change.next_attempt, change.lost) == (State.SCHEDULED, True, False)
    assert change.retry_after == timedelta(seconds=5)
    assert str(change.reason).startswith("attempt 1 ")


@pytest.mark.parametrize("event", BAD_ENDS)
def test_the_last_attempts_failure_is_the_runs(event: RunEvent) -> None:
    run = retried(AGAIN, retries=2)
    change = changed(run, replace(event, attempt=3))

    assert change.state in BAD
    assert not change.next_attempt


def test_neither_a_success_nor_a_cancelled_run_is_tried_again() -> None:
    assert changed(retried(AGAIN), told(EventType.FINISHED, code=0)).state is State.SUCCEEDED
    killed = replace(told(EventType.FINISHED, code=-15), why="cancelled")
    assert changed(retried(AGAIN), killed).state is State.CANCELLED
    wanted_dead = replace(retried(AGAIN), cancel_requested=True)
    assert changed(wanted_dead, told(EventType.FINISHED, code=1)).state is State.FAILED


@pytest.mark.parametrize("newer", [False, True])
def test_a_lost_run_that_failed_after_all_is_tried_again_unless_its_job_went_on(newer: bool) -> None:
    change = changed(retried(AGAIN, State.LOST, newer=newer), told(EventType.FINISHED, code=1))

    assert change.state is (State.FAILED if newer else State.SCHEDULED)


def test_an_attempt_without_a_start_uses_up_no_try() -> None:
    run = replace(retried(AGAIN), attempt=7)

    assert changed(run, told(EventType.FINISHED, attempt=7, code=1)).next_attempt


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_lost_run_of_an_at_least_once_job_waits_for_the_next_attempt(state: State) -> None:
    change = changed(retried(AT_LEAST_ONCE, state), told(EventType.INTERRUPTED))

    assert change == loss(retried(AT_LEAST_ONCE, state), "interrupted")
    assert (change.state, change.next_attempt, change.lost) == (State.SCHEDULED, True, True)


def test_a_run_to_be_held_needs_a_decision_when_it_is_lost() -> None:
    change = loss(retried(Policy(Guarantee.HOLD)), "silent")

    assert (change.state, change.needs_decision, change.next_attempt) == (State.LOST, True, False)
    assert not loss(retried(), "silent").needs_decision


def waiting_after_loss(state: State = State.SCHEDULED, max_attempts: int = 1) -> RunView:
    return retried(Policy(Guarantee.AT_LEAST_ONCE, max_attempts), state, retries=1)


@pytest.mark.parametrize("state", sorted(WAITING))
def test_the_end_of_a_lost_attempt_counts_while_the_next_one_waits(state: State) -> None:
    change = changed(waiting_after_loss(state), told(EventType.FINISHED, attempt=1, code=0))

    assert (change.state, change.attempt, change.recovered) == (State.SUCCEEDED, 1, True)


def test_a_lost_attempt_that_failed_is_the_end_unless_failures_are_tried_again() -> None:
    failure = told(EventType.FINISHED, attempt=1, code=1)

    assert changed(waiting_after_loss(), failure).state is State.FAILED
    assert "retry waits" in refused(waiting_after_loss(max_attempts=2), failure).why


def test_it_counts_no_more_once_the_next_attempt_is_claimed_or_over() -> None:
    for state in set(State) - WAITING:
        refused(waiting_after_loss(state), told(EventType.FINISHED, attempt=1, code=0))


def test_only_the_lost_attempts_owner_can_tell_its_end() -> None:
    success = told(EventType.FINISHED, STRANGER, attempt=1, code=0)

    refused(waiting_after_loss(), success)
    refused(replace(waiting_after_loss(), owner=None), told(EventType.FINISHED, attempt=1, code=0))
    refused(replace(waiting_after_loss(), attempt=3), told(EventType.FINISHED, attempt=1, code=0))
    refused(waiting_after_loss(), told(EventType.STARTING, attempt=1))

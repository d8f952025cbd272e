"""Claims: each attempt gets one owner, the first that asks, and that owner hears so as often as it asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cronq import store
from cronq.domain.event import SEQ_CLAIMED, EventType
from cronq.domain.run import Denial, Owner, State
from cronq.store.claims import Granted
from tests.factories import (
    LEASE,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    ask,
    ask_all,
    claim,
    definition,
    events_of,
    execute,
    insert_job,
    insert_run,
    job_named,
    put,
    run_of,
    running_run,
    said,
    tell,
)


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def test_the_first_that_asks_is_granted_and_owns_the_run(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id, reason="no_queue")

    assert isinstance(ask(db, claim(made), now=NOON + SECOND), Granted)

    found = run_of(db, made)
    assert (found["state"], found["attempt"], found["reason"]) == ("claimed", 1, None)
    assert (found["runner"], found["lineage"], found["instance"]) == (
        OURS.runner,
        OURS.lineage,
        OURS.instance,
    )
    assert (found["claimed_at"], found["lease_until"]) == (NOON + SECOND, NOON + SECOND + LEASE)
    assert (found["host"], found["publish_at"], found["asked_at"]) == ("host", None, None)
    assert events_of(db, made)[-1] == ("claimed", 1, SEQ_CLAIMED)


def test_a_grant_tells_what_to_run_and_why(db: store.Store) -> None:
    put(db, definition("nightly", command="echo hi", timeout="90s"), category="shop")
    job = job_named(db, "nightly")
    made = insert_run(db, job.id, at=NOON)

    granted = ask(db, claim(made))

    assert isinstance(granted, Granted)
    assert (granted.job.spec.command, granted.job.spec.timeout) == ("echo hi", timedelta(seconds=90))
    assert (granted.category, granted.scheduled_for, granted.triggered_by) == ("shop", NOON, "schedule")
    assert run_of(db, made)["revision"] == job.revision == 1


def test_the_command_is_that_of_the_job_as_it_is_now(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    execute(db, "UPDATE jobs SET command = 'echo new'")

    granted = ask(db, claim(made))

    assert isinstance(granted, Granted)
    assert granted.job.spec.command == "echo new"


def test_the_same_owner_is_granted_again_and_nothing_moves(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    ask(db, claim(made))
    before = run_of(db, made)

    assert isinstance(ask(db, claim(made, nonce="another"), now=NOON + SECOND), Granted)
    assert run_of(db, made) == before


@pytest.mark.parametrize("owner", [STRANGER, NEXT, replace(STRANGER, lineage=OURS.lineage)])
def test_anybody_else_is_denied_and_nothing_moves(db: store.Store, job_id: int, owner: Owner) -> None:
    made = insert_run(db, job_id)
    ask(db, claim(made))
    before = run_of(db, made)

    assert ask(db, claim(made, owner)) == Denial("duplicate")
    assert run_of(db, made) == before


def test_a_running_run_is_not_granted_to_anybody(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    assert ask(db, claim(made)) == ask(db, claim(made, STRANGER)) == Denial("duplicate")


@pytest.mark.parametrize("attempt", [2, 3])
def test_another_attempt_is_denied(db: store.Store, job_id: int, attempt: int) -> None:
    made = insert_run(db, job_id)

    assert ask(db, claim(made, attempt=attempt)) == Denial("superseded")
    assert run_of(db, made)["state"] == State.QUEUED


def test_the_attempt_that_was_given_back_is_denied_and_the_next_granted(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    ask(db, claim(made))
    tell(db, said(EventType.NOT_STARTED, made))

    assert ask(db, claim(made)) == Denial("superseded")
    assert isinstance(ask(db, claim(made, STRANGER, attempt=2)), Granted)
    assert (run_of(db, made)["attempt"], run_of(db, made)["runner"]) == (2, STRANGER.runner)


def test_a_run_nobody_knows_is_denied(db: store.Store) -> None:
    assert ask(db, claim("0" * 32)) == Denial("unknown_run")


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED, State.CLAIMED, State.RUNNING}))
def test_a_run_that_is_not_queued_is_denied(db: store.Store, job_id: int, state: State) -> None:
    made = insert_run(db, job_id, state)

    assert ask(db, claim(made)) == Denial(f"run is {state}")
    assert run_of(db, made)["state"] == state


@pytest.mark.parametrize(("late", "granted"), [(-1, True), (0, True), (1, False)])
def test_an_expired_run_is_denied(db: store.Store, job_id: int, late: int, granted: bool) -> None:
    made = insert_run(db, job_id, expires_at=NOON)

    answer = ask(db, claim(made), now=NOON + late * SECOND)

    assert isinstance(answer, Granted) if granted else answer == Denial("expired")


def test_a_batch_is_answered_in_its_order_and_each_run_goes_to_the_first(
    db: store.Store, job_id: int
) -> None:
    one, two = (insert_run(db, job_id, at=NOON + k * MINUTE) for k in range(2))
    asked = [
        claim(two, STRANGER),
        claim("0" * 32),
        claim(one),
        claim(two),
        claim(one),
        claim(one, NEXT),
        claim(one, attempt=2),
    ]

    answers = ask_all(db, asked)

    assert [c for c, _ in answers] == asked
    kinds = [a.reason if isinstance(a, Denial) else "granted" for _, a in answers]
    assert kinds == ["granted", "unknown_run", "granted", "duplicate", "granted", "duplicate", "superseded"]
    assert [run_of(db, m)["runner"] for m in (one, two)] == [OURS.runner, STRANGER.runner]


def test_no_claims_are_no_answers(db: store.Store) -> None:
    assert ask_all(db, []) == []


def test_a_run_whose_job_was_deleted_by_hand_is_denied_and_ended(db: store.Store, job_id: int) -> None:
    gone, good = insert_run(db, job_id, State.SCHEDULED), insert_run(db, insert_job(db))
    execute(db, "DELETE FROM jobs WHERE id = :id", id=job_id)
    execute(db, "UPDATE runs SET state = 'queued'")

    [(_, denied), (_, granted)] = ask_all(db, [claim(gone), claim(good)])

    assert denied == Denial("job removed")
    assert isinstance(granted, Granted)
    assert (run_of(db, gone)["state"], run_of(db, gone)["reason"]) == ("cancelled", "job removed")


def test_a_job_whose_definition_makes_no_sense_is_not_run(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    execute(db, 'UPDATE jobs SET definition = \'{"timeout": "soon"}\'')

    answer = ask(db, claim(made))

    assert isinstance(answer, Denial)
    assert answer.reason.startswith("definition: ")
    assert run_of(db, made)["state"] == State.QUEUED

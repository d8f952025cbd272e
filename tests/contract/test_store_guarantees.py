"""What the ledger does after a failure or a loss: tries again, stays lost, or waits for a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.errors import Conflict, NotFound
from cronq.domain.event import EventType, OutputChunk
from cronq.domain.run import ENDED, Denial, State
from cronq.injector.release import release_once
from cronq.store import alerts as store_alerts
from cronq.store import changes, doorbells, leases, lost, outcomes, runs
from cronq.store.claims import Granted
from cronq.store.lost import Decision
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    Clock,
    ask,
    claim,
    definition,
    events_of,
    execute,
    insert_run,
    job_named,
    open_alerts,
    put,
    run_of,
    runs_of,
    said,
    states_of,
    tell,
)

LATE = NOON + HOUR
WINDOW = 100


def job_that(db: store.Store, **fields: object) -> int:
    """A job with these fields; returns its id."""
    put(db, {**definition(schedule="0 0 1 1 *"), **fields})
    return job_named(db).id


def run_that_started(db: store.Store, job_id: int) -> str:
    made = insert_run(db, job_id)
    start(db, made)
    return made


def start(db: store.Store, made: str, *, attempt: int = 1, at: datetime = NOON) -> None:
    assert isinstance(ask(db, claim(made, attempt=attempt), now=at), Granted)
    tell(db, said(EventType.STARTING, made, attempt=attempt, at=at, started_at=at, pid=7), now=at)


def end(db: store.Store, made: str, code: int = 1, *, attempt: int = 1, at: datetime = NOON) -> Any:
    return tell(db, said(EventType.FINISHED, made, attempt=attempt, at=at, return_code=code), now=at)


def reap(db: store.Store, now: datetime = LATE) -> changes.Losses:
    """Ask, wait, and lose what did not answer; alerts are told as the injector tells them."""
    with db.begin() as tx:
        leases.ask_expired(tx, now, now, WINDOW)
        losses = leases.lose_unanswered(tx, now + SECOND, WINDOW)
        lost.tell(tx, losses, "its runner is silent", now)
        return losses


# -- failures


def test_a_failed_run_waits_for_its_next_attempt_and_then_runs_again(db: store.Store, clock: Clock) -> None:
    made = run_that_started(db, job_that(db, max_attempts=2, retry_delay="1m"))

    end(db, made, code=3)

    found = run_of(db, made)
    assert (found["state"], found["attempt"], found["retries"]) == ("scheduled", 2, 1)
    assert (found["release_at"], found["publish_at"]) == (NOON + MINUTE, None)
    assert found["reason"] == "attempt 1 failed with code 3"
    assert {found[name] for name in (*changes.OF_AN_ATTEMPT, *changes.OF_AN_OWNER)} == {None}

    clock.now = NOON + 59 * SECOND
    assert release_once(db, WINDOW) == 0
    clock.now = NOON + MINUTE
    assert release_once(db, WINDOW) == 1
    assert isinstance(ask(db, claim(made), now=clock.now), Denial)
    start(db, made, attempt=2, at=clock.now)
    end(db, made, code=4, attempt=2)
    assert (run_of(db, made)["state"], run_of(db, made)["return_code"]) == ("failed", 4)
    kinds = [(kind, attempt) for kind, attempt, _ in events_of(db, made)]
    assert [k for k in kinds if k[0] != "claimed"] == [
        ("queued", 1), ("starting", 1), ("finished", 1), ("queued", 2), ("starting", 2), ("finished", 2),
    ]  # fmt: skip


def test_copies_of_a_failure_use_up_one_attempt(db: store.Store) -> None:
    made = run_that_started(db, job_that(db, max_attempts=5))
    failure = said(EventType.FINISHED, made, return_code=1)

    tell(db, failure, failure)
    tell(db, failure)

    assert (run_of(db, made)["attempt"], run_of(db, made)["retries"]) == (2, 1)


def test_a_waiting_retry_stands_in_nobodys_way(db: store.Store, clock: Clock) -> None:
    job_id = job_that(db, max_attempts=2, retry_delay="1h")
    end(db, run_that_started(db, job_id))

    with db.read() as tx:
        assert doorbells.waiting(tx) == {}
        assert runs.late(tx, NOON + MINUTE) == []
    insert_run(db, job_id, State.SCHEDULED, at=NOON + SECOND)
    assert release_once(db, WINDOW) == 1
    assert states_of(db) == ["scheduled", "queued"]


def test_a_later_occurrence_supersedes_no_retry(db: store.Store) -> None:
    job_id = job_that(db, max_attempts=2)
    made = run_that_started(db, job_id)
    end(db, made)
    other = insert_run(db, job_id, State.SCHEDULED, at=NOON + SECOND)

    with db.begin() as tx:
        assert runs.supersede(tx, [job_id], NOON + MINUTE) == 1

    assert (run_of(db, made)["state"], run_of(db, other)["state"]) == ("scheduled", "missed")


@pytest.mark.parametrize("order", ["disabled", "removed"])
def test_a_job_that_is_disabled_or_removed_is_not_tried_again(db: store.Store, order: str) -> None:
    made = run_that_started(db, job_that(db, max_attempts=2, guarantee="at_least_once"))
    columns = {"disabled": "enabled = 0", "removed": "removed_at = '2026-11-21 12:00:00'"}
    execute(db, f"UPDATE jobs SET {columns[order]}")

    end(db, made)

    assert run_of(db, made)["state"] == "failed"


def test_output_of_an_attempt_counts_after_its_end_too(db: store.Store) -> None:
    made = run_that_started(db, job_that(db, max_attempts=2))
    end(db, made)

    def write(lineage: str, data: bytes) -> int:
        chunk = OutputChunk(made, 1, lineage, 0, data)
        return db.transact(lambda tx: outcomes.store_output(tx, [chunk]))

    assert write(STRANGER.lineage, b"not mine") == 0
    assert write(OURS.lineage, b"mine") == 1
    with db.read() as tx:
        assert outcomes.output(tx, made, 1) == [(0, b"mine")]
    assert run_of(db, made)["output_bytes"] == 0, "of the attempt that waits"


# -- losses


def test_a_lost_run_of_the_default_guarantee_stays_lost(db: store.Store) -> None:
    made = run_that_started(db, job_that(db, max_attempts=5))

    losses = reap(db)

    assert (losses.lost, losses.held, losses.retried) == ([made], [], [])
    assert (run_of(db, made)["state"], run_of(db, made)["needs_decision"]) == ("lost", False)
    assert open_alerts(db) == [("runner_lost", f"run {made}")]


def test_a_lost_run_of_at_least_once_runs_again_elsewhere(db: store.Store, clock: Clock) -> None:
    made = run_that_started(db, job_that(db, guarantee="at_least_once", retry_delay=0))

    losses = reap(db)

    assert (losses.lost, losses.retried) == ([], [made])
    found = run_of(db, made)
    assert (found["state"], found["attempt"], found["lineage"]) == ("scheduled", 2, OURS.lineage)
    clock.now = LATE + MINUTE
    assert release_once(db, WINDOW) == 1
    assert isinstance(ask(db, claim(made, STRANGER, attempt=2), now=LATE), Granted)
    end(db, made, code=0)  # of the attempt that was given up: too late
    assert (run_of(db, made)["state"], run_of(db, made)["lineage"]) == ("claimed", STRANGER.lineage)


def test_the_truth_about_a_lost_attempt_counts_while_the_next_one_waits(
    db: store.Store, clock: Clock
) -> None:
    made = run_that_started(db, job_that(db, guarantee="at_least_once", retry_delay=0))
    reap(db)
    clock.now = LATE + MINUTE
    release_once(db, WINDOW)

    end(db, made, code=0)

    found = run_of(db, made)
    assert (found["state"], found["attempt"], found["retries"]) == ("succeeded", 1, 0)
    assert (found["recovered"], found["publish_at"], found["release_at"]) == (True, None, None)
    assert ask(db, claim(made, STRANGER, attempt=2), now=LATE) == Denial("superseded")


def test_a_run_that_gets_lost_again_and_again_is_lost_in_the_end(db: store.Store, clock: Clock) -> None:
    made = run_that_started(db, job_that(db, guarantee="at_least_once", retry_delay=0))

    for attempt in range(2, 11):
        assert reap(db, clock.tick(HOUR)).retried == [made]
        clock.tick(MINUTE)
        assert release_once(db, WINDOW) == 1
        start(db, made, attempt=attempt, at=clock.now)

    assert reap(db, clock.tick(HOUR)).lost == [made]
    assert run_of(db, made)["attempt"] == 10


def test_an_interrupted_run_of_at_least_once_runs_again(db: store.Store) -> None:
    made = run_that_started(db, job_that(db, guarantee="at_least_once"))

    applied = tell(db, said(EventType.INTERRUPTED, made))

    assert applied.losses.retried == [made]
    assert (run_of(db, made)["state"], run_of(db, made)["reason"]) == ("scheduled", "attempt 1 interrupted")


# -- decisions


def held_run(db: store.Store) -> str:
    made = run_that_started(db, job_that(db, guarantee="hold"))
    assert reap(db).held == [made]
    return made


def decide(db: store.Store, made: str, decision: Decision) -> str:
    return db.transact(lambda tx: lost.decide(tx, made, decision, "ann", LATE))


def test_a_held_run_says_how_to_decide(db: store.Store) -> None:
    made = held_run(db)

    assert run_of(db, made)["needs_decision"] is True
    [alert] = [a["message"] for a in _alerts(db)]
    assert f"cronq decide {made} rerun|succeeded|failed" in alert


def _alerts(db: store.Store) -> list[dict[str, Any]]:
    with db.read() as tx:
        return store_alerts.listed(tx)


@pytest.mark.parametrize("decision", [Decision.SUCCEEDED, Decision.FAILED])
def test_a_person_says_what_became_of_it(db: store.Store, decision: Decision) -> None:
    made = held_run(db)

    assert decide(db, made, decision) == made

    found = run_of(db, made)
    assert (found["state"], found["reason"], found["decided_by"]) == (decision, "decided by ann", "ann")
    assert found["needs_decision"] is False
    assert open_alerts(db) == []
    assert ("decided", 1, 8) in events_of(db, made)
    end(db, made, code=9)  # whatever is told later: a person has decided
    assert run_of(db, made)["state"] == decision


def test_a_person_orders_it_once_more(db: store.Store) -> None:
    made = held_run(db)

    again = decide(db, made, Decision.RERUN)

    first, second = runs_of(db)
    assert (first["run_id"], first["state"], first["decided_by"]) == (made, "lost", "ann")
    assert (second["run_id"], second["state"], second["triggered_by"]) == (again, "scheduled", "rerun")
    assert open_alerts(db) == []


def test_what_needs_no_decision_gets_none(db: store.Store) -> None:
    made = held_run(db)
    decide(db, made, Decision.SUCCEEDED)

    with pytest.raises(Conflict, match="ann decided"):
        decide(db, made, Decision.RERUN)
    with pytest.raises(NotFound):
        decide(db, "0" * 32, Decision.RERUN)
    assert len(runs_of(db)) == 1


def test_the_truth_comes_before_the_decision(db: store.Store) -> None:
    made = held_run(db)

    end(db, made, code=0)

    found = run_of(db, made)
    assert (found["state"], found["recovered"], found["needs_decision"]) == ("succeeded", True, False)


def test_a_run_that_is_over_can_be_run_again(db: store.Store) -> None:
    job_id = job_that(db)
    made = run_that_started(db, job_id)

    def rerun() -> str:
        return db.transact(lambda tx: lost.rerun(tx, made, "ann", NOON))

    with pytest.raises(Conflict, match="running"):
        rerun()
    end(db, made)
    again = run_of(db, rerun())
    assert (again["job_id"], again["triggered_by"], again["actor"]) == (job_id, "rerun", "ann")
    assert State(run_of(db, made)["state"]) in ENDED


def test_running_a_held_run_again_decides_it(db: store.Store) -> None:
    made = held_run(db)

    again = db.transact(lambda tx: lost.rerun(tx, made, "ann", NOON))

    assert again != made
    assert (run_of(db, made)["needs_decision"], open_alerts(db)) == (False, [])


def test_a_wait_in_seconds_or_words(db: store.Store) -> None:
    job_that(db, max_attempts=3, retry_delay=90, retry_backoff="exponential")

    policy = job_named(db).spec.retry_policy

    assert (policy.max_attempts, policy.retry_delay) == (3, timedelta(seconds=90))
    assert policy.backoff == "exponential"

"""Jobs of `@every … after finish`: the next occurrence follows from the end of the one before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq import store
from cronq.domain.audit import Window
from cronq.domain.event import EventType
from cronq.domain.run import State
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.injector.release import wake_once
from cronq.store import audits, runs
from cronq.store.audits import Scope
from cronq.store.claims import Granted
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    ask,
    claim,
    definition,
    execute,
    insert_job,
    job_named,
    job_of,
    put,
    runs_of,
    said,
    select,
    states_of,
    tell,
)

EVERY = "@every 90s after finish"


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    return clock


def make(db: store.Store, **fields: object) -> int:
    put(db, definition("job", **{"schedule": EVERY, **fields}), now=NOON)
    return job_named(db).id


def step(db: store.Store) -> None:
    expand_once(db, locked_by="i", window=10, publish_lease=2 * SECOND)


def begin(db: store.Store, clock: Clock) -> str:
    """The first occurrence is due, and runs."""
    clock.now = NOON + 90 * SECOND + timedelta(milliseconds=1)
    step(db)
    [row] = runs_of(db)
    made: str = row["run_id"]
    assert isinstance(ask(db, claim(made), now=clock.now), Granted)
    tell(db, said(EventType.STARTING, made), now=clock.now)
    return made


def end(db: store.Store, clock: Clock, made: str, code: int = 0) -> None:
    finished = said(EventType.FINISHED, made, return_code=code, finished_at=clock.now, at=clock.now)
    tell(db, finished, now=clock.now)


def assert_audit_is_clean(db: store.Store, clock: Clock) -> None:
    report = audits.audit(db, Window.of(NOON - HOUR, None, clock.now), Scope())
    assert report.is_clean(), report


def test_the_first_occurrence_is_a_period_after_the_put(db: store.Store) -> None:
    assert job_of(db, make(db)).next_run == NOON + 90 * SECOND


def test_the_next_one_is_a_period_after_the_end(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    made = begin(db, clock)
    clock.now = NOON + 10 * MINUTE
    assert (wake_once(db), job_of(db, job_id).next_run) == (0, None)

    end(db, clock, made)

    assert (wake_once(db), job_of(db, job_id).next_run) == (1, NOON + 10 * MINUTE + 90 * SECOND)
    assert not job_of(db, job_id).is_changed_by_hand()
    assert select(db, "SELECT * FROM resting") == []
    clock.now = NOON + 20 * MINUTE
    step(db)
    assert [r["scheduled_for"] for r in runs_of(db)] == [
        NOON + 90 * SECOND,
        NOON + 10 * MINUTE + 90 * SECOND,
    ]
    assert_audit_is_clean(db, clock)


def test_an_attempt_that_is_tried_again_is_no_end(db: store.Store, clock: Clock) -> None:
    job_id = make(db, max_attempts=2)
    made = begin(db, clock)

    end(db, clock, made, code=1)

    assert states_of(db) == ["scheduled"]
    assert (wake_once(db), job_of(db, job_id).next_run) == (0, None)


def test_a_run_by_hand_does_not_count(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    made = begin(db, clock)
    execute(db, "UPDATE jobs SET run_now = 1")
    step(db)

    end(db, clock, made)

    assert wake_once(db) == 1
    assert job_of(db, job_id).next_run is not None


def test_an_occurrence_that_never_ran_is_over_when_that_was_decided(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    clock.now = NOON + 90 * SECOND + timedelta(milliseconds=1)
    step(db)
    clock.now = NOON + 5 * MINUTE
    db.transact(lambda tx: runs.cancel_waiting(tx, [job_id], "why", clock.now))

    assert wake_once(db) == 1
    assert job_of(db, job_id).next_run == NOON + 5 * MINUTE + 90 * SECOND


def test_another_schedule_ends_the_rest(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    made = begin(db, clock)
    put(db, definition(schedule="@hourly"), now=clock.now)
    assert job_of(db, job_id).next_run == NOON + HOUR

    end(db, clock, made)

    assert (wake_once(db), job_of(db, job_id).next_run) == (0, NOON + HOUR)
    assert select(db, "SELECT * FROM resting") == []


def test_an_edit_of_something_else_leaves_it_waiting_for_the_end(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    made = begin(db, clock)
    put(db, definition(schedule=EVERY, command="echo other"), now=clock.now)
    assert job_of(db, job_id).next_run is None

    end(db, clock, made)

    assert wake_once(db) == 1
    clock.now += 5 * MINUTE
    step(db)
    assert len(runs_of(db)) == 2
    assert_audit_is_clean(db, clock)


def test_a_job_that_is_removed_or_deleted_meanwhile_is_forgotten(db: store.Store, clock: Clock) -> None:
    make(db)
    begin(db, clock)
    put(db, now=clock.now)
    execute(db, "INSERT INTO resting (job_id) VALUES (4711)")

    execute(db, "UPDATE runs SET state = 'succeeded'")

    assert wake_once(db) == 0
    assert select(db, "SELECT * FROM resting") == []


def test_a_row_by_hand_does_the_same(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db, schedule=EVERY)
    adopt_unseen_once(db)

    assert job_of(db, job_id).next_run == NOON + 90 * SECOND


def test_a_pause_holds_it_and_the_period_counts_from_what_came_of_it(db: store.Store, clock: Clock) -> None:
    job_id = make(db)
    execute(db, "INSERT INTO pauses (subject, since) VALUES ('all', '2026-11-21 00:00:00')")
    clock.now = NOON + 90 * SECOND + timedelta(milliseconds=1)
    step(db)

    assert states_of(db) == [State.SCHEDULED]
    assert (wake_once(db), job_of(db, job_id).next_run) == (0, None)

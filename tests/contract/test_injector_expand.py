"""Expanding due jobs: every occurrence has its row from the instant `next_run` moves past it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.occurrence import MOST_INSTANTS, MOST_MISSED_ROWS
from cronq.domain.run import State
from cronq.injector import expand
from cronq.injector.expand import Expanded, adopt_unseen_once, expand_once
from cronq.store import jobs, runs
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    claimed_run,
    definition,
    events_of,
    execute,
    insert_job,
    insert_run,
    job_named,
    job_of,
    let_out,
    open_alerts,
    put,
    revisions_of,
    run_of,
    runs_of,
    select,
    states_of,
)

LEASE = 2 * SECOND
DAILY = "0 3 * * *"
TOMORROW_AT_3 = datetime(2026, 11, 22, 3, tzinfo=NOON.tzinfo)


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def step(db: store.Store, window: int = 2_000) -> Expanded:
    return expand_once(db, locked_by="host.1", window=window, publish_lease=LEASE)


def summary(db: store.Store, job_id: int | None = None) -> list[tuple[datetime, str, str | None]]:
    return [(r["scheduled_for"], r["state"], r["reason"]) for r in runs_of(db, job_id)]


# -- one transaction does both


def test_a_due_job_gets_its_run_and_its_next_instant(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(
        db, schedule="* * * * *", next_run=NOON, routing_key="slow", name="tick", command="echo hi"
    )

    done = step(db)

    [run] = runs_of(db)
    assert (run["kind"], run["scheduled_for"], run["triggered_by"]) == ("slot", NOON, "schedule")
    assert (run["state"], run["routing_key"], run["attempt"], run["request"]) == ("queued", "slow", 1, "")
    assert (run["created_at"], run["queued_at"], run["publish_at"]) == (
        clock.now,
        clock.now,
        clock.now + LEASE,
    )
    assert (job_of(db, job_id).next_run, job_of(db, job_id).locked_by) == (NOON + MINUTE, "host.1")
    [bell] = done.bells
    assert (bell.run_id, bell.attempt, bell.name, bell.command) == (run["run_id"], 1, "tick", "echo hi")
    assert (bell.routing_key, done.jobs, done.missed) == ("slow", 1, 0)
    assert [e[0] for e in events_of(db, run["run_id"])] == ["queued"]


def test_nothing_due_is_nothing_done(db: store.Store) -> None:
    insert_job(db, schedule=DAILY, next_run=NOON + SECOND)

    assert step(db) == Expanded()
    assert runs_of(db) == []


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (runs, "insert"),
        (runs, "insert_events"),
        (runs, "supersede"),
        (jobs, "advance"),
        (expand, "_alert_problems"),
    ],
)
def test_what_breaks_in_the_middle_leaves_the_job_due_and_the_ledger_as_it_was(
    db: store.Store, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    job_id = insert_job(db, schedule="* * * * *", next_run=NOON - 3 * MINUTE, run_now=1)
    older = insert_run(db, job_id, at=NOON - 4 * MINUTE)
    before = job_of(db, job_id), runs_of(db), select(db, "SELECT * FROM events")
    whole: Callable[..., Any] = getattr(module, function)

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    monkeypatch.setattr(module, function, breaks)
    with pytest.raises(RuntimeError, match="made up"):
        step(db)
    assert (job_of(db, job_id), runs_of(db), select(db, "SELECT * FROM events")) == before

    monkeypatch.undo()
    monkeypatch.setattr(store, "now", lambda tx: NOON + SECOND)
    step(db)
    assert len(runs_of(db)) == 6
    assert run_of(db, older)["state"] == "missed"


def test_every_job_that_is_due_gets_its_run(db: store.Store) -> None:
    due = {insert_job(db, interval=MINUTE, next_run=NOON - k * SECOND) for k in range(40)}
    idle = {insert_job(db, interval=MINUTE, next_run=NOON + MINUTE) for _ in range(5)}

    assert step(db).jobs == 40
    assert step(db).jobs == 0
    assert {r["job_id"] for r in runs_of(db)} == due
    assert not {r["job_id"] for r in runs_of(db)} & idle


# -- what is due


def test_run_now_pressed_by_hand_any_number_of_times_is_one_run(db: store.Store) -> None:
    job_id = insert_job(db, schedule=DAILY, next_run=TOMORROW_AT_3)
    for _ in range(5):
        execute(db, "UPDATE jobs SET run_now = 1")

    step(db)
    step(db)

    [run] = runs_of(db)
    assert (run["kind"], run["triggered_by"], run["state"]) == ("request", "manual", "queued")
    assert (job_of(db, job_id).run_now, job_of(db, job_id).next_run) == (False, TOMORROW_AT_3)


def test_run_now_pressed_again_after_it_ran_is_another_run(db: store.Store, clock: Clock) -> None:
    insert_job(db, schedule=DAILY, next_run=TOMORROW_AT_3)
    for _ in range(3):
        execute(db, "UPDATE jobs SET run_now = 1")
        step(db)  # within the same second

    assert states_of(db) == ["queued"] * 3


def test_a_next_run_changed_by_hand_is_honoured_once(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db, schedule=DAILY, next_run=TOMORROW_AT_3)
    execute(db, "UPDATE jobs SET next_run = '2026-11-21 11:59:43'")

    for _ in range(3):
        step(db)
        clock.tick(MINUTE)

    assert summary(db) == [(NOON - 17 * SECOND, "queued", None)]
    assert job_of(db, job_id).next_run == TOMORROW_AT_3


def test_a_bare_interval_keeps_its_own_grid(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db, interval=20 * SECOND, next_run=NOON - 5 * SECOND)

    for _ in range(3):
        step(db)
        clock.tick(20 * SECOND)

    assert [r["scheduled_for"] for r in runs_of(db)] == [NOON + k * SECOND for k in (-5, 15, 35)]
    assert job_of(db, job_id).next_run == NOON + 55 * SECOND


@pytest.mark.parametrize("interval", [None, timedelta(0)])
def test_without_schedule_and_interval_it_runs_once(
    db: store.Store, clock: Clock, interval: timedelta | None
) -> None:
    job_id = insert_job(db, interval=interval, next_run=NOON)

    for _ in range(3):
        step(db)
        clock.tick(HOUR)

    assert summary(db) == [(NOON, "queued", None)]
    assert job_of(db, job_id).next_run is None


def test_a_null_routing_key_is_default_and_a_null_category_is_no_harm(db: store.Store) -> None:
    insert_job(db, next_run=NOON, routing_key=None, category_id=None)

    assert [b.routing_key for b in step(db).bells] == ["default"]


@pytest.mark.parametrize("off", [{"enabled": 0}, {"removed_at": NOON - HOUR}])
def test_a_disabled_or_removed_job_has_no_runs(db: store.Store, off: dict[str, object]) -> None:
    insert_job(db, schedule="* * * * *", next_run=NOON - HOUR, run_now=1, **off)

    step(db)
    adopt_unseen_once(db)
    step(db)

    assert runs_of(db) == []


# -- outages


def test_of_several_instants_the_latest_runs_and_the_others_are_missed(db: store.Store) -> None:
    insert_job(db, schedule="* * * * *", next_run=NOON - 3 * MINUTE)

    done = step(db)

    assert summary(db) == [
        (NOON - 3 * MINUTE, "missed", "misfire"),
        (NOON - 2 * MINUTE, "missed", "misfire"),
        (NOON - MINUTE, "missed", "misfire"),
        (NOON, "queued", None),
    ]
    assert (done.missed, len(done.bells), runs_of(db)[-1]["triggered_by"]) == (3, 1, "catch-up")


def test_more_than_a_hundred_missed_share_one_row(db: store.Store) -> None:
    insert_job(db, schedule="* * * * *", next_run=NOON - (MOST_MISSED_ROWS + 1) * MINUTE)

    step(db)

    [missed, run] = runs_of(db)
    assert (missed["scheduled_for"], missed["last_scheduled_for"]) == (NOON - 101 * MINUTE, NOON - MINUTE)
    assert (missed["missed_count"], missed["state"], run["scheduled_for"]) == (
        MOST_MISSED_ROWS + 1,
        "missed",
        NOON,
    )


@pytest.mark.parametrize("count", [MOST_INSTANTS, MOST_INSTANTS + 1, 2 * MOST_INSTANTS + 7])
def test_what_does_not_fit_into_one_step_goes_on_in_the_next(db: store.Store, count: int) -> None:
    first = NOON - (count - 1) * SECOND
    job_id = insert_job(db, interval=SECOND, next_run=first)

    steps = 0
    while step(db).jobs:
        steps += 1

    found = runs_of(db)
    assert sum(r["missed_count"] or 1 for r in found) == count
    assert [r["scheduled_for"] for r in found if r["state"] == "queued"] == [NOON]
    assert (found[0]["scheduled_for"], job_of(db, job_id).next_run) == (first, NOON + SECOND)
    assert steps == -(-count // MOST_INSTANTS)


def test_many_jobs_after_a_long_outage_are_done_in_several_steps(
    db: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that looked at all of it at once would outlive its locks."""
    monkeypatch.setattr(expand, "MOST_INSTANTS", 1_000)
    for _ in range(10):
        insert_job(db, interval=SECOND, next_run=NOON - 400 * SECOND)

    assert [step(db).jobs for _ in range(5)] == [3, 3, 3, 1, 0]
    assert sum(r["missed_count"] or 1 for r in runs_of(db)) == 10 * 401


def test_as_many_jobs_as_a_step_takes_may_each_have_missed_as_many_as_have_rows(db: store.Store) -> None:
    """50,000 rows in one commit; MariaDB drops the connection at a statement of over 16 MB."""
    put(
        db,
        *(definition(f"job {k}") for k in range(expand.BATCH)),
        now=NOON - MOST_MISSED_ROWS * MINUTE - SECOND,
    )

    assert (step(db).jobs, step(db).jobs) == (expand.BATCH, 0)

    [found] = select(db, "SELECT count(*) AS n FROM runs")
    assert found["n"] == expand.BATCH * (MOST_MISSED_ROWS + 1)


# -- superseding


def test_the_next_occurrence_takes_the_place_of_one_that_nobody_claimed(
    db: store.Store, clock: Clock
) -> None:
    insert_job(db, schedule="* * * * *", next_run=NOON)
    for _ in range(3):
        step(db)
        clock.tick(MINUTE)

    assert summary(db) == [
        (NOON, "missed", "superseded"),
        (NOON + MINUTE, "missed", "superseded"),
        (NOON + 2 * MINUTE, "queued", None),
    ]


def test_a_claimed_run_and_a_wish_are_not_superseded(db: store.Store) -> None:
    job_id = insert_job(db, schedule="* * * * *", next_run=NOON, run_now=1)
    live = claimed_run(db, job_id, at=NOON - MINUTE)

    step(db)

    assert run_of(db, live)["state"] == "claimed"
    assert sorted(states_of(db)) == ["claimed", "queued", "queued"]


def test_an_instant_that_has_its_row_is_not_run_twice(db: store.Store) -> None:
    """Somebody set `next_run` back to an instant of before; the row that stands for it is kept."""
    job_id = insert_job(db, schedule="* * * * *", next_run=NOON)
    [bell] = step(db).bells
    execute(db, "UPDATE jobs SET next_run = '2026-11-21 12:00:00'")

    done = step(db)

    assert (done.jobs, done.bells) == (1, [])
    assert summary(db) == [(NOON, "queued", None)]
    assert [e["run_id"] for e in select(db, "SELECT run_id FROM events")] == [bell.run_id]
    assert job_of(db, job_id).next_run == NOON + MINUTE


# -- the window


def test_what_does_not_fit_into_the_window_waits_in_the_database(db: store.Store) -> None:
    for k in range(5):
        insert_job(db, interval=HOUR, next_run=NOON - (5 - k) * SECOND)

    done = step(db, window=3)

    assert len(done.bells) == 3
    assert states_of(db) == ["queued"] * 3 + ["scheduled"] * 2


def test_each_routing_key_has_a_window_of_its_own(db: store.Store) -> None:
    for key in ("default", "slow"):
        for _ in range(2):
            insert_job(db, next_run=NOON, routing_key=key)

    assert sorted(b.routing_key for b in step(db, window=1).bells) == ["default", "slow"]


def test_nobody_overtakes_those_that_wait(db: store.Store) -> None:
    """A place became free since; it belongs to the one that waits."""
    first = insert_run(db, insert_job(db), State.SCHEDULED, at=NOON - MINUTE)
    insert_job(db, next_run=NOON)
    insert_job(db, next_run=NOON, routing_key="slow")

    assert [b.routing_key for b in step(db, window=1).bells] == ["slow"]
    with db.begin() as tx:
        assert let_out(tx, most=1) == 1
    assert run_of(db, first)["state"] == "queued"


# -- rows that make no sense


@pytest.mark.parametrize(("schedule", "interval"), [("every tuesday", None), (None, "1969-12-31 23:59:00")])
def test_a_schedule_that_is_none_stops_its_job_with_a_row_and_an_alert(
    db: store.Store, schedule: str | None, interval: str | None
) -> None:
    bad = insert_job(db, schedule=schedule, interval=interval, next_run=NOON)
    good = insert_job(db, next_run=NOON)

    step(db)

    [(_, state, reason)] = summary(db, bad)
    assert (state, (reason or "")[:27]) == ("missed", "the schedule is not valid: ")
    assert (job_of(db, bad).next_run, states_of(db, good)) == (None, ["queued"])
    assert open_alerts(db) == [("bad_schedule", f"job {bad}")]


def test_a_job_that_makes_no_sense_does_not_run_and_each_instant_says_why(
    db: store.Store, clock: Clock
) -> None:
    bad = insert_job(db, schedule="* * * * *", next_run=NOON - MINUTE, routing_key="clé", run_now=1)
    good = insert_job(db, next_run=NOON)

    done = step(db)

    assert [b.job_id for b in done.bells] == [good]
    assert {r["state"] for r in runs_of(db, bad)} == {"missed"}
    reasons = [r["reason"] for r in runs_of(db, bad)]
    assert (len(reasons), sum(str(r).startswith("routing_key: ") for r in reasons)) == (3, 2)
    assert job_of(db, bad).next_run == NOON + MINUTE
    assert open_alerts(db) == [("bad_schedule", f"job {bad}")]

    execute(db, "UPDATE jobs SET routing_key = 'gpu' WHERE id = :id", id=bad)
    clock.tick(MINUTE)
    assert [b.routing_key for b in step(db).bells] == ["gpu"]
    assert open_alerts(db) == []


def test_a_next_run_that_is_no_instant_is_replaced_by_the_schedules(db: store.Store) -> None:
    if db.is_sqlite():
        execute(db, "INSERT INTO jobs (name, schedule, next_run) VALUES ('zero', '0 3 * * *', '0000-00-00')")
    else:
        with db.begin() as tx:
            tx.exec_driver_sql("SET STATEMENT sql_mode = '' FOR INSERT INTO jobs (name, schedule, next_run)"
                               " VALUES ('zero', '0 3 * * *', '0000-00-00')")  # fmt: skip
    good = insert_job(db, next_run=NOON)

    step(db)

    assert job_named(db, "zero").next_run == TOMORROW_AT_3
    assert [r["job_id"] for r in runs_of(db)] == [good]


# -- rows inserted by hand


def test_a_job_inserted_with_a_schedule_only_starts_at_its_next_instant(db: store.Store) -> None:
    job_id = insert_job(db, schedule=DAILY)

    assert (adopt_unseen_once(db), adopt_unseen_once(db)) == (1, 0)

    assert job_of(db, job_id).next_run == TOMORROW_AT_3
    assert [(r["revision"], r["origin"]) for r in revisions_of(db, job_id)] == [(1, "sql")]


def test_one_with_an_interval_only_starts_at_once(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db, interval=MINUTE)

    adopt_unseen_once(db)
    step(db)

    assert summary(db, job_id) == [(NOON, "queued", None)]
    assert job_of(db, job_id).next_run == NOON + MINUTE


def test_one_with_neither_waits_to_be_asked(db: store.Store) -> None:
    job_id = insert_job(db)

    adopt_unseen_once(db)
    step(db)
    assert (job_of(db, job_id).next_run, runs_of(db)) == (None, [])
    execute(db, "UPDATE jobs SET run_now = 1")
    step(db)
    assert states_of(db) == ["queued"]


@pytest.mark.parametrize("adopted_first", [True, False])
@pytest.mark.parametrize(
    ("columns", "then"),
    [({"schedule": DAILY}, TOMORROW_AT_3), ({"interval": MINUTE}, NOON + MINUTE), ({}, None)],
)
def test_one_that_is_to_run_now_runs_once_and_then_as_scheduled(
    db: store.Store, columns: dict[str, object], then: datetime | None, adopted_first: bool
) -> None:
    job_id = insert_job(db, run_now=1, **columns)

    if adopted_first:
        adopt_unseen_once(db)
    step(db)
    adopt_unseen_once(db)
    step(db)

    assert [(r["kind"], r["state"]) for r in runs_of(db)] == [("request", "queued")]
    assert job_of(db, job_id).next_run == then


def test_a_next_run_that_somebody_cleared_stays_so(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET next_run = NULL, run_now = 1")

    step(db)
    adopt_unseen_once(db)

    assert (job_named(db).next_run, states_of(db)) == (None, ["queued"])


def test_an_edit_by_hand_becomes_a_revision_when_its_job_is_due(db: store.Store, clock: Clock) -> None:
    put(db, definition(), now=NOON - MINUTE)
    execute(db, "UPDATE jobs SET command = 'by hand'")

    step(db)
    clock.tick(MINUTE)
    step(db)

    job = job_named(db)
    assert [(r["revision"], r["origin"]) for r in revisions_of(db, job.id)] == [(1, "put"), (2, "sql")]
    assert [r["revision"] for r in runs_of(db)] == [2, 2]


def test_more_unseen_jobs_than_fit_into_a_step_are_all_seen(db: store.Store) -> None:
    with db.begin() as tx:
        for k in range(expand.BATCH + 3):
            tx.exec_driver_sql(f"INSERT INTO jobs (name, command) VALUES ('job {k}', 'true')")

    assert [adopt_unseen_once(db) for _ in range(3)] == [expand.BATCH, 3, 0]

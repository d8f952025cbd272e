"""Chains: the end of a run starts what comes after it, once, whatever breaks on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from cronq import store
from cronq.domain.event import EventType
from cronq.domain.run import Kind, State, Trigger
from cronq.injector import chains as injector_chains
from cronq.injector.chains import Chains, give_up_once
from cronq.injector.release import expire_once, release_once
from cronq.store import chains, epoch, followed, lost, requests, runs, tables
from cronq.store.lost import Decision
from cronq.store.requests import Wish
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    Row,
    claimed_run,
    definition,
    execute,
    insert_run,
    job_named,
    put,
    run_of,
    running_run,
    runs_of,
    said,
    select,
    tell,
)

LATE = NOON + timedelta(hours=2)


@pytest.fixture(autouse=True)
def _clock(clock: Clock) -> Clock:
    """Every step here has an instant."""
    clock.now = NOON + SECOND
    return clock


def follower(name: str, after: object, **fields: object) -> dict[str, object]:
    return {"name": name, "command": "true", "after": after, **fields}


def follow(db: store.Store) -> int:
    return Chains(db).follow_once()


def job_id(db: store.Store, name: str) -> int:
    return job_named(db, name).id


def end(db: store.Store, made: str, state: State = State.SUCCEEDED, **columns: object) -> str:
    """A run as it is after its end, whoever told it."""
    with db.begin() as tx:
        values = {"state": state, "started_at": NOON, "recorded_at": NOON + SECOND, **columns}
        tx.execute(sa.update(tables.runs).where(tables.runs.c.run_id == made).values(**values))
    return made


def ended(
    db: store.Store, name: str, state: State = State.SUCCEEDED, *, at: datetime = NOON, **columns: Any
) -> str:
    return end(db, insert_run(db, job_id(db, name), at=at), state, **columns)


def started(db: store.Store, name: str = "b") -> Sequence[Row]:
    return runs_of(db, job_id(db, name))


def told(db: store.Store, name: str = "b") -> list[tuple[str, str | None]]:
    return [(row["state"], row["reason"]) for row in started(db, name)]


# -- one after another


def test_a_success_starts_the_next_job_with_its_cause_and_its_slot(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a", routing_key="slow", priority=3))
    made = ended(db, "a", at=NOON - HOUR)

    assert follow(db) == 1

    [run] = started(db)
    assert (run["state"], run["kind"], run["triggered_by"]) == ("scheduled", Kind.REQUEST, Trigger.CHAIN)
    assert (run["scheduled_for"], run["caused_by"]) == (NOON - HOUR, made)
    assert (run["routing_key"], run["priority"]) == ("slow", 3)
    assert (run["category_id"], run["revision"]) == (job_named(db, "b").category_id, 1)
    assert select(db, "SELECT * FROM causes") == [{"cause_id": made, "run_id": run["run_id"]}]
    assert select(db, "SELECT * FROM followed") == []


@pytest.mark.parametrize("state", [State.QUEUED, State.CLAIMED, State.RUNNING])
def test_what_has_not_ended_starts_nothing(db: store.Store, state: State) -> None:
    put(db, definition("a"), follower("b", {"job": "a", "on": "end"}))
    insert_run(db, job_id(db, "a"), state)

    assert follow(db) == 0
    assert started(db) == []


@pytest.mark.parametrize(
    ("on", "state", "starts"),
    [
        ("success", State.FAILED, False),
        ("success", State.LOST, False),
        ("failure", State.SUCCEEDED, False),
        ("failure", State.FAILED, True),
        ("failure", State.TIMED_OUT, True),
        ("failure", State.LAUNCH_FAILED, True),
        ("failure", State.LOST, True),
        ("failure", State.CANCELLED, False),
        ("end", State.CANCELLED, True),
        ("end", State.LOST, True),
    ],
)
def test_only_the_end_that_is_asked_for_starts_it(
    db: store.Store, on: str, state: State, starts: bool
) -> None:
    put(db, definition("a"), follower("b", {"job": "a", "on": on}))
    ended(db, "a", state)

    assert follow(db) == 1
    assert len(started(db)) == starts
    assert follow(db) == 0


@pytest.mark.parametrize("state", [State.MISSED, State.SKIPPED, State.EXPIRED, State.CANCELLED])
def test_what_never_started_is_no_end(db: store.Store, state: State) -> None:
    put(db, definition("a"), follower("b", {"job": "a", "on": "end"}))
    ended(db, "a", state, started_at=None)

    follow(db)

    assert (started(db), select(db, "SELECT * FROM followed")) == ([], [])


def test_any_of_several_starts_it_each_time(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", ["a", {"job": "x", "on": "failure"}]))
    causes = [ended(db, "a"), ended(db, "x", State.FAILED), ended(db, "x", at=NOON + MINUTE)]

    follow(db)

    assert sorted(run["caused_by"] for run in started(db)) == sorted(causes[:2])


def test_a_chain_goes_on_with_the_same_slot(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"), follower("c", "b"))
    ended(db, "a", at=NOON - HOUR)
    follow(db)
    [b] = started(db)
    end(db, b["run_id"])

    follow(db)

    [c] = started(db, "c")
    assert (c["caused_by"], c["scheduled_for"]) == (b["run_id"], NOON - HOUR)


def test_a_run_that_somebody_asked_for_starts_the_next_one_too(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    wish = Wish(job_id(db, "a"), Trigger.API)
    asked = db.transact(lambda tx: requests.request_run(tx, wish, NOON))
    end(db, asked)

    follow(db)

    assert [run["caused_by"] for run in started(db)] == [asked]


def test_it_crosses_categories_also_to_a_job_that_came_later(db: store.Store) -> None:
    put(db, follower("b", "etl/a"))
    put(db, definition("a"), category="etl")
    made = ended(db, "a")

    follow(db)

    assert [run["caused_by"] for run in started(db)] == [made]


def test_what_removed_its_after_is_not_started(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    ended(db, "a")
    put(db, definition("a"), definition("b"))

    follow(db)

    assert (started(db), select(db, "SELECT * FROM followed")) == ([], [])


def test_a_disabled_job_says_why_it_did_not_start(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a", enabled=False))
    made = ended(db, "a")

    follow(db)

    assert told(db) == [("skipped", "the job is disabled")]
    assert started(db)[0]["caused_by"] == made


def test_a_job_that_somebody_removed_by_hand_says_so(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    execute(db, "UPDATE jobs SET removed_at = '2026-11-21 12:00:00' WHERE name = 'b'")
    ended(db, "a")

    follow(db)

    assert told(db) == [("skipped", "the job was removed")]


def test_a_job_that_can_not_run_is_missed_with_the_reason(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    execute(db, "UPDATE jobs SET routing_key = 'no such key' WHERE name = 'b'")
    ended(db, "a")

    follow(db)

    [(state, reason)] = told(db)
    assert (state, str(reason).partition(":")[0]) == ("missed", "routing_key")


# -- it waits as any other run


def test_a_pause_of_the_next_job_holds_its_run(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    subject = f"job:{job_id(db, 'b')}"
    execute(db, "INSERT INTO pauses (subject, since) VALUES (:s, '2026-11-21 11:00:00')", s=subject)
    ended(db, "a")

    follow(db)
    release_once(db, window=10)

    assert [run["state"] for run in started(db)] == ["scheduled"]
    assert [row["gate"] for row in select(db, "SELECT gate FROM parked")] == [f"pause:{subject}"]


def test_its_overlap_rule_counts(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a", overlap="skip"))
    for n in range(2):
        ended(db, "a", at=NOON + n * MINUTE)

    follow(db)
    release_once(db, window=10)

    assert sorted(state for state, _ in told(db)) == ["queued", "skipped"]


# -- retries and losses


def test_an_attempt_that_is_followed_by_another_is_no_end(db: store.Store) -> None:
    put(db, definition("a", max_attempts=2, retry_delay="0s"), follower("b", {"job": "a", "on": "failure"}))
    made = running_run(db, job_id(db, "a"))
    tell(db, said(EventType.FINISHED, made, return_code=1))
    assert (run_of(db, made)["state"], follow(db)) == ("scheduled", 0)


def test_a_loss_that_turns_out_a_success_starts_both_edges_once(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"), follower("alarm", {"job": "a", "on": "failure"}))
    put(db, follower("c", {"job": "cat/a", "on": "end"}), category="other")
    made = running_run(db, job_id(db, "a"))
    end(db, made, State.LOST)
    follow(db)
    assert [len(started(db, name)) for name in ("b", "alarm", "c")] == [0, 1, 1]

    for _ in range(2):
        tell(db, said(EventType.FINISHED, made, return_code=0))
        follow(db)

    assert run_of(db, made)["state"] == "succeeded"
    assert [len(started(db, name)) for name in ("b", "alarm", "c")] == [1, 1, 1]


def test_a_loss_that_turns_out_never_to_have_started_goes_on_and_its_end_counts(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    made = claimed_run(db, job_id(db, "a"))
    end(db, made, State.LOST, started_at=None)
    follow(db)
    tell(db, said(EventType.NOT_STARTED, made, reason="rebooted"))
    assert run_of(db, made)["attempt"] == 2
    end(db, made)

    follow(db)

    assert [run["caused_by"] for run in started(db)] == [made]


@pytest.mark.parametrize(
    ("decision", "names"),
    [(Decision.SUCCEEDED, ["b"]), (Decision.FAILED, ["alarm"]), (Decision.RERUN, ["alarm"])],
)
def test_a_loss_that_a_person_decides_about_ends_with_the_decision(
    db: store.Store, decision: Decision, names: list[str]
) -> None:
    put(db, definition("a"), follower("b", "a"), follower("alarm", {"job": "a", "on": "failure"}))
    made = ended(db, "a", State.LOST, needs_decision=True)
    assert follow(db) == 0

    db.transact(lambda tx: lost.decide(tx, made, decision, "alice", NOON))
    follow(db)

    assert [name for name in ("b", "alarm") if started(db, name)] == names


# -- joins


JOIN = {"all": ["a", "x"]}


def test_a_join_starts_once_when_all_have_ended_for_the_slot(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    first = ended(db, "a")
    follow(db)
    ended(db, "x", at=NOON + MINUTE)
    follow(db)
    assert started(db) == []

    last = ended(db, "x", recorded_at=NOON + MINUTE)
    assert follow(db) == 1

    [run] = started(db)
    assert (run["state"], run["scheduled_for"], run["caused_by"]) == ("scheduled", NOON, last)
    assert {row["cause_id"] for row in select(db, "SELECT * FROM causes")} == {first, last}


def test_ends_that_are_acted_upon_together_make_one_start(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    for name in ("a", "x"):
        ended(db, name)

    assert follow(db) == 2
    assert len(started(db)) == 1


def test_a_diamond_comes_together_again(db: store.Store) -> None:
    put(db, definition("a"), follower("l", "a"), follower("r", "a"), follower("b", {"all": ["l", "r"]}))
    ended(db, "a")
    follow(db)
    for name in ("l", "r"):
        end(db, started(db, name)[0]["run_id"])

    follow(db)

    assert [(run["state"], run["scheduled_for"]) for run in started(db)] == [("scheduled", NOON)]


def test_a_run_that_somebody_asked_for_is_of_no_slot(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    ended(db, "a")
    end(db, insert_run(db, job_id(db, "x"), kind=Kind.REQUEST))

    follow(db)

    assert started(db) == []


@pytest.mark.parametrize("state", [State.FAILED, State.MISSED, State.SKIPPED, State.EXPIRED, State.CANCELLED])
@pytest.mark.parametrize("order", [("a", "x"), ("x", "a")])
def test_a_join_says_which_one_did_not_end_as_wanted(
    db: store.Store, state: State, order: tuple[str, str]
) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    for name in order:
        ended(db, name, State.SUCCEEDED if name == "a" else state, started_at=None)
        follow(db)

    assert told(db) == [("skipped", f"cat/x was {state}, not succeeded")]


def test_a_join_of_which_nothing_ended_as_wanted_promised_nothing(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    for name in ("a", "x"):
        ended(db, name, State.FAILED)
    follow(db)
    assert started(db) == []


def test_a_missed_occurrence_that_shares_its_row_with_many_is_one(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    ended(db, "x", State.MISSED, at=NOON - HOUR, last_scheduled_for=NOON + HOUR, missed_count=120)
    ended(db, "a")

    follow(db)

    assert told(db) == [("skipped", "cat/x was missed, not succeeded")]


def test_a_join_that_a_loss_forbade_starts_when_it_was_a_success(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", JOIN))
    ended(db, "a")
    made = running_run(db, job_id(db, "x"))
    with db.begin() as tx:
        tx.execute(sa.update(tables.runs).where(tables.runs.c.run_id == made).values(kind=Kind.SLOT))
    end(db, made, State.LOST)
    follow(db)
    tell(db, said(EventType.FINISHED, made, return_code=0))

    follow(db)

    assert sorted(told(db), key=str) == [("scheduled", None), ("skipped", "cat/x was lost, not succeeded")]


# -- not before, not after


def test_a_join_that_is_complete_too_early_waits(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), follower("b", {"all": ["a"], "not_before": "1h"}))
    ended(db, "a")
    follow(db)
    release_once(db, window=10)
    assert [(run["state"], run["release_at"]) for run in started(db)] == [("scheduled", NOON + HOUR)]

    clock.now = NOON + HOUR
    release_once(db, window=10)

    assert [run["state"] for run in started(db)] == ["queued"]


def test_a_join_that_is_complete_too_late_is_skipped(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), follower("b", {"all": ["a"], "not_after": "1h"}))
    ended(db, "a")
    clock.now = LATE

    follow(db)

    assert told(db) == [("skipped", "too late: not_after is 1h after the slot")]


def test_a_join_that_waits_in_line_for_too_long_expires(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), follower("b", {"all": ["a"], "not_after": "1h"}))
    ended(db, "a")
    follow(db)
    clock.now = LATE

    assert expire_once(db) == 1
    assert told(db) == [("expired", "deadline")]


def test_a_join_that_is_not_complete_in_time_is_missed_and_stays_so(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), definition("x"), follower("b", {**JOIN, "not_after": "1h"}))
    running = insert_run(db, job_id(db, "x"), State.RUNNING)
    cause = ended(db, "a")
    follow(db)
    assert give_up_once(db) == 0
    clock.now = LATE

    assert give_up_once(db) == 1
    end(db, running)
    follow(db)

    assert told(db) == [("missed", "too late: cat/x is running, not succeeded")]
    assert (started(db)[0]["caused_by"], give_up_once(db)) == (cause, 0)


def test_a_join_that_was_complete_in_time_is_not_given_up(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), definition("x"), follower("b", {**JOIN, "not_after": "1h"}))
    ended(db, "a")
    follow(db)
    ended(db, "x")
    follow(db)
    clock.now = LATE

    assert give_up_once(db) == 0
    assert [state for state, _ in told(db)] == ["scheduled"]


def test_nothing_is_owed_for_an_instant_that_one_of_them_does_not_have(db: store.Store, clock: Clock) -> None:
    put(
        db, definition("a"), definition("x", schedule="0 0 1 1 *"), follower("b", {**JOIN, "not_after": "1h"})
    )
    ended(db, "a")
    follow(db)
    clock.now = LATE

    assert give_up_once(db) == 1
    assert started(db) == []


def test_a_part_that_its_own_chain_never_started_is_told(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), definition("y"), follower("x", "y"), follower("b", {**JOIN, "not_after": "1h"}))
    ended(db, "a")
    ended(db, "y", State.FAILED)
    follow(db)
    clock.now = LATE

    give_up_once(db)

    assert told(db) == [("missed", "too late: cat/x is without a run, not succeeded")]


def test_a_join_that_is_none_any_more_is_forgotten(db: store.Store, clock: Clock) -> None:
    put(db, definition("a"), definition("x"), follower("b", {**JOIN, "not_after": "1h"}))
    ended(db, "a")
    follow(db)
    put(db, definition("a"), definition("x"), follower("b", "x"))
    clock.now = LATE

    assert (give_up_once(db), give_up_once(db), started(db)) == (1, 0, [])


# -- nothing is lost, nothing is doubled


@pytest.mark.parametrize(
    ("module", "function"),
    [(followed, "take"), (runs, "insert"), (chains, "start"), (chains, "settle"), (chains, "promise")],
)
def test_what_breaks_in_the_middle_leaves_the_end_to_be_acted_upon(
    db: store.Store, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    put(db, definition("a"), definition("x"), follower("b", "a"), follower("c", {**JOIN, "not_after": "1h"}))
    ended(db, "a")
    before = runs_of(db), select(db, "SELECT * FROM followed")
    whole: Callable[..., Any] = getattr(module, function)

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    monkeypatch.setattr(module, function, breaks)
    with pytest.raises(RuntimeError, match="made up"):
        follow(db)
    assert (runs_of(db), select(db, "SELECT * FROM followed")) == before
    assert select(db, "SELECT * FROM joins") == select(db, "SELECT * FROM causes") == []

    monkeypatch.setattr(module, function, whole)
    follow(db)
    assert len(started(db)) == 1
    assert len(select(db, "SELECT * FROM joins")) == 1


def test_an_end_that_is_followed_again_starts_nothing_again(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", "a"), follower("c", JOIN))
    made = [ended(db, "a"), ended(db, "x")]
    follow(db)

    db.transact(lambda tx: followed.note(tx, made))
    assert follow(db) == 2

    assert (len(started(db)), len(started(db, "c"))) == (1, 1)
    assert len(select(db, "SELECT * FROM causes")) == 3


@pytest.mark.servers
def test_an_end_that_another_injector_acts_upon_is_left_to_it(mariadb_db: store.Store) -> None:
    db = mariadb_db
    put(db, definition("a"), follower("b", "a"))
    made = ended(db, "a")

    with db.begin() as tx:
        assert [run.run_id for run in followed.take(tx, [made])] == [made]
        assert follow(db) == 0
        tx.rollback()

    assert follow(db) == 1


def test_a_followed_run_that_somebody_deleted_is_forgotten(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    ended(db, "a")
    execute(db, "DELETE FROM runs")

    follow(db)

    assert (started(db), select(db, "SELECT * FROM followed")) == ([], [])


def test_more_ends_than_one_step_takes_are_taken_one_step_after_the_other(
    db: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injector_chains, "BATCH", 2)
    monkeypatch.setattr(followed, "LOOKED_AT", 3)
    put(db, definition("a"), follower("b", "a"))
    a = job_id(db, "a")
    made = [insert_run(db, a, State.RUNNING, at=NOON + n * SECOND) for n in range(8)]
    for run in made[::2]:
        end(db, run)
    step = Chains(db)

    assert sum(step.follow_once() for _ in range(6)) == 4
    for run in made[1::2]:
        end(db, run)
    assert sum(step.follow_once() for _ in range(6)) == 4

    assert len(started(db)) == 8


# -- a database that was restored


def test_nothing_is_started_while_the_database_is_held(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    ended(db, "a")
    epoch.hold(db, "made up")

    with pytest.raises(epoch.Held):
        follow(db)


def test_what_ended_before_the_state_was_accepted_is_missed(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", "a"), follower("c", JOIN))
    for name in ("a", "x"):
        ended(db, name)
    epoch.hold(db, "made up")
    db.transact(lambda tx: epoch.accept(tx, "alice", NOON + MINUTE))

    follow(db)

    assert told(db) == told(db, "c") == [("missed", "failover")]

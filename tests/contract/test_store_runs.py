"""The ledger: one row for each occurrence, and its way to the queue: released, published, superseded."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.event import SEQ_ENDED_HERE, SEQ_QUEUED
from cronq.domain.run import ENDED, LIVE, WAITING, Kind, State, Trigger
from cronq.store import doorbells, jobs, runs
from cronq.store.doorbells import MAX_REPUBLISH, Doorbell
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    OURS,
    SECOND,
    claimed_run,
    definition,
    events_of,
    execute,
    insert_job,
    insert_run,
    let_out,
    put,
    run_of,
    running_run,
    runs_of,
    states_of,
)

NOBODY: frozenset[str] = frozenset()


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db, name="nightly", command="echo hi")


def new_row(made: str, job_id: int, **fields: Any) -> dict[str, object]:
    return runs.new_row(
        made,
        job_id,
        **{
            "kind": Kind.SLOT,
            "scheduled_for": NOON,
            "triggered_by": Trigger.SCHEDULE,
            "state": State.SCHEDULED,
            "routing_key": "default",
            "now": NOON,
            **fields,
        },
    )


def insert(db: store.Store, *rows: dict[str, object]) -> frozenset[str]:
    with db.begin() as tx:
        return runs.insert(tx, rows, NOON)


def release(db: store.Store, limit: int = 10, key: str = "default", now: datetime = NOON) -> int:
    with db.begin() as tx:
        return let_out(tx, key, limit, now)


def lease(db: store.Store, now: datetime = NOON, limit: int = 10) -> list[Doorbell]:
    with db.begin() as tx:
        return doorbells.lease_unpublished(tx, now, now + 2 * SECOND, limit)


def supersede(db: store.Store, *job_ids: int) -> int:
    with db.begin() as tx:
        return runs.supersede(tx, job_ids, NOON)


# -- one row for each occurrence


def test_an_occurrence_has_one_row_however_often_it_is_inserted(db: store.Store, job_id: int) -> None:
    assert insert(db, new_row("1" * 32, job_id)) == {"1" * 32}
    assert insert(db, new_row("2" * 32, job_id), new_row("3" * 32, job_id)) == frozenset()

    assert [r["run_id"] for r in runs_of(db)] == ["1" * 32]


@pytest.mark.parametrize(
    "other",
    [
        {"kind": Kind.REQUEST},
        {"scheduled_for": NOON + SECOND},
        {"scheduled_for": NOON + timedelta(microseconds=1)},
        {"kind": Kind.REQUEST, "request": "x"},
    ],
)
def test_another_kind_instant_or_request_is_another_occurrence(
    db: store.Store, job_id: int, other: dict[str, object]
) -> None:
    insert(db, new_row("1" * 32, job_id))

    assert insert(db, new_row("2" * 32, job_id, **other)) == {"2" * 32}


def test_an_occurrence_of_another_job_is_another(db: store.Store, job_id: int) -> None:
    insert(db, new_row("1" * 32, job_id))

    assert insert(db, new_row("2" * 32, insert_job(db))) == {"2" * 32}


def test_a_run_that_goes_straight_to_its_queue_says_so(db: store.Store, job_id: int) -> None:
    insert(db, new_row("1" * 32, job_id, state=State.QUEUED, publish_at=NOON + SECOND))

    found = run_of(db, "1" * 32)
    assert (found["queued_at"], found["publish_at"], found["recorded_at"]) == (NOON, NOON + SECOND, None)
    assert events_of(db, "1" * 32) == [("queued", 1, SEQ_QUEUED)]


def test_a_run_whose_occurrence_has_its_row_leaves_no_trace(db: store.Store, job_id: int) -> None:
    insert(db, new_row("1" * 32, job_id, state=State.MISSED))
    insert(db, new_row("2" * 32, job_id, state=State.QUEUED, publish_at=NOON))

    assert events_of(db, "2" * 32) == []


@pytest.mark.parametrize("state", [State.MISSED, State.SKIPPED, State.CANCELLED])
def test_a_run_that_ended_at_once_is_recorded_at_once(db: store.Store, job_id: int, state: State) -> None:
    insert(db, new_row("1" * 32, job_id, state=state, reason="why"))

    found = run_of(db, "1" * 32)
    assert (found["state"], found["reason"], found["recorded_at"], found["publish_at"]) == (
        state,
        "why",
        NOON,
        None,
    )


# -- superseding


@pytest.mark.parametrize("state", sorted(WAITING))
def test_an_older_waiting_run_is_superseded(db: store.Store, job_id: int, state: State) -> None:
    made = insert_run(db, job_id, state)

    assert supersede(db, job_id) == 1

    found = run_of(db, made)
    assert (found["state"], found["reason"], found["publish_at"]) == (State.MISSED, "superseded", None)
    assert found["recorded_at"] == NOON
    assert ("missed", 1, SEQ_ENDED_HERE) in events_of(db, made)


@pytest.mark.parametrize("state", sorted(LIVE | ENDED))
def test_a_run_that_was_claimed_or_has_ended_is_not(db: store.Store, job_id: int, state: State) -> None:
    insert_run(db, job_id, state)

    assert supersede(db, job_id) == 0
    assert states_of(db) == [state]


def test_nor_is_a_request_or_another_jobs_run(db: store.Store, job_id: int) -> None:
    insert_run(db, job_id, kind=Kind.REQUEST)
    insert_run(db, insert_job(db))

    assert supersede(db, job_id) == 0
    assert states_of(db) == [State.QUEUED, State.QUEUED]


def test_nor_is_the_run_that_takes_its_place(db: store.Store, job_id: int) -> None:
    insert_run(db, job_id, at=NOON - MINUTE)
    newer = insert_run(db, job_id, at=NOON)

    with db.begin() as tx:
        assert runs.supersede(tx, [job_id], NOON, newer={newer}) == 1

    assert states_of(db) == [State.MISSED, State.QUEUED]


# -- release


def test_runs_are_released_by_priority_then_age(db: store.Store, job_id: int) -> None:
    def waiting(number: int, priority: int) -> str:
        at = NOON + number * SECOND
        return insert_run(db, job_id, State.SCHEDULED, at=at, priority=priority)

    made = [waiting(0, 5), waiting(1, 0), waiting(2, 0), waiting(3, -1), waiting(4, 5)]
    order: list[str] = []
    while release(db, limit=1):
        order += [r["run_id"] for r in runs_of(db) if r["state"] == State.QUEUED and r["run_id"] not in order]

    assert order == [made[3], made[1], made[2], made[0], made[4]]


def test_a_released_run_is_to_be_published_at_once(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id, State.SCHEDULED)

    assert release(db, now=NOON + SECOND) == 1

    found = run_of(db, made)
    assert (found["state"], found["queued_at"], found["publish_at"]) == (
        "queued",
        NOON + SECOND,
        NOON + SECOND,
    )
    assert events_of(db, made) == [("queued", 1, SEQ_QUEUED)]


def test_each_routing_key_is_released_by_itself(db: store.Store, job_id: int) -> None:
    slow = insert_run(db, job_id, State.SCHEDULED, key="slow")
    insert_run(db, job_id, State.SCHEDULED, at=NOON - SECOND)

    with db.read() as tx:
        assert sorted(doorbells.waiting(tx)) == ["default", "slow"]
    assert release(db, key="slow") == 1
    assert run_of(db, slow)["state"] == State.QUEUED
    with db.read() as tx:
        assert (doorbells.waiting(tx), doorbells.queued_counts(tx)) == ({"default": {0: 0}}, {"slow": {0: 1}})


def test_a_run_whose_job_was_deleted_by_hand_is_released_all_the_same(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id, State.SCHEDULED)
    execute(db, "DELETE FROM jobs")

    assert release(db) == 1
    assert run_of(db, made)["state"] == State.QUEUED


# -- publish


def test_what_is_to_be_published_is_leased_to_one(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)

    assert lease(db) == [Doorbell(made, 1, job_id, "nightly", "echo hi", "default", 0)]
    assert lease(db) == []
    assert lease(db, NOON + 2 * SECOND) == [Doorbell(made, 1, job_id, "nightly", "echo hi", "default", 0)]


def test_only_queued_runs_are_published(db: store.Store, job_id: int) -> None:
    for number, state in enumerate(sorted(set(State) - {State.QUEUED})):
        insert_run(db, job_id, state, at=NOON + number * SECOND)
    claimed_run(db, job_id)
    running_run(db, job_id)

    assert lease(db, NOON + timedelta(days=1)) == []


def publish(db: store.Store, now: datetime, *, plain: frozenset[str] = NOBODY) -> int:
    """Lease and mark as confirmed; how many there were."""
    bells = lease(db, now)
    with db.begin() as tx:
        doorbells.mark_published(tx, bells, now, MINUTE, plain)
    return len(bells)


def test_a_published_run_comes_again_at_doubling_intervals_up_to_ten_minutes(
    db: store.Store, job_id: int
) -> None:
    made = insert_run(db, job_id)
    gaps = []
    now = NOON
    for publishes in range(1, 8):
        assert publish(db, now) == 1
        again = run_of(db, made)["publish_at"]
        assert publish(db, again - timedelta(microseconds=1)) == 0
        gaps.append(again - now)
        assert run_of(db, made)["publishes"] == publishes
        now = again

    assert gaps == [MINUTE * k for k in (1, 2, 4, 8)] + [MAX_REPUBLISH] * 3
    assert run_of(db, made)["published_at"] == NOON


def test_a_plain_runners_run_is_published_once(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    publish(db, NOON, plain=frozenset({"default"}))

    assert (run_of(db, made)["publish_at"], publish(db, NOON + timedelta(days=1))) == (None, 0)


def test_a_run_that_was_claimed_before_its_confirm_came_is_not_published_again(
    db: store.Store, job_id: int
) -> None:
    made = insert_run(db, job_id)
    bells = lease(db)
    execute(db, "UPDATE runs SET state = 'claimed', publish_at = NULL")

    with db.begin() as tx:
        doorbells.mark_published(tx, bells, NOON, MINUTE, NOBODY)

    assert (run_of(db, made)["publish_at"], run_of(db, made)["published_at"]) == (None, NOON)


def test_a_confirm_for_an_attempt_that_is_over_says_nothing_of_the_next(db: store.Store, job_id: int) -> None:
    """Claimed, given back and queued again while the confirm was under way."""
    made = insert_run(db, job_id)
    bells = lease(db)
    execute(db, "UPDATE runs SET attempt = 2")

    with db.begin() as tx:
        doorbells.mark_published(tx, bells, NOON, MINUTE, NOBODY)
        doorbells.mark_unroutable(tx, bells, NOON + MINUTE)

    found = run_of(db, made)
    assert (found["publish_at"], found["publishes"], found["reason"]) == (NOON + 2 * SECOND, 0, None)


def test_an_unroutable_run_says_so_until_it_has_a_queue(db: store.Store, job_id: int) -> None:
    made = insert_run(db, job_id)
    with db.begin() as tx:
        doorbells.mark_unroutable(tx, [bell(made, job_id)], NOON + SECOND)

    assert (run_of(db, made)["reason"], run_of(db, made)["publish_at"]) == ("no_queue", NOON + SECOND)
    assert publish(db, NOON + SECOND) == 1
    assert run_of(db, made)["reason"] is None


def bell(made: str, job_id: int) -> Doorbell:
    return Doorbell(made, 1, job_id, "nightly", "echo hi", "default", 0)


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
def test_only_a_queued_run_can_lack_a_queue(db: store.Store, job_id: int, state: State) -> None:
    made = insert_run(db, job_id, state, reason="as it was")

    with db.begin() as tx:
        doorbells.mark_unroutable(tx, [bell(made, job_id)], NOON)

    assert (run_of(db, made)["reason"], run_of(db, made)["publish_at"]) == ("as it was", None)


# -- orders


@pytest.mark.parametrize("state", sorted(WAITING))
def test_a_waiting_run_is_cancelled_at_once(db: store.Store, job_id: int, state: State) -> None:
    made = insert_run(db, job_id, state)

    with db.begin() as tx:
        assert runs.request_cancel(tx, made, "ann", NOON) == state

    found = run_of(db, made)
    assert (found["state"], found["reason"], found["publish_at"]) == ("cancelled", "cancelled_by ann", None)
    assert events_of(db, made)[-1] == ("cancelled", 1, SEQ_ENDED_HERE)


def test_a_live_run_is_asked_to_end_and_the_first_who_asked_is_kept(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    for who, later in (("ann", 0), ("bob", 5)):
        with db.begin() as tx:
            assert runs.request_cancel(tx, made, who, NOON + later * SECOND) is State.RUNNING

    found = run_of(db, made)
    assert (found["state"], found["cancel_requested_at"], found["cancelled_by"]) == ("running", NOON, "ann")
    with db.read() as tx:
        assert [tuple(k) for k in runs.kills_wanted(tx, 10)] == [(made, 1, OURS.runner, "ann")]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_run_is_left_alone(db: store.Store, job_id: int, state: State) -> None:
    made = insert_run(db, job_id, state)
    before = run_of(db, made)

    with db.begin() as tx:
        assert runs.request_cancel(tx, made, "ann", NOON) is state

    assert run_of(db, made) == before
    with db.read() as tx:
        assert runs.kills_wanted(tx, 10) == []


def test_a_run_that_is_not_there_can_not_be_cancelled(db: store.Store) -> None:
    with db.begin() as tx:
        assert runs.request_cancel(tx, "0" * 32, "ann", NOON) is None


def test_a_name_of_any_length_may_cancel(db: store.Store, job_id: int) -> None:
    waiting, live = insert_run(db, job_id), running_run(db, job_id)

    with db.begin() as tx:
        for made in (waiting, live):
            runs.request_cancel(tx, made, "é" * 400, NOON)

    assert len(run_of(db, waiting)["reason"]) == len(run_of(db, live)["cancelled_by"]) == 255


# -- reading


def test_runs_are_listed_newest_first_filtered_and_paged(db: store.Store, job_id: int) -> None:
    put(db, definition("other"))
    with db.read() as tx:
        [other] = jobs.listed(tx, category="cat")
    made = [insert_run(db, job_id, at=NOON + k * SECOND) for k in range(4)]
    failed = insert_run(db, other.id, State.FAILED, at=NOON + HOUR)

    def ids(**query: Any) -> list[str]:
        with db.read() as tx:
            return [r["run_id"] for r in runs.listed(tx, **query)]

    assert ids() == [failed, *made[::-1]]
    assert ids(job_id=job_id) == made[::-1]
    assert ids(category_id=other.category_id) == [failed]
    assert ids(states=[State.FAILED, State.LOST]) == [failed]
    assert ids(since=NOON + SECOND, until=NOON + 3 * SECOND) == [made[2], made[1]]
    assert ids(limit=2) == [failed, made[3]]
    assert ids(before=made[3], limit=2) == [made[2], made[1]]


def test_the_newest_run_of_each_job_is_known(db: store.Store, job_id: int) -> None:
    other, without = insert_job(db), insert_job(db)
    insert_run(db, job_id)
    newest = insert_run(db, job_id, at=NOON + SECOND)
    its = insert_run(db, other)

    with db.read() as tx:
        found = runs.latest_of_jobs(tx, [job_id, other, without])

    assert {k: r["run_id"] for k, r in found.items()} == {job_id: newest, other: its}


def test_runs_that_wait_too_long_are_counted_by_routing_key(db: store.Store, job_id: int) -> None:
    insert_run(db, job_id, at=NOON - HOUR, key="slow")
    insert_run(db, job_id, State.SCHEDULED, at=NOON - MINUTE, key="slow")
    insert_run(db, job_id, at=NOON, key="slow", made_at=NOON)
    insert_run(db, job_id, at=NOON - 2 * HOUR, made_at=NOON)
    insert_run(db, job_id, State.FAILED, at=NOON - 3 * HOUR)
    claimed_run(db, job_id, at=NOON - HOUR)

    with db.read() as tx:
        assert [tuple(r) for r in runs.late(tx, NOON - SECOND)] == [("slow", 2, NOON - HOUR)]


def test_a_run_that_is_not_there_is_none(db: store.Store) -> None:
    with db.read() as tx:
        assert runs.by_id(tx, "0" * 32) is None
        assert runs.events_of(tx, "0" * 32) == []

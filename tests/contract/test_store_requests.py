"""Wishes to run a job now: as many runs as wishes, or one per idempotency key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.errors import Conflict, InvalidInput, NotFound
from cronq.domain.run import Trigger
from cronq.store.requests import KEPT, Wish, request_run
from tests.factories import (
    NOON,
    SECOND,
    definition,
    execute,
    insert_job,
    job_named,
    put,
    run_of,
    runs_of,
    select,
)

TODAY = NOON + timedelta(microseconds=7)


@pytest.fixture
def job_id(db: store.Store) -> int:
    put(db, definition(routing_key="slow"))
    return job_named(db).id


def wish(db: store.Store, job_id: int, *, now: datetime = TODAY, **fields: Any) -> str:
    one = Wish(job_id, **{"trigger": Trigger.API, "actor": "ann", **fields})
    return db.transact(lambda tx: request_run(tx, one, now))


def test_each_wish_is_a_run_that_waits_for_release(db: store.Store, job_id: int) -> None:
    made = {wish(db, job_id) for _ in range(5)}

    assert {r["run_id"] for r in runs_of(db)} == made
    found = run_of(db, made.pop())
    assert (found["state"], found["kind"], found["triggered_by"], found["actor"]) == (
        "scheduled",
        "request",
        "api",
        "ann",
    )
    assert (found["scheduled_for"], found["routing_key"], found["revision"]) == (NOON, "slow", 1)


def test_one_key_is_one_run(db: store.Store, job_id: int) -> None:
    made = {wish(db, job_id, key="k", fingerprint="f", now=TODAY + k * SECOND) for k in range(5)}

    assert [r["run_id"] for r in runs_of(db)] == [*made]


def test_other_keys_are_other_runs(db: store.Store, job_id: int) -> None:
    made = {wish(db, job_id, key=key, fingerprint="f") for key in ("k", "K", "ḱ", "k2")}

    assert len(made) == 4


def test_a_key_that_comes_with_another_request_is_refused_and_runs_nothing(
    db: store.Store, job_id: int
) -> None:
    wish(db, job_id, key="k", fingerprint="one")

    with pytest.raises(InvalidInput, match=r"'k' was used for another request in the last 24 hours"):
        wish(db, job_id, key="k", fingerprint="two")
    assert len(runs_of(db)) == 1


@pytest.mark.parametrize(("later", "count"), [(KEPT, 1), (KEPT + SECOND, 2)])
def test_a_key_is_kept_for_a_day(db: store.Store, job_id: int, later: timedelta, count: int) -> None:
    wish(db, job_id, key="k", fingerprint="one")

    wish(db, job_id, key="k", fingerprint="one", now=TODAY + later)

    assert len(runs_of(db)) == count


def test_a_key_whose_run_was_refused_is_free_again(db: store.Store, job_id: int) -> None:
    execute(db, "UPDATE jobs SET enabled = 0")
    with pytest.raises(Conflict):
        wish(db, job_id, key="k", fingerprint="one")

    assert select(db, "SELECT * FROM idempotency_keys") == []


def test_a_key_that_is_too_long_is_refused(db: store.Store, job_id: int) -> None:
    with pytest.raises(InvalidInput, match=r"Idempotency-Key: 191 characters; at most 190 are allowed"):
        wish(db, job_id, key="k" * 191, fingerprint="f")


def test_an_unknown_job_can_not_be_run(db: store.Store) -> None:
    with pytest.raises(NotFound, match=r"^Job not found for id 77$"):
        wish(db, 77)


def test_nor_can_a_removed_one(db: store.Store, job_id: int) -> None:
    put(db)

    with pytest.raises(NotFound):
        wish(db, job_id, force=True)


def test_a_disabled_job_runs_only_when_forced(db: store.Store, job_id: int) -> None:
    execute(db, "UPDATE jobs SET enabled = 0")

    with pytest.raises(Conflict, match=r"job 'job' is disabled"):
        wish(db, job_id)
    assert wish(db, job_id, force=True)


def test_a_job_that_makes_no_sense_can_not_be_run(db: store.Store) -> None:
    bad = insert_job(db, name="bad", routing_key="no such key")

    with pytest.raises(Conflict, match=r"job 'bad' can't run: routing_key: "):
        wish(db, bad, force=True)


def test_a_long_name_may_ask(db: store.Store, job_id: int) -> None:
    assert run_of(db, wish(db, job_id, actor="é" * 300))["actor"] == "é" * 255

"""Jobs: which are due, rows written by hand, their revisions, and how they are read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from cronq import store
from cronq.store import jobs
from cronq.store.engine import SESSION
from cronq.store.rows import JobRecord
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    definition,
    execute,
    insert_job,
    job_named,
    job_of,
    put,
    revisions_of,
    select,
)


def due(db: store.Store, now: datetime = NOON, limit: int = 100) -> list[JobRecord]:
    with db.begin() as tx:
        return jobs.claim_due(tx, now, limit)


def due_ids(db: store.Store, now: datetime = NOON, limit: int = 100) -> list[int]:
    return [job.id for job in due(db, now, limit)]


# -- the due rule


def test_a_job_is_due_once_its_next_run_has_passed(db: store.Store) -> None:
    job_id = insert_job(db, next_run=NOON)

    assert due_ids(db, NOON) == []
    assert due_ids(db, NOON + timedelta(microseconds=1)) == [job_id]


@pytest.mark.parametrize("run_now", [1, 2, -1])
def test_a_job_is_due_when_somebody_sets_run_now(db: store.Store, run_now: int) -> None:
    job_id = insert_job(db, next_run=NOON + HOUR)
    never = insert_job(db)
    execute(db, "UPDATE jobs SET run_now = :r WHERE id IN (:a, :b)", r=run_now, a=job_id, b=never)

    assert due_ids(db) == [job_id, never]


@pytest.mark.parametrize("run_now", [0, None])
def test_a_job_without_next_run_and_run_now_is_not_due(db: store.Store, run_now: int | None) -> None:
    insert_job(db, run_now=run_now)

    assert due_ids(db, NOON + timedelta(days=10_000)) == []


@pytest.mark.parametrize("off", [{"enabled": 0}, {"removed_at": NOON - HOUR}])
def test_a_disabled_or_removed_job_is_never_due(db: store.Store, off: dict[str, object]) -> None:
    insert_job(db, next_run=NOON - HOUR, run_now=1, **off)

    assert due_ids(db) == []


def test_due_jobs_come_in_the_order_of_their_waiting_those_to_run_now_first(db: store.Store) -> None:
    late = insert_job(db, next_run=NOON - MINUTE)
    latest = insert_job(db, next_run=NOON - HOUR)
    now = insert_job(db, next_run=NOON + HOUR, run_now=1)

    assert due_ids(db) == [now, latest, late]
    assert due_ids(db, limit=2) == [now, latest]


def test_the_earliest_instant_of_all_is_known(db: store.Store) -> None:
    insert_job(db, next_run=NOON + HOUR)
    insert_job(db, next_run=NOON + MINUTE)
    insert_job(db, next_run=NOON, enabled=0)

    with db.read() as tx:
        assert jobs.next_due_at(tx) == NOON + MINUTE


@pytest.mark.parametrize(
    "written", ["2026-11-21 12:00:00", "2026-11-21T12:00:00", "2026-11-21 12:00:00.000000"]
)
def test_a_next_run_may_be_typed_in_several_ways(db: store.Store, written: str) -> None:
    job_id = insert_job(db, next_run=written)

    assert due_ids(db, NOON) == []
    assert [(j.id, j.next_run) for j in due(db, NOON + SECOND)] == [(job_id, NOON)]


# -- rows written by hand


def test_the_least_row_has_defaults_for_everything_else(db: store.Store) -> None:
    execute(db, "INSERT INTO jobs (name, command) VALUES ('least', 'true')")
    [row] = select(db, "SELECT id FROM jobs")

    job = job_of(db, row["id"])
    assert (job.spec.routing_key, job.category_id, job.interval, job.spec.schedule) == (
        "default",
        None,
        None,
        None,
    )
    assert (job.spec.enabled, job.run_now, job.revision, job.problem) == (True, False, 0, None)


@pytest.mark.parametrize("interval", [SECOND, MINUTE, HOUR, 25 * HOUR, timedelta(days=400)])
def test_an_interval_is_read_as_the_ancestor_wrote_it(db: store.Store, interval: timedelta) -> None:
    assert job_of(db, insert_job(db, interval=interval)).interval == interval


@pytest.mark.parametrize(
    ("schedule", "interval"),
    [
        ("*/5 * * * *", None),
        ("R/2026-01-01T00:00:00Z/PT25H", 25 * HOUR),
        ("R/2026-01-01T00:00:00Z/P1M", None),
        ("R/2026-01-01T00:00:00Z/P90Y", None),
    ],
)
def test_an_interval_is_written_for_fixed_periods_as_the_ancestor_reads_it(
    db: store.Store, schedule: str, interval: timedelta | None
) -> None:
    put(db, definition(schedule=schedule))

    [row] = select(db, "SELECT id FROM jobs")
    found = job_of(db, row["id"]).interval
    assert found == interval or schedule.startswith("*/5")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("definition", "{not json", "definition"),
        ("definition", "[]", "definition"),
        ("definition", '{"timeout": "5 fortnights"}', "definition"),
        ("definition", '{"kill_grace": []}', "definition"),
        ("definition", '{"tags": 7}', "definition"),
        ("routing_key", "gpü", "routing_key"),
        ("routing_key", "a b", "routing_key"),
        ("routing_key", "cronq_results", "routing_key"),
        ("routing_key", "cronq_runner.abc", "routing_key"),
    ],
)
def test_a_row_that_makes_no_sense_says_so_and_does_not_stop_the_others(
    db: store.Store, column: str, value: str, problem: str
) -> None:
    bad = insert_job(db, next_run=NOON - HOUR, **{column: value})
    good = insert_job(db, next_run=NOON - MINUTE)

    found = {job.id: job.problem or "" for job in due(db)}
    assert found[bad].startswith(f"{problem}: ")
    assert len(found[bad]) <= 255
    assert found[good] == ""


def test_an_instant_that_is_none_is_read_as_null_and_does_not_stop_the_others(db: store.Store) -> None:
    """MariaDB lets a zero date in, in its default mode; SQLite any text."""
    with db.begin() as tx:
        if db.is_sqlite():
            tx.exec_driver_sql(
                "INSERT INTO jobs (name, next_run, last_run_start) VALUES ('zero', 'soon', 17)"
            )
        else:
            tx.exec_driver_sql("SET sql_mode = ''")
            tx.exec_driver_sql("INSERT INTO jobs (name, next_run) VALUES ('zero', '0000-00-00 00:00:00')")
            tx.exec_driver_sql(SESSION)
    good = insert_job(db, next_run=NOON - MINUTE)
    execute(db, "UPDATE jobs SET run_now = 1")

    found = {job.spec.name: job.next_run for job in due(db)}
    assert found["zero"] is None
    assert good in due_ids(db)


# -- moving on


def test_moving_on_sets_next_run_and_clears_run_now(db: store.Store) -> None:
    first, second = insert_job(db, run_now=1, next_run=NOON), insert_job(db, run_now=1)

    with db.begin() as tx:
        jobs.advance(tx, [(second, None), (first, NOON + HOUR)], "host.1")

    assert [(job_of(db, j).next_run, job_of(db, j).run_now) for j in (first, second)] == [
        (NOON + HOUR, False),
        (None, False),
    ]
    assert job_of(db, first).locked_by == "host.1"


def test_a_first_instant_leaves_run_now_as_it_is(db: store.Store) -> None:
    job_id = insert_job(db, run_now=1)

    with db.begin() as tx:
        jobs.begin_at(tx, [(job_id, NOON)])

    assert (job_of(db, job_id).next_run, job_of(db, job_id).run_now) == (NOON, True)


# -- revisions


def test_a_row_inserted_by_hand_is_unseen_until_it_has_a_revision(db: store.Store) -> None:
    job_id = insert_job(db, interval=MINUTE, next_run=NOON)
    put(db, definition())

    with db.begin() as tx:
        unseen = jobs.claim_unseen(tx, 10)
        assert [j.id for j in unseen] == [job_id]
        jobs.record_hand_changes(tx, unseen, NOON)
        assert jobs.claim_unseen(tx, 10) == []

    [revision] = revisions_of(db, job_id)
    assert (revision["revision"], revision["origin"], revision["at"]) == (1, "sql", NOON)
    assert json.loads(revision["document"])["interval_s"] == 60.0
    assert revision["next_run"] == NOON


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "other"),
        ("schedule", "0 0 * * *"),
        ("interval", "1970-01-01 00:05:00"),
        ("timezone", "Europe/Berlin"),
        ("dst", "skip"),
        ("enabled", 0),
        ("command", "false"),
        ("routing_key", "gpu"),
        ("definition", '{"timeout": "5m"}'),
    ],
)
def test_an_edit_by_hand_is_noticed_and_written_down_once(
    db: store.Store, column: str, value: object
) -> None:
    put(db, definition())
    [row] = select(db, "SELECT id FROM jobs")
    job_id = row["id"]
    assert not job_of(db, job_id).is_changed_by_hand()
    quote = '"' if db.is_sqlite() else "`"

    execute(db, f"UPDATE jobs SET {quote}{column}{quote} = :v WHERE id = :i", v=value, i=job_id)
    changed = job_of(db, job_id)
    assert changed.is_changed_by_hand()
    with db.begin() as tx:
        jobs.record_hand_changes(tx, [changed], NOON + HOUR)

    assert not job_of(db, job_id).is_changed_by_hand()
    assert [(r["revision"], r["origin"]) for r in revisions_of(db, job_id)] == [(1, "put"), (2, "sql")]
    assert job_of(db, job_id).revision == 2


@pytest.mark.parametrize("column", ["run_now", "locked_by", "last_run_status"])
def test_an_order_or_a_result_is_no_edit(db: store.Store, column: str) -> None:
    put(db, definition())
    [row] = select(db, "SELECT id FROM jobs")

    value: object = {"run_now": 1}.get(column, "x")
    execute(db, f"UPDATE jobs SET {column} = :v", v=value)

    assert not job_of(db, row["id"]).is_changed_by_hand()


def test_a_next_run_by_hand_is_an_edit_that_tells_where_the_job_stood(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET next_run = '2026-11-21 12:30:00'")

    moved = job_named(db)
    assert moved.is_changed_by_hand()
    with db.begin() as tx:
        jobs.record_hand_changes(tx, [moved], NOON + SECOND)

    assert not job_named(db).is_changed_by_hand()
    told = [(r["origin"], r["next_run"], r["replaced_run"]) for r in revisions_of(db, moved.id)]
    assert told == [("put", NOON + MINUTE, None), ("sql", NOON + 30 * MINUTE, NOON + MINUTE)]


def test_a_removal_by_hand_is_an_edit_once(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET removed_at = '2026-11-21 12:30:00'")

    for _ in range(2):
        put(db, definition("other"))

    told = [(r["origin"], bool(r["removed"])) for r in revisions_of(db, job_named(db).id)]
    assert told == [("put", False), ("sql", True)]


def test_revisions_are_read_newest_first(db: store.Store) -> None:
    for minute in range(3):
        put(db, definition(command=f"echo {minute}"), now=NOON + minute * MINUTE)
    [row] = select(db, "SELECT id FROM jobs")

    with db.read() as tx:
        found = jobs.revisions(tx, row["id"])

    assert [(r["revision"], json.loads(r["document"])["command"]) for r in found] == [
        (3, "echo 2"),
        (2, "echo 1"),
        (1, "echo 0"),
    ]
    assert [r["at"] for r in found] == [NOON + 2 * MINUTE, NOON + MINUTE, NOON]


# -- reading


def test_removed_jobs_are_not_listed(db: store.Store) -> None:
    kept = insert_job(db)
    insert_job(db, removed_at=NOON)

    with db.read() as tx:
        assert [j.id for j in jobs.listed(tx)] == [kept]


def test_jobs_are_listed_by_category_sorted_and_paged(db: store.Store) -> None:
    put(db, definition("b"), definition("a"), definition("c"), category="one")
    put(db, definition("z"), category="two")

    with db.read() as tx:
        names = {j.spec.name: j for j in jobs.listed(tx)}
        assert [j.spec.name for j in jobs.listed(tx, category="one", sort="name")] == ["a", "b", "c"]
        assert [j.spec.name for j in jobs.listed(tx, sort="name", descending=True, limit=2)] == ["z", "c"]
        assert [j.spec.name for j in jobs.listed(tx, sort="name", offset=1, limit=2)] == ["b", "c"]
        assert [j.spec.name for j in jobs.listed(tx, category_id=names["z"].category_id)] == ["z"]
        assert [j.id for j in jobs.listed(tx, job_id=names["a"].id)] == [names["a"].id]
        after = jobs.listed(tx, after_id=names["a"].id)
        assert [j.id for j in after] == sorted(j.id for j in names.values() if j.id > names["a"].id)


def test_names_are_compared_exactly(db: store.Store) -> None:
    for name in ("job", "Job", "jöb"):
        insert_job(db, name=name)

    assert len(select(db, "SELECT id FROM jobs WHERE name = 'job'")) == 1


def test_a_job_that_is_not_there_is_none(db: store.Store) -> None:
    with db.read() as tx:
        assert jobs.by_id(tx, 77) is None
        assert jobs.by_ids(tx, [77, 78]) == {}

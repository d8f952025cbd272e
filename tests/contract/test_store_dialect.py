"""Rows written as one parameter: every value arrives as it was, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cronq import store
from cronq.store import Refused, dialect
from cronq.store.tables import alerts, facts, job_revisions, jobs, runs
from tests.factories import NOON, insert_job, insert_run, job_of, run_of, select

TEXTS = [
    "",
    " ",
    "plain",
    'O\'Brien said "no"; -- DROP TABLE jobs',
    "back\\slash \\n %s %(x)s :rows ? $",
    "line\nbreak\ttab\r",
    "näïve 日本語 😀 \u200b\ufeff",
    "\x01\x1f\x7f",
    "{}",
    "[1, 2]",
    "null",
    "true",
    "1e5",
    "x" * 255,
    "😀" * 255,
]


def put_fact(db: store.Store, name: str, value: str) -> None:
    with db.begin() as tx:
        dialect.insert_new(tx, facts, [{"name": name, "value": value, "at": NOON}])


def fact(db: store.Store, name: str) -> str:
    [row] = select(db, "SELECT value FROM cronq_facts WHERE name = :name", name=name)
    return str(row["value"])


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_inserted_as_it_is(db: store.Store, text: str) -> None:
    put_fact(db, "a", text)

    assert fact(db, "a") == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_updated_as_it_is(db: store.Store, text: str) -> None:
    put_fact(db, "a", "before")

    with db.begin() as tx:
        dialect.update_rows(tx, facts, [{"name": "a", "value": text, "at": NOON}], keys=("name",))

    assert fact(db, "a") == text


def test_a_command_of_the_largest_size_is_kept_whole(db: store.Store) -> None:
    job_id = insert_job(db)
    command = ("é" * 32_767) + "x"

    with db.begin() as tx:
        dialect.update_rows(tx, jobs, [{"id": job_id, "command": command}], keys=("id",))

    assert job_of(db, job_id).spec.command == command


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_value_is_kept(db: store.Store, value: bool) -> None:
    revision: dict[str, Any] = {
        "job_id": 1,
        "revision": 1,
        "at": NOON,
        "origin": "put",
        "actor": "",
        "document": "{}",
        "removed": value,
    }
    with db.begin() as tx:
        dialect.insert_new(tx, job_revisions, [revision])

    [row] = select(db, "SELECT removed FROM job_revisions")
    assert bool(row["removed"]) is value


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=45))])
def test_an_instant_keeps_its_microseconds_whatever_its_zone(db: store.Store, zone: timezone) -> None:
    job_id = insert_job(db)
    made = insert_run(db, job_id)
    at = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)

    with db.begin() as tx:
        row = {"run_id": made, "claimed_at": at.astimezone(zone), "started_at": NOON, "duration_s": 1 / 3}
        dialect.update_rows(tx, runs, [row], keys=("run_id",))

    found = run_of(db, made)
    assert (found["claimed_at"], found["started_at"], found["duration_s"]) == (at, NOON, 1 / 3)


def test_nothing_is_null_also_where_the_first_row_has_a_value(db: store.Store) -> None:
    job_id = insert_job(db)
    made = [insert_run(db, job_id, at=NOON + timedelta(seconds=k), host="was") for k in range(3)]

    with db.begin() as tx:
        rows = [{"run_id": m, "host": h} for m, h in zip(made, ["x", None, ""], strict=True)]
        dialect.update_rows(tx, runs, rows, keys=("run_id",))

    assert [run_of(db, m)["host"] for m in made] == ["x", None, ""]


@pytest.mark.parametrize("number", [0, -255, 2**31 - 1])
def test_whole_numbers_are_kept(db: store.Store, number: int) -> None:
    made = insert_run(db, insert_job(db))

    with db.begin() as tx:
        row = {"run_id": made, "return_code": number, "output_bytes": number + 2**40, "pid": number + 2**33}
        dialect.update_rows(tx, runs, [row], keys=("run_id",))

    found = run_of(db, made)
    assert (found["return_code"], found["output_bytes"], found["pid"]) == (
        number,
        number + 2**40,
        number + 2**33,
    )


def test_a_row_whose_key_is_taken_is_left_as_it_is_and_the_others_come_in(db: store.Store) -> None:
    put_fact(db, "b", "first")

    with db.begin() as tx:
        rows = [{"name": name, "value": "second", "at": NOON} for name in "abc"]
        dialect.insert_new(tx, facts, rows)

    assert [fact(db, name) for name in "abc"] == ["second", "first", "second"]


def test_of_two_new_rows_with_one_key_the_first_stays(db: store.Store) -> None:
    with db.begin() as tx:
        dialect.insert_new(tx, facts, [{"name": "a", "value": str(n), "at": NOON} for n in range(3)])

    assert fact(db, "a") == "0"


def test_an_update_tells_how_many_rows_it_found_though_nothing_changed(db: store.Store) -> None:
    for name in "ab":
        put_fact(db, name, "same")

    with db.begin() as tx:
        rows = [{"name": name, "value": "same", "at": NOON} for name in "abc"]
        found = dialect.update_rows(tx, facts, rows, keys=("name",))

    assert found == 2


def test_an_update_leaves_alone_what_its_condition_leaves_out(db: store.Store) -> None:
    for name in "ab":
        put_fact(db, name, name)

    with db.begin() as tx:
        rows = [{"name": name, "value": "new", "at": NOON} for name in "ab"]
        found = dialect.update_rows(tx, facts, rows, keys=("name",), where="t.value <> 'a'")

    assert (found, fact(db, "a"), fact(db, "b")) == (1, "a", "new")


def test_no_rows_are_no_statement(db: store.Store) -> None:
    with db.read() as tx:
        dialect.insert_new(tx, facts, [])
        assert dialect.update_rows(tx, facts, [], keys=("name",)) == 0


# SQLite knows no lengths: whoever writes keeps to them.


def test_a_value_that_does_not_fit_is_refused_and_never_cut(mariadb_db: store.Store) -> None:
    row = {"kind": "k", "subject": "s", "message": "m" * 1025, "since": NOON, "seen_at": NOON}

    with pytest.raises(Refused), mariadb_db.begin() as tx:
        dialect.insert_new(tx, alerts, [row])
    assert select(mariadb_db, "SELECT * FROM alerts") == []


@pytest.mark.parametrize(
    "value", [{"host": "h" * 256}, {"lineage": "é"}, {"return_code": 2**31}, {"state": "s" * 17}]
)
def test_nor_is_it_left_out_where_a_column_may_be_null(
    mariadb_db: store.Store, value: dict[str, object]
) -> None:
    made = insert_run(mariadb_db, insert_job(mariadb_db))

    with pytest.raises(Refused), mariadb_db.begin() as tx:
        dialect.update_rows(tx, runs, [{"run_id": made, **value}], keys=("run_id",))


def test_a_batch_may_be_larger_than_what_one_statement_may_hold(db: store.Store) -> None:
    """MariaDB takes 16 MB at a time, and drops the connection at more."""
    rows = [
        {"job_id": k, "revision": 1, "at": NOON, "origin": "put", "actor": "", "document": "x" * 100_000}
        for k in range(180)
    ]

    with db.begin() as tx:
        dialect.insert_new(tx, job_revisions, rows)
        updated = dialect.update_rows(tx, job_revisions, rows, keys=("job_id", "revision"))

    [found] = select(db, "SELECT count(*) AS n, sum(length(document)) AS size FROM job_revisions")
    assert (found["n"], found["size"], updated) == (180, 18_000_000, 180)


def test_many_small_rows_are_all_written(db: store.Store) -> None:
    rows = [{"name": f"fact {k}", "value": str(k), "at": NOON} for k in range(12_000)]

    with db.begin() as tx:
        dialect.insert_new(tx, facts, rows)
        assert dialect.update_rows(tx, facts, rows, keys=("name",)) == 12_000

    [found] = select(db, "SELECT count(*) AS n FROM cronq_facts")
    assert found["n"] == 12_000

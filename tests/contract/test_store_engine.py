"""Opening a store, and what its transactions promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from cronq import store
from cronq.domain.errors import ConfigError, Unavailable
from cronq.store import Refused, engine, open_store
from tests.factories import execute, select


class _Stop(Exception):
    """Something that breaks in the middle."""


def category_names(db: store.Store) -> list[str]:
    return [row["name"] for row in select(db, "SELECT name FROM categories ORDER BY name")]


def insert(tx: store.Tx, name: str) -> None:
    tx.execute(sa.text("INSERT INTO categories (name) VALUES (:name)"), {"name": name})


def refused_by_database(number: int) -> OperationalError:
    return OperationalError("UPDATE", {}, pymysql.OperationalError(number, "made up"))


def test_a_transaction_commits_at_its_end(db: store.Store) -> None:
    with db.begin() as tx:
        insert(tx, "kept")

    assert category_names(db) == ["kept"]


def test_a_transaction_that_breaks_leaves_nothing(db: store.Store) -> None:
    def work() -> None:
        with db.begin() as tx:
            insert(tx, "gone")
            raise _Stop

    with pytest.raises(_Stop):
        work()
    assert category_names(db) == []


def test_work_that_breaks_leaves_nothing_and_is_not_tried_again(db: store.Store) -> None:
    calls: list[int] = []

    def work(tx: store.Tx) -> None:
        calls.append(1)
        insert(tx, "gone")
        raise _Stop

    with pytest.raises(_Stop):
        db.transact(work)
    assert (category_names(db), len(calls)) == ([], 1)


@pytest.mark.parametrize("number", [1213, 1205, 1020, 1467])
def test_fault_31_work_that_met_another_in_its_way_starts_again_from_nothing(
    db: store.Store, number: int
) -> None:
    calls: list[int] = []

    def work(tx: store.Tx) -> str:
        calls.append(1)
        insert(tx, f"try {len(calls)}")
        if len(calls) < 3:
            raise refused_by_database(number)
        return "done"

    assert db.transact(work) == "done"
    assert category_names(db) == ["try 3"]


def test_work_that_never_gets_through_is_unavailable(db: store.Store) -> None:
    calls: list[int] = []

    def work(tx: store.Tx) -> None:
        calls.append(1)
        raise refused_by_database(1213)

    with pytest.raises(Unavailable, match="refused 5 times"):
        db.transact(work)
    assert len(calls) == engine.TRIES


@pytest.mark.parametrize("number", [1213, 1205])
def test_a_single_transaction_that_met_another_in_its_way_is_unavailable(
    db: store.Store, number: int
) -> None:
    with pytest.raises(Unavailable), db.begin():
        raise refused_by_database(number)


@pytest.mark.parametrize("number", sorted(engine.AWAY))
def test_a_database_that_went_away_is_unavailable_and_nothing_is_tried_again(
    db: store.Store, number: int
) -> None:
    calls: list[int] = []

    def work(tx: store.Tx) -> None:
        calls.append(1)
        raise refused_by_database(number)

    with pytest.raises(Unavailable):
        db.transact(work)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO categories (id, name) VALUES (1, 'b')", "INSERT INTO jobs (category_id) VALUES (77)"],
)
def test_a_row_that_the_database_refuses_is_told_as_such(db: store.Store, statement: str) -> None:
    execute(db, "INSERT INTO categories (id, name) VALUES (1, 'a')")

    with pytest.raises(Refused):
        execute(db, statement)
    assert category_names(db) == ["a"]


def test_the_clock_is_that_of_the_database_in_utc(db: store.Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)

    with db.read() as tx:
        first, second = store.now(tx), store.now(tx)

    assert before <= first <= second <= datetime.now(UTC) + timedelta(seconds=1)
    assert first.utcoffset() == timedelta(0)


def test_what_another_connection_wrote_is_seen_within_a_transaction(mariadb_db: store.Store) -> None:
    """READ COMMITTED; SQLite has one writer, so there nobody can write meanwhile."""
    with mariadb_db.begin() as tx:
        tx.execute(sa.text("SELECT * FROM categories")).all()
        execute(mariadb_db, "INSERT INTO categories (name) VALUES ('new')")
        assert tx.execute(sa.text("SELECT name FROM categories")).scalars().all() == ["new"]


@pytest.mark.parametrize(
    "url", ["sqlite:////nonexistent/folder/cronq.db", "mysql+pymysql://root@127.0.0.1:1/x"]
)
def test_a_database_that_is_not_there_is_unavailable(url: str) -> None:
    db = open_store(url)

    with pytest.raises(Unavailable, match="database: "), db.read():
        pass
    db.close()


def test_another_kind_of_database_is_refused_without_its_password() -> None:
    with pytest.raises(
        ConfigError, match=r"^DATABASE_URL: postgresql://me:\*\*\*@host/x is not sqlite"
    ) as caught:
        open_store("postgresql://me:hidden@host/x")
    assert "hidden" not in str(caught.value)


def test_two_stores_on_one_file_take_turns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cronq.db"
    first, second = open_store(url), open_store(url)

    execute(first, "CREATE TABLE t (x INT)")
    with first.begin() as tx:
        tx.execute(sa.text("INSERT INTO t VALUES (1)"))
        with second.read() as other:
            assert other.execute(sa.text("SELECT count(*) FROM t")).scalar_one() == 0
    assert [row["x"] for row in select(second, "SELECT x FROM t")] == [1]
    first.close()
    second.close()

"""A database of the ancestor's 0.27 becomes ours by adding only, and whoever wrote to it still can."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from cronq import store
from cronq.domain.errors import ConfigError
from cronq.domain.event import EventType
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.injector.release import release_once, set_free_once
from cronq.store import engine, jobs, migrate, open_store
from cronq.store.engine import patient_engine
from cronq.store.tables import metadata
from tests.factories import (
    HOUR,
    MINUTE,
    SECOND,
    execute,
    job_of,
    run_of,
    runs_of,
    said_plainly,
    select,
    tell,
)
from tests.servers import MariaDB

# As the ancestor's create_all left them, on a server whose default was latin1.
ANCESTOR = (
    """CREATE TABLE categories (
        id INTEGER NOT NULL AUTO_INCREMENT, name CHAR(255), PRIMARY KEY (id), UNIQUE (name)
    ) ENGINE=InnoDB DEFAULT CHARSET=latin1 ROW_FORMAT={row_format}""",
    """CREATE TABLE jobs (
        id INTEGER NOT NULL AUTO_INCREMENT, name CHAR(255), `interval` DATETIME, next_run DATETIME,
        last_run_start DATETIME, last_run_stop DATETIME, last_run_status CHAR(32), current_status CHAR(32),
        routing_key CHAR(32), command TEXT, run_now INTEGER, locked_by CHAR(64), category_id INTEGER,
        PRIMARY KEY (id), UNIQUE (category_id, name), FOREIGN KEY(category_id) REFERENCES categories (id)
    ) ENGINE=InnoDB DEFAULT CHARSET=latin1 ROW_FORMAT={row_format}""",
    """CREATE TABLE events (
        id INTEGER NOT NULL AUTO_INCREMENT, job_id INTEGER, datetime DATETIME, run_id CHAR(32),
        type CHAR(32), host CHAR(255), return_code INTEGER,
        PRIMARY KEY (id), FOREIGN KEY(job_id) REFERENCES jobs (id)
    ) ENGINE=InnoDB DEFAULT CHARSET=latin1 ROW_FORMAT={row_format}""",
)
ROWS = (
    "INSERT INTO categories (id, name) VALUES (3, 'shop'), (5, 'Büro')",
    """INSERT INTO jobs VALUES
        (11, 'nightly dump', '1970-01-02 01:00:00', '2013-05-29 00:00:00', NULL, '2013-05-28 00:01:00',
         'finished', 'finished', 'default', 'pg_dump shop | gzip', 0, 'old.example.org.17', 3),
        (12, 'größe', '1970-01-01 00:01:00', '2037-01-01 00:00:00', NULL, NULL, NULL, NULL, 'slow', 'écho',
         NULL, NULL, 3),
        (13, 'größe', '1970-01-01 00:00:00', NULL, NULL, NULL, NULL, 'starting', NULL, NULL, 1, NULL, 5),
        (14, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
    """INSERT INTO events VALUES
        (1, 11, '2013-05-28 00:00:00', '0123456789abcdef0123456789abcdef', 'starting', 'old.example.org',
         NULL),
        (2, 11, '2013-05-28 00:01:00', '0123456789abcdef0123456789abcdef', 'finished', 'old.example.org', 0),
        (3, 11, '2013-05-28 00:01:00', '0123456789abcdef0123456789abcdef', 'finished', 'old.example.org', 0),
        (4, NULL, '2013-05-27 00:00:00', 'fedcba9876543210fedcba9876543210', 'failed', 'hôte', NULL)""",
)
THEIRS = {
    "categories": "id, name",
    "jobs": "id, name, `interval`, next_run, last_run_start, last_run_stop, last_run_status,"
    " current_status, routing_key, command, run_now, locked_by, category_id",
    "events": "id, job_id, datetime, run_id, type, host, return_code",
}
OURS = sorted(set(metadata.tables) - set(THEIRS))


@contextmanager
def opened(url: str) -> Iterator[store.Store]:
    db = open_store(url)
    try:
        yield db
    finally:
        db.close()


def fill(url: str, row_format: str = "DYNAMIC") -> None:
    """Make the ancestor's tables with rows in them."""
    with opened(url) as db, db.begin() as tx:
        for statement in (*ANCESTOR, *ROWS):
            tx.exec_driver_sql(statement.replace("{row_format}", row_format))


def theirs(db: store.Store) -> dict[str, list[Any]]:
    """Every value of the ancestor's columns."""
    return {t: select(db, f"SELECT {columns} FROM {t} ORDER BY id") for t, columns in THEIRS.items()}


def columns_of(db: store.Store) -> dict[tuple[str, str], tuple[object, ...]]:
    """(type, may be null, collation, default) of every column of every table of this database."""
    rows = select(
        db,
        "SELECT table_name AS t, column_name AS c, column_type, is_nullable, collation_name, column_default"
        " FROM information_schema.columns WHERE table_schema = DATABASE()",
    )
    return {(r["t"], r["c"]): tuple(r.values())[2:] for r in rows}


def indexes_of(db: store.Store) -> set[tuple[object, ...]]:
    rows = select(
        db,
        "SELECT table_name, index_name, seq_in_index, column_name, non_unique"
        " FROM information_schema.statistics WHERE table_schema = DATABASE()",
    )
    return {tuple(r.values()) for r in rows}


@pytest.fixture
def old_url(mysql_url: str) -> str:
    """A filled 0.27 database."""
    fill(mysql_url)
    return mysql_url


@pytest.fixture
def upgraded(old_url: str) -> Iterator[store.Store]:
    with opened(old_url) as db:
        assert migrate.upgrade(db)
        yield db


# -- upgrading


@pytest.mark.parametrize("row_format", ["DYNAMIC", "COMPACT", "REDUNDANT"])
def test_every_row_and_column_of_the_ancestor_is_kept(mysql_url: str, row_format: str) -> None:
    """Old servers made tables whose keys may have 767 bytes only."""
    fill(mysql_url, row_format)
    with opened(mysql_url) as db:
        before, columns = theirs(db), columns_of(db)

        migrate.upgrade(db)

        assert theirs(db) == before
        after = columns_of(db)
        assert {name: found[:2] for name, found in columns.items()} == {
            name: after[name][:2] for name in columns
        }
        assert all(after[name][2] in (None, "utf8mb4_bin") for name in columns)


def test_added_columns_mean_what_the_ancestor_meant(upgraded: store.Store) -> None:
    jobs_found = {i: job_of(upgraded, i) for i in (11, 12, 13, 14)}

    assert [jobs_found[i].interval for i in (11, 12, 13, 14)] == [25 * HOUR, MINUTE, timedelta(0), None]
    assert [j.spec.enabled for j in jobs_found.values()] == [True] * 4
    assert [j.spec.routing_key for j in jobs_found.values()] == ["default", "slow", "default", "default"]
    assert {(j.revision, j.removed_at, j.problem) for j in jobs_found.values()} == {(0, None, None)}
    with upgraded.begin() as tx:
        assert [j.id for j in jobs.claim_due(tx, datetime.now(UTC), 10)] == [13, 11]


def test_an_upgraded_and_a_fresh_database_are_alike(upgraded: store.Store, mariadb: MariaDB) -> None:
    with opened(mariadb.create_database()) as fresh:
        migrate.upgrade(fresh)

        assert columns_of(upgraded) == columns_of(fresh)
        old, new = indexes_of(upgraded), indexes_of(fresh)
        assert {i[0:1] + i[2:] for i in old} == {i[0:1] + i[2:] for i in new}
        mariadb.drop_database(str(fresh.engine.url))


@pytest.mark.parametrize("made", ["old_url", "mysql_url", "sqlite_url"])
def test_what_the_store_expects_is_there(request: pytest.FixtureRequest, made: str) -> None:
    with opened(request.getfixturevalue(made)) as db:
        assert migrate.current(db) is None
        migrate.upgrade(db)

        assert migrate.current(db) == migrate.head()
        found = sa.inspect(db.engine)
        for name, table in metadata.tables.items():
            assert {c["name"] for c in found.get_columns(name)} == set(table.columns.keys())
        migrate.require_current(db)


@pytest.mark.parametrize("made", ["old_url", "mysql_url", "sqlite_url"])
def test_a_second_upgrade_does_nothing(request: pytest.FixtureRequest, made: str) -> None:
    with opened(request.getfixturevalue(made)) as db:
        assert [migrate.upgrade(db), migrate.upgrade(db), migrate.is_behind(db)] == [True, False, False]


@pytest.mark.parametrize("made", ["old_url", "mysql_url", "sqlite_url"])
def test_of_four_upgrades_at_once_one_does_it(request: pytest.FixtureRequest, made: str) -> None:
    url = request.getfixturevalue(made)

    def upgrade(_: int) -> bool:
        with opened(url) as db:
            return migrate.upgrade(db)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(upgrade, range(4))) == [False, False, False, True]


class _BrokenOff(Exception):
    """As if the process had been killed."""


@pytest.mark.parametrize("made", ["old_url", "mysql_url"])
def test_an_upgrade_that_broke_off_anywhere_is_finished_by_the_next(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """MySQL commits every change of a table at once; here each try gets one further, and dies."""

    def dying_engine(of: store.Store) -> sa.Engine:
        made_engine = patient_engine(of)

        @event.listens_for(made_engine, "after_cursor_execute")
        def die(*args: Any) -> None:
            if args[2].lstrip().startswith(("ALTER", "CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE")):
                raise _BrokenOff

        return made_engine

    monkeypatch.setattr(migrate, "patient_engine", dying_engine)
    with opened(request.getfixturevalue(made)) as db:
        tries = 0
        while migrate.is_behind(db):
            assert tries < 100
            tries += 1
            with suppress(_BrokenOff):
                migrate.upgrade(db)

        assert tries > 30
        monkeypatch.undo()
        assert not migrate.upgrade(db)
        found = sa.inspect(db.engine)
        for name, table in metadata.tables.items():
            assert {c["name"] for c in found.get_columns(name)} == set(table.columns.keys())


def test_an_upgrade_may_take_longer_than_any_other_statement(
    mysql_url: str, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it waits for another one, elsewhere for a table of millions of events."""
    monkeypatch.setattr(engine, "STATEMENT_S", 1)
    lock = f"CONCAT('cronq-migrate-', MD5('{mysql_url.rpartition('/')[2]}'))"
    with opened(mysql_url) as db, ThreadPoolExecutor(1) as pool:
        held = pool.submit(mariadb.execute, f"SELECT GET_LOCK({lock}, 0), SLEEP(1.5)")
        while mariadb.execute(f"SELECT IS_FREE_LOCK({lock})") == [(1,)]:
            assert not held.done()

        assert migrate.upgrade(db)
        assert held.result() == [(1, 0)]


def test_a_table_of_somebody_else_is_not_touched(mysql_url: str) -> None:
    with opened(mysql_url) as db:
        execute(db, "CREATE TABLE alerts (id INT PRIMARY KEY, colour VARCHAR(9))")

        with pytest.raises(ConfigError, match="a table 'alerts' that is not CronQ's"):
            migrate.upgrade(db)
        assert [r["Field"] for r in select(db, "SHOW COLUMNS FROM alerts")] == ["id", "colour"]


def test_zero_dates_of_the_ancestor_do_not_stop_an_upgrade(mysql_url: str) -> None:
    fill(mysql_url)
    with opened(mysql_url) as db:
        with db.engine.connect() as tx:
            tx.exec_driver_sql("SET STATEMENT sql_mode = '' FOR UPDATE jobs SET next_run = '0000-00-00'")
            tx.commit()

        migrate.upgrade(db)

        assert [job_of(db, i).next_run for i in (11, 12)] == [None, None]


def test_a_database_of_a_later_release_is_refused_by_name(sqlite_url: str) -> None:
    with opened(sqlite_url) as db:
        migrate.upgrade(db)
        execute(db, "UPDATE cronq_version SET version_num = '9999'")

        with pytest.raises(ConfigError, match="revision 9999, which this release does not know"):
            migrate.upgrade(db)
        with pytest.raises(ConfigError, match="revision 9999"):
            migrate.require_current(db)


# -- who may


@pytest.fixture
def limited(mariadb: MariaDB, mysql_url: str) -> Iterator[str]:
    """The URL of a user who may read and write rows, and no more."""
    user = f"u{secrets.token_hex(4)}"
    name = mysql_url.rpartition("/")[2]
    mariadb.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")
    mariadb.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO '{user}'@'%'")
    yield mysql_url.replace("//root@", f"//{user}:secret@")
    mariadb.execute(f"DROP USER '{user}'@'%'")


@pytest.mark.parametrize("is_filled", [True, False])
def test_a_user_who_may_not_change_tables_is_told_what_to_run(
    mysql_url: str, limited: str, is_filled: bool
) -> None:
    if is_filled:
        fill(mysql_url)
    with opened(limited) as db:
        with pytest.raises(ConfigError, match=r"^DATABASE_URL: .*run `cronq db upgrade`") as caught:
            migrate.upgrade(db)
        assert "secret" not in str(caught.value)
        with pytest.raises(ConfigError, match=r"the tables are at revision none.*run `cronq db upgrade`"):
            migrate.require_current(db)


def test_that_user_works_once_somebody_else_has_upgraded(old_url: str, limited: str) -> None:
    with opened(old_url) as db:
        migrate.upgrade(db)

    with opened(limited) as db:
        assert not migrate.upgrade(db)
        assert expand_once(db, locked_by="x", window=10, publish_lease=SECOND).jobs == 2


# -- beside the ancestor


def test_a_person_may_press_run_now(upgraded: store.Store) -> None:
    execute(upgraded, "UPDATE jobs SET run_now=1 WHERE name='größe' AND category_id=3")

    with upgraded.begin() as tx:
        assert 12 in [j.id for j in jobs.claim_due(tx, datetime.now(UTC), 10)]


def test_a_person_may_insert_a_job_with_the_ancestors_columns(upgraded: store.Store) -> None:
    execute(
        upgraded,
        "INSERT INTO jobs (name, `interval`, next_run, routing_key, command, category_id)"
        " VALUES ('by hand', '1970-01-01 00:00:10', UTC_TIMESTAMP() - INTERVAL 25 SECOND,"
        " 'default', 'true', 3)",
    )
    [row] = select(upgraded, "SELECT id FROM jobs WHERE name = 'by hand'")

    adopt_unseen_once(upgraded)
    expand_once(upgraded, locked_by="x", window=10, publish_lease=SECOND)

    assert [r["state"] for r in runs_of(upgraded, row["id"])] == ["missed", "missed", "queued"]
    [after] = select(
        upgraded, "SELECT next_run > UTC_TIMESTAMP() AS ahead, locked_by FROM jobs WHERE name = 'by hand'"
    )
    assert (after["ahead"], after["locked_by"]) == (1, "x")


def test_a_person_may_read_the_events_as_before(upgraded: store.Store) -> None:
    tell(
        upgraded,
        said_plainly(EventType.FINISHED, "a" * 32, 11, at=datetime(2026, 1, 1, tzinfo=UTC), return_code=3),
    )

    rows = select(
        upgraded, "SELECT job_id, run_id, type, host, return_code FROM events ORDER BY id DESC LIMIT 1"
    )

    assert [tuple(r.values()) for r in rows] == [(11, "a" * 32, "finished", "old.example.org", 3)]
    assert len(select(upgraded, "SELECT * FROM events WHERE type = 'finished' AND job_id = 11")) == 3


def test_text_may_hold_any_character(upgraded: store.Store) -> None:
    execute(upgraded, "UPDATE jobs SET command = :c WHERE id = 12", c="echo 😀 日本語")

    assert job_of(upgraded, 12).spec.command == "echo 😀 日本語"


@pytest.mark.parametrize(("size", "fits"), [(65_535, True), (65_536, False)])
def test_a_command_has_the_size_that_it_had(upgraded: store.Store, size: int, fits: bool) -> None:
    def write() -> None:
        execute(upgraded, "UPDATE jobs SET command = :c WHERE id = 12", c="x" * size)

    if fits:
        write()
        assert len(job_of(upgraded, 12).spec.command) == size
    else:
        with pytest.raises(store.Refused):
            write()


OLD_DUE = (
    "SELECT jobs.id, jobs.name, jobs.`interval`, jobs.next_run, jobs.run_now, jobs.routing_key, jobs.command"
    " FROM jobs WHERE jobs.next_run < UTC_TIMESTAMP() OR jobs.run_now = 1 LIMIT 1 FOR UPDATE"
)


def old_injector_takes_one(url: str) -> int | None:
    """What one scan of the ancestor's injector does; the job's id."""
    theirs = sa.create_engine(url, isolation_level="SERIALIZABLE")
    with theirs.begin() as tx:
        row = tx.exec_driver_sql(OLD_DUE).mappings().one_or_none()
        if row is not None:
            later = datetime.now(UTC).replace(microsecond=0, tzinfo=None) + timedelta(hours=1)
            tx.exec_driver_sql(
                "UPDATE jobs SET next_run=%s, run_now=%s, locked_by=%s WHERE jobs.id = %s",
                (later, 0, "old.example.org.17", row["id"]),
            )
    theirs.dispose()
    return None if row is None else int(row["id"])


def test_the_ancestors_injector_and_ours_share_the_work(old_url: str, upgraded: store.Store) -> None:
    taken = old_injector_takes_one(old_url)
    done = expand_once(upgraded, locked_by="new", window=10, publish_lease=SECOND)

    assert {taken, *(b.job_id for b in done.bells)} == {11, 13}
    assert old_injector_takes_one(old_url) is None
    assert expand_once(upgraded, locked_by="new", window=10, publish_lease=SECOND).jobs == 0


def test_the_ancestors_aggregator_and_web_may_write_as_they_did(old_url: str, upgraded: store.Store) -> None:
    with opened(old_url) as db, db.begin() as tx:
        tx.exec_driver_sql(
            "INSERT INTO events (job_id, datetime, run_id, type, host, return_code)"
            " VALUES (12, '2026-01-01 00:00:00', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'finished', 'h', 0)"
        )
        tx.exec_driver_sql(
            "UPDATE jobs SET last_run_status='finished', current_status='finished' WHERE id = 12"
        )
        tx.exec_driver_sql("INSERT INTO categories (name) VALUES ('new')")
        tx.exec_driver_sql("UPDATE events SET job_id=NULL WHERE job_id = 11")
        tx.exec_driver_sql("DELETE FROM jobs WHERE jobs.id = 11")

    assert select(upgraded, "SELECT id FROM jobs WHERE id = 11") == []
    [row] = select(upgraded, "SELECT last_run_status FROM jobs WHERE id = 12")
    assert row["last_run_status"] == "finished"


def test_a_run_whose_job_the_ancestors_web_deleted_comes_to_an_end(upgraded: store.Store) -> None:
    expand_once(upgraded, locked_by="new", window=10, publish_lease=SECOND)
    assert set_free_once(upgraded, catch_up_rate=100) > 0  # it is late by years
    release_once(upgraded, 10)
    made = next(r["run_id"] for r in runs_of(upgraded, 11) if r["state"] == "queued")
    execute(upgraded, "UPDATE events SET job_id = NULL WHERE job_id = 11")
    execute(upgraded, "DELETE FROM jobs WHERE id = 11")

    tell(upgraded, said_plainly(EventType.FINISHED, made, 11, return_code=0))

    assert run_of(upgraded, made)["state"] == "succeeded"

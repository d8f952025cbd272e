"""A migrated store of each kind in turn, and a clock in place of the database's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cronq import store
from cronq.store import migrate, open_store
from tests.factories import Clock, wipe
from tests.servers import MariaDB


@pytest.fixture(scope="session")
def mariadb_store(mariadb: MariaDB) -> Iterator[store.Store]:
    """One migrated database for the session: making one takes longer than most tests."""
    url = mariadb.create_database()
    db = open_store(url)
    migrate.upgrade(db)
    yield db
    db.close()
    mariadb.drop_database(url)


@pytest.fixture
def mariadb_db(mariadb_store: store.Store) -> store.Store:
    """Empty tables on MariaDB."""
    wipe(mariadb_store)
    return mariadb_store


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[store.Store]:
    db = open_store(f"sqlite:///{tmp_path}/cronq.db")
    migrate.upgrade(db)
    yield db
    db.close()


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def db(request: pytest.FixtureRequest) -> store.Store:
    """An empty store with this release's tables."""
    found: store.Store = request.getfixturevalue(f"{request.param}_db")
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(store, "now", lambda tx: clock.now)
    return clock

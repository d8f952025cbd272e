"""The web application on a store of its own, and runs brought to any state without a runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cronq.store import Store, migrate, open_store
from cronq.web import create_app
from tests.integration.web_api.support import Client, Runs, make_settings


@pytest.fixture
def db(store_url: str) -> Iterator[Store]:
    """A migrated store, of each kind in turn."""
    store = open_store(store_url)
    migrate.upgrade(store)
    yield store
    store.close()


@pytest.fixture
def client(db: Store, store_url: str, tmp_path: Path) -> Client:
    """A program on the same machine, without any token."""
    return create_app(make_settings(store_url, tmp_path), db).test_client()


@pytest.fixture(scope="session")
def lasting_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One SQLite store for all the tests that change nothing that another would see."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('lasting')}/cronq.db")
    migrate.upgrade(store)
    yield store
    store.close()


Connect = Callable[..., Client]


@pytest.fixture
def connect(lasting_db: Store, tmp_path: Path) -> Connect:
    """Makes a client of the lasting store's application; the arguments are its environment."""

    def make(**environ: str) -> Client:
        settings = make_settings("sqlite:///unused.db", tmp_path, **environ)
        return create_app(settings, lasting_db).test_client()

    return make


@pytest.fixture
def lasting(connect: Connect) -> Client:
    """A client of the lasting store's application."""
    return connect()


@pytest.fixture
def ledger(db: Store) -> Runs:
    """Moves runs of `db`."""
    return Runs(db)

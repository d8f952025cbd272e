"""Fixtures that several suites share: stores and buses by URL, on real servers where asked for."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import structlog

from tests.servers import Guardian, MariaDB, RabbitMQ, end_process, missing

Server = TypeVar("Server", MariaDB, RabbitMQ)

_guardians: list[Guardian] = []  # kept, so that nobody calls them forgotten
_SHARED = "PYTEST_CRONQ_SERVERS"  # the folder that this session's workers leave word in about its servers
_NEED_SERVERS = frozenset(
    ("mariadb", "rabbitmq", "mysql_url", "amqp_url", "private_mariadb", "private_rabbitmq")
)


def pytest_configure(config: pytest.Config) -> None:
    if _SHARED not in os.environ:  # the first process of the session; xdist's workers inherit it
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="cronq-session-")
        config.add_cleanup(_end_shared_servers)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that `-m "not servers"` can leave it out."""
    for item in items:
        if _NEED_SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """What a test does to the log of this process is of no effect on the others."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def mariadb() -> MariaDB:
    """The session's MariaDB, shared by all workers: use databases of your own, never stop it."""
    return MariaDB(port=int(_shared_server("mariadb")["DATABASE_URL"].rpartition("/")[0].rpartition(":")[2]))


@pytest.fixture(scope="session")
def rabbitmq() -> RabbitMQ:
    """The session's RabbitMQ, shared by all workers: use virtual hosts of your own, never stop it."""
    return RabbitMQ(Path(_shared_server("rabbitmq")["RABBITMQ_FOLDER"]))


@pytest.fixture(scope="module")
def private_mariadb() -> Iterator[MariaDB]:
    """This module's own MariaDB, which it may kill; it leaves it running."""
    yield from private_server("mariadb", MariaDB)


@pytest.fixture(scope="module")
def private_rabbitmq() -> Iterator[RabbitMQ]:
    """This module's own RabbitMQ, which it may kill; it leaves it running."""
    yield from private_server("rabbitmq", RabbitMQ)


@pytest.fixture
def mysql_url(mariadb: MariaDB) -> Iterator[str]:
    """A new, empty database on MariaDB."""
    url = mariadb.create_database()
    yield url
    mariadb.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/cronq.db"


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A new virtual host on RabbitMQ."""
    url = rabbitmq.create_vhost()
    yield url
    rabbitmq.delete_vhost(url)


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty database on each kind of store in turn."""
    name = {"sqlite": "sqlite_url", "mariadb": "mysql_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(params=["memory", pytest.param("amqp", marks=pytest.mark.servers)])
def bus_url(request: pytest.FixtureRequest) -> str:
    """A bus without any queue, of each kind in turn."""
    if request.param == "memory":
        return f"memory:{secrets.token_hex(6)}"
    url: str = request.getfixturevalue("amqp_url")
    return url


def private_server(kind: str, make: Callable[[], Server]) -> Iterator[Server]:
    """The body of a fixture: a server of one's own, running."""
    _require(kind)
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.close()


def _shared_server(kind: str) -> dict[str, str]:
    """What the session's server of this kind said when it started; starts it if nobody did."""
    _require(kind)
    file = Path(os.environ[_SHARED], f"{kind}.json")
    with _locked(file.with_suffix(".lock")):
        if not file.exists():
            _guardians.append(Guardian(kind, _session_pid()))
            file.write_text(json.dumps({**_guardians[-1].env, "pid": _guardians[-1].pid}))
    said: dict[str, str] = json.loads(file.read_text())
    return said


def _session_pid() -> int:
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def _require(kind: str) -> None:
    reason = missing(kind)
    if reason and (os.environ.get("CI") or os.environ.get("CRONQ_REQUIRE_SERVERS")):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def _end_shared_servers() -> None:
    folder = Path(os.environ.pop(_SHARED))
    for file in folder.glob("*.json"):
        end_process(json.loads(file.read_text())["pid"])
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

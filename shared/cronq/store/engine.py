"""Opening the store, and its transactions."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from cronq.domain.errors import ConfigError, CronqError, Unavailable

Tx = sa.Connection
T = TypeVar("T")

# Deadlock, lock wait timeout, snapshot conflict, a deadlock over a table's counter: the whole
# transaction is tried again.
RETRIED = frozenset({1213, 1205, 1020, 1467})
# Gone away, lost, refused, shutting down, too many connections, read-only, not (yet) let in.
AWAY = frozenset({1040, 1044, 1045, 1049, 1698, 1053, 1203, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2055})
TRIES = 5
# A lock that somebody holds for longer than innodb_lock_wait_timeout is not waited for again.
PATIENCE_S = 4.5
STATEMENT_S = 30
# A connection that was used this lately is there, but for a restart in between: it is not asked first.
FRESH_S = 1.0


_turns: dict[str, threading.Lock] = {}


def _turn_of(url: sa.URL) -> threading.Lock:
    """One lock for each file, however many stores are open on it."""
    return _turns.setdefault(url.database or "", threading.Lock())


class _Again(Unavailable):
    """The database rolled the transaction back for another's sake; it may be run again."""


class Refused(CronqError):
    """The database refuses a value or a reference: the same call will never work."""


class Store:
    """The database; thread-safe. `begin` writes, `read` only reads."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        # SQLite has one writer: the threads of one process take turns here, where waiting is
        # short, and not in its busy handler, which sleeps.
        self._turn = _turn_of(engine.url) if engine.dialect.name == "sqlite" else None

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A transaction that commits at the end; rolls back on any exception.

        Raises Unavailable when the database can't be reached (the commit may then have happened) or
        rolled it back for another's sake, Refused for values that it does not take.
        """
        with self._turns(), self._connected(writes=True) as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction for reading."""
        with self._connected(writes=False) as tx:
            yield tx

    def transact(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction, again from its start after a deadlock or lock timeout.

        `work` must be idempotent outside the database. Raises Unavailable after five tries or
        PATIENCE_S, Refused for values that the database does not take.
        """
        give_up_at = time.monotonic() + PATIENCE_S
        for attempt in range(1, TRIES + 1):
            try:
                with self._turns(), self._connected(writes=True) as tx:
                    return work(tx)
            except _Again as error:
                if attempt == TRIES or time.monotonic() > give_up_at:
                    times = "time" if attempt == 1 else "times"
                    raise Unavailable(f"the database refused {attempt} {times}: {error}") from error
                time.sleep(random.uniform(0.005, 0.03) * attempt)
        raise AssertionError("unreachable")

    def is_sqlite(self) -> bool:
        return self._turn is not None

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextmanager
    def _turns(self) -> Iterator[None]:
        if self._turn is None:
            yield
        else:
            with self._turn:
                yield

    @contextmanager
    def _connected(self, *, writes: bool) -> Iterator[Tx]:
        try:
            with self.engine.connect().execution_options(cronq_writes=writes) as tx, tx.begin():
                yield tx
        except PoolTimeout as error:
            raise Unavailable("no database connection became free in time") from error
        except DBAPIError as error:
            raise translated(error) from error


def translated(error: DBAPIError) -> Exception:
    """Library exceptions stop here: ours where a caller can do something, else the same."""
    code = error.orig.args[0] if error.orig and error.orig.args else None
    if code in RETRIED:
        return _Again(str(error.orig))
    text = str(error.orig)
    if isinstance(error, IntegrityError | DataError):
        return Refused(f"database: {text}")
    if error.connection_invalidated or code in AWAY:
        return Unavailable(f"database: {text}")
    if isinstance(error, OperationalError) and ("locked" in text or "unable to open" in text):
        return Unavailable(f"database: {text}")
    return error


def open_store(url: str, *, pool_size: int = 10) -> Store:
    """Open `sqlite:///…` or `mysql+pymysql://…`; connects lazily."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Store(_sqlite(parsed))
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        return Store(_mysql(parsed, pool_size, statement_s=STATEMENT_S))
    raise ConfigError(f"DATABASE_URL: {parsed.render_as_string()} is not sqlite:///… or mysql+pymysql://…")


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 15, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def on_connect(connection: object, _record: object) -> None:
        # The driver's own BEGIN comes too late for BEGIN IMMEDIATE; ours is in on_begin.
        connection.isolation_level = None  # type: ignore[attr-defined]  # a sqlite3.Connection
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a sqlite3.Connection
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("cronq_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# A frozen client's row locks go back to the others after idle_transaction_timeout (MariaDB);
# elsewhere the same comes from wait_timeout, which is counted between any two statements.
SESSION = (
    "SET time_zone = '+00:00', innodb_lock_wait_timeout = 5,"
    " sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION'"
)
# A list of 1,000 keys or more would be joined as a table of its own, and scan ours for it.
SESSION_MARIADB = (
    "SET idle_write_transaction_timeout = 3, idle_transaction_timeout = 10,"
    " in_predicate_conversion_threshold = 0"
)
SESSION_MYSQL = "SET wait_timeout = 30"


def patient_engine(store: Store) -> sa.Engine:
    """Another engine on a store's MySQL: its statements may take as long as a large table needs."""
    return _mysql(store.engine.url, pool_size=1, statement_s=None)


def _mysql(url: sa.URL, pool_size: int, *, statement_s: float | None) -> sa.Engine:
    url = url.set(drivername="mysql+pymysql").update_query_dict({"charset": "utf8mb4"})
    engine = sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=10,
        pool_recycle=25,
        # Every use of a connection is a transaction that ends by itself; another ROLLBACK is a round trip.
        pool_reset_on_return=None,
        connect_args={"connect_timeout": 5, "read_timeout": statement_s, "write_timeout": statement_s},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a pymysql Connection
        cursor.execute(SESSION)
        cursor.execute("SELECT VERSION()")
        is_mariadb = "MariaDB" in cursor.fetchone()[0]
        cursor.execute(SESSION_MARIADB if is_mariadb else SESSION_MYSQL)
        cursor.close()

    _ask_rested_connections(engine)
    return engine


def _ask_rested_connections(engine: sa.Engine) -> None:
    """A connection that lay in the pool for a while may be dead: it is pinged, and replaced if it is.

    The pool's own ping asks always, which costs a round trip for each transaction.
    """

    @event.listens_for(engine, "checkin")
    def on_checkin(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < FRESH_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the connection is dead") from error

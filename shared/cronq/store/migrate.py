"""Bringing a database to this release's tables, safely when several start at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from cronq.domain.errors import ConfigError, Unavailable
from cronq.store.engine import Store, Tx, patient_engine, translated

HERE = Path(__file__).parent / "migrations"
WAIT_S = 120
# Access, CREATE or ALTER denied; read-only.
REFUSED = frozenset({1044, 1142, 1227, 1290, 1370})


def head() -> str:
    """The revision that this release needs."""
    found = ScriptDirectory(str(HERE)).get_current_head()
    assert found is not None
    return found


def current(store: Store) -> str | None:
    """The database's revision; None when cronq was never installed in it."""
    with store.read() as tx:
        return current_in(tx)


def is_behind(store: Store) -> bool:
    return current(store) != head()


def upgrade(store: Store) -> bool:
    """Apply what is missing; returns whether anything was.

    Blocks while another process does the same. Raises ConfigError when the database refuses to
    change tables, or has a later release's.
    """
    if not is_behind(store):
        return False
    try:
        with _alone(store) as tx:
            if _known(current_in(tx)) == head():
                return False
            command.upgrade(_config(tx), "head")
            return True
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig and error.orig.args else None
        if code in REFUSED:
            raise ConfigError(
                f"DATABASE_URL: this user may not change tables ({error.orig});"
                " run `cronq db upgrade` with one that may"
            ) from error
        raise translated(error) from error


def require_current(store: Store) -> None:
    """Raise ConfigError unless the tables are this release's."""
    found = _known(current(store))
    if found != head():
        raise ConfigError(
            f"DATABASE_URL: the tables are at revision {found or 'none'}, this release needs"
            f" {head()}; run `cronq db upgrade`"
        )


def _known(revision: str | None) -> str | None:
    known = {script.revision for script in ScriptDirectory(str(HERE)).walk_revisions()}
    if revision is not None and revision not in known:
        raise ConfigError(
            f"DATABASE_URL: the tables are at revision {revision}, which this release does not know:"
            " a later one made them; install that one"
        )
    return revision


def current_in(tx: Tx) -> str | None:
    return MigrationContext.configure(tx, opts={"version_table": "cronq_version"}).get_current_revision()


def _config(tx: Tx) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = tx
    config.attributes["transactional_ddl"] = tx.dialect.name == "sqlite"
    return config


@contextmanager
def _alone(store: Store) -> Iterator[Tx]:
    """SQLite's one writer is enough; elsewhere DDL commits by itself, so a named lock holds."""
    if store.is_sqlite():
        with store.begin() as tx:
            yield tx
        return
    engine = patient_engine(store)
    try:
        with engine.connect() as tx:
            # The ancestor's rows may hold zero dates, which our sessions would refuse to copy.
            tx.exec_driver_sql("SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'")
            name = sa.text("SELECT GET_LOCK(CONCAT('cronq-migrate-', LEFT(MD5(DATABASE()), 32)), :s)")
            if tx.execute(name, {"s": WAIT_S}).scalar_one() != 1:
                raise Unavailable(f"another process has been migrating for {WAIT_S} s")
            tx.commit()
            yield tx
            tx.commit()
    finally:
        engine.dispose()  # the lock goes with its connection

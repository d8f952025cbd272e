"""`cronq db`: the tables of the database."""

from __future__ import annotations

import os

import click

from cronq.runtime.config import load


@click.group("db")
def db_group() -> None:
    """The database's tables."""


@db_group.command("upgrade")
def upgrade_command() -> None:
    """Bring the tables to this release; safe to run any number of times, also at once."""
    from cronq import store
    from cronq.store import migrate

    db = store.open_store(load(os.environ).require_database())
    changed = migrate.upgrade(db)
    click.echo(f"{'upgraded to' if changed else 'already at'} {migrate.head()}")


@db_group.command("current")
def current_command() -> int:
    """Print the tables' revision; exit 1 when it is behind this release."""
    from cronq import store
    from cronq.store import migrate

    db = store.open_store(load(os.environ).require_database())
    found = migrate.current(db)
    click.echo(f"{found or 'none'} (this release needs {migrate.head()})")
    return 0 if found == migrate.head() else 1

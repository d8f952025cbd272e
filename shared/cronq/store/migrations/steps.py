"""Steps of migrations that look whether they were done: MySQL commits each, and an upgrade may break off."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cronq.domain.errors import ConfigError

Indexes = dict[str, list[str]]
TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def create(name: str, *elements: sa.schema.SchemaItem, indexes: Indexes | None = None) -> None:
    """A table, which may be there from an upgrade that broke off, with indexes."""
    wanted = {e.name for e in elements if isinstance(e, sa.Column)}
    found = columns(name)
    if not found:
        op.create_table(name, *elements, **TABLE)
    elif not wanted <= found:
        raise ConfigError(
            f"DATABASE_URL: the database has a table {name!r} that is not CronQ's; give CronQ one of its own"
        )
    for index_name, names in (indexes or {}).items():
        index(index_name, name, names)


def add(table: str, *wanted: sa.Column[Any]) -> None:
    found = columns(table)
    for column in wanted:
        if column.name not in found:
            op.add_column(table, column)


def index(name: str, table: str, names: list[str], *, unique: bool = False) -> None:
    if name not in {found["name"] for found in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, names, unique=unique)


def columns(table: str) -> set[str]:
    """Empty when there is no such table."""
    inspector = sa.inspect(op.get_bind())
    return {c["name"] for c in inspector.get_columns(table)} if inspector.has_table(table) else set()

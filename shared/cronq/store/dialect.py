"""Where MySQL, MariaDB and SQLite differ, side by side.

Rows travel to the database as one JSON parameter and are unpacked there, so that a batch is one
statement with a constant text (a few where it is large). A generated column, an upsert and the clock
differ too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from cronq.store.tables import Instant

Row = Mapping[str, object]

# MariaDB takes statements of 16 MB by default, and drops the connection at a longer one; a character
# has up to four bytes.
MOST_CHARACTERS = 2 * 1024 * 1024

DUE_AT = {
    "mysql": (
        "ALTER TABLE jobs ADD COLUMN due_at DATETIME GENERATED ALWAYS AS ("
        "IF(enabled AND removed_at IS NULL,"
        " IF(run_now, TIMESTAMP'1970-01-01 00:00:00', next_run), NULL)) STORED,"
        " ADD INDEX ix_jobs_due (due_at)"
    ),
    # A STORED column can't be added to a filled table here; a VIRTUAL one can, and be indexed.
    "sqlite": (
        "ALTER TABLE jobs ADD COLUMN due_at DATETIME GENERATED ALWAYS AS ("
        "CASE WHEN enabled AND removed_at IS NULL THEN"
        " CASE WHEN run_now THEN '1970-01-01 00:00:00.000000' ELSE"
        # A hand-written instant has no fraction, ours has: as text they only compare alike in one form.
        " CASE WHEN length(next_run) = 19 THEN replace(next_run, 'T', ' ') || '.000000'"
        " ELSE replace(next_run, 'T', ' ') END END END) VIRTUAL"
    ),
}
NOW = {"mysql": "SELECT UTC_TIMESTAMP(6)", "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"}


def now(tx: sa.Connection) -> datetime:
    """The database's clock, aware UTC."""
    value = tx.exec_driver_sql(NOW[tx.dialect.name]).scalar_one()
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC)


def entry_order(tx: sa.Connection, table: sa.Table) -> sa.ColumnElement[object]:
    """What entries of an index that are otherwise equal are sorted by: for runs, their time of making.

    InnoDB ends each entry with the primary key, SQLite with the number that a row got at its insert.
    """
    if tx.dialect.name == "sqlite":
        return sa.literal_column(f"{table.name}.rowid")
    [key] = table.primary_key
    return key


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value


def _parts(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as JSON lists, none of them much longer than MOST_CHARACTERS."""
    part: list[str] = []
    size = 0
    for row in rows:
        text = _as_json(row)
        if part and size + len(text) > MOST_CHARACTERS:
            yield f"[{','.join(part)}]"
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield f"[{','.join(part)}]"


def _as_json(row: Row) -> str:
    """None is left out, which every dialect unpacks as NULL."""
    return json.dumps(
        {k: _plain(v) for k, v in row.items() if v is not None},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _mysql_type(column: sa.Column[object], *, is_key: bool) -> str:
    """What a value is unpacked as.

    JSON_TABLE cuts what does not fit its column and says nothing; one wider than the table's makes
    the database refuse it. A key by which rows are looked up has the very type, or no index is used.
    """
    if isinstance(column.type, Instant):
        return "DATETIME(6)"
    if isinstance(column.type, sa.Boolean | sa.Integer):
        return "BIGINT"
    if isinstance(column.type, sa.String) and not is_key:
        text = "LONGTEXT" if column.type.length is None else f"VARCHAR({column.type.length + 1})"
        return f"{text} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return column.type.compile(mysql.dialect())


def _unpacked(dialect: str, table: sa.Table, columns: tuple[str, ...], keys: tuple[str, ...] = ()) -> str:
    """A derived table `v` of the JSON rows bound as :rows."""
    if dialect == "sqlite":
        # Bound text has fractions of seconds always, as SQLAlchemy writes them.
        picks = ", ".join(f"json_extract(value, '$.{c}') AS \"{c}\"" for c in columns)
        return f"(SELECT {picks} FROM json_each(:rows)) AS v"
    picks = ", ".join(f"`{c}` {_mysql_type(table.c[c], is_key=c in keys)} PATH '$.{c}'" for c in columns)
    return f"JSON_TABLE(:rows, '$[*]' COLUMNS ({picks})) AS v"


def _quoted(dialect: str, name: str) -> str:
    return f"`{name}`" if dialect == "mysql" else f'"{name}"'


@cache
def _insert(dialect: str, table: sa.Table, columns: tuple[str, ...]) -> sa.TextClause:
    names = ", ".join(_quoted(dialect, c) for c in columns)
    text = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_unpacked(dialect, table, columns)}"
    if dialect == "sqlite":
        return sa.text(f"{text} WHERE true ON CONFLICT DO NOTHING")
    key = _quoted(dialect, next(iter(table.primary_key)).name)
    # Not INSERT IGNORE, which would also swallow values that don't fit.
    return sa.text(f"{text} ON DUPLICATE KEY UPDATE {table.name}.{key} = {table.name}.{key}")


def insert_new(tx: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert those rows whose unique keys are new; all have the same columns.

    Raises Refused for a value that does not fit, or a reference to nothing.
    """
    if rows and tx.dialect.name == "mysql" and table.autoincrement_column is not None:
        tx.execute(_insert_values(table), rows)
        return
    for part in _parts(rows):
        statement = _insert(tx.dialect.name, table, tuple(rows[0]))
        tx.execute(statement, {"rows": part})


@cache
def _insert_values(table: sa.Table) -> mysql.Insert:
    """For ids that the database counts: it locks its counter for as long as an INSERT … SELECT takes.

    Such a one, waiting for a row, would stand in the way of every other insert, also of the one that
    holds the row.
    """
    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


@cache
def _update(
    dialect: str,
    table: sa.Table,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    where: str,
) -> sa.TextClause:
    match = " AND ".join(f"v.{_quoted(dialect, k)} = t.{_quoted(dialect, k)}" for k in keys)
    source = _unpacked(dialect, table, keys + columns, keys)
    if dialect == "sqlite":
        sets = ", ".join(f'"{c}" = v."{c}"' for c in columns)
        return sa.text(f"UPDATE {table.name} AS t SET {sets} FROM {source} WHERE {match} AND {where}")
    sets = ", ".join(f"t.`{c}` = v.`{c}`" for c in columns)
    return sa.text(f"UPDATE {source} STRAIGHT_JOIN {table.name} AS t ON {match} SET {sets} WHERE {where}")


def update_rows(
    tx: sa.Connection,
    table: sa.Table,
    rows: Sequence[Row],
    *,
    keys: tuple[str, ...],
    where: str = "1 = 1",
) -> int:
    """Update each row found by its `keys` where `where` (on `t`, the table) holds.

    Every row must have the same columns. Returns how many rows matched (MySQL's drivers count found
    rows, not changed ones). Raises Refused for a value that does not fit.
    """
    matched = 0
    for part in _parts(rows):
        columns = tuple(c for c in rows[0] if c not in keys)
        statement = _update(tx.dialect.name, table, keys, columns, where)
        matched += tx.execute(statement, {"rows": part}).rowcount
    return matched

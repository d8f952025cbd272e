"""Where MySQL, MariaDB and SQLite differ, side by side.

Rows travel to the database as one JSON parameter and are unpacked there, so that a batch is one
statement with a constant text (a few where it is large). What is the same in all of them travels once.
A generated column, an upsert and the clock differ too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from cronq.store.columns import Instant

Row = Mapping[str, object]
Columns = tuple[str, ...]

# MariaDB takes statements of 16 MB by default, and drops the connection at a longer one; a character
# has up to four bytes.
MOST_CHARACTERS = 2 * 1024 * 1024
# The database takes the locks back of who says nothing for three seconds: no part takes long to write.
MOST_ROWS = 5_000
# Texts that are kept: which columns are the same in all rows differs from batch to batch.
STATEMENTS = 500

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


def _text(instant: object) -> str:
    assert isinstance(instant, datetime)
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_text
).encode


def _parts(rows: Sequence[Row], columns: Columns) -> Iterator[str]:
    """These columns of the rows as JSON lists, each of MOST_CHARACTERS at the most unless of one row.

    None is left out, which every dialect unpacks as NULL.
    """
    for first in range(0, len(rows), MOST_ROWS):
        yield from _halves(rows[first : first + MOST_ROWS], columns)


def _halves(rows: Sequence[Row], columns: Columns) -> Iterator[str]:
    text = _encode([{c: value for c in columns if (value := row[c]) is not None} for row in rows])
    if len(text) <= MOST_CHARACTERS or len(rows) == 1:
        yield text
        return
    middle = len(rows) // 2
    yield from _halves(rows[:middle], columns)
    yield from _halves(rows[middle:], columns)


@dataclass(frozen=True)
class _Split:
    """The columns of a batch: those that differ from row to row, and what the others are in all rows."""

    varying: Columns
    common: Mapping[str, object]

    @classmethod
    def of(cls, rows: Sequence[Row], *, varying: Callable[[str], bool]) -> _Split:
        """A column for which `varying` holds is taken for one that differs."""
        first = rows[0]
        common = {
            column: _text(value) if isinstance(value, datetime) else value
            for column, value in first.items()
            if not varying(column) and all(row[column] == value for row in rows)
        }
        return cls(tuple(c for c in first if c not in common), common)

    def bound(self, part: str) -> dict[str, object]:
        return {"rows": part, **{f"common_{c}": value for c, value in self.common.items()}}


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


def _unpacked(dialect: str, table: sa.Table, columns: Columns, keys: Columns = ()) -> str:
    """A derived table `v` of the JSON rows bound as :rows."""
    if dialect == "sqlite":
        # Bound text has fractions of seconds always, as SQLAlchemy writes them.
        picks = ", ".join(f"json_extract(value, '$.{c}') AS \"{c}\"" for c in columns)
        return f"(SELECT {picks} FROM json_each(:rows)) AS v"
    picks = ", ".join(f"`{c}` {_mysql_type(table.c[c], is_key=c in keys)} PATH '$.{c}'" for c in columns)
    return f"JSON_TABLE(:rows, '$[*]' COLUMNS ({picks})) AS v"


def _quoted(dialect: str, name: str) -> str:
    return f"`{name}`" if dialect == "mysql" else f'"{name}"'


@lru_cache(STATEMENTS)
def _insert(dialect: str, table: sa.Table, varying: Columns, common: Columns) -> sa.TextClause:
    names = ", ".join(_quoted(dialect, c) for c in varying + common)
    values = ", ".join([*(_quoted(dialect, c) for c in varying), *(f":common_{c}" for c in common)])
    text = f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {_unpacked(dialect, table, varying)}"
    if dialect == "sqlite":
        return sa.text(f"{text} WHERE true ON CONFLICT DO NOTHING")
    key = _quoted(dialect, next(iter(table.primary_key)).name)
    # Not INSERT IGNORE, which would also swallow values that don't fit.
    return sa.text(f"{text} ON DUPLICATE KEY UPDATE {table.name}.{key} = {table.name}.{key}")


def insert_new(tx: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert those rows whose unique keys are new; all have the same columns.

    Raises Refused for a value that does not fit, or a reference to nothing.
    """
    if not rows:
        return
    if tx.dialect.name == "mysql" and table.autoincrement_column is not None:
        used = [c for c in rows[0] if any(row[c] is not None for row in rows)]
        tx.execute(_insert_values(table), [{c: row[c] for c in used} for row in rows])
        return
    key = next(iter(rows[0]))
    split = _Split.of(rows, varying=lambda column: column == key)
    statement = _insert(tx.dialect.name, table, split.varying, tuple(split.common))
    for part in _parts(rows, split.varying):
        tx.execute(statement, split.bound(part))


@cache
def _insert_values(table: sa.Table) -> mysql.Insert:
    """For ids that the database counts: it locks its counter for as long as an INSERT … SELECT takes.

    Such a one, waiting for a row, would stand in the way of every other insert, also of the one that
    holds the row.
    """
    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


@lru_cache(STATEMENTS)
def _update(
    dialect: str, table: sa.Table, keys: Columns, *, varying: Columns, common: Columns, where: str
) -> sa.TextClause:
    match = " AND ".join(f"v.{_quoted(dialect, k)} = t.{_quoted(dialect, k)}" for k in keys)
    source = _unpacked(dialect, table, varying, keys)
    values = {c: f"v.{_quoted(dialect, c)}" for c in varying if c not in keys}
    values |= {c: f":common_{c}" for c in common}
    if dialect == "sqlite":
        sets = ", ".join(f'"{c}" = {value}' for c, value in values.items())
        return sa.text(f"UPDATE {table.name} AS t SET {sets} FROM {source} WHERE {match} AND {where}")
    sets = ", ".join(f"t.`{c}` = {value}" for c, value in values.items())
    return sa.text(f"UPDATE {source} STRAIGHT_JOIN {table.name} AS t ON {match} SET {sets} WHERE {where}")


def update_rows(
    tx: sa.Connection,
    table: sa.Table,
    rows: Sequence[Row],
    *,
    keys: Columns,
    where: str = "1 = 1",
) -> int:
    """Update each row found by its `keys` where `where` (on `t`, the table) holds.

    Every row must have the same columns. Returns how many rows matched (MySQL's drivers count found
    rows, not changed ones). Raises Refused for a value that does not fit.
    """
    if not rows:
        return 0
    split = _Split.of(rows, varying=lambda column: column in keys or f"v.{column}" in where)
    statement = _update(
        tx.dialect.name, table, keys, varying=split.varying, common=tuple(split.common), where=where
    )
    return sum(tx.execute(statement, split.bound(p)).rowcount for p in _parts(rows, split.varying))

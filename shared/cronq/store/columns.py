"""The types of our columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime in Python, a naive UTC DATETIME in the database.

    What is no instant reads as None: MariaDB lets people write a zero date, SQLite any text.
    """

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, fsp: int = 6) -> None:
        super().__init__()
        self.fsp = fsp

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[datetime]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.DATETIME(fsp=self.fsp or None))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        read = super().result_processor(dialect, coltype)

        def processed(value: Any) -> datetime | None:
            try:
                return read(value) if read and value is not None else None
            except (ValueError, TypeError):
                return None

        return processed


def ascii_char(length: int) -> sa.types.TypeEngine[str]:
    """Ids and words of ours: compared byte by byte, one byte a character."""
    return sa.CHAR(length).with_variant(mysql.CHAR(length, charset="ascii", collation="ascii_bin"), "mysql")


def name_text(length: int) -> sa.types.TypeEngine[str]:
    """Names that people choose, compared exactly (`Job` is not `job`)."""
    return sa.CHAR(length).with_variant(
        mysql.CHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def free_text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def long_text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")

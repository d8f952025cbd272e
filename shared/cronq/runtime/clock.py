"""The process's clock. Code that decides takes its time as an argument; only edges read it here."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present instant by this host's clock, in UTC; the store's clock decides what is due."""
    return datetime.now(UTC)

"""Ids of runs: unique without asking anyone, and ascending with the time of making."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run_id(now: datetime, random_bits: Callable[[int], int]) -> str:
    """32 hex digits in the shape of a UUID version 7 (RFC 9562): 48 bits of milliseconds, then chance.

    Rows so keyed are added at the end of the table, and sort by age.
    """
    value = _millis(now) << 80 | 0x7 << 76 | random_bits(12) << 64 | 0b10 << 62 | random_bits(62)
    return f"{value:032x}"


def made_at(run_id: str) -> datetime:
    """When a run was made, by the clock of who made it."""
    return EPOCH + timedelta(milliseconds=turn(run_id))


def turn(run_id: str) -> int:
    """When a run was made, as milliseconds since 1970: its place in line."""
    return int(run_id[:12], 16)


def before(instant: datetime) -> str:
    """A text that sorts after every id made before this instant's millisecond, and before all others."""
    return f"{_millis(instant):012x}"


def _millis(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1) & (1 << 48) - 1

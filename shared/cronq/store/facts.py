"""Single facts about the installation: the canary, who injects, what the broker's queues hold."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import facts, queues

CANARY = "canary_sent"  # when the last canary that came through the results queue was sent
INJECTOR = "injector_step"


def put(tx: Tx, name: str, value: str, at: datetime) -> None:
    """Set a fact; `at` never goes back."""
    row = {"name": name, "value": value[:255], "at": at}
    dialect.insert_new(tx, facts, [row])
    dialect.update_rows(tx, facts, [row], keys=("name",), where="t.at <= v.at")


def insert(tx: Tx, name: str, value: str, at: datetime) -> bool:
    """Set a fact unless it is set; whether it was this call that did."""
    row = {"name": name, "value": value[:255], "at": at}
    is_new = get(tx, name) is None
    dialect.insert_new(tx, facts, [row])
    return is_new


def claim(tx: Tx, name: str, at: datetime) -> bool:
    """Set a fact that can be set once; whether it was this call that did."""
    mine = secrets.token_hex(16)
    dialect.insert_new(tx, facts, [{"name": name, "value": mine, "at": at}])
    kept = get(tx, name)
    return kept is not None and kept[0] == mine


def get(tx: Tx, name: str) -> tuple[str, datetime] | None:
    row = tx.execute(sa.select(facts.c.value, facts.c.at).where(facts.c.name == name)).one_or_none()
    return None if row is None else (row.value, row.at)


def put_queues(tx: Tx, measured: Sequence[tuple[str, int, int]], now: datetime) -> None:
    """What the broker said of its queues: (name, ready, consumers)."""
    rows: list[dict[str, object]] = [
        {"name": name, "ready": ready, "consumers": consumers, "measured_at": now}
        for name, ready, consumers in sorted(measured)
    ]
    dialect.insert_new(tx, queues, rows)
    dialect.update_rows(tx, queues, rows, keys=("name",))


def all_queues(tx: Tx) -> list[dict[str, Any]]:
    found = tx.execute(sa.select(queues).order_by(queues.c.name).limit(10_000))
    return [dict(row) for row in found.mappings()]

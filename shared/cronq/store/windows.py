"""Maintenance windows: which there are, and which are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate
from cronq.domain.errors import Conflict, CronqError, InvalidInput, NotFound, Problem
from cronq.domain.job_fields import did_you_mean
from cronq.domain.strict_json import shown
from cronq.domain.window import Window, stored_window
from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import categories, windows

# Each injector looks at all of them at each step.
MOST = 500


def listed(tx: Tx) -> list[dict[str, Any]]:
    """All of them by name."""
    found = tx.execute(sa.select(windows).order_by(windows.c.name).limit(MOST))
    return [dict(row) for row in found.mappings()]


def by_name(tx: Tx, name: str) -> dict[str, Any] | None:
    row = tx.execute(sa.select(windows).where(windows.c.name == name)).mappings().one_or_none()
    return None if row is None else dict(row)


def read(row: Mapping[str, Any]) -> Window | None:
    """The window of a row; one that somebody wrote with SQL and that is none holds nothing."""
    try:
        return stored_window(row["document"])
    except (CronqError, ValueError):
        return None


def in_force(tx: Tx, now: datetime) -> dict[str, str]:
    """Subjects of gates that a window holds at this moment, each with the first such window's name."""
    found: dict[str, str] = {}
    for row in listed(tx):
        if is_on(row, now):
            found.setdefault(row["subject"], row["name"])
    return found


def is_on(row: Mapping[str, Any], now: datetime) -> bool:
    window = read(row)
    return window is not None and window.on_until(now) is not None


def put(tx: Tx, name: str, wanted: Window, actor: str, now: datetime) -> bool:
    """Make or replace a window, and return whether that changed anything.

    Raises InvalidInput where its category is unknown, and Conflict where there are too many windows.
    """
    values = {
        "subject": _subject(tx, wanted),
        "document": wanted.text,
        "actor": actor[:255],
        "at": now,
    }
    before = by_name(tx, name)
    if before is not None and before["document"] == wanted.text:
        return False
    if before is None and len(listed(tx)) >= MOST:
        raise Conflict(f"there are {MOST} windows, as many as may be; drop one that is over")
    dialect.insert_new(tx, windows, [{"name": name, **values}])
    tx.execute(sa.update(windows).where(windows.c.name == name).values(**values))
    return True


def drop(tx: Tx, name: str) -> None:
    """Forget a window: what it holds goes on. Raises NotFound."""
    done = tx.execute(sa.delete(windows).where(windows.c.name == name))
    if not done.rowcount:
        raise NotFound(f"no window has the name {shown(name)}")


def _subject(tx: Tx, window: Window) -> str:
    if window.kind == gate.ALL:
        return gate.ALL
    if window.kind == "queue":
        return gate.of_queue(window.name)
    found = tx.execute(
        sa.select(categories.c.id).where(categories.c.name == window.name)
    ).scalar_one_or_none()
    if found is None:
        names: Iterable[str] = tx.execute(sa.select(categories.c.name)).scalars()
        message = f"scope: no category has the name {shown(window.name)}"
        hint = did_you_mean(window.name, names)
        raise InvalidInput([Problem("unknown_category", "/scope", message, hint)])
    return gate.of_category(found)

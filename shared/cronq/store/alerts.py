"""Alerts: one open row for each (kind, subject), closed when its cause is gone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.store import dialect
from cronq.store.engine import Tx
from cronq.store.tables import alerts

# The kind for a job that can't be scheduled or run as it is.
BAD_JOB = "bad_schedule"


def job(job_id: int) -> str:
    """The subject of what is wrong with a job."""
    return f"job {job_id}"


def run(run_id: str) -> str:
    """The subject of what is wrong with a run."""
    return f"run {run_id}"


def raise_alert(tx: Tx, kind: str, subject: str, message: str, now: datetime) -> bool:
    """Open an alert, or note that it still holds; returns whether it is new."""
    subject = subject[:190]
    opened = tx.execute(
        sa.update(alerts)
        .where(alerts.c.kind == kind, alerts.c.subject == subject, alerts.c.closing == "")
        .values(seen_at=now, message=message[:1024])
    ).rowcount
    if opened:
        return False
    row = {"kind": kind, "subject": subject, "message": message[:1024], "since": now, "seen_at": now}
    dialect.insert_new(tx, alerts, [row])
    return True


def clear(tx: Tx, kind: str, subject: str, now: datetime) -> bool:
    """Close an open alert; returns whether there was one."""
    return clear_all(tx, kind, [subject], now)


def clear_all(tx: Tx, kind: str, subjects: Collection[str], now: datetime) -> bool:
    """Close the open alerts of these subjects; returns whether there was one."""
    if not subjects:
        return False
    named = alerts.c.subject.in_(sorted(subject[:190] for subject in subjects))
    return _clear(tx, (alerts.c.kind == kind) & named, now)


def clear_all_but(tx: Tx, kind: str, subjects: set[str], now: datetime) -> None:
    """Close the open alerts of a kind whose subject is not among these."""
    _clear(tx, (alerts.c.kind == kind) & alerts.c.subject.not_in([s[:190] for s in subjects]), now)


def _clear(tx: Tx, which: sa.ColumnElement[bool], now: datetime) -> bool:
    closing = sa.cast(alerts.c.id, sa.CHAR(20))
    cleared = tx.execute(
        sa.update(alerts).where(which, alerts.c.closing == "").values(cleared_at=now, closing=closing)
    )
    return cleared.rowcount > 0


def listed(tx: Tx, *, only_open: bool = True, limit: int = 200) -> list[dict[str, Any]]:
    """Alerts, the newest first."""
    query = sa.select(alerts).order_by(alerts.c.id.desc()).limit(limit)
    if only_open:
        query = query.where(alerts.c.closing == "")
    return [dict(row) for row in tx.execute(query).mappings()]

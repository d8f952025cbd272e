"""`/runners`: who executes runs, and which queues wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cronq import store
from cronq.domain.routing import key_of_queue
from cronq.store import facts, leases, runs
from cronq.web.context import web
from cronq.web.pages.frame import render
from cronq.web.pages.states import Sign

ALIVE = Sign("alive", "●", "good")
DRAINING = Sign("draining", "◐", "warn")
SILENT = Sign("silent", "○", "bad")
STOPPED = Sign("stopped", "■", "idle")
MEASURED_LATELY = timedelta(minutes=1)
# Instants of its runs are by its clock: beyond this they mislead.
MOST_SKEW_S = 5.0


@dataclass(frozen=True)
class RunnerRow:
    """A runner as the list shows it."""

    runner: Mapping[str, Any]
    queues: str
    sign: Sign

    @property
    def is_skewed(self) -> bool:
        """Whether the instants that it tells mislead."""
        skew_s: float | None = self.runner["clock_skew_s"]
        return skew_s is not None and abs(skew_s) > MOST_SKEW_S


@dataclass(frozen=True)
class QueueRow:
    """A routing key: what the broker holds of it, and what waits for it in all.

    `ready`, `consumers` and `measured_at` are None where the broker has no such queue.
    """

    key: str
    ready: int | None
    consumers: int | None
    measured_at: datetime | None
    waiting: int
    oldest: datetime | None
    is_served: bool  # by a runner that lives, though its slots may all be taken

    @property
    def is_stuck(self) -> bool:
        """Whether something waits that nobody will take."""
        return not self.consumers and not self.is_served and bool(self.waiting or self.ready)


def show_runners() -> str:
    """Both lists."""
    silent_after = timedelta(seconds=web().settings.lease_s)
    with web().db.read() as tx:
        now = store.now(tx)
        rows = [_runner_row(runner, now - silent_after) for runner in leases.all_runners(tx)]
        return render(tx, "runners.html", runners=rows, queues=_queues(tx, now, now - silent_after))


def _runner_row(runner: Mapping[str, Any], heard_since: datetime) -> RunnerRow:
    is_alive = runner["heartbeat_at"] >= heard_since
    signs = (DRAINING, STOPPED) if runner["draining"] else (ALIVE, SILENT)
    sign = signs[0] if is_alive else signs[1]
    return RunnerRow(runner, ", ".join(_names(runner["queues"])), sign)


def _names(text: str) -> list[str]:
    read = json.loads(text)
    return [str(name) for name in read] if isinstance(read, list) else []


def _queues(tx: store.Tx, now: datetime, heard_since: datetime) -> list[QueueRow]:
    # Both keys of the default queue may wait; they are one row.
    waiting: dict[str, tuple[int, datetime]] = {}
    for found in runs.late(tx, now):
        key, count, oldest = key_of_queue(found[0]), found[1], found[2]
        before, since = waiting.get(key, (0, oldest))
        waiting[key] = (before + count, min(since, oldest))
    measured = {key_of_queue(row["name"]): row for row in facts.all_queues(tx)}
    served = {key_of_queue(name) for name in leases.served_queues(tx, heard_since)}
    return [
        _queue_row(key, measured.get(key), waiting.get(key), is_served=key in served)
        for key in _sorted(measured, waiting)
    ]


def _sorted(*keys: Iterable[str]) -> list[str]:
    return sorted({key for some in keys for key in some})


def _queue_row(
    key: str,
    row: Mapping[str, Any] | None,
    waiting: tuple[int, datetime] | None,
    *,
    is_served: bool,
) -> QueueRow:
    count, oldest = waiting or (0, None)
    if row is None:
        return QueueRow(key, None, None, None, count, oldest, is_served)
    return QueueRow(key, row["ready"], row["consumers"], row["measured_at"], count, oldest, is_served)

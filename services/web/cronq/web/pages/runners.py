"""`/runners`: who executes runs, and which queues wait for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cronq import store
from cronq.store import leases
from cronq.web import lines
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


def show_runners() -> str:
    """Both lists."""
    silent_after = timedelta(seconds=web().settings.lease_s)
    with web().db.read() as tx:
        now = store.now(tx)
        rows = [_runner_row(runner, now - silent_after) for runner in leases.all_runners(tx)]
        return render(tx, "runners.html", runners=rows, queues=lines.all_lines(tx, now - silent_after))


def _runner_row(runner: Mapping[str, Any], heard_since: datetime) -> RunnerRow:
    is_alive = runner["heartbeat_at"] >= heard_since
    signs = (DRAINING, STOPPED) if runner["draining"] else (ALIVE, SILENT)
    sign = signs[0] if is_alive else signs[1]
    return RunnerRow(runner, ", ".join(_names(runner["queues"])), sign)


def _names(text: str) -> list[str]:
    read = json.loads(text)
    return [str(name) for name in read] if isinstance(read, list) else []

"""Runs in certain states, the newest first, whatever their number."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from cronq import store
from cronq.domain.run import BAD, State
from cronq.store import runs

MOST_COUNTED = 100

Run = dict[str, Any]  # a row of the ledger

_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


def newest(tx: store.Tx, states: Iterable[State], before: str | None, limit: int) -> list[Run]:
    """At most `limit` runs; `before` is the run id that the page before ended with."""
    # One short range of ix_runs_state for each state: together they would be sorted whole.
    found = [runs.listed(tx, states=[state], before=before, limit=limit) for state in sorted(states)]
    return list(islice(heapq.merge(*found, key=_run_id, reverse=True), limit))


def _run_id(run: Run) -> str:
    return str(run["run_id"])


def count_bad_since(tx: store.Tx, since: datetime) -> int:
    """How many ended badly since then, counted up to MOST_COUNTED."""
    return sum(1 for run in newest(tx, BAD, None, MOST_COUNTED) if ended_at(run) >= since)


def ended_at(run: Run) -> datetime:
    """When a run ended; of one that has not, when it was made."""
    ended: datetime = run["finished_at"] or run["recorded_at"] or run["created_at"]
    return ended


def seconds_run(run: Run, now: datetime) -> float | None:
    """How long its process ran, or has run until now; None if it never started."""
    if run["duration_s"] is not None:
        return float(run["duration_s"])
    started: datetime | None = run["started_at"]
    if started is None:
        return None
    until = now if run["state"] == State.RUNNING else ended_at(run)
    return max(0.0, (until - started).total_seconds())


def is_run_id(text: str) -> bool:
    """Whether a text may be a run's id at all; the database need not be asked about others."""
    return _RUN_ID.fullmatch(text) is not None


def page_start(text: str | None) -> str | None:
    """The run id of `?before=`, None when there is none that could be one."""
    return text if text is not None and is_run_id(text) else None

"""Routing keys: what waits for each, what limits it, what the broker holds of it, and who serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cronq import store
from cronq.domain import gate
from cronq.domain.gate import Limit
from cronq.domain.limit import format_rate
from cronq.store import facts, leases, limits, runs, uses

_JOBS_QUEUE = "cronq_jobs"
_DEFAULT_KEY = "default"

_Count = tuple[int, datetime]


@dataclass(frozen=True)
class Line:
    """A routing key.

    `waiting` are runs in line, or let out and not claimed; `parked` are those that wait at any gate.
    `ready`, `consumers` and `measured_at` are None where the broker has no such queue.
    """

    key: str
    ready: int | None
    consumers: int | None
    measured_at: datetime | None
    waiting: int
    parked: int
    oldest: datetime | None
    limit: Limit
    is_served: bool  # by a runner that lives, though its slots may all be taken

    @property
    def queue(self) -> str:
        """The queue that the key leads to."""
        return _JOBS_QUEUE if self.key == _DEFAULT_KEY else f"{_JOBS_QUEUE}.{self.key}"

    @property
    def is_stuck(self) -> bool:
        """Whether something waits that nobody will take."""
        return not self.consumers and not self.is_served and bool(self.waiting or self.ready)

    @property
    def limit_text(self) -> str:
        """`5 at once, 100/1m`; '' without a limit."""
        capacity = f"{self.limit.capacity} at once" if self.limit.capacity else None
        return ", ".join(part for part in (capacity, format_rate(self.limit)) if part)


def all_lines(tx: store.Tx, heard_since: datetime) -> list[Line]:
    """By key: each that the broker has a queue for, that a run waits for, or that somebody gave a limit."""
    waiting = _merged(
        {found.routing_key: (found.waiting, found.oldest) for found in runs.late(tx, store.now(tx))}
    )
    parked = _merged(uses.parked_by_key(tx))
    measured = {_key(row["name"]): row for row in facts.all_queues(tx)}
    served = {_key(name) for name in leases.served_queues(tx, heard_since)}
    prefix = gate.of_queue("")
    limited = {f.gate.removeprefix(prefix): f.limit for f in limits.listed(tx) if f.gate.startswith(prefix)}
    return [
        _line(
            key,
            measured.get(key, {}),
            waiting.get(key),
            parked.get(key),
            limit=limited.get(key, Limit()),
            is_served=key in served,
        )
        for key in sorted({*measured, *waiting, *parked, *limited})
    ]


def _line(
    key: str,
    row: Mapping[str, Any],
    waiting: _Count | None,
    parked: _Count | None,
    *,
    limit: Limit,
    is_served: bool,
) -> Line:
    oldest = [found[1] for found in (waiting, parked) if found]
    return Line(
        key,
        row.get("ready"),
        row.get("consumers"),
        row.get("measured_at"),
        waiting[0] if waiting else 0,
        parked[0] if parked else 0,
        min(oldest, default=None),
        limit,
        is_served,
    )


def _merged(counts: Mapping[str, _Count]) -> dict[str, _Count]:
    """Both keys of the default queue may wait; they are one row."""
    merged: dict[str, _Count] = {}
    for name, (count, oldest) in counts.items():
        before, since = merged.get(_key(name), (0, oldest))
        merged[_key(name)] = (before + count, min(since, oldest))
    return merged


def _key(queue: str) -> str:
    """The routing key that leads to a queue; a routing key stays itself."""
    return _DEFAULT_KEY if queue == _JOBS_QUEUE else queue.removeprefix(f"{_JOBS_QUEUE}.")

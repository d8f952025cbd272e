"""Who uses the limits now, and how many runs wait for them: reads alone, each bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain import ids
from cronq.domain.run import LIVE, State
from cronq.store import limits
from cronq.store.engine import Tx
from cronq.store.line import NEVER
from cronq.store.tables import holds, parked, runs
from cronq.store.waits import MOST_HOLDERS, count_parked

# Together over all gates that are looked at.
MOST_HOLDS = 100_000


@dataclass(frozen=True)
class Use:
    """Of a limit's gate: how much of it is taken, by which runs (not all of many), how many wait."""

    in_use: int = 0
    holders: tuple[str, ...] = ()
    waiting: int = 0


def uses(tx: Tx, names: Collection[str]) -> dict[str, Use]:
    """Who uses these gates now, and how many wait there or for their rate."""
    held = _held(tx, names) | _on_hosts(tx, names)
    found = {}
    for name in names:
        taken = held.get(name, [])
        holders = tuple(run_id for run_id, _ in taken[:MOST_HOLDERS])
        count = count_parked(tx, name) + (
            count_parked(tx, gates.rate_of(name)) if name.startswith("queue:") else 0
        )
        found[name] = Use(sum(weight for _, weight in taken), holders, count)
    return found


def _held(tx: Tx, names: Collection[str]) -> dict[str, list[tuple[str, int]]]:
    query = (
        sa.select(holds.c.gate, holds.c.run_id, holds.c.weight)
        .join(runs, runs.c.run_id == holds.c.run_id)
        .where(holds.c.gate.in_(sorted(names)), runs.c.state.in_(limits.HOLDING))
        .order_by(holds.c.gate, holds.c.run_id)
        .limit(MOST_HOLDS)
    )
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for gate, run_id, weight in tx.execute(query):
        found[gate].append((run_id, weight))
    return found


def _on_hosts(tx: Tx, names: Collection[str]) -> dict[str, list[tuple[str, int]]]:
    """A host's room is taken by what runs there (ix_runs_state)."""
    hosts = {name.removeprefix("host:") for name in names if name.startswith("host:")}
    if not hosts:
        return {}
    query = (
        sa.select(runs.c.host, runs.c.run_id)
        .where(runs.c.state.in_(LIVE), runs.c.host.in_(sorted(hosts)))
        .order_by(runs.c.run_id)
        .limit(MOST_HOLDS)
    )
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for host, run_id in tx.execute(query):
        found[gates.of_host(host)].append((run_id, 1))
    return found


def locks_in_use(tx: Tx) -> list[str]:
    """Gates of locks that somebody holds or waits for, whether anybody gave them a limit or not."""
    found: set[str] = set()
    for table in (holds, parked):
        # ';' follows ':'.
        is_lock = (table.c.gate >= "lock:") & (table.c.gate < "lock;")
        found.update(
            tx.execute(
                sa.select(table.c.gate).where(is_lock).group_by(table.c.gate).limit(limits.MOST)
            ).scalars()
        )
    return sorted(found)


def parked_by_key(tx: Tx) -> dict[str, tuple[int, datetime]]:
    """Per routing key, how many runs wait at gates, and the oldest (ix_runs_waiting, nothing else)."""
    found = tx.execute(
        sa.select(runs.c.routing_key, sa.func.count(), sa.func.min(runs.c.run_id))
        .where(runs.c.state == State.SCHEDULED, runs.c.release_at == NEVER)
        .group_by(runs.c.routing_key)
    )
    return {key: (count, ids.made_at(run_id)) for key, count, run_id in found}

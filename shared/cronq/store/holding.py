"""Who has hold of a gate, and who waits at it, by what the ledger says now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain.gate import Hold
from cronq.domain.run import State
from cronq.store import limits
from cronq.store.engine import Tx
from cronq.store.tables import holds as held
from cronq.store.tables import parked, runs

# After every id of a run: those who came in one millisecond do not stand in each other's way.
LAST = "~"


def holds(tx: Tx, names: Collection[str]) -> dict[str, list[Hold]]:
    """Who has hold of these gates. Of a job's gate that is whoever runs, released by another rule or not."""
    found: dict[str, dict[str, Hold]] = defaultdict(dict)
    query = (
        sa.select(held.c.gate, held.c.run_id, runs.c.state, held.c.weight)
        .join(runs, runs.c.run_id == held.c.run_id)
        .where(held.c.gate.in_(sorted(names)))
    )
    for name, *columns in tx.execute(query):
        found[name][columns[0]] = Hold(columns[0], State(columns[1]), columns[2])
    of_jobs = {int(name[4:]): name for name in names if name.startswith("job:")}
    if of_jobs:
        under_way = (
            sa.select(runs.c.job_id, runs.c.run_id, runs.c.state)
            .where(runs.c.job_id.in_(sorted(of_jobs)), runs.c.state.in_(limits.HOLDING))
            .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
        )
        for job_id, run_id, state in tx.execute(under_way):
            found[of_jobs[job_id]][run_id] = Hold(run_id, State(state), 1)
    return {name: sorted(of_it.values(), key=lambda h: h.run_id) for name, of_it in found.items()}


def waiting_at(tx: Tx, names: Collection[str]) -> dict[str, list[gates.Place]]:
    """Who waits at these gates: of a job's all, of the others the first of each priority (ix_parked_gate)."""
    found: dict[str, list[gates.Place]] = defaultdict(list)
    others = [n for name in names if not name.startswith("job:") for n in (name, gates.rate_of(name))]
    if others:
        query = (
            sa.select(parked.c.gate, parked.c.priority, sa.func.min(parked.c.turn))
            .where(parked.c.gate.in_(sorted(others)))
            .group_by(parked.c.gate, parked.c.priority)
        )
        for name, priority, turn in tx.execute(query):
            found[name].append((priority, turn, LAST))
    of_jobs = sorted(name for name in names if name.startswith("job:"))
    if of_jobs:
        waiting = (
            sa.select(parked.c.gate, parked.c.priority, parked.c.turn, parked.c.run_id)
            .join(runs, runs.c.run_id == parked.c.run_id)
            .where(parked.c.gate.in_(of_jobs), runs.c.state == State.SCHEDULED)
        )
        for name, *place in tx.execute(waiting):
            found[name].append((place[0], place[1], place[2]))
    return found


def forget_ended(tx: Tx, limit: int) -> int:
    """Holds of runs that have ended count for nothing; delete some. Returns how many."""
    over = [s for s in State if s not in (*limits.HOLDING, State.SCHEDULED)]
    found = tx.execute(
        sa.select(held.c.gate, held.c.run_id)
        .join(runs, runs.c.run_id == held.c.run_id)
        .where(runs.c.state.in_(over))
        .limit(limit)
    ).all()
    for run_id in sorted({row.run_id for row in found}):
        tx.execute(sa.delete(held).where(held.c.run_id == run_id))
    return len(found)

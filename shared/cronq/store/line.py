"""The line of waiting runs: who is next, who goes, and who waits at a gate.

The rules are those of domain/gate.py. Every function here runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain.event import SEQ_QUEUED
from cronq.domain.gate import Closed, Decision, Gates, Go, Limit, Need, Park, Place, Skip, Waiting
from cronq.domain.misfire import Misfire
from cronq.domain.run import State, Trigger
from cronq.domain.turns import take_turns
from cronq.store import dialect, holding, jobs, limits
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.rows import JobRecord
from cronq.store.runs import OpenRun, end_here, request_cancel
from cronq.store.tables import holds, parked, runs

# `release_at` of a parked run: it waits for a gate and for no instant.
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
# Categories whose runs are looked at in one step, those first that have least.
MOST_CATEGORIES = 50
_PLACE = (
    runs.c.run_id,
    runs.c.job_id,
    runs.c.attempt,
    runs.c.priority,
    runs.c.turn,
    runs.c.category_id,
    runs.c.triggered_by,
    runs.c.actor,
    runs.c.routing_key,
)


@dataclass
class LetOut:
    """What became of the first in line."""

    released: int = 0
    parked: int = 0
    skipped: int = 0
    killed: list[str] = field(default_factory=list)

    @property
    def moved(self) -> int:
        """How many left the line."""
        return self.released + self.parked + self.skipped


def first_in_line(
    tx: Tx, routing_key: str, waiting: Mapping[int, int], queued: Mapping[int, int], room: int
) -> list[Any]:
    """The runs of a key that are next, locked: by priority, then in turns between categories.

    `waiting` has the best priority of each category that waits, `queued` how many of each are let out
    already (ix_runs_waiting).
    """
    if not waiting:
        return []
    first = sorted(waiting, key=lambda c: (waiting[c], queued.get(c, 0), c))[:MOST_CATEGORIES]
    share = room if len(first) == 1 else min(room, 2 * room // len(first) + 1)
    found = {category_id: _of_category(tx, routing_key, category_id, share) for category_id in first}
    return take_turns(found, queued, room)


def _of_category(tx: Tx, routing_key: str, category_id: int, limit: int) -> list[Any]:
    query = (
        sa.select(*_PLACE)
        .where(
            runs.c.state == State.SCHEDULED,
            runs.c.release_at.is_(None),
            runs.c.routing_key == routing_key,
            runs.c.category_id == category_id,
        )
        .order_by(runs.c.priority, runs.c.turn, runs.c.run_id)
        .limit(limit)
        .with_hint(runs, "FORCE INDEX (ix_runs_waiting)", "mysql")
        .with_for_update(skip_locked=True)
    )
    return list(tx.execute(query).all())


def let_out(tx: Tx, line: Sequence[Any], closed: Closed, now: datetime) -> LetOut:
    """Decide about locked runs in line, all of one transaction, and carry it out."""
    records = jobs.by_ids(tx, {row.job_id for row in line})
    known = limits.all_limits(tx)
    free: list[Any] = []
    needy: list[tuple[Any, Waiting]] = []
    held: list[tuple[Any, Decision]] = []
    for row in line:
        record = records.get(row.job_id)
        stop = _stopped(row, closed)
        asks = _needs(row, record, known)
        if stop is not None:
            held.append((row, Skip(gates.reason_of(stop)) if _is_pointless(row, record) else Park(stop)))
        elif record is not None and asks:
            needy.append((row, Waiting(row.run_id, row.priority, row.turn, asks, record.spec.overlap_rule)))
        else:
            free.append(row)
    decided = held + (_decide(tx, needy, now) if needy else [])
    free += [row for row, decision in decided if isinstance(decision, Go)]
    queue(tx, free, now)
    return _carry_out(tx, decided, now, released=len(free))


def _stopped(row: Any, closed: Closed) -> str | None:
    """By the key of the run: its job may have another one since."""
    return closed.gate(
        job_id=row.job_id,
        category_id=row.category_id,
        routing_key=row.routing_key,
        trigger=gates.trigger_of(row.triggered_by, row.actor),
    )


def _is_pointless(row: Any, record: JobRecord | None) -> bool:
    """Of a run that is to be held: an occurrence, not started yet, of a job that makes up for nothing."""
    if record is None or record.spec.misfire_rule.rule is not Misfire.SKIP:
        return False
    is_by_itself = row.actor is None and row.triggered_by in (Trigger.SCHEDULE, Trigger.CATCH_UP)
    return row.attempt == 1 and is_by_itself


def _needs(row: Any, record: JobRecord | None, known: Mapping[str, Limit]) -> tuple[Need, ...]:
    """A job that is gone, or can't run, waits for nothing: its claim is denied."""
    if record is None or record.problem:
        return ()
    return gates.needs(row.job_id, row.category_id, record.spec, known)


def _decide(tx: Tx, needy: Sequence[tuple[Any, Waiting]], now: datetime) -> list[tuple[Any, Decision]]:
    names = {need.gate for _, waiting in needy for need in waiting.needs}
    known = limits.locked(tx, list(names))
    judge = Gates(known, holding.holds(tx, names), holding.waiting_at(tx, names), now)
    decided = [(row, judge.decide(waiting)) for row, waiting in needy]
    taken = [{"gate": g, "run_id": run_id, "weight": w} for g, run_id, w in judge.taken]
    dialect.insert_new(tx, holds, taken)
    limits.spend(tx, judge.next_at)
    return decided


def _carry_out(tx: Tx, decided: Sequence[tuple[Any, Decision]], now: datetime, *, released: int) -> LetOut:
    done = LetOut(released)
    park(tx, [(_place(row), d) for row, d in decided if isinstance(d, Park)], now)
    for row, decision in decided:
        if isinstance(decision, Skip):
            end_here(tx, [_open(row)], State.SKIPPED, decision.reason, now)
            done.skipped += 1
        elif isinstance(decision, Park):
            done.parked += 1
            _make_way(tx, row.run_id, decision, now, done)
    return done


def _make_way(tx: Tx, run_id: str, decision: Park, now: datetime, done: LetOut) -> None:
    by = f"replaced by run {run_id}"
    for other in decision.kill:
        request_cancel(tx, other, by, now)
        done.killed.append(other)
    if decision.instead_of:
        found = tx.execute(
            sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt)
            .where(runs.c.run_id.in_(sorted(decision.instead_of)), runs.c.state == State.SCHEDULED)
            .order_by(runs.c.run_id)
            .with_for_update()
        ).all()
        end_here(tx, [OpenRun(*row) for row in found], State.SKIPPED, f"overlap: {by}", now)


def _place(row: Any) -> Place:
    return (row.priority, row.turn, row.run_id)


def _open(row: Any) -> OpenRun:
    return OpenRun(row.run_id, row.job_id, row.attempt)


def queue(tx: Tx, rows: Sequence[Any], now: datetime) -> None:
    """Let locked, scheduled runs out."""
    if not rows:
        return
    tx.execute(
        sa.update(runs)
        .where(runs.c.run_id.in_([r.run_id for r in rows]), runs.c.state == State.SCHEDULED)
        .values(state=State.QUEUED, queued_at=now, publish_at=now, release_at=None)
    )
    insert_events(
        tx, [event_row(r.job_id, r.run_id, State.QUEUED, SEQ_QUEUED, now, attempt=r.attempt) for r in rows]
    )


def park(tx: Tx, at_gates: Sequence[tuple[Place, Park]], now: datetime) -> None:
    """Have locked, scheduled runs wait at their gates."""
    rows = [
        {
            "run_id": run_id,
            "gate": to.gate,
            "weight": to.weight,
            "priority": priority,
            "turn": turn,
            "at": now,
        }
        for (priority, turn, run_id), to in at_gates
    ]
    dialect.insert_new(tx, parked, rows)
    ids = [run_id for (*_, run_id), _ in at_gates]
    if ids:
        tx.execute(
            sa.update(runs)
            .where(runs.c.run_id.in_(ids), runs.c.state == State.SCHEDULED)
            .values(release_at=NEVER)
        )

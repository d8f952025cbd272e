"""The line of waiting runs: who is next, who goes, who waits at a gate, and who is set free from one.

The rules are those of domain/gate.py. Every function here runs in the caller's transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain.event import SEQ_QUEUED
from cronq.domain.gate import Closed, Decision, Gates, Go, Hold, Limit, Need, Park, Skip, Waiting
from cronq.domain.misfire import Misfire
from cronq.domain.overlap import Overlap, Rule
from cronq.domain.run import State, Trigger
from cronq.domain.turns import take_turns
from cronq.store import dialect, jobs, limits
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
    runs.c.category_id,
    runs.c.triggered_by,
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
    """The runs of a key that are next, locked: by priority, then in turns between categories, then age.

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
        .order_by(runs.c.priority, runs.c.run_id)
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
            needy.append((row, Waiting(row.run_id, row.priority, asks, record.spec.overlap_rule)))
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
        trigger=row.triggered_by,
    )


def _is_pointless(row: Any, record: JobRecord | None) -> bool:
    """Of a run that is to be held: an occurrence, not started yet, of a job that makes up for nothing."""
    if record is None or record.spec.misfire_rule.rule is not Misfire.SKIP:
        return False
    return row.attempt == 1 and row.triggered_by in (Trigger.SCHEDULE, Trigger.CATCH_UP)


def _needs(row: Any, record: JobRecord | None, known: Mapping[str, Limit]) -> tuple[Need, ...]:
    """A job that is gone, or can't run, waits for nothing: its claim is denied."""
    if record is None or record.problem:
        return ()
    return gates.needs(row.job_id, row.category_id, record.spec, known)


def _decide(tx: Tx, needy: Sequence[tuple[Any, Waiting]], now: datetime) -> list[tuple[Any, Decision]]:
    names = {need.gate for _, waiting in needy for need in waiting.needs}
    known = limits.locked(tx, list(names))
    judge = Gates(known, _holds(tx, names), _parked(tx, names), now)
    decided = [(row, judge.decide(waiting)) for row, waiting in needy]
    taken = [{"gate": g, "run_id": run_id, "weight": w} for g, run_id, w in judge.taken]
    dialect.insert_new(tx, holds, taken)
    limits.spend(tx, judge.next_at)
    return decided


def _holds(tx: Tx, names: Collection[str]) -> dict[str, list[Hold]]:
    """Who has hold of these gates. Of a job's gate that is whoever runs, released by another rule or not."""
    found: dict[str, dict[str, Hold]] = defaultdict(dict)
    query = (
        sa.select(holds.c.gate, holds.c.run_id, runs.c.state, holds.c.weight)
        .join(runs, runs.c.run_id == holds.c.run_id)
        .where(holds.c.gate.in_(sorted(names)))
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


def _parked(tx: Tx, names: Collection[str]) -> dict[str, list[gates.Place]]:
    """Who waits at these gates: of a job's all, of the others the first of each priority (ix_parked_gate)."""
    found: dict[str, list[gates.Place]] = defaultdict(list)
    others = [n for name in names if not name.startswith("job:") for n in (name, gates.rate_of(name))]
    if others:
        query = (
            sa.select(parked.c.gate, parked.c.priority, sa.func.min(parked.c.run_id))
            .where(parked.c.gate.in_(sorted(others)))
            .group_by(parked.c.gate, parked.c.priority)
        )
        for name, priority, run_id in tx.execute(query):
            found[name].append((priority, run_id))
    of_jobs = sorted(name for name in names if name.startswith("job:"))
    if of_jobs:
        waiting = (
            sa.select(parked.c.gate, parked.c.priority, parked.c.run_id)
            .join(runs, runs.c.run_id == parked.c.run_id)
            .where(parked.c.gate.in_(of_jobs), runs.c.state == State.SCHEDULED)
        )
        for name, priority, run_id in tx.execute(waiting):
            found[name].append((priority, run_id))
    return found


def _carry_out(tx: Tx, decided: Sequence[tuple[Any, Decision]], now: datetime, *, released: int) -> LetOut:
    done = LetOut(released)
    park(tx, [(row.run_id, row.priority, d) for row, d in decided if isinstance(d, Park)], now)
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


def park(tx: Tx, at_gates: Sequence[tuple[str, int, Park]], now: datetime) -> None:
    """Have locked, scheduled runs wait at their gates: (run, priority, where)."""
    rows = [
        {"run_id": run_id, "gate": to.gate, "weight": to.weight, "priority": priority, "at": now}
        for run_id, priority, to in at_gates
    ]
    dialect.insert_new(tx, parked, rows)
    ids = [run_id for run_id, _, _ in at_gates]
    if ids:
        tx.execute(
            sa.update(runs)
            .where(runs.c.run_id.in_(ids), runs.c.state == State.SCHEDULED)
            .values(release_at=NEVER)
        )


# -- setting free


def gates_with_waiting(tx: Tx) -> list[str]:
    """Gates where somebody waits (ix_parked_gate)."""
    return list(tx.execute(sa.select(parked.c.gate).group_by(parked.c.gate).limit(limits.MOST)).scalars())


def open_gates(
    tx: Tx, names: Collection[str], closed: Closed, now: datetime, catch_up_rate: int
) -> list[str]:
    """Of these gates those with room. A look without locks.

    `catch_up_rate` is how many occurrences that are late are let out in a second, unless somebody set
    a limit for that.
    """
    known = _paced(limits.all_limits(tx), catch_up_rate)
    return sorted(_with_room(tx, names, known, closed, now))


def _paced(known: Mapping[str, Limit], catch_up_rate: int) -> dict[str, Limit]:
    limit = known.get(gates.CATCH_UP, Limit())
    if limit.rate:
        return dict(known)
    return {**known, gates.CATCH_UP: replace(limit, rate=catch_up_rate, period=timedelta(seconds=1))}


def _with_room(
    tx: Tx, names: Collection[str], known: Mapping[str, Limit], closed: Closed, now: datetime
) -> dict[str, int | None]:
    judge = Gates(known, _holds(tx, names), {}, now)
    rules = _rules(tx, names)
    found: dict[str, int | None] = {}
    for name in names:
        kind = name.partition(":")[0]
        room: int | None
        if kind in ("pause", "window"):
            room = None if closed.is_open(name) else 0
        elif kind == "rate":
            room = _tokens(known.get(name if name == gates.CATCH_UP else name.partition(":")[2]), now)
        else:
            room = judge.room(name, rules[name].capacity if name in rules else None)
        if room is None or room > 0:
            found[name] = room
    return found


def _rules(tx: Tx, names: Iterable[str]) -> dict[str, Overlap]:
    """The overlap rules of jobs, by their gates; a job that is gone lets all go."""
    ids = [int(name[4:]) for name in names if name.startswith("job:")]
    records = jobs.by_ids(tx, ids) if ids else {}
    nothing = Overlap(Rule.ALLOW)
    return {gates.of_job(i): records[i].spec.overlap_rule if i in records else nothing for i in ids}


def _tokens(limit: Limit | None, now: datetime) -> int | None:
    """A rate that nobody set any more lets all go."""
    return gates.tokens(limit, now) if limit is not None and limit.rate else None


def set_free(
    tx: Tx, names: Collection[str], closed: Closed, now: datetime, *, most: int, catch_up_rate: int
) -> int:
    """Put the first of those who wait at gates with room back in line; returns how many.

    They are judged again there, as some other gate may be closed to them. What has ended while it waited
    is forgotten.
    """
    behind = [name.removeprefix("rate:") if name != gates.CATCH_UP else name for name in names]
    mine = limits.locked(tx, sorted({*names, *behind}))
    known = _paced(limits.all_limits(tx) | mine, catch_up_rate)
    count = 0
    for name, room in sorted(_with_room(tx, names, known, closed, now).items()):
        rows = _first_parked(tx, name, most if room is None else min(most, room))
        fit = rows if name.startswith(("pause", "window", "rate")) else rows[: _fitting(rows, room)]
        free = _free(tx, [row.run_id for row in fit])
        if name == gates.CATCH_UP and free:
            limits.spend(tx, {name: gates.after_starts(known[name], free, now)})
        count += free
    return count


def _first_parked(tx: Tx, name: str, limit: int) -> Sequence[Any]:
    return tx.execute(
        sa.select(parked.c.run_id, parked.c.weight)
        .where(parked.c.gate == name)
        .order_by(parked.c.priority, parked.c.run_id)
        .limit(limit)
    ).all()


def _fitting(rows: Sequence[Any], room: int | None) -> int:
    return gates.first_fitting(room, (row.weight for row in rows))


def _free(tx: Tx, run_ids: Sequence[str]) -> int:
    if not run_ids:
        return 0
    waiting = tx.execute(
        sa.update(runs)
        .where(runs.c.run_id.in_(sorted(run_ids)), runs.c.state == State.SCHEDULED)
        .values(release_at=None)
    ).rowcount
    tx.execute(sa.delete(parked).where(parked.c.run_id.in_(sorted(run_ids))))
    return waiting


def forget_ended(tx: Tx, limit: int) -> int:
    """Holds of runs that have ended count for nothing; delete some. Returns how many."""
    over = [s for s in State if s not in (*limits.HOLDING, State.SCHEDULED)]
    found = tx.execute(
        sa.select(holds.c.gate, holds.c.run_id)
        .join(runs, runs.c.run_id == holds.c.run_id)
        .where(runs.c.state.in_(over))
        .limit(limit)
    ).all()
    for run_id in sorted({row.run_id for row in found}):
        tx.execute(sa.delete(holds).where(holds.c.run_id == run_id))
    return len(found)

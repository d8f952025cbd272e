"""What runs that have not started wait for: reads alone, each bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from cronq.domain import waiting
from cronq.domain.run import WAITING, State
from cronq.domain.turns import take_turns
from cronq.domain.waiting import Known, Pause, Wait
from cronq.store import doorbells, jobs, limits
from cronq.store.engine import Tx
from cronq.store.line import NEVER
from cronq.store.tables import categories, holds, parked, pauses, runs

# More that wait are not counted, and have no position.
MOST_COUNTED = 10_000
MOST_IN_LINE = 5_000
MOST_HOLDERS = 20

Row = Any  # of the ledger


def of_run(tx: Tx, run: Row) -> Wait | None:
    """What a run waits for, with its position and who is in the way; None: it does not wait."""
    if run["state"] not in WAITING:
        return None
    if run["state"] == State.QUEUED:
        return _at_queue(tx, run)
    if run["release_at"] is None:
        return _in_line(tx, run)
    if run["release_at"] != NEVER:
        return _for_time(run)
    return _parked(tx, run)


def in_short(tx: Tx, found: Collection[Row]) -> dict[str, str]:
    """Of those runs that wait what they wait for, in words."""
    of_gates = _places(tx, [r["run_id"] for r in found if _is_parked(r)])
    known = _known(tx, {place.gate for place in of_gates.values()})
    words: dict[str, str] = {}
    for run in found:
        place = of_gates.get(run["run_id"])
        if place is not None:
            words[run["run_id"]] = waiting.at_gate(place.gate, known, place.weight)
        elif run["state"] in WAITING:
            words[run["run_id"]] = _unparked(run).what
    return words


def _is_parked(run: Row) -> bool:
    return bool(run["state"] == State.SCHEDULED and run["release_at"] == NEVER)


def _unparked(run: Row) -> Wait:
    if run["state"] == State.QUEUED:
        is_published = run["published_at"] is not None
        what = waiting.at_queue(run["routing_key"], is_published=is_published, reason=run["reason"])
        return Wait(what, since=run["queued_at"])
    if run["release_at"] is not None and run["release_at"] != NEVER:
        return _for_time(run)
    # Since when a later attempt stands in line nobody noted.
    return Wait(waiting.in_line(run["routing_key"]), since=None if run["retries"] else run["created_at"])


def _for_time(run: Row) -> Wait:
    what = waiting.for_time(run["release_at"], attempt=run["attempt"], is_retry=run["retries"] > 0)
    return Wait(what, until=run["release_at"])


# -- in line, and let out


def _in_line(tx: Tx, run: Row) -> Wait:
    """Its place is the one in which the injector takes them: by priority, then in turns (ix_runs_waiting)."""
    key = run["routing_key"]
    found = _of_key(tx, State.SCHEDULED, key)
    bare = _unparked(run)
    if len(found) > MOST_IN_LINE:
        return Wait(bare.what, of=MOST_IN_LINE, since=bare.since)
    line: dict[int, list[Any]] = defaultdict(list)
    for each in sorted(found, key=lambda r: (r.priority, r.turn, r.run_id)):
        line[each.category_id].append(each)
    ordered = take_turns(line, doorbells.queued_counts(tx).get(key, {}), len(found))
    return Wait(bare.what, None, _place(ordered, run["run_id"]), len(ordered), since=bare.since)


def _at_queue(tx: Tx, run: Row) -> Wait:
    found = _of_key(tx, State.QUEUED, run["routing_key"])
    bare = _unparked(run)
    if len(found) > MOST_IN_LINE:
        return Wait(bare.what, of=MOST_IN_LINE, since=bare.since)
    ordered = sorted(found, key=lambda r: (r.priority, r.turn, r.run_id))
    return Wait(bare.what, None, _place(ordered, run["run_id"]), len(ordered), since=bare.since)


def _of_key(tx: Tx, state: State, routing_key: str) -> Sequence[Any]:
    query = (
        sa.select(runs.c.category_id, runs.c.priority, runs.c.turn, runs.c.run_id)
        .where(runs.c.state == state, runs.c.release_at.is_(None), runs.c.routing_key == routing_key)
        .limit(MOST_IN_LINE + 1)
        .with_hint(runs, "FORCE INDEX (ix_runs_waiting)", "mysql")
    )
    return tx.execute(query).all()


def _place(ordered: Sequence[Any], run_id: str) -> int | None:
    return next((n for n, each in enumerate(ordered, 1) if each.run_id == run_id), None)


# -- at a gate


def _parked(tx: Tx, run: Row) -> Wait:
    place = _places(tx, [run["run_id"]]).get(run["run_id"])
    if place is None:
        return _unparked(run)
    known = _known(tx, {place.gate})
    pause = known.pauses.get(place.gate.removeprefix("pause:"))
    return Wait(
        waiting.at_gate(place.gate, known, place.weight),
        place.gate,
        count_parked(tx, place.gate, before=place) + 1,
        count_parked(tx, place.gate),
        _in_the_way(tx, place.gate, run["run_id"]),
        place.at,
        pause.until if pause else None,
    )


def _places(tx: Tx, run_ids: Collection[str]) -> dict[str, Any]:
    if not run_ids:
        return {}
    found = tx.execute(sa.select(parked).where(parked.c.run_id.in_(sorted(run_ids))))
    return {row.run_id: row for row in found}


def count_parked(tx: Tx, gate: str, before: Any = None) -> int:
    """How many wait at a gate, those alone that do still wait (ix_parked_gate)."""
    query = (
        sa.select(parked.c.run_id)
        .join(runs, runs.c.run_id == parked.c.run_id)
        .where(parked.c.gate == gate, runs.c.state == State.SCHEDULED)
        .limit(MOST_COUNTED)
        .with_hint(parked, "FORCE INDEX (ix_parked_gate)", "mysql")
    )
    if before is not None:
        is_older = (parked.c.turn == before.turn) & (parked.c.run_id < before.run_id)
        is_before = (parked.c.turn < before.turn) | is_older
        is_alike = parked.c.priority == before.priority
        query = query.where((parked.c.priority < before.priority) | (is_alike & is_before))
    return int(tx.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())


def _in_the_way(tx: Tx, gate: str, run_id: str) -> tuple[str, ...]:
    """Some of the runs that hold a gate, the oldest first."""
    kind, _, name = gate.partition(":")
    if kind not in ("job", "category", "queue", "lock"):
        return ()
    # Of a job's gate also one that waits for another attempt.
    states = (*limits.HOLDING, State.SCHEDULED) if kind == "job" else limits.HOLDING
    holding = (
        sa.select(holds.c.run_id)
        .join(runs, runs.c.run_id == holds.c.run_id)
        .where(holds.c.gate == gate, holds.c.run_id != run_id, runs.c.state.in_(states))
        .order_by(holds.c.run_id)
        .limit(MOST_HOLDERS)
    )
    found = set(tx.execute(holding).scalars())
    if kind == "job":
        under_way = (
            sa.select(runs.c.run_id)
            .where(runs.c.job_id == int(name), runs.c.state.in_(limits.HOLDING))
            .order_by(runs.c.run_id)
            .limit(MOST_HOLDERS)
            .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
        )
        found.update(tx.execute(under_way).scalars())
    return tuple(sorted(found)[:MOST_HOLDERS])


def _known(tx: Tx, of_gates: Collection[str]) -> Known:
    """What is to be said of these gates."""
    if not of_gates:
        return Known()
    subjects = {g.partition(":")[2] for g in of_gates if g.startswith("pause:")}
    names = {*of_gates} | subjects | {g.removeprefix("rate:") for g in of_gates}
    category_ids = {int(n[9:]) for n in names if n.startswith("category:")}
    job_ids = {int(n[4:]) for n in names if n.startswith("job:")}
    return Known(
        limits.all_limits(tx),
        _pauses(tx, subjects),
        _names(tx, category_ids),
        {i: record.spec.overlap for i, record in jobs.by_ids(tx, job_ids).items()} if job_ids else {},
    )


def _pauses(tx: Tx, subjects: Collection[str]) -> dict[str, Pause]:
    if not subjects:
        return {}
    found = tx.execute(sa.select(pauses).where(pauses.c.subject.in_(sorted(subjects))))
    return {row.subject: Pause(row.since, row.until, row.actor, row.reason) for row in found}


def _names(tx: Tx, category_ids: Collection[int]) -> dict[int, str]:
    if not category_ids:
        return {}
    query = sa.select(categories.c.id, categories.c.name).where(categories.c.id.in_(sorted(category_ids)))
    return {row.id: row.name or "" for row in tx.execute(query)}

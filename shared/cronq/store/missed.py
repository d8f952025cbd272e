"""The outage board's reads: occurrences that were missed or are held back, since an instant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain import ids
from cronq.domain.missed import MOST, ORDERED, SHOWN, Action, Standing, Which
from cronq.domain.run import Kind, State
from cronq.store.columns import Instant
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import jobs, parked, runs

# Jobs that the head of a list counts one by one.
MOST_JOBS = 1_000
SHOWN_COLUMNS = (
    "run_id", "job_id", "kind", "scheduled_for", "last_scheduled_for", "missed_count", "state", "reason",
    "triggered_by", "actor", "priority", "attempt", "revision", "needs_decision", "created_at", "release_at",
)  # fmt: skip
_ENDS_AT = sa.func.coalesce(runs.c.last_scheduled_for, runs.c.scheduled_for)
_STATES = {
    Standing.MISSED: State.MISSED,
    Standing.EXPIRED: State.EXPIRED,
    Standing.SKIPPED: State.SKIPPED,
    Standing.LOST: State.LOST,
}

Row = dict[str, Any]
Narrow = Callable[[sa.Select[Any]], sa.Select[Any]]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Slots with an occurrence in [since, until), of all jobs or some; `until` None: no end."""

    since: datetime
    until: datetime | None = None
    job_id: int | None = None
    category_id: int | None = None
    standings: frozenset[Standing] = SHOWN


def listed(tx: Tx, scope: Scope, *, before: str | None = None, limit: int = 50) -> list[Row]:
    """Rows with the `gate` that each is held at, the newest first.

    `before` is the run id that the page before ended with.
    """

    def page(query: sa.Select[Any]) -> sa.Select[Any]:
        older = query if before is None else query.where(runs.c.run_id < before)
        return older.order_by(runs.c.run_id.desc()).limit(limit)

    columns = [runs.c[name] for name in SHOWN_COLUMNS]
    found = _union(scope, columns, page)
    query = sa.select(found).order_by(found.c.run_id.desc()).limit(limit)
    return [dict(row) for row in tx.execute(query).mappings()]


def by_job(tx: Tx, scope: Scope) -> list[Row]:
    """How many occurrences of each job stand how, in id order: job_id, standing, count, first, last."""
    count = sa.func.coalesce(runs.c.missed_count, 1).label("occurrences")
    found = _union(scope, [runs.c.job_id, runs.c.scheduled_for, _ENDS_AT.label("ends_at"), count])
    query = (
        sa.select(
            found.c.job_id,
            found.c.standing,
            sa.func.sum(found.c.occurrences).label("count"),
            sa.func.min(found.c.scheduled_for, type_=Instant()).label("first"),
            sa.func.max(found.c.ends_at, type_=Instant()).label("last"),
        )
        .group_by(found.c.job_id, found.c.standing)
        .order_by(found.c.job_id, found.c.standing)
        .limit(MOST_JOBS * len(Standing))
    )
    return [dict(row) for row in tx.execute(query).mappings()]


def standing(row: Row) -> Standing | None:
    """How a row with its `gate` stands on the board; None: it is not there."""
    state = State(row["state"])
    if state is State.SCHEDULED:
        return Standing.HELD if row["gate"] is not None and _holds(row["gate"]) else None
    if state is State.LOST and not row["needs_decision"]:
        return None
    return next((word for word, of_it in _STATES.items() if of_it is state), None)


def refusal(row: Row, job: JobRecord | None, action: Action = Action.RUN) -> str | None:
    """Why nothing can be done about a row that is on the board; None: it can."""
    if row["state"] == State.LOST:
        return "it may have run: decide about it with `cronq decide`"
    if action is Action.SKIP:
        return None
    if action is Action.RUN and row["gate"] is not None and _is_firm(row["gate"]):
        return f"it waits for {row['gate']}, which nobody passes"
    return _unfit(job)


def _unfit(job: JobRecord | None) -> str | None:
    if job is None or job.removed_at is not None:
        return "its job was removed"
    if job.problem:
        return f"its job can't run: {job.problem}"
    return None if job.spec.enabled else "its job is disabled"


def _holds(gate: str) -> bool:
    return gate == gates.CATCH_UP or gate.startswith(("pause:", "window:"))


def _is_firm(gate: str) -> bool:
    """What a person asks for passes pauses of jobs, but neither of a queue nor a window (see domain/gate)."""
    return gate.startswith((gates.pause_of(gates.of_queue("")), "window:"))


# -- what an order is about


def orderable(tx: Tx, scope: Scope, action: Action, which: Which) -> list[str]:
    """Run ids that an order may be about, one more than MOST where there are as many; none is locked.

    All: the oldest first. Latest: of each job the newest, unless a person did something about it, or
    about a later one, before: so the same order twice is one.
    """
    if which is Which.ALL:
        found = _orderable(scope, action, lambda query: query.order_by(runs.c.run_id).limit(MOST + 1))
        query = sa.select(found.c.run_id).order_by(found.c.run_id).limit(MOST + 1)
        return list(tx.execute(query).scalars())
    return list(tx.execute(_newest(scope, action)).scalars())


def left(tx: Tx, scope: Scope, action: Action) -> int:
    """How many rows an order about all of it would still find."""
    found = _orderable(scope, action)
    return int(tx.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())


def _newest(scope: Scope, action: Action) -> sa.Select[Any]:
    rows = _orderable(scope, action)
    newest = (
        sa.select(rows.c.job_id, sa.func.max(rows.c.ends_at).label("ends_at"))
        .group_by(rows.c.job_id)
        .order_by(rows.c.job_id)
        .limit(MOST + 1)
        .subquery()
    )
    again, later = _orderable(scope, action), runs.alias("later")
    touched = sa.exists().where(
        later.c.job_id == again.c.job_id,
        later.c.kind == Kind.SLOT,
        later.c.scheduled_for > again.c.ends_at,
        later.c.actor.is_not(None),
        *([later.c.scheduled_for < scope.until] if scope.until else []),
    )
    is_newest = (again.c.job_id == newest.c.job_id) & (again.c.ends_at == newest.c.ends_at)
    return sa.select(again.c.run_id).join(newest, is_newest).where(~touched).order_by(again.c.run_id)


def _orderable(scope: Scope, action: Action, narrow: Narrow = lambda query: query) -> sa.Subquery:
    """run_id, job_id and `ends_at`, the last instant in the scope, of rows that are not refused."""
    ends_at: sa.ColumnElement[Any] = _ENDS_AT
    if scope.until is not None:
        until = sa.literal(scope.until, Instant())
        ends_at = sa.case((until <= _ENDS_AT, until), else_=_ENDS_AT)
    standings = scope.standings & (ORDERED | {Standing.SKIPPED})

    def allowed(query: sa.Select[Any]) -> sa.Select[Any]:
        if action is Action.SKIP:
            return narrow(query)
        on = sa.select(jobs.c.id).where(jobs.c.removed_at.is_(None), jobs.c.enabled)
        return narrow(query.where(runs.c.job_id.in_(on)))

    columns = [runs.c.run_id, runs.c.job_id, ends_at.label("ends_at")]
    return _union(scope, columns, allowed, standings=standings, passable=action is Action.RUN)


def with_gates(tx: Tx, run_ids: Collection[str], *, lock: bool = False) -> list[Row]:
    """These runs with the `gate` that each is parked at, in id order."""
    columns = [runs.c[name] for name in SHOWN_COLUMNS]
    query = sa.select(*columns).where(runs.c.run_id.in_(sorted(run_ids))).order_by(runs.c.run_id)
    found = [dict(row) for row in tx.execute(query.with_for_update() if lock else query).mappings()]
    at = sa.select(parked.c.run_id, parked.c.gate).where(parked.c.run_id.in_(sorted(run_ids)))
    gate_of = {row.run_id: row.gate for row in tx.execute(at)}
    return [{**row, "gate": gate_of.get(row["run_id"])} for row in found]


# -- one range of an index for each way to stand


def _union(
    scope: Scope,
    columns: Iterable[sa.ColumnElement[Any]],
    narrow: Narrow = lambda query: query,
    *,
    standings: Collection[Standing] | None = None,
    passable: bool = False,
) -> sa.Subquery:
    wanted = sorted(scope.standings if standings is None else standings)
    picked = list(columns)
    parts = [
        sa.select(narrow(_in_scope(scope, _of_standing(each, scope, picked, passable=passable))).subquery())
        for each in wanted
    ]
    return sa.union_all(*parts).subquery()


def _of_standing(
    word: Standing, scope: Scope, columns: list[sa.ColumnElement[Any]], *, passable: bool
) -> sa.Select[Any]:
    """Indexes: ix_runs_state or ix_runs_job_state; of those held ix_parked_gate."""
    named = sa.literal(str(word)).label("standing")
    if word is Standing.HELD:
        names = parked.c.gate
        at = (names == gates.CATCH_UP) | names.like("pause:%") | names.like("window:%")
        query = sa.select(*columns, parked.c.gate.label("gate"), named).join(
            parked, parked.c.run_id == runs.c.run_id
        )
        query = query.where(at, runs.c.state == State.SCHEDULED)
        firm = names.like("window:%") | names.like("pause:queue:%")
        return query.where(~firm) if passable else query
    index = "ix_runs_state" if scope.job_id is None else "ix_runs_job_state"
    query = (
        sa.select(*columns, sa.null().label("gate"), named)
        .where(runs.c.state == _STATES[word])
        .with_hint(runs, f"FORCE INDEX ({index})", "mysql")
    )
    return query.where(runs.c.needs_decision) if word is Standing.LOST else query


def _in_scope(scope: Scope, query: sa.Select[Any]) -> sa.Select[Any]:
    """No row is made before its instant, so the ids of those that are wanted are a range too."""
    query = query.where(
        runs.c.kind == Kind.SLOT,
        scope.since <= _ENDS_AT,
        runs.c.run_id >= ids.before(max(scope.since, ids.EPOCH)),
    )
    if scope.until is not None:
        query = query.where(runs.c.scheduled_for < scope.until)
    if scope.job_id is not None:
        query = query.where(runs.c.job_id == scope.job_id)
    if scope.category_id is not None:
        of_it = sa.select(jobs.c.id).where(jobs.c.category_id == scope.category_id)
        query = query.where(runs.c.job_id.in_(of_it))
    return query

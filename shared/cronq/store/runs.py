"""The ledger: inserting runs, ending them, and reading them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from cronq.domain import ids
from cronq.domain.event import SEQ_ENDED_HERE, SEQ_QUEUED
from cronq.domain.run import LIVE, WAITING, Kind, State
from cronq.store import dialect, followed
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.tables import deadlines, events, jobs, parked, runs

# A run that was claimed in time is looked at again after this long: it may have been given back.
LOOK_AGAIN = timedelta(minutes=1)


def insert(tx: Tx, rows: Sequence[dict[str, object]], now: datetime) -> frozenset[str]:
    """Insert runs (see `new_row`) and the events of those that are queued at once.

    An occurrence that has its row already keeps that row. Returns the ids of the waiting runs that
    are new indeed.
    """
    dialect.insert_new(tx, runs, rows)
    fresh = _found(tx, [str(r["run_id"]) for r in rows if r["state"] in WAITING])
    insert_events(
        tx,
        [
            event_row(r["job_id"], r["run_id"], r["state"], SEQ_QUEUED, now)
            for r in rows
            if r["state"] == State.QUEUED and r["run_id"] in fresh
        ],
    )
    limited = [r for r in rows if r["expires_at"] is not None and r["run_id"] in fresh]
    dialect.insert_new(tx, deadlines, [{n: r[n] for n in ("run_id", "expires_at")} for r in limited])
    followed.note_new(tx, rows)
    return fresh


def _found(tx: Tx, run_ids: Sequence[str]) -> frozenset[str]:
    """Nearly always all of them, which the database counts in no time; else they are read one by one."""
    if not run_ids or tx.execute(_COUNT, {"ids": run_ids}).scalar_one() == len(run_ids):
        return frozenset(run_ids)
    return frozenset(tx.execute(sa.select(runs.c.run_id).where(runs.c.run_id.in_(run_ids))).scalars())


_COUNT = (
    sa.select(sa.func.count()).select_from(runs).where(runs.c.run_id.in_(sa.bindparam("ids", expanding=True)))
)


def new_row(
    run_id: str,
    job_id: int,
    *,
    kind: str,
    scheduled_for: datetime,
    triggered_by: str,
    state: str,
    routing_key: str,
    now: datetime,
    request: str = "",
    reason: str | None = None,
    actor: str | None = None,
    revision: int | None = None,
    publish_at: datetime | None = None,
    last_scheduled_for: datetime | None = None,
    missed_count: int | None = None,
    category_id: int | None = None,
    priority: int = 0,
    release_at: datetime | None = None,
    expires_at: datetime | None = None,
    caused_by: str | None = None,
) -> dict[str, object]:
    """A run's row at its making; `publish_at` is set exactly when its state is queued."""
    ended = state not in WAITING
    return {
        "run_id": run_id,
        "job_id": job_id,
        "kind": kind,
        "scheduled_for": scheduled_for,
        "request": request,
        "triggered_by": triggered_by,
        "actor": actor,
        "state": state,
        "reason": reason,
        "attempt": 1,
        "routing_key": routing_key,
        "priority": priority,
        "category_id": category_id or 0,
        "created_at": now,
        "queued_at": now if state == State.QUEUED else None,
        "publish_at": publish_at,
        "publishes": 0,
        "recorded_at": now if ended else None,
        "revision": revision,
        "recovered": 0,
        "retries": 0,
        "output_bytes": 0,
        "last_scheduled_for": last_scheduled_for,
        "missed_count": missed_count,
        "release_at": None if ended else release_at,
        "expires_at": None if ended else expires_at,
        "caused_by": caused_by,
        "turn": ids.turn(run_id),
    }


def supersede(tx: Tx, job_ids: Collection[int], now: datetime, *, newer: Collection[str] = ()) -> int:
    """Runs of these jobs' slots that nobody has claimed become missed, but for the `newer` ones.

    Returns how many.

    So an outage of the runners does not leave a copy per occurrence to run. A retry is no such copy:
    it makes up for a start that did not end well. Nor is one that a person let out, knowing its age.
    Rows that a claim holds at this moment are being claimed: they are passed over, not waited for.
    """
    if not job_ids:
        return 0
    query = (
        sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt, runs.c.turn)
        .where(
            runs.c.job_id.in_(sorted(job_ids)),
            runs.c.state.in_(WAITING),
            runs.c.kind == Kind.SLOT,
            runs.c.retries == 0,
            runs.c.actor.is_(None),
        )
        .order_by(runs.c.run_id)
        .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
        .with_for_update(skip_locked=True)
    )
    if newer:
        query = query.where(runs.c.run_id.not_in(newer))
    older = tx.execute(query).all()
    end_here(tx, [OpenRun(*row[:3]) for row in older], State.MISSED, "superseded", now)
    if older and newer:
        _hand_over(tx, older, newer)
    return len(older)


def _hand_over(tx: Tx, older: Sequence[Any], newer: Collection[str]) -> None:
    """A run has the turn of the one that it replaces: else one that waits for longer than its job's period
    would always be replaced by one that waits from the end of the line."""
    turns: dict[int, int] = {}
    for row in older:
        turns[row.job_id] = min(row.turn, turns.get(row.job_id, row.turn))
    heirs = tx.execute(
        sa.select(runs.c.run_id, runs.c.job_id).where(
            runs.c.run_id.in_(sorted(newer)),
            runs.c.job_id.in_(sorted(turns)),
            runs.c.state == State.SCHEDULED,
        )
    )
    rows = [{"run_id": run_id, "turn": turns[job_id]} for run_id, job_id in sorted(heirs.all())]
    for table in (runs, parked):
        dialect.update_rows(tx, table, rows, keys=("run_id",))


class OpenRun(NamedTuple):
    """A locked run that has not ended."""

    run_id: str
    job_id: int
    attempt: int


def end_here(tx: Tx, found: Sequence[OpenRun], state: State, reason: str | None, now: datetime) -> None:
    """End locked runs by the database's own decision; they wait at no gate any more."""
    if not found:
        return
    ids = [r.run_id for r in found]
    tx.execute(
        sa.update(runs)
        .where(runs.c.run_id.in_(ids))
        .values(
            state=state,
            reason=reason,
            recorded_at=now,
            publish_at=None,
            lease_until=None,
            asked_at=None,
        )
    )
    # A long pause supersedes a run for each occurrence: those would be in the way of who is set free.
    tx.execute(sa.delete(parked).where(parked.c.run_id.in_(ids)))
    insert_events(
        tx,
        [event_row(r.job_id, r.run_id, state, SEQ_ENDED_HERE, now, attempt=r.attempt) for r in found],
    )


def expire(tx: Tx, now: datetime, limit: int) -> int:
    """Runs that nobody claimed before their `start_deadline` never start (ix_deadlines_expires)."""
    due = tx.execute(
        sa.select(deadlines.c.run_id)
        .where(deadlines.c.expires_at < now)
        .order_by(deadlines.c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).scalars()
    ids = sorted(due)
    if not ids:
        return 0
    found = tx.execute(
        sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt)
        .where(runs.c.run_id.in_(ids), runs.c.state.in_(WAITING), runs.c.retries == 0)
        .order_by(runs.c.run_id)
        .with_for_update()
    ).all()
    end_here(tx, [OpenRun(*row) for row in found], State.EXPIRED, "deadline", now)
    # What is claimed may be given back unstarted, and then is too late all the same.
    claimed = sa.select(runs.c.run_id).where(runs.c.run_id.in_(ids), runs.c.state == State.CLAIMED)
    later = sorted(tx.execute(claimed).scalars())
    if later:
        tx.execute(
            sa.update(deadlines).where(deadlines.c.run_id.in_(later)).values(expires_at=now + LOOK_AGAIN)
        )
    tx.execute(sa.delete(deadlines).where(deadlines.c.run_id.in_(sorted({*ids} - {*later}))))
    return len(found)


# -- orders


def request_cancel(tx: Tx, run_id: str, by: str, now: datetime) -> State | None:
    """Cancel a waiting run at once, ask for a live one to be killed.

    Returns the state it was in (an ended run is left alone), None when there is no such run.
    """
    row = tx.execute(
        sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt, runs.c.state)
        .where(runs.c.run_id == run_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    if row.state in WAITING:
        end_here(tx, [OpenRun(*row[:3])], State.CANCELLED, f"cancelled_by {by}"[:255], now)
    elif row.state in LIVE:
        tx.execute(
            sa.update(runs)
            .where(runs.c.run_id == run_id, runs.c.cancel_requested_at.is_(None))
            .values(cancel_requested_at=now, cancelled_by=by[:255])
        )
    return State(row.state)


def cancel_waiting(tx: Tx, job_ids: Collection[int], reason: str, now: datetime) -> None:
    """Cancel every run of these jobs that nobody has claimed."""
    found = tx.execute(
        sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt)
        .where(runs.c.job_id.in_(sorted(job_ids)), runs.c.state.in_(WAITING))
        .order_by(runs.c.run_id)
        .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
        .with_for_update()
    ).all()
    end_here(tx, [OpenRun(*row) for row in found], State.CANCELLED, reason, now)


class Kill(NamedTuple):
    """A live run that somebody cancelled."""

    run_id: str
    attempt: int
    runner: str | None
    cancelled_by: str | None


def kills_wanted(tx: Tx, limit: int) -> list[Kill]:
    """Live runs that somebody cancelled (ix_runs_state)."""
    query = (
        sa.select(runs.c.run_id, runs.c.attempt, runs.c.runner, runs.c.cancelled_by)
        .where(runs.c.state.in_(LIVE), runs.c.cancel_requested_at.is_not(None))
        .limit(limit)
    )
    return [Kill(*row) for row in tx.execute(query)]


# -- reading


def by_id(tx: Tx, run_id: str, *, lock: bool = False) -> dict[str, Any] | None:
    query = sa.select(runs).where(runs.c.run_id == run_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else dict(row)


def listed(
    tx: Tx,
    *,
    job_id: int | None = None,
    category_id: int | None = None,
    states: Collection[State] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Runs, the newest first; `before` is the run id that the page before ended with."""
    query = sa.select(runs)
    if job_id is not None:
        query = query.where(runs.c.job_id == job_id)
    if category_id is not None:
        query = query.join(jobs, jobs.c.id == runs.c.job_id).where(jobs.c.category_id == category_id)
    if states:
        query = query.where(runs.c.state.in_(states))
    if since is not None:
        query = query.where(runs.c.scheduled_for >= since)
    if until is not None:
        query = query.where(runs.c.scheduled_for < until)
    if before is not None:
        query = query.where(runs.c.run_id < before)
    found = tx.execute(query.order_by(runs.c.run_id.desc()).limit(limit))
    return [dict(row) for row in found.mappings()]


def latest_of_jobs(tx: Tx, job_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """The newest run of each job that has one (ix_runs_job)."""
    newest = (
        sa.select(sa.func.max(runs.c.run_id))
        .where(runs.c.job_id.in_(sorted(job_ids)))
        .group_by(runs.c.job_id)
    )
    found = tx.execute(sa.select(runs).where(runs.c.run_id.in_(newest)))
    return {row["job_id"]: dict(row) for row in found.mappings()}


class Late(NamedTuple):
    """Runs of one routing key that wait."""

    routing_key: str
    waiting: int
    oldest: datetime


def late(tx: Tx, before: datetime) -> list[Late]:
    """Per routing key, runs made before an instant and not claimed yet (ix_runs_waiting, nothing else)."""
    found = tx.execute(
        sa.select(runs.c.routing_key, sa.func.count(), sa.func.min(runs.c.run_id))
        .where(
            runs.c.state.in_(WAITING),
            runs.c.release_at.is_(None),
            runs.c.run_id < ids.before(before),
            runs.c.retries == 0,  # the age of those says nothing
        )
        .group_by(runs.c.routing_key)
    )
    return [Late(key, count, ids.made_at(run_id)) for key, count, run_id in found]


def events_of(tx: Tx, run_id: str) -> list[dict[str, Any]]:
    """A run's events in the order they were recorded, at most 1,000."""
    found = tx.execute(sa.select(events).where(events.c.run_id == run_id).order_by(events.c.id).limit(1000))
    return [dict(row) for row in found.mappings()]

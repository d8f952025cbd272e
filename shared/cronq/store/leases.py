"""How long a silent runner is believed alive: heartbeats, boot reports, and the reaper's two steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain.event import SEQ_ENDED_HERE, Boot, EventType, Heartbeat, RunEvent
from cronq.domain.run import LIVE, State, loss
from cronq.store import changes, dialect
from cronq.store.changes import Losses
from cronq.store.engine import Tx
from cronq.store.events import OWNER, event_row, insert_events
from cronq.store.tables import runners, runs

# How far a runner's clock may be off before its journal's beginning proves nothing.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Question:
    """What the reaper wants to know, and the control key of the runner that may know it."""

    run_id: str
    attempt: int
    control_key: str


def beat(tx: Tx, beats: Sequence[Heartbeat], now: datetime, lease_until: datetime) -> None:
    """Note the runners, and extend the lease of each attempt that they list."""
    _upsert(tx, list({b.runner: b for b in beats}.values()), now)
    # By lineage, in case that two runners were given one name.
    latest = {b.lineage: b for b in beats}
    live = {
        (run_id, attempt): {
            "run_id": run_id,
            "attempt": attempt,
            "lineage": b.lineage,
            "lease_until": lease_until,
            "asked_at": None,
        }
        for b in latest.values()
        for run_id, attempt in b.live
    }
    rows = [live[key] for key in sorted(live)]
    guard = "t.state IN ('claimed', 'running')"
    dialect.update_rows(tx, runs, rows, keys=("run_id", "attempt", "lineage"), where=guard)


def _upsert(tx: Tx, beats: Sequence[Heartbeat], now: datetime) -> None:
    rows = [
        {
            "name": b.runner,
            "lineage": b.lineage,
            "instance": b.instance,
            "host": b.host,
            "pid": b.pid,
            "version": b.version,
            "queues": json.dumps(list(b.queues)),
            "slots": b.slots,
            "running": len(b.live),
            "draining": int(b.draining),
            "control_key": b.control_key,
            "heartbeat_at": now,
            "clock_skew_s": (b.at - now).total_seconds(),
        }
        for b in sorted(beats, key=lambda b: b.runner)
    ]
    dialect.insert_new(tx, runners, [r | {"started_at": now} for r in rows])
    dialect.update_rows(tx, runners, rows, keys=("name",))


@dataclass(frozen=True)
class BootReport:
    """What a boot settled: attempts adopted, and events that prove that others never started."""

    adopted: int
    not_started: tuple[RunEvent, ...]


def boot(tx: Tx, report: Boot, now: datetime, lease_until: datetime) -> BootReport:
    """A runner's process began: its lineage's live attempts are now this instance's.

    What was granted to an earlier instance in the time that the journal covers, and has no trace in
    it, was never started and never will be: the folder's lock shows that the earlier process is
    gone, and only the instance that was granted may start.
    """
    mine = report.heartbeat
    _upsert(tx, [mine], now)
    tx.execute(sa.update(runners).where(runners.c.name == mine.runner).values(started_at=now))
    live, known = set(mine.live), set(report.known)
    rows = _owned(tx, mine.lineage)
    adopted = [r for r in rows if (r["run_id"], r["attempt"]) in live]
    changed = [
        {"run_id": r["run_id"], "instance": mine.instance, "lease_until": lease_until, "asked_at": None}
        for r in adopted
    ]
    dialect.update_rows(tx, runs, changed, keys=("run_id",))
    _doubt(tx, [r["run_id"] for r in rows if (r["run_id"], r["attempt"]) in known - live], now)
    unknown = [
        _not_started(r, mine)
        for r in rows
        if (r["run_id"], r["attempt"]) not in known | live
        and r["instance"] < mine.instance  # they ascend: this report may come after its successor's claims
        and r["state"] == State.CLAIMED
        and _covers(report, r["claimed_at"], now)
    ]
    return BootReport(len(adopted), tuple(unknown))


def _doubt(tx: Tx, run_ids: Sequence[str], now: datetime) -> None:
    """These have ended. If that was told, and the message lost since, the reaper asks for it soon."""
    rows = [{"run_id": run_id, "lease_until": now, "asked_at": None} for run_id in run_ids]
    dialect.update_rows(tx, runs, rows, keys=("run_id",))


def _covers(report: Boot, claimed_at: datetime, now: datetime) -> bool:
    if report.journal_complete:
        return True
    if report.journal_since is None:
        return False
    slow = max(now - report.heartbeat.at, timedelta(0))  # how far the runner's clock is behind
    return claimed_at > report.journal_since + SKEW + slow


def _owned(tx: Tx, lineage: str) -> list[dict[str, Any]]:
    columns = ("run_id", "job_id", "attempt", "state", "instance", "claimed_at")
    found = tx.execute(
        sa.select(*(runs.c[c] for c in columns))
        .where(runs.c.state.in_(LIVE), runs.c.lineage == lineage)
        .order_by(runs.c.run_id)
        .with_for_update()
    )
    return [dict(row) for row in found.mappings()]


def _not_started(row: dict[str, Any], mine: Heartbeat) -> RunEvent:
    return RunEvent(
        EventType.NOT_STARTED,
        row["run_id"],
        row["job_id"],
        mine.at,
        attempt=row["attempt"],
        runner=mine.runner,
        lineage=mine.lineage,
        instance=mine.instance,
        host=mine.host,
        reason="the runner restarted before it started the run",
    )


# -- the reaper


def ask_expired(
    tx: Tx, now: datetime, answer_by: datetime, limit: int, *, heard_since: datetime | None = None
) -> list[Question]:
    """Leases that ran out and whose runner was not asked yet: note the asking (ix_runs_lease).

    What was asked before `heard_since` could not be answered then, and is asked again.
    """
    found = _expired(tx, now, runs.c.asked_at.is_(None), limit, (runs.c.lease_until,))
    if heard_since is not None and len(found) < limit:
        found += expired_again(tx, now, heard_since, limit - len(found))
    if not found:
        return []
    tx.execute(
        sa.update(runs)
        .where(runs.c.run_id.in_([r.run_id for r in found]))
        .values(asked_at=now, lease_until=answer_by)
    )
    keys = control_keys(tx, {r.runner for r in found})
    return [Question(r.run_id, r.attempt, keys[r.runner]) for r in found if r.runner in keys]


def expired_again(tx: Tx, now: datetime, heard_since: datetime, limit: int) -> list[sa.Row[str, int, str]]:
    """Locks leases that ran out and were asked about too early (ix_runs_lease).

    A query of its own: with an OR it would have to sort, and so to lock, them all.
    """
    return _expired(tx, now, runs.c.asked_at <= heard_since, limit, (runs.c.asked_at, runs.c.lease_until))


def _expired(
    tx: Tx, now: datetime, which: sa.ColumnElement[bool], limit: int, order: Sequence[sa.Column[Any]]
) -> list[sa.Row[str, int, str]]:
    found = tx.execute(
        sa.select(runs.c.run_id, runs.c.attempt, runs.c.runner)
        .where(which, runs.c.lease_until < now)
        .order_by(*order)
        .limit(limit)
        .with_hint(runs, "FORCE INDEX (ix_runs_lease)", "mysql")
        .with_for_update(skip_locked=True)
    )
    return list(found.all())


def unanswered(tx: Tx, now: datetime, answer_by: datetime, limit: int) -> list[Question]:
    """Those who were asked and may still answer, until `answer_by` at the latest (ix_runs_lease)."""
    found = tx.execute(
        sa.select(runs.c.run_id, runs.c.attempt, runs.c.runner)
        .where(runs.c.lease_until >= now, runs.c.lease_until <= answer_by, runs.c.asked_at.is_not(None))
        .order_by(runs.c.lease_until)
        .limit(limit)
    ).all()
    keys = control_keys(tx, {r.runner for r in found})
    return [Question(r.run_id, r.attempt, keys[r.runner]) for r in found if r.runner in keys]


def lose_unanswered(tx: Tx, now: datetime, limit: int, *, heard_since: datetime | None = None) -> Losses:
    """Runs whose runner was asked and did not answer in time are lost, or wait for another attempt.

    Only what was asked after `heard_since`, from when on an answer could come through.
    """
    is_asked: sa.ColumnElement[bool] = runs.c.asked_at.is_not(None)
    if heard_since is not None:
        is_asked = runs.c.asked_at > heard_since
    found = tx.execute(
        sa.select(*changes.columns())
        .where(runs.c.lease_until < now, is_asked)
        .order_by(runs.c.asked_at, runs.c.lease_until)
        .limit(limit)
        .with_hint(runs, "FORCE INDEX (ix_runs_lease)", "mysql")
        .with_for_update(skip_locked=True)
    )
    return _lose(tx, changes.as_rows(found), now)


def _lose(tx: Tx, rows: Sequence[changes.Row], now: datetime) -> Losses:
    policies, losses = changes.policies(tx, rows), Losses()
    events = [
        event_row(
            r["job_id"],
            r["run_id"],
            State.LOST,
            SEQ_ENDED_HERE,
            now,
            attempt=r["attempt"],
            payload=json.dumps({OWNER: r["lineage"]}),
        )
        for r in rows
    ]
    for row in rows:
        change = loss(changes.view(row, policies.get(row["run_id"])), "the runner is silent")
        losses.note(row, change)
        changes.merge(row, change, now)
    insert_events(tx, events)
    changes.write(tx, rows)
    return losses


def control_keys(tx: Tx, names: set[str]) -> dict[str, str]:
    """The routing key of each runner's own queue."""
    query = sa.select(runners.c.name, runners.c.control_key).where(runners.c.name.in_(names))
    return dict(tx.execute(query).all())


def served_queues(tx: Tx, heard_since: datetime) -> set[str]:
    """The queues of runners that live, whether or not one of their slots is free."""
    query = sa.select(runners.c.queues).where(
        runners.c.heartbeat_at >= heard_since, runners.c.draining == sa.false()
    )
    return {str(name) for text in tx.execute(query).scalars() for name in json.loads(text)}


def all_runners(tx: Tx) -> list[dict[str, Any]]:
    found = tx.execute(sa.select(runners).order_by(runners.c.name).limit(10_000))
    return [dict(row) for row in found.mappings()]

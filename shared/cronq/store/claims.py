"""Granting claims: the one place where an attempt gets its owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from cronq.domain.event import SEQ_CLAIMED
from cronq.domain.gate import Park, Place
from cronq.domain.run import WAITING, Claim, ClaimView, Denial, Owner, State, decide_claim
from cronq.store import dialect, jobs, line
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.restraint import Restraint
from cronq.store.rows import JobRecord
from cronq.store.runs import OpenRun, end_here
from cronq.store.tables import runs


@dataclass(frozen=True)
class Granted:
    """What a grant is made from."""

    claim: Claim
    job: JobRecord
    category: str
    scheduled_for: datetime
    triggered_by: str


Answer = tuple[Claim, Granted | Denial]
NO_JOB = (None, "")


def answer(
    tx: Tx, claims: Sequence[Claim], now: datetime, lease_until: datetime, *, epoch: int = 1
) -> list[Answer]:
    """Decide a batch of claims in one transaction; each run goes to the first that asked.

    Locks the runs by id, in id order. The caller commits before it replies.
    """
    rows = _locked(tx, {c.run_id for c in claims})
    records = jobs.with_categories(tx, {r["job_id"] for r in rows.values()}) if rows else {}
    views = {run_id: _view(row, now) for run_id, row in rows.items()}
    restraint = Restraint.of(tx, {c.host for c in claims}, now) if rows else None
    answers: list[Answer] = []
    newly: list[Claim] = []
    held: list[tuple[Claim, str]] = []
    too_late: set[str] = set()
    for claim in claims:
        view = views.get(claim.run_id)
        job, category = records.get(view.job_id, NO_JOB) if view else NO_JOB
        denial = decide_claim(view, claim) or _unfit(job)
        if denial or view is None or job is None:
            answers.append((claim, denial or Denial("unknown_run")))
            if view is not None and view.expired and view.state is State.QUEUED:
                too_late.add(view.run_id)
            continue
        if view.state is State.QUEUED:
            gate = restraint.gate(rows[claim.run_id], job, claim.host) if restraint else None
            if gate is not None:
                held.append((claim, gate))
                views[claim.run_id] = replace(view, state=State.SCHEDULED)
                answers.append((claim, Denial(f"waits at {gate}", retry=True)))
                continue
            newly.append(claim)
            views[claim.run_id] = _granted_view(view, claim)
        row = rows[claim.run_id]
        granted = Granted(claim, job, category, row["scheduled_for"], row["triggered_by"])
        answers.append((claim, granted))
    revisions = {job_id: job.revision for job_id, (job, _) in records.items()}
    _record(tx, newly, rows, revisions, now=now, lease_until=lease_until, epoch=epoch)
    _put_back(tx, held, rows, now)
    _end_orphans(tx, [r for r in rows.values() if r["job_id"] not in records], now)
    _expire(tx, [row for run_id, row in rows.items() if run_id in too_late and row["job_id"] in records], now)
    return answers


def _put_back(
    tx: Tx, held: Sequence[tuple[Claim, str]], rows: Mapping[str, sa.RowMapping], now: datetime
) -> None:
    """These were let out before what now holds them: they wait again, at the gate that is closed to them."""
    changed = [
        {"run_id": c.run_id, "state": State.SCHEDULED, "queued_at": None, "publish_at": None, "publishes": 0}
        for c, _ in held
    ]
    dialect.update_rows(tx, runs, changed, keys=("run_id",), where="t.state = 'queued'")
    line.park(tx, [(_place(rows[c.run_id]), Park(gate)) for c, gate in held], now)


def _place(row: sa.RowMapping) -> Place:
    return (row["priority"], row["turn"], row["run_id"])


def _unfit(job: JobRecord | None) -> Denial | None:
    """A job that somebody deleted or spoilt by hand since its run was released."""
    if job is None:
        return Denial("job removed")
    return Denial(job.problem) if job.problem else None


def _locked(tx: Tx, run_ids: Iterable[str]) -> dict[str, sa.RowMapping]:
    found = tx.execute(_LOCKED, {"ids": sorted(run_ids)})
    return {row["run_id"]: row for row in found.mappings()}


_LOCKED = (
    sa.select(
        runs.c.run_id,
        runs.c.job_id,
        runs.c.state,
        runs.c.attempt,
        runs.c.runner,
        runs.c.lineage,
        runs.c.instance,
        runs.c.expires_at,
        runs.c.retries,
        runs.c.scheduled_for,
        runs.c.triggered_by,
        runs.c.actor,
        runs.c.priority,
        runs.c.turn,
        runs.c.category_id,
    )
    .where(runs.c.run_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(runs.c.run_id)
    .with_for_update()
)


def _view(row: sa.RowMapping, now: datetime) -> ClaimView:
    owner = Owner(row["runner"], row["lineage"], row["instance"]) if row["instance"] else None
    # The deadline is for the start: a retry makes up for one that was in time.
    expired = row["expires_at"] is not None and row["expires_at"] < now and not row["retries"]
    return ClaimView(
        row["run_id"], row["job_id"], State(row["state"]), row["attempt"], owner, expired=expired
    )


def _end_orphans(tx: Tx, rows: Sequence[sa.RowMapping], now: datetime) -> None:
    """Nobody can ever run these, so they must not be published for ever."""
    waiting = [OpenRun(r["run_id"], r["job_id"], r["attempt"]) for r in rows if r["state"] in WAITING]
    end_here(tx, waiting, State.CANCELLED, "job removed", now)


def _expire(tx: Tx, rows: Sequence[sa.RowMapping], now: datetime) -> None:
    """Whoever asks is told `expired`, so nobody could ever run these."""
    late = [OpenRun(r["run_id"], r["job_id"], r["attempt"]) for r in rows]
    end_here(tx, late, State.EXPIRED, "deadline", now)


def _granted_view(view: ClaimView, claim: Claim) -> ClaimView:
    return ClaimView(view.run_id, view.job_id, State.CLAIMED, view.attempt, claim.owner)


def _record(
    tx: Tx,
    newly: Sequence[Claim],
    rows: dict[str, sa.RowMapping],
    revisions: dict[int, int],
    *,
    now: datetime,
    lease_until: datetime,
    epoch: int,
) -> None:
    """The compare-and-set: from queued, at this attempt, to claimed by this owner."""
    changed = [
        {
            "run_id": c.run_id,
            "attempt": c.attempt,
            "state": State.CLAIMED,
            "runner": c.owner.runner,
            "lineage": c.owner.lineage,
            "instance": c.owner.instance,
            "host": c.host or None,
            "claimed_at": now,
            "lease_until": lease_until,
            "asked_at": None,
            "publish_at": None,
            "reason": None,
            "epoch": epoch,
            "revision": revisions[rows[c.run_id]["job_id"]],
        }
        for c in newly
    ]
    dialect.update_rows(tx, runs, changed, keys=("run_id", "attempt"), where="t.state = 'queued'")
    insert_events(
        tx,
        [
            event_row(
                rows[c.run_id]["job_id"],
                c.run_id,
                State.CLAIMED,
                SEQ_CLAIMED,
                now,
                attempt=c.attempt,
                host=c.host or None,
            )
            for c in newly
        ],
    )

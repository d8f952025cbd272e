"""Applying what runners tell: facts kept, runs moved, jobs' last results noted, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.errors import BadMessage
from cronq.domain.event import SEQ, SEQ_SUPERSEDED, EventType, OutputChunk, RunEvent
from cronq.domain.run import ENDED, ENDS, Change, Kind, Owner, RunView, State, Superseded, Verdict, decide
from cronq.store import dialect, jobs
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.tables import jobs as jobs_table
from cronq.store.tables import run_output, runs

CHANGING = (
    "state", "reason", "attempt", "runner", "lineage", "instance", "queued_at", "publish_at",
    "publishes", "claimed_at", "lease_until", "asked_at", "host", "pid", "started_at", "finished_at",
    "recorded_at", "return_code", "signal", "duration_s", "recovered",
)  # fmt: skip
OF_AN_ATTEMPT = (
    "runner", "lineage", "instance", "claimed_at", "lease_until", "host", "pid", "started_at",
    "finished_at", "recorded_at",
)  # fmt: skip
# Lengths of columns; the event keeps the whole text.
MOST_REASON, MOST_RUNNER = 255, 190
UNKNOWN = Superseded("unknown run")


@dataclass
class Applied:
    """What came of a batch; the lists have ids of runs."""

    changed: int = 0
    superseded: list[tuple[RunEvent, Superseded]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    found_again: list[str] = field(default_factory=list)  # they were lost, and have ended or wait again


def apply(tx: Tx, told: Sequence[RunEvent], now: datetime) -> Applied:
    """Apply events in the order given; a second copy of one changes nothing.

    Raises BadMessage for an event of a job that the database does not know (the caller then tries
    one by one and sets that one aside).
    """
    rows = _locked(tx, {e.run_id for e in told})
    _check_jobs(tx, told, rows)
    result = Applied()
    touched: dict[str, dict[str, Any]] = {}
    kept: list[dict[str, object]] = []
    counting: list[RunEvent] = []
    outdated = _outdated(tx, told, rows)
    for event in told:
        row = rows.get(event.run_id)
        verdict = UNKNOWN if row is None else decide(_view(row, outdated), event)
        kept.append(_event_row(event, row, verdict))
        if isinstance(verdict, Superseded):
            result.superseded.append((event, verdict))
        elif row is not None:
            _note_loss(result, row, verdict)
            _merge(row, verdict, now)
            touched[event.run_id] = row
        if row is None or isinstance(verdict, Change):
            counting.append(event)
    # Before the events, whose reference to their job only shares its lock: two would wait for each other.
    _note_jobs(tx, counting, rows, now)
    insert_events(tx, kept)
    _write(tx, touched.values())
    result.changed = len(touched)
    return result


def _locked(tx: Tx, run_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    columns = [runs.c[name] for name in ("run_id", "job_id", "cancel_requested_at", *CHANGING)]
    found = tx.execute(
        sa.select(*columns)
        .where(runs.c.run_id.in_(sorted(run_ids)))
        .order_by(runs.c.run_id)
        .with_for_update()
    )
    return {row["run_id"]: dict(row) for row in found.mappings()}


def _check_jobs(tx: Tx, told: Sequence[RunEvent], rows: dict[str, dict[str, Any]]) -> None:
    """An event without a run (of the ancestor's injector, say) is kept if its job exists."""
    strays = {e.job_id for e in told if e.run_id not in rows}
    if not strays:
        return
    known = set(tx.execute(sa.select(jobs_table.c.id).where(jobs_table.c.id.in_(sorted(strays)))).scalars())
    for job_id in strays - known:
        raise BadMessage(f"job_id: no job {job_id}, and no run of this id")


def _outdated(tx: Tx, told: Sequence[RunEvent], rows: dict[str, dict[str, Any]]) -> frozenset[str]:
    """Of the lost runs that were never started, those whose job had a later occurrence since."""
    found_again = {
        e.run_id
        for e in told
        if e.type is EventType.NOT_STARTED and rows.get(e.run_id, {}).get("state") == State.LOST
    }
    if not found_again:
        return frozenset()
    newer = runs.alias("newer")
    query = sa.select(runs.c.run_id).where(
        runs.c.run_id.in_(sorted(found_again)),
        sa.exists().where(
            newer.c.job_id == runs.c.job_id,
            newer.c.kind == Kind.SLOT,
            newer.c.scheduled_for > runs.c.scheduled_for,
        ),
    )
    return frozenset(tx.execute(query).scalars())


def _view(row: dict[str, Any], outdated: frozenset[str]) -> RunView:
    owner = None
    if row["runner"] is not None:
        owner = Owner(row["runner"], row["lineage"] or "", row["instance"] or "")
    return RunView(
        row["run_id"],
        row["job_id"],
        State(row["state"]),
        row["attempt"],
        owner,
        cancel_requested=row["cancel_requested_at"] is not None,
        has_newer=row["run_id"] in outdated,
    )


def _note_loss(result: Applied, row: dict[str, Any], change: Change) -> None:
    if change.state is State.LOST:
        result.lost.append(row["run_id"])
    elif row["state"] == State.LOST and change.state is not None:
        result.found_again.append(row["run_id"])


def _merge(row: dict[str, Any], change: Change, now: datetime) -> None:
    for name in ("started_at", "finished_at", "return_code", "signal", "pid", "host", "duration_s"):
        value = getattr(change, name)
        if value is not None:
            row[name] = value
    if change.owner is not None:
        row["runner"] = change.owner.runner[:MOST_RUNNER]
        row["lineage"], row["instance"] = change.owner.lineage, change.owner.instance
    if change.state is None:
        return
    row["state"] = change.state
    row["reason"] = change.reason and change.reason[:MOST_REASON]
    row["asked_at"] = None
    row["recovered"] = int(bool(row["recovered"]) or change.recovered)
    if change.next_attempt:
        _queue_again(row, now)
    else:
        # A run of a plain runner was never leased; a claimed one stays leased while it lives.
        row["publish_at"] = None
        if change.state in ENDED:
            row["recorded_at"], row["lease_until"] = now, None


def _queue_again(row: dict[str, Any], now: datetime) -> None:
    row["attempt"] += 1
    row["queued_at"] = row["publish_at"] = now
    row["publishes"] = 0
    for name in OF_AN_ATTEMPT:
        row[name] = None


def _write(tx: Tx, rows: Iterable[dict[str, Any]]) -> None:
    """Under the row locks of `_locked`, which make this the second half of a compare-and-set."""
    changed = [
        {"run_id": r["run_id"], **{name: r[name] for name in CHANGING}}
        for r in sorted(rows, key=lambda r: str(r["run_id"]))
    ]
    dialect.update_rows(tx, runs, changed, keys=("run_id",))


def _event_row(event: RunEvent, row: dict[str, Any] | None, verdict: Verdict) -> dict[str, object]:
    """A copy meets the row of the first by its place; what contradicts gets a place of its own."""
    refused = verdict if isinstance(verdict, Superseded) else None
    is_fact = row is None or refused is None or refused.is_copy
    payload: dict[str, object] = {}
    if refused is not None:
        payload |= {"superseded": refused.why, "type": event.type}
    for name in ("signal", "pid", "run_time_s", "reason", "why"):
        if getattr(event, name) is not None:
            payload[name] = getattr(event, name)
    if event.notes:
        payload["rejected"] = list(event.notes)
    return event_row(
        event.job_id if row is None else row["job_id"],
        event.run_id,
        event.type if is_fact else "superseded",
        SEQ[event.type] + (0 if is_fact else SEQ_SUPERSEDED),
        event.at,
        attempt=event.attempt or 1,
        host=event.host,
        return_code=event.return_code,
        payload=json.dumps(payload, ensure_ascii=False) if payload else None,
    )


def _note_jobs(tx: Tx, told: Sequence[RunEvent], rows: dict[str, dict[str, Any]], now: datetime) -> None:
    """Starts and ends by the runners' clocks, but never later than now: one that is ahead would hide
    every run to come."""

    def job(event: RunEvent) -> int:
        row = rows.get(event.run_id)
        return event.job_id if row is None else int(row["job_id"])

    jobs.note_results(
        tx,
        [(job(e), min(e.started_at or e.at, now)) for e in told if e.type is EventType.STARTING],
        [
            (job(e), min(e.finished_at or e.at, now), e.type is EventType.FINISHED and e.return_code == 0)
            for e in told
            if e.type in ENDS
        ],
    )


# -- output


def store_output(tx: Tx, chunks: Sequence[OutputChunk]) -> int:
    """Keep chunks of the attempt's owner; a second copy of one is dropped. Returns how many count."""
    owned = _owned(tx, chunks)
    kept = [c for c in chunks if (c.run_id, c.attempt, c.lineage) in owned]
    rows = [{"run_id": c.run_id, "attempt": c.attempt, "start": c.offset, "data": c.data} for c in kept]
    if rows:
        tx.execute(_insert_output(tx), rows)
        ends: dict[str, int] = {}
        for c in kept:
            ends[c.run_id] = max(c.offset + len(c.data), ends.get(c.run_id, 0))
        sizes = [{"run_id": k, "output_bytes": v} for k, v in sorted(ends.items())]
        guard = "t.output_bytes < v.output_bytes"
        dialect.update_rows(tx, runs, sizes, keys=("run_id",), where=guard)
    return len(rows)


def _owned(tx: Tx, chunks: Sequence[OutputChunk]) -> set[tuple[str, int, str]]:
    found = tx.execute(
        sa.select(runs.c.run_id, runs.c.attempt, runs.c.lineage).where(
            runs.c.run_id.in_({c.run_id for c in chunks})
        )
    )
    return {(r.run_id, r.attempt, r.lineage or "") for r in found}


def _insert_output(tx: Tx) -> sa.Insert:
    insert = sa.insert(run_output)
    word = "OR IGNORE" if tx.dialect.name == "sqlite" else "IGNORE"
    return insert.prefix_with(word)


def output(
    tx: Tx, run_id: str, attempt: int, *, offset: int = 0, most: int = 2 * 1024 * 1024
) -> list[tuple[int, bytes]]:
    """Chunks (start, bytes) from `offset` on, in order; what lies between two was dropped."""
    found = tx.execute(
        sa.select(run_output.c.start, run_output.c.data)
        .where(
            run_output.c.run_id == run_id,
            run_output.c.attempt == attempt,
            run_output.c.start + sa.func.length(run_output.c.data) > offset,
        )
        .order_by(run_output.c.start)
    )
    chunks: list[tuple[int, bytes]] = []
    size = 0
    for start, data in found:
        skip = max(0, offset - start)
        chunks.append((start + skip, bytes(data[skip:])))
        size += len(data) - skip
        if size >= most:
            break
    return chunks

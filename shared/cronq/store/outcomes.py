"""Applying what runners tell: facts kept, runs moved, jobs' last results noted, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from cronq.domain.errors import BadMessage
from cronq.domain.event import SEQ, SEQ_SUPERSEDED, EventType, OutputChunk, RunEvent
from cronq.domain.retry import Policy
from cronq.domain.run import ENDS, Change, State, Superseded, Verdict, decide, outcome
from cronq.store import changes, dialect, followed, jobs
from cronq.store.changes import Losses, Row
from cronq.store.engine import Tx
from cronq.store.events import OWNER, event_row, insert_events
from cronq.store.tables import events, run_output, runs
from cronq.store.tables import jobs as jobs_table

UNKNOWN = Superseded("unknown run")


@dataclass
class Applied:
    """What came of a batch."""

    changed: int = 0
    superseded: list[tuple[RunEvent, Superseded]] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)


def apply(tx: Tx, told: Sequence[RunEvent], now: datetime) -> Applied:
    """Apply events in the order given; a second copy of one changes nothing.

    Raises BadMessage for an event of a job that the database does not know (the caller then tries
    one by one and sets that one aside).
    """
    rows = changes.locked(tx, {e.run_id for e in told})
    _check_jobs(tx, told, rows)
    judge = _Judge.of(tx, told, rows)
    result = Applied()
    touched: dict[str, Row] = {}
    kept: list[dict[str, object]] = []
    counting: list[RunEvent] = []
    for event in told:
        row = rows.get(event.run_id)
        verdict = UNKNOWN if row is None else judge.decide(row, event)
        kept.append(_event_row(event, row, verdict))
        if isinstance(verdict, Superseded):
            result.superseded.append((event, verdict))
        elif row is not None:
            result.losses.note(row, verdict)
            changes.merge(row, verdict, now)
            touched[event.run_id] = row
        if row is None or isinstance(verdict, Change):
            counting.append(event)
    # Before the events, whose reference to their job only shares its lock: two would wait for each other.
    _note_jobs(tx, counting, rows, now)
    insert_events(tx, kept)
    changes.write(tx, touched.values())
    followed.note_again(tx, result.losses.found_again)
    result.changed = len(touched)
    return result


@dataclass(frozen=True)
class _Judge:
    """What decisions need beside the runs' own rows; read only where the events ask for it."""

    policies: dict[str, Policy]
    outdated: frozenset[str]

    @classmethod
    def of(cls, tx: Tx, told: Sequence[RunEvent], rows: dict[str, Row]) -> _Judge:
        bad = [e.run_id for e in told if _may_be_retried(e) and e.run_id in rows]
        lost = {i for i in (*bad, *_given_back(told)) if rows.get(i, {}).get("state") == State.LOST}
        return cls(changes.policies(tx, [rows[run_id] for run_id in bad]), changes.outdated(tx, lost))

    def decide(self, row: Row, event: RunEvent) -> Verdict:
        has_newer = row["run_id"] in self.outdated
        return decide(changes.view(row, self.policies.get(row["run_id"]), has_newer=has_newer), event)


def _may_be_retried(event: RunEvent) -> bool:
    is_bad_end = event.type in ENDS and outcome(event)[0] is not State.SUCCEEDED
    return is_bad_end or event.type is EventType.INTERRUPTED


def _given_back(told: Sequence[RunEvent]) -> Iterator[str]:
    return (e.run_id for e in told if e.type is EventType.NOT_STARTED)


def _check_jobs(tx: Tx, told: Sequence[RunEvent], rows: dict[str, Row]) -> None:
    """An event without a run (of the ancestor's injector, say) is kept if its job exists."""
    strays = {e.job_id for e in told if e.run_id not in rows}
    if not strays:
        return
    known = set(tx.execute(sa.select(jobs_table.c.id).where(jobs_table.c.id.in_(sorted(strays)))).scalars())
    for job_id in strays - known:
        raise BadMessage(f"job_id: no job {job_id}, and no run of this id")


def _event_row(event: RunEvent, row: Row | None, verdict: Verdict) -> dict[str, object]:
    """A copy meets the row of the first by its place; what contradicts gets a place of its own."""
    refused = verdict if isinstance(verdict, Superseded) else None
    is_fact = row is None or refused is None or refused.is_copy
    payload: dict[str, object] = {}
    if refused is not None:
        payload |= {"superseded": refused.why, "type": event.type}
    for name in ("signal", "pid", "run_time_s", "reason", "why"):
        if getattr(event, name) is not None:
            payload[name] = getattr(event, name)
    if isinstance(verdict, Change) and verdict.retry_after is not None:
        payload[OWNER] = event.lineage
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


def _note_jobs(tx: Tx, told: Sequence[RunEvent], rows: dict[str, Row], now: datetime) -> None:
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
    strays = {c.run_id for c in chunks if (c.run_id, c.attempt, c.lineage) not in owned}
    earlier = _owned_earlier(tx, strays)
    kept = [c for c in chunks if (c.run_id, c.attempt, c.lineage) in owned | earlier]
    rows = [{"run_id": c.run_id, "attempt": c.attempt, "start": c.offset, "data": c.data} for c in kept]
    if rows:
        tx.execute(_insert_output(tx), rows)
        ends: dict[str, int] = {}
        for c in kept:
            if (c.run_id, c.attempt, c.lineage) in owned:
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


def _owned_earlier(tx: Tx, run_ids: Collection[str]) -> set[tuple[str, int, str]]:
    """Who had the attempts that were followed by another; their output may come after their end."""
    if not run_ids:
        return set()
    query = sa.select(events.c.run_id, events.c.attempt, events.c.payload).where(
        events.c.run_id.in_(sorted(run_ids)), events.c.seq < SEQ_SUPERSEDED, events.c.payload.is_not(None)
    )
    told = [(r.run_id, r.attempt, json.loads(r.payload)) for r in tx.execute(query)]
    return {(run_id, attempt, said[OWNER]) for run_id, attempt, said in told if OWNER in said}


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

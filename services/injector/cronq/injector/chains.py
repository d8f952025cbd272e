"""Chains: the ends of runs start the jobs that come after them (see domain/after.py).

Level-triggered, as the gates are: a run of a job that others come after is in `followed` until its end was
acted upon, and that happens in the transaction which forgets it. What a run starts is known by its
`request`, so that a repeat, or a second injector, makes no second one.

    one that ended as wanted    a run that waits, or a row that says why it doesn't
    a join, all ended so        the same, once for each slot
    a join, all over, some not  a `skipped` row
    a join past `not_after`     a `missed` row, where one of them has ended as wanted

A run waits as any other does: pauses, overlap and limits are judged when it is released.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from cronq import store
from cronq.domain.after import After
from cronq.domain.chain import Joined, Wanted
from cronq.domain.duration import format_duration
from cronq.domain.ids import run_id
from cronq.domain.run import Kind, State, Trigger
from cronq.runtime import crash
from cronq.store import chains, epoch, followed, jobs, runs
from cronq.store.chains import Edge, Slot, Start
from cronq.store.rows import JobRecord

log = structlog.get_logger()

BATCH = 500


@dataclass
class Chains:
    """The step that acts upon ends; `cursor` is how far it has looked among the followed runs."""

    db: store.Store
    cursor: str = ""

    def follow_once(self) -> int:
        """Start what comes after runs that have ended; returns how many ends were acted upon."""
        with self.db.read() as tx:
            page = followed.over(tx, self.cursor, BATCH)
        self.cursor = page.cursor
        done = self.db.transact(lambda tx: _follow(tx, page.over)) if page.over else 0
        if done:
            crash.reach("injector.follow.committed")
        return done


def give_up_once(db: store.Store) -> int:
    """Account for joins that are not complete in time; returns how many."""
    with db.read() as tx:
        is_any = chains.has_overdue(tx, store.now(tx))
    return db.transact(_give_up) if is_any else 0


def _follow(tx: store.Tx, run_ids: Sequence[str]) -> int:
    now = store.now(tx)
    began = epoch.current(tx).since
    ended = followed.take(tx, run_ids)
    work = _Work.of(tx, chains.edges_from(tx, {run.job_id for run in ended}), now, began)
    for run in ended:
        work.act(run)
    work.join(tx)
    made = chains.start(tx, work.starts, now)
    chains.settle(tx, work.settled)
    chains.promise(tx, work.promised)
    if made:
        log.info("chain.started", runs=len(made))
    crash.reach("injector.follow.uncommitted")
    return len(ended)


@dataclass
class _Work:
    """What comes of some ends."""

    edges: Mapping[int, Sequence[Edge]]  # by the upstream
    records: Mapping[int, JobRecord]
    now: datetime
    began: datetime | None  # of the epoch: what ended before may have started its followers then
    starts: list[Start] = field(default_factory=list)
    touched: dict[Slot, Any] = field(default_factory=dict)  # of joins, with the end that touched it
    settled: set[Slot] = field(default_factory=set)
    promised: dict[Slot, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, tx: store.Tx, edges: Iterable[Edge], now: datetime, began: datetime | None) -> _Work:
        by_upstream: dict[int, list[Edge]] = {}
        for edge in edges:
            if edge.upstream_id is not None:
                by_upstream.setdefault(edge.upstream_id, []).append(edge)
        job_ids = {edge.job_id for found in by_upstream.values() for edge in found}
        return cls(by_upstream, jobs.by_ids(tx, job_ids), now, began)

    def act(self, run: Any) -> None:
        """Start what comes after this run alone, and note the joins that it is part of."""
        end = chains.end_of(run)
        for edge in self.edges.get(run.job_id, ()):
            record = self.records.get(edge.job_id)
            if record is None:
                continue
            if edge.joined:
                if run.kind == Kind.SLOT or run.triggered_by == Trigger.CHAIN:
                    self.touched[edge.job_id, run.scheduled_for] = run
            elif end.meets(edge.on):
                refusal = _refusal(record) or self._before_the_epoch(run)
                row = _row(
                    record,
                    run.scheduled_for,
                    chains.after_run(run.run_id),
                    self.now,
                    cause=run.run_id,
                    refusal=refusal,
                )
                self.starts.append(Start(row, [run.run_id]))

    def join(self, tx: store.Tx) -> None:
        """Judge the joins that were touched."""
        for slot, joined in _joins(tx, self.touched):
            self._judge(slot, joined, self.touched[slot])

    def _judge(self, slot: Slot, joined: Joined, run: Any) -> None:
        job_id, at = slot
        record = self.records[job_id]
        after = record.spec.after or After(())
        deadline = None if after.not_after is None else at + after.not_after
        broken = joined.refusal()
        if joined.is_complete:
            refusal = _refusal(record) or self._before_the_epoch(run) or _too_late(after, deadline, self.now)
            row = _row(
                record,
                at,
                chains.AFTER_ALL,
                self.now,
                cause=joined.causes[-1],
                refusal=refusal,
                release_at=_release_at(after, at, self.now),
                expires_at=deadline,
            )
            self._account(slot, Start(row, joined.causes))
        elif broken is not None and joined.is_begun:
            no = (State.SKIPPED, broken)
            row = _row(record, at, chains.NOT_AFTER_ALL, self.now, cause=joined.causes[-1], refusal=no)
            self._account(slot, Start(row, joined.causes))
        elif deadline is not None and joined.is_begun:
            self.promised[slot] = deadline

    def _account(self, slot: Slot, start: Start) -> None:
        self.starts.append(start)
        self.settled.add(slot)

    def _before_the_epoch(self, run: Any) -> _Refusal | None:
        is_before = self.began is not None and run.recorded_at is not None and run.recorded_at <= self.began
        return (State.MISSED, epoch.REASON) if is_before else None


_Refusal = tuple[State, str]


def _refusal(record: JobRecord) -> _Refusal | None:
    """Why a job does not start now, whatever it comes after."""
    if record.removed_at is not None:
        return State.SKIPPED, "the job was removed"
    if not record.spec.enabled:
        return State.SKIPPED, "the job is disabled"
    return (State.MISSED, record.problem) if record.problem else None


def _too_late(after: After, deadline: datetime | None, now: datetime) -> _Refusal | None:
    if after.not_after is None or deadline is None or now <= deadline:
        return None
    return State.SKIPPED, f"too late: not_after is {format_duration(after.not_after)} after the slot"


def _release_at(after: After, slot: datetime, now: datetime) -> datetime | None:
    at = slot + after.not_before if after.not_before else None
    return at if at and at > now else None


def _row(
    record: JobRecord,
    slot: datetime,
    request: str,
    now: datetime,
    *,
    cause: str | None,
    refusal: _Refusal | None,
    release_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> dict[str, object]:
    state, reason = refusal or (State.SCHEDULED, None)
    return runs.new_row(
        run_id(now, secrets.randbits),
        record.id,
        kind=Kind.REQUEST,
        scheduled_for=slot,
        triggered_by=Trigger.CHAIN,
        state=state,
        routing_key=record.key,
        now=now,
        request=request,
        reason=None if reason is None else reason[:255],
        revision=record.revision,
        category_id=record.category_id,
        priority=record.spec.priority,
        release_at=release_at,
        expires_at=expires_at,
        caused_by=cause,
    )


def _joins(tx: store.Tx, slots: Iterable[Slot]) -> Iterator[tuple[Slot, Joined]]:
    """Where these joins stand."""
    wanted = sorted(slots)
    edges: dict[int, list[Edge]] = {}
    for edge in chains.edges_to(tx, {job_id for job_id, _ in wanted}):
        if edge.joined:
            edges.setdefault(edge.job_id, []).append(edge)
    needed = {
        (edge.upstream_id, at)
        for job_id, at in wanted
        for edge in edges.get(job_id, ())
        if edge.upstream_id is not None
    }
    ends = chains.runs_of_slots(tx, needed) if needed else {}
    for job_id, at in wanted:
        parts = [
            Wanted(edge.upstream, edge.on, tuple(ends.get((edge.upstream_id or 0, at), ())))
            for edge in edges.get(job_id, ())
        ]
        if parts:
            yield (job_id, at), Joined(tuple(parts))


def _give_up(tx: store.Tx) -> int:
    now = store.now(tx)
    epoch.current(tx)
    due = chains.overdue(tx, now, BATCH)
    records = jobs.by_ids(tx, {job_id for job_id, _ in due})
    starts = [
        Start(_given_up(records[slot[0]], slot[1], joined, now), joined.causes)
        for slot, joined in _joins(tx, due)
        if slot[0] in records and _is_owed(tx, slot, joined)
    ]
    chains.start(tx, starts, now)
    chains.settle(tx, due)
    return len(due)


def _given_up(record: JobRecord, slot: datetime, joined: Joined, now: datetime) -> dict[str, object]:
    refusal = _refusal(record) or (State.MISSED, f"too late: {joined.lack()}")
    cause = joined.causes[-1] if joined.causes else None
    return _row(record, slot, chains.AFTER_ALL, now, cause=cause, refusal=refusal)


def _is_owed(tx: store.Tx, slot: Slot, joined: Joined) -> bool:
    """Nothing is owed for a slot that one of them does not have: it is due by a schedule, and not then."""
    job_id, at = slot
    absent = {each.job for each in joined.wanted if not each.runs}
    ids = {e.upstream_id for e in chains.edges_to(tx, [job_id]) if e.upstream in absent and e.upstream_id}
    return not any(_has_no_such_slot(record, at) for record in jobs.by_ids(tx, ids).values())


def _has_no_such_slot(record: JobRecord, at: datetime) -> bool:
    if record.spec.schedule is None and record.interval is None:
        return False
    return record.next_run is None or record.next_run > at

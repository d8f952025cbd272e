"""The outage board's orders: let missed or held occurrences run, now or later, or skip them.

An occurrence keeps its row, so that the ledger has one for each instant; its event says who let it out.
Of a row that stands for many, those that are let out get rows of their own, and the others stay.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
import structlog

from cronq.domain.errors import Conflict, InvalidInput, NotFound, Problem
from cronq.domain.event import SEQ_DECIDED, SEQ_LET_OUT
from cronq.domain.gate import Limit
from cronq.domain.ids import run_id
from cronq.domain.missed import MOST, Action, Order, Split, Standing, Which, instants
from cronq.domain.run import Kind, State, Trigger
from cronq.domain.schedule import Schedule
from cronq.store import audits, dialect, jobs, missed, runs
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.missed import Row, Scope
from cronq.store.rows import JobRecord
from cronq.store.tables import deadlines, events, holds, parked
from cronq.store.tables import runs as runs_table

log = structlog.get_logger()

_OPEN = "t.state IN ('missed', 'expired', 'skipped', 'scheduled')"


@dataclass
class Done:
    """What became of an order: rows that it changed, those named ones that it left alone, and why."""

    changed: list[str] = field(default_factory=list)
    unchanged: list[tuple[str, str]] = field(default_factory=list)
    left: int = 0  # rows that the same order would still find


def carry_out_on(tx: Tx, order: Order, run_ids: Sequence[str], now: datetime, limit: Limit) -> Done:
    """Do it to these rows; one that is not on the board any more is left alone.

    `limit` says how fast they are let out unless the order does. Raises NotFound for an unknown id,
    Conflict where all of them are refused, and InvalidInput for more than MOST occurrences.
    """
    rows = missed.with_gates(tx, run_ids, lock=True)
    unknown = sorted({*run_ids} - {row["run_id"] for row in rows})
    if unknown:
        raise NotFound(f"no run has the id {unknown[0]}")
    work = _Work(tx, order, now, limit, is_named=True)
    done = work.done(rows)
    if work.refused and len(work.refused) == len(rows):
        run, why = work.refused[0]
        raise Conflict(f"{order.action} of run {run} is refused: {why}")
    return done


def carry_out(tx: Tx, order: Order, scope: Scope, now: datetime, limit: Limit) -> Done:
    """Do it to what is in scope, MOST rows at most; raises InvalidInput where one row has more than that."""
    found = missed.orderable(tx, scope, order.action, order.which)
    work = _Work(tx, order, now, limit, scope)
    done = work.done(missed.with_gates(tx, found[:MOST], lock=True))
    if order.which is Which.ALL:
        done.left = missed.left(tx, scope, order.action)
    else:
        done.left = max(len(found) - len(done.changed) - len(done.unchanged), 0)
    return done


@dataclass(frozen=True)
class _Taken:
    """An occurrence that the order is about, in a row of its own; or all of a row that is skipped."""

    run_id: str
    job_id: int
    scheduled_for: datetime
    priority: int
    attempt: int
    was: str
    is_held: bool = False


class _Work:
    """One order on locked rows."""

    def __init__(
        self,
        tx: Tx,
        order: Order,
        now: datetime,
        limit: Limit,
        scope: Scope | None = None,
        *,
        is_named: bool = False,
    ) -> None:
        self._tx, self._order, self._now, self._limit = tx, order, now, limit
        self._scope = scope
        self._is_named = is_named
        self._records: dict[int, JobRecord] = {}
        self._schedules: dict[tuple[int, int], Schedule | None] = {}
        self._shrunk: list[Row] = []
        self._new: list[dict[str, object]] = []
        self._taken: list[_Taken] = []
        self.refused: list[tuple[str, str]] = []

    def done(self, rows: Sequence[Row]) -> Done:
        self._records = jobs.by_ids(self._tx, {row["job_id"] for row in rows})
        unchanged = [*self._take_all(sorted(rows, key=self._place))]
        dialect.update_rows(self._tx, runs_table, self._shrunk, keys=("run_id",), where=_OPEN)
        runs.insert(self._tx, self._new, self._now)
        taken = self._without_rows_of_others()
        if self._order.action is Action.SKIP:
            self._skip(taken)
        else:
            self._let_out(taken)
        action = self._order.action.value
        log.info("missed.ordered", action=action, runs=len(taken), by=self._order.actor)
        return Done([each.run_id for each in taken], unchanged)

    # -- which occurrences

    def _take_all(self, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
        """Yields the rows that are left alone, and why."""
        for row in rows:
            stands = missed.standing(row)
            if stands is None:
                yield row["run_id"], f"it is {row['state']}: neither missed nor held"
                continue
            if stands is Standing.SKIPPED and self._order.action is Action.SKIP:
                yield row["run_id"], "it is skipped already"
                continue
            why = missed.refusal(row, self._records.get(row["job_id"]), self._order.action)
            if why is not None:
                self.refused.append((row["run_id"], why))
            why = why or self._take(row)
            if why is not None:
                yield row["run_id"], why

    def _place(self, row: Row) -> tuple[int, datetime, str]:
        """By the priority that its job has now, then age."""
        job = self._records.get(row["job_id"])
        return (job.spec.priority if job else row["priority"], row["scheduled_for"], row["run_id"])

    def _take(self, row: Row) -> str | None:
        """Returns why not. Raises InvalidInput for more than MOST."""
        if row["missed_count"] is None:
            return self._take_whole(row)
        split = self._split(row)
        if split is None:
            why = "its schedule does not give the occurrences that it stands for"
            self.refused.append((row["run_id"], why))
            return why
        if self._was_split(row):
            return "its latest occurrence was let out or skipped already"
        if not split.taken:
            return "none of the occurrences that it stands for is in this time"
        if self._order.action is Action.SKIP and not (split.before or split.after):
            return self._take_whole(row)
        return self._cut(row, split)

    def _no_room(self, row: Row, wanted: int) -> str | None:
        room = MOST - len(self._taken)
        if wanted > MOST or (wanted > room and self._is_named):
            raise InvalidInput([_too_many(row, wanted)])
        return None if wanted <= room else f"one order lets out {MOST:,} at most"

    def _take_whole(self, row: Row) -> str | None:
        why = self._no_room(row, 1)
        if why is not None:
            return why
        is_held = row["state"] == State.SCHEDULED
        was = f"held at {row['gate']}" if is_held else _in_words(row)
        place = (row["run_id"], row["job_id"], row["scheduled_for"], row["priority"], row["attempt"])
        self._taken.append(_Taken(*place, was, is_held=is_held))
        return None

    # -- rows that stand for many

    def _schedule(self, row: Row) -> Schedule | None:
        """By the revision that the row is of: the job may have another one now."""
        key = (row["job_id"], row["revision"] or 0)
        if key not in self._schedules:
            revision = audits.revision_of(self._tx, *key)
            self._schedules[key] = revision.rule(row["scheduled_for"]) if revision else None
        return self._schedules[key]

    def _split(self, row: Row) -> Split | None:
        first, last, count = row["scheduled_for"], row["last_scheduled_for"], row["missed_count"]
        found = instants(self._schedule(row), first, last or first, count)
        return None if found is None else self._in_scope(found)

    def _in_scope(self, found: list[datetime]) -> Split:
        since, until = (self._scope.since, self._scope.until) if self._scope else (None, None)
        return Split.of(found, self._order.which, since, until)

    def _was_split(self, row: Row) -> bool:
        """Whether somebody took the latest off it; asked for twice, also at once, it is one order."""
        schedule = self._schedule(row)
        if self._order.which is not Which.LATEST or schedule is None:
            return False
        following = schedule.next_after(row["last_scheduled_for"] or row["scheduled_for"])
        until = self._scope.until if self._scope else None
        if following is None or (until is not None and following >= until):
            return False
        query = sa.select(runs_table.c.run_id).where(
            runs_table.c.job_id == row["job_id"],
            runs_table.c.kind == Kind.SLOT,
            runs_table.c.scheduled_for == following,
            runs_table.c.actor.is_not(None),
        )
        return self._tx.execute(query).first() is not None

    def _cut(self, row: Row, split: Split) -> str | None:
        """The first part keeps the row, as it begins at its instant; the others get new ones."""
        one_each = self._order.action is not Action.SKIP
        taken = [[at] for at in split.taken] if one_each else [split.taken]
        why = self._no_room(row, len(taken))
        if why is not None:
            return why
        parts = [(split.before, False), *((part, True) for part in taken), (split.after, False)]
        kept = row["run_id"]
        for part, is_taken in parts:
            if not part:
                continue
            if kept is not None:
                made, kept = kept, None
                self._shrunk.append({"run_id": made, **_span(part)})
                attempt = row["attempt"]
            else:
                made, attempt = self._insert(row, part), 1
            if is_taken:
                self._taken.append(
                    _Taken(made, row["job_id"], part[0], row["priority"], attempt, _in_words(row))
                )
        return None

    def _insert(self, row: Row, part: Sequence[datetime]) -> str:
        made = run_id(self._now, secrets.randbits)
        job = self._records.get(row["job_id"])
        new = runs.new_row(
            made,
            row["job_id"],
            kind=Kind.SLOT,
            scheduled_for=part[0],
            triggered_by=row["triggered_by"],
            state=row["state"],
            routing_key=job.key if job else "default",
            now=self._now,
            reason=row["reason"],
            actor=row["actor"],
            revision=row["revision"],
            category_id=job.category_id if job else None,
            priority=row["priority"],
            **_span(part),
        )
        self._new.append(new)
        return made

    def _without_rows_of_others(self) -> list[_Taken]:
        """An instant that has another row, as after a `next_run` that somebody set back, keeps that."""
        new = [str(row["run_id"]) for row in self._new]
        query = sa.select(runs_table.c.run_id).where(runs_table.c.run_id.in_(new))
        there = {*self._tx.execute(query).scalars()} if new else set()
        gone = {*new} - there
        return [each for each in self._taken if each.run_id not in gone]

    # -- what is done to them

    def _let_out(self, taken: Sequence[_Taken]) -> None:
        times = self._order.spread(len(taken), self._now, self._limit)
        told = self._told_of(taken)
        rows: list[dict[str, object]] = []
        facts: list[dict[str, object]] = []
        for each, at in zip(taken, times, strict=True):
            # What was told of an attempt is told once: this one has a story of its own.
            attempt = each.attempt + (each.run_id in told and not each.is_held)
            rows.append(self._open_again(each, attempt, at))
            facts.append(self._fact(each, State.SCHEDULED, SEQ_LET_OUT, attempt, at))
        self._forget([each.run_id for each in taken if not each.is_held], holds)
        self._write(taken, rows, facts)

    def _open_again(self, each: _Taken, attempt: int, at: datetime | None) -> dict[str, object]:
        job = self._records[each.job_id]
        nothing = dict.fromkeys(
            ("reason", "recorded_at", "expires_at", "publish_at", "queued_at", "published_at",
             "cancel_requested_at", "cancelled_by", "last_scheduled_for", "missed_count")
        )  # fmt: skip
        return {
            **nothing,
            "run_id": each.run_id,
            "state": State.SCHEDULED,
            "triggered_by": Trigger.CATCH_UP,
            "actor": self._order.actor[:255],
            "attempt": attempt,
            "publishes": 0,
            "release_at": at,
            "routing_key": job.key,
            "category_id": job.category_id or 0,
            "priority": job.spec.priority,
        }

    def _skip(self, taken: Sequence[_Taken]) -> None:
        order = self._order
        reason = f"skipped_by {order.actor}{f': {order.why}' if order.why else ''}"[:255]
        rows: list[dict[str, object]] = [
            {
                "run_id": each.run_id,
                "state": State.SKIPPED,
                "reason": reason,
                "actor": order.actor[:255],
                "recorded_at": self._now,
                "release_at": None,
                "publish_at": None,
            }
            for each in taken
        ]
        facts = [self._fact(each, State.SKIPPED, SEQ_DECIDED, each.attempt, None) for each in taken]
        self._write(taken, rows, facts)

    def _write(self, taken: Sequence[_Taken], rows: list[dict[str, object]], facts: list[Row]) -> None:
        ids = [each.run_id for each in taken]
        for table in (parked, deadlines):
            self._forget(ids, table)
        dialect.update_rows(self._tx, runs_table, rows, keys=("run_id",), where=_OPEN)
        insert_events(self._tx, facts)

    def _forget(self, run_ids: Collection[str], table: sa.Table) -> None:
        if run_ids:
            self._tx.execute(sa.delete(table).where(table.c.run_id.in_(sorted(run_ids))))

    def _told_of(self, taken: Sequence[_Taken]) -> set[str]:
        """Runs with an event of their present attempt."""
        attempt = {each.run_id: each.attempt for each in taken}
        query = sa.select(events.c.run_id, events.c.attempt).where(events.c.run_id.in_(sorted(attempt)))
        found = self._tx.execute(query) if attempt else ()
        return {made for made, number in found if number == attempt[made]}

    def _fact(self, each: _Taken, kind: State, seq: int, attempt: int, at: datetime | None) -> Row:
        payload = {"by": self._order.actor, "was": each.was}
        if at is not None:
            payload["not before"] = at.isoformat().replace("+00:00", "Z")
        if self._order.why:
            payload["why"] = self._order.why
        text = json.dumps(payload, ensure_ascii=False)
        return event_row(each.job_id, each.run_id, kind, seq, self._now, attempt=attempt, payload=text)


def _in_words(row: Row) -> str:
    return f"{row['state']} ({row['reason']})" if row["reason"] else str(row["state"])


def _span(part: Sequence[datetime]) -> Row:
    """The columns of a row that stands for these, or for the only one."""
    is_many = len(part) > 1
    return {
        "last_scheduled_for": part[-1] if is_many else None,
        "missed_count": len(part) if is_many else None,
    }


def _too_many(row: Row, count: int) -> Problem:
    message = (
        f"run {row['run_id']} stands for {count:,} of the occurrences asked for;"
        f" one order lets out {MOST:,} at most"
    )
    return Problem("too_many", "", message, "narrow since and until, or take the latest")

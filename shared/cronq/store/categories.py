"""Categories: replacing a whole one by a document, in one transaction, and reading them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate
from cronq.domain.calendar_rule import JobCalendar
from cronq.domain.category import (
    SHOWN_PROBLEMS,
    CategoryDocument,
    Concurrency,
    Plan,
    plan,
    removal_guard,
)
from cronq.domain.errors import InvalidInput, PreconditionFailed, Problem
from cronq.domain.gate import Limit
from cronq.domain.job import JobSpec
from cronq.domain.run import State
from cronq.domain.schedule import needs_seed
from cronq.domain.strict_json import pointer, shown
from cronq.domain.timing import TIMING_FIELDS
from cronq.runtime import crash
from cronq.store import alerts, calendars, chains, dialect, jobs, limits, runs
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord, document, job_columns
from cronq.store.settling import settle
from cronq.store.tables import categories
from cronq.store.tables import jobs as jobs_table

PUT = "put"  # the origin of what a document says


@dataclass(frozen=True)
class Author:
    """Who edits, by what way (`put`, `web`, `api`), and from which commit."""

    origin: str
    actor: str = ""


@dataclass(frozen=True)
class Put:
    """What a PUT did."""

    plan: Plan
    revision: int
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return not self.plan.is_empty


@dataclass(frozen=True)
class Conditions:
    """What must hold for a PUT to go ahead; `revision` is that of an If-Match, 0 for create-only."""

    revision: int | None = None
    allow_removals: int | None = None
    dry_run: bool = False


def replace(tx: Tx, wanted: CategoryDocument, author: Author, conditions: Conditions, now: datetime) -> Put:
    """Make the category's jobs those of the document, and its limit: idempotent, all or nothing.

    A job that keeps its schedule keeps its `next_run`. One that is removed keeps its id and its
    history, and what of it waits to run is cancelled. Concurrent calls take turns. A dry run
    tells what would be done and writes nothing. Raises PreconditionFailed, Conflict where too many jobs
    would go, or InvalidInput where a job names a calendar that there is not.
    """
    wanted = _with_calendars(tx, wanted, keep=not conditions.dry_run)
    find = _seen if conditions.dry_run else _locked
    category_id, revision = find(tx, wanted.name)
    if conditions.revision is not None and conditions.revision != revision:
        raise PreconditionFailed(
            f"category {wanted.name!r} is at revision {revision}, not {conditions.revision}"
        )
    rows = _jobs_of(tx, category_id)
    if not conditions.dry_run:
        jobs.record_hand_changes(tx, [r for r in rows if r.is_changed_by_hand()], now)
        rows = _jobs_of(tx, category_id)
    active = {r.spec.name: r for r in rows if r.removed_at is None}
    standing = _concurrency(tx, category_id)
    change = plan({name: r.spec for name, r in active.items()}, wanted, standing)
    removal_guard(change, len(active), conditions.allow_removals)
    warnings = (*wanted.warnings(now), *chains.examine(tx, wanted, change.removed))
    if conditions.dry_run:
        return Put(change, revision, warnings)
    if change.changes_jobs:
        _Edit(tx, category_id, author, wanted, now).carry_out(change, rows)
    if standing.after(wanted) != standing:
        _limit(tx, category_id, standing.after(wanted), author, now)
    if change.is_empty:
        return Put(change, revision, warnings)
    tx.execute(sa.update(categories).where(categories.c.id == category_id).values(revision=revision + 1))
    return Put(change, revision + 1, warnings)


def _with_calendars(tx: Tx, wanted: CategoryDocument, *, keep: bool) -> CategoryDocument:
    """The same with the calendars that its jobs name, as they are now; with `keep`, until the commit."""
    names = {spec.calendar.name for spec in wanted.jobs if spec.calendar}
    known = calendars.current(tx, names, keep=keep)
    problems = [
        _no_calendar(tx, index, spec.calendar.name)
        for index, spec in enumerate(wanted.jobs)
        if spec.calendar and spec.calendar.name not in known
    ]
    if problems:
        raise InvalidInput(problems[:SHOWN_PROBLEMS])
    specs = tuple(
        dataclasses.replace(spec, job_calendar=JobCalendar(spec.calendar, *known[spec.calendar.name]))
        if spec.calendar
        else spec
        for spec in wanted.jobs
    )
    return dataclasses.replace(wanted, jobs=specs)


def _no_calendar(tx: Tx, index: int, name: str) -> Problem:
    message = f"calendar: there is no calendar {shown(name)}"
    at = pointer("jobs", index, "calendar")
    return Problem("unknown_calendar", at, message, calendars.nearest(tx, name))


def _locked(tx: Tx, name: str) -> tuple[int, int]:
    """The category's id and revision; made if absent, and its row locked."""
    dialect.insert_new(tx, categories, [{"name": name, "revision": 0}])
    row = tx.execute(
        sa.select(categories.c.id, categories.c.revision).where(categories.c.name == name).with_for_update()
    ).one()
    return row.id, row.revision


def _seen(tx: Tx, name: str) -> tuple[int, int]:
    """The same of a category that may not be there; no id is 0."""
    row = by_name(tx, name)
    return (0, 0) if row is None else (row["id"], row["revision"])


def _jobs_of(tx: Tx, category_id: int) -> list[JobRecord]:
    found = tx.execute(
        sa.select(*jobs.COLUMNS)
        .where(jobs_table.c.category_id == category_id)
        .order_by(jobs_table.c.id)
        .with_for_update()
    )
    return jobs.records(tx, found.mappings())


def _concurrency(tx: Tx, category_id: int) -> Concurrency:
    found = limits.of_gate(tx, gate.of_category(category_id))
    return Concurrency() if found is None else Concurrency(found.limit.capacity, found.origin == PUT)


def _limit(tx: Tx, category_id: int, wanted: Concurrency, author: Author, now: datetime) -> None:
    origin = PUT if wanted.by_document else author.origin
    name, limit = gate.of_category(category_id), Limit(wanted.capacity)
    limits.set_limit(tx, name, limit, author.actor, now, origin=origin)


class _Edit:
    """One document's way into the tables."""

    def __init__(
        self, tx: Tx, category_id: int, author: Author, wanted: CategoryDocument, now: datetime
    ) -> None:
        self.tx = tx
        self.category_id = category_id
        self.category = wanted.name
        self.author = author
        self.now = now
        self.wanted = wanted
        self.specs = {spec.name: spec for spec in wanted.jobs}
        self.provenance = json.dumps(dict(wanted.source)) if wanted.source else None

    def carry_out(self, change: Plan, rows: Sequence[JobRecord]) -> None:
        by_name = {r.spec.name: r for r in rows}
        self.specs = {n: self._seeded(spec, by_name.get(n)) for n, spec in self.specs.items()}
        self._add([self.specs[n] for n in change.added if n not in by_name])
        crash.reach("web.put.half")
        revived = [by_name[n] for n in change.added if n in by_name]
        self._update(revived, {r.spec.name: frozenset(TIMING_FIELDS) for r in revived})
        updated = {name: frozenset(fields) for name, fields in change.updated.items()}
        self._update([by_name[n] for n in updated], updated)
        self._remove([by_name[n] for n in change.removed])
        touched = [by_name[n].id for n in (*change.added, *updated, *change.removed) if n in by_name]
        alerts.clear_all(self.tx, alerts.BAD_JOB, [alerts.job(job_id) for job_id in touched], self.now)
        chains.write(self.tx, self.wanted, self.category_id, self.now)

    def _seeded(self, spec: JobSpec, record: JobRecord | None) -> JobSpec:
        """A job keeps the seed that it once had: its category and first name."""
        if record is not None and record.spec.seed:
            return dataclasses.replace(spec, seed=record.spec.seed)
        if spec.schedule is None or not needs_seed(spec.schedule):
            return spec
        return dataclasses.replace(spec, seed=f"{self.category}/{spec.name}")

    def _add(self, specs: Sequence[JobSpec]) -> None:
        first = {spec.name: self._next_run(spec) for spec in specs}
        rows = [
            job_columns(spec)
            | {
                "category_id": self.category_id,
                "next_run": first[spec.name],
                "planned_run": first[spec.name],
                "run_now": 0,
                "revision": 1,
            }
            for spec in specs
        ]
        dialect.insert_new(self.tx, jobs_table, rows)
        ids = self._ids([spec.name for spec in specs])
        self._revise([(ids[s.name], 1, s, first[s.name], None) for s in specs])

    def _ids(self, names: Collection[str]) -> dict[str, int]:
        found = self.tx.execute(
            sa.select(jobs_table.c.name, jobs_table.c.id).where(jobs_table.c.category_id == self.category_id)
        )
        wanted = set(names)
        return {name: job_id for name, job_id in found if name in wanted}

    def _update(self, records: Sequence[JobRecord], changed: dict[str, frozenset[str]]) -> None:
        rows, revisions = [], []
        for record in records:
            spec = self.specs[record.spec.name]
            next_run = self._moved(record, spec, changed[spec.name])
            rows.append(
                job_columns(spec)
                | {
                    "id": record.id,
                    "next_run": next_run,
                    "planned_run": next_run,
                    # `_settle` has accounted for a wish that came before the pause.
                    "run_now": int(record.run_now and spec.enabled),
                    "removed_at": None,
                    "revision": record.revision + 1,
                }
            )
            revisions.append((record.id, record.revision + 1, spec, next_run, record.next_run))
        paused = [r for r in records if not self.specs[r.spec.name].enabled]
        self._settle(paused, State.SKIPPED, "paused")
        moved = [
            r for r in records if self.specs[r.spec.name].enabled and changed[r.spec.name] & TIMING_FIELDS
        ]
        # A wish is none of this: the job keeps it.
        self._settle([dataclasses.replace(r, run_now=False) for r in moved], State.SCHEDULED, None)
        dialect.update_rows(self.tx, jobs_table, rows, keys=("id",))
        self._revise(revisions)

    def _moved(self, record: JobRecord, spec: JobSpec, changed: frozenset[str]) -> datetime | None:
        """An unchanged schedule keeps `next_run`. Else `_update` accounts for what was due by the old one."""
        is_new = record.removed_at is not None or (spec.enabled and not record.spec.enabled)
        is_due = record.next_run is not None and record.next_run < self.now
        if is_new or changed & TIMING_FIELDS or (is_due and not spec.enabled):
            return self._next_run(spec)
        return record.next_run

    def _next_run(self, spec: JobSpec) -> datetime | None:
        schedule = spec.parsed_schedule()
        return schedule.next_after(self.now) if schedule else None

    def _remove(self, records: Sequence[JobRecord]) -> None:
        self._settle(records, State.CANCELLED, "job removed")
        runs.cancel_waiting(self.tx, [r.id for r in records], "job removed", self.now)
        dialect.update_rows(
            self.tx,
            jobs_table,
            [
                {
                    "id": r.id,
                    "removed_at": self.now,
                    "next_run": None,
                    "planned_run": None,
                    "definition_hash": None,
                    "run_now": 0,
                    "revision": r.revision + 1,
                }
                for r in records
            ],
            keys=("id",),
        )
        self._revise([(r.id, r.revision + 1, r.spec, None, r.next_run) for r in records], removed=True)

    def _settle(self, records: Sequence[JobRecord], state: State, reason: str | None) -> None:
        """Occurrences that are due this moment by what the jobs were get their rows, in this state."""
        settle(self.tx, records, state, reason, self.now)

    def _revise(
        self,
        changed: Sequence[tuple[int, int, JobSpec, datetime | None, datetime | None]],
        *,
        removed: bool = False,
    ) -> None:
        jobs.record_revisions(
            self.tx,
            [
                jobs.revision_row(job_id, revision, self.now, self.author.origin, document(spec, None))
                | {
                    "actor": self.author.actor,
                    "provenance": self.provenance,
                    "next_run": next_run,
                    "replaced_run": replaced_run,
                    "removed": int(removed),
                }
                for job_id, revision, spec, next_run, replaced_run in changed
            ],
        )


# -- reading


def all_categories(tx: Tx, category_id: int | None = None) -> list[dict[str, Any]]:
    """Categories by name: id, name, revision."""
    query = sa.select(categories).order_by(categories.c.name)
    if category_id is not None:
        query = query.where(categories.c.id == category_id)
    return [dict(row) for row in tx.execute(query).mappings()]


def by_name(tx: Tx, name: str) -> dict[str, Any] | None:
    row = tx.execute(sa.select(categories).where(categories.c.name == name)).mappings().one_or_none()
    return None if row is None else dict(row)

"""Jobs: claiming those that are due, moving them on, their revisions, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from cronq.store import alerts, calendars, dialect
from cronq.store.engine import Tx
from cronq.store.rows import Fields, JobRecord, document, job_record
from cronq.store.tables import categories, job_revisions, jobs

COLUMNS = [c for c in jobs.c if c.name != "due_at"]


def records(tx: Tx, rows: Iterable[Fields]) -> list[JobRecord]:
    """The jobs of these rows of `COLUMNS`, with the calendars that they go by."""
    return calendars.attached(tx, [job_record(row) for row in rows])


def claim_due(tx: Tx, now: datetime, limit: int) -> list[JobRecord]:
    """Lock and return due jobs that no other injector holds, the longest due first.

    One range of ix_jobs_due: an OR of two columns would lock every due row and starve the others. So
    would the sort that MariaDB prefers, unless forced, where most jobs are due, as at midnight.
    """
    found = tx.execute(
        sa.select(*COLUMNS)
        .where(jobs.c.due_at < now)
        .order_by(jobs.c.due_at)
        .limit(limit)
        .with_hint(jobs, "FORCE INDEX (ix_jobs_due)", "mysql")
        .with_for_update(skip_locked=True)
    )
    return records(tx, found.mappings())


def claim_unseen(tx: Tx, limit: int) -> list[JobRecord]:
    """Lock and return jobs that were inserted by hand and have no revision yet (ix_jobs_revision)."""
    found = tx.execute(
        sa.select(*COLUMNS)
        .where(jobs.c.revision == 0)
        .limit(limit)
        .with_hint(jobs, "FORCE INDEX (ix_jobs_revision)", "mysql")
        .with_for_update(skip_locked=True)
    )
    return records(tx, found.mappings())


def next_due_at(tx: Tx) -> datetime | None:
    """The earliest `next_run` of any enabled job (ix_jobs_due); 1970 where one is to run now."""
    return tx.execute(
        sa.select(jobs.c.due_at).where(jobs.c.due_at.is_not(None)).order_by(jobs.c.due_at).limit(1)
    ).scalar_one_or_none()


def advance(tx: Tx, moved: Iterable[tuple[int, datetime | None]], locked_by: str) -> None:
    """Set `next_run` of each job and clear `run_now`, in id order."""
    rows = [
        {"id": job_id, "next_run": next_run, "planned_run": next_run, "run_now": 0, "locked_by": locked_by}
        for job_id, next_run in sorted(moved, key=lambda m: m[0])
    ]
    dialect.update_rows(tx, jobs, rows, keys=("id",))


def begin_at(tx: Tx, first: Iterable[tuple[int, datetime]]) -> None:
    """Set `next_run` of jobs that never had one; `run_now` stays as it is."""
    rows = [{"id": job_id, "next_run": at, "planned_run": at} for job_id, at in sorted(first)]
    dialect.update_rows(tx, jobs, rows, keys=("id",))


def record_hand_changes(
    tx: Tx,
    changed: Sequence[JobRecord],
    now: datetime,
    begins: Mapping[int, datetime | None] = MappingProxyType({}),
) -> None:
    """Write a revision with origin `sql` for rows that somebody edited; the instant is when we saw it.

    `begins` has the first `next_run` of those that have none and get one in this transaction.
    """
    if not changed:
        return
    record_revisions(tx, [hand_revision(j, now, begins.get(j.id, j.next_run)) for j in changed])
    dialect.update_rows(
        tx,
        jobs,
        [
            {
                "id": j.id,
                "revision": j.revision + 1,
                "definition_hash": None if j.removed_at else j.fingerprint,
                "planned_run": None if j.removed_at else j.next_run,
            }
            for j in sorted(changed, key=lambda j: j.id)
        ],
        keys=("id",),
    )
    # Whatever was wrong with them: who still finds it wrong says so again.
    alerts.clear_all(tx, alerts.BAD_JOB, [alerts.job(j.id) for j in changed], now)


def hand_revision(job: JobRecord, now: datetime, next_run: datetime | None) -> dict[str, object]:
    """The revision that an edit by hand is, seen at `now`; `next_run` is the job's from then on."""
    content = document(job.spec, job.interval)
    return revision_row(job.id, job.revision + 1, now, "sql", content) | {
        "removed": int(job.removed_at is not None),
        "next_run": next_run,
        "replaced_run": job.planned_run,
    }


def revision_row(job_id: int, revision: int, now: datetime, origin: str, content: str) -> dict[str, object]:
    return {
        "job_id": job_id,
        "revision": revision,
        "at": now,
        "origin": origin,
        "actor": "",
        "provenance": None,
        "document": content,
        "removed": False,
        "next_run": None,
        "replaced_run": None,
    }


def record_revisions(tx: Tx, rows: Sequence[dict[str, object]]) -> None:
    dialect.insert_new(tx, job_revisions, rows)


def revisions(tx: Tx, job_id: int) -> list[dict[str, Any]]:
    """A job's revisions, newest first, at most 1,000."""
    found = tx.execute(
        sa.select(job_revisions)
        .where(job_revisions.c.job_id == job_id)
        .order_by(job_revisions.c.revision.desc())
        .limit(1000)
    )
    return [dict(row) for row in found.mappings()]


def by_id(tx: Tx, job_id: int, *, lock: bool = False) -> JobRecord | None:
    query = sa.select(*COLUMNS).where(jobs.c.id == job_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else records(tx, [row])[0]


def by_ids(tx: Tx, job_ids: Iterable[int]) -> dict[int, JobRecord]:
    found = tx.execute(_BY_IDS, {"ids": sorted(set(job_ids))})
    return {record.id: record for record in records(tx, found.mappings())}


_BY_IDS = sa.select(*COLUMNS).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))


def with_categories(tx: Tx, job_ids: Iterable[int]) -> dict[int, tuple[JobRecord, str]]:
    """Jobs with the names of their categories; of one without it, ''."""
    rows = tx.execute(_WITH_CATEGORIES, {"ids": sorted(set(job_ids))}).mappings().all()
    found = zip(rows, records(tx, rows), strict=True)
    return {record.id: (record, row["category"] or "") for row, record in found}


_WITH_CATEGORIES = (
    _BY_IDS.add_columns(categories.c.name.label("category"))
    .select_from(jobs)
    .outerjoin(categories, categories.c.id == jobs.c.category_id)
)


def category_names(tx: Tx) -> dict[int, str]:
    return dict(tx.execute(sa.select(categories.c.id, categories.c.name)).all())


# The ancestor sorts by these.
SORTS = {"id": jobs.c.id, "name": jobs.c.name, "category_id": jobs.c.category_id}


def listed(
    tx: Tx,
    *,
    job_id: int | None = None,
    category_id: int | None = None,
    category: str | None = None,
    sort: str = "id",
    descending: bool = False,
    after_id: int | None = None,
    offset: int = 0,
    limit: int = 100,
) -> list[JobRecord]:
    """Jobs that were not removed, one page. `after_id` pages by key and needs the sort by id."""
    query = sa.select(*COLUMNS).where(jobs.c.removed_at.is_(None))
    if job_id is not None:
        query = query.where(jobs.c.id == job_id)
    if category_id is not None:
        query = query.where(jobs.c.category_id == category_id)
    if category is not None:
        query = query.join(categories, categories.c.id == jobs.c.category_id)
        query = query.where(categories.c.name == category)
    if after_id is not None:
        query = query.where(jobs.c.id > after_id)
    column = SORTS[sort]
    query = query.order_by(column.desc() if descending else column, jobs.c.id)
    return records(tx, tx.execute(query.offset(offset).limit(limit)).mappings())


def note_results(
    tx: Tx, starts: Iterable[tuple[int, datetime]], ends: Iterable[tuple[int, datetime, bool]]
) -> None:
    """The ancestor's columns on jobs, from starts (job, instant) and ends (job, instant, succeeded).

    The latest of each counts, whatever the order in which they come and however often. Locks the jobs
    in id order.
    """
    started, ended = _latest_starts(starts), _latest_ends(ends)
    touched = sorted(started.keys() | ended.keys())
    if not touched:
        return
    noted: list[dict[str, object]] = []
    for row in tx.execute(_LAST_RUNS, {"ids": touched}):
        start = max(filter(None, (row.last_run_start, started.get(row.id))), default=None)
        stop, status = _later_end(row.last_run_stop, row.last_run_status, ended.get(row.id))
        is_under_way = stop is None or (start is not None and start > stop)
        noted.append(
            {
                "id": row.id,
                "last_run_start": start,
                "last_run_stop": stop,
                "last_run_status": status,
                "current_status": "starting" if is_under_way else status,
            }
        )
    dialect.update_rows(tx, jobs, noted, keys=("id",))


_LAST_RUNS = (
    sa.select(jobs.c.id, jobs.c.last_run_start, jobs.c.last_run_stop, jobs.c.last_run_status)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    # A small table would be scanned, and that waits also for rows which others hold and nobody asked for.
    .with_hint(jobs, "FORCE INDEX (PRIMARY)", "mysql")
    .with_for_update()
)


def _latest_starts(starts: Iterable[tuple[int, datetime]]) -> dict[int, datetime]:
    latest: dict[int, datetime] = {}
    for job_id, at in starts:
        # The columns hold whole seconds; MySQL would round up, to after the end.
        second = at.replace(microsecond=0)
        latest[job_id] = max(second, latest.get(job_id, second))
    return latest


def _latest_ends(ends: Iterable[tuple[int, datetime, bool]]) -> dict[int, tuple[datetime, bool]]:
    """With whether it failed: of two in one second the failure counts."""
    latest: dict[int, tuple[datetime, bool]] = {}
    for job_id, at, succeeded in ends:
        end = (at.replace(microsecond=0), not succeeded)
        latest[job_id] = max(end, latest.get(job_id, end))
    return latest


def _later_end(
    stop: datetime | None, status: str | None, end: tuple[datetime, bool] | None
) -> tuple[datetime | None, str | None]:
    if end is None:
        return stop, status
    at, failed = end
    if stop is None or at > stop or (at == stop and failed):
        return at, "failed" if failed else "succeeded"
    return stop, status

"""Calendars as they are and as they were, and the jobs that go by them.

A job's row names the revision of its calendar, and every edit of a calendar moves the rows on to its own:
so what a row means never depends on when it is read. A row by hand that names none goes by the newest.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cronq.domain.calendar import Calendar
from cronq.domain.calendar_document import stored_calendar
from cronq.domain.calendar_rule import JobCalendar
from cronq.domain.errors import CronqError
from cronq.domain.strict_json import shown
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import calendar_revisions, calendars

MOST = 1_000
Pin = tuple[str, int]  # a calendar's name and revision


def listed(tx: Tx) -> list[dict[str, Any]]:
    """All of them by name, at most 1,000."""
    return [dict(row) for row in tx.execute(_ordered().limit(MOST)).mappings()]


def by_name(tx: Tx, name: str) -> dict[str, Any] | None:
    row = tx.execute(sa.select(calendars).where(calendars.c.name == name)).mappings().one_or_none()
    return None if row is None else dict(row)


def current(tx: Tx, names: Collection[str], *, keep: bool) -> dict[str, tuple[int, Calendar]]:
    """Revision and value of those that there are; with `keep`, none of them changes until the commit."""
    if not names:
        return {}
    query = _ordered().where(calendars.c.name.in_(sorted(names)))
    rows = tx.execute(query.with_for_update(read=True) if keep else query).mappings()
    found = {row["name"]: (row["revision"], read(row["document"])) for row in rows}
    return {name: (revision, value) for name, (revision, value) in found.items() if value is not None}


def as_of(tx: Tx, pins: Collection[Pin]) -> dict[Pin, Calendar]:
    """The calendars as they were at these revisions, where they are known."""
    if not pins:
        return {}
    rows = tx.execute(
        sa.select(calendar_revisions.c.name, calendar_revisions.c.revision, calendar_revisions.c.document)
        .where(calendar_revisions.c.name.in_(sorted({name for name, _ in pins})))
        .where(calendar_revisions.c.revision.in_(sorted({revision for _, revision in pins})))
    )
    wanted = set(pins)
    found = {(name, number): read(text) for name, number, text in rows if (name, number) in wanted}
    return {pin: value for pin, value in found.items() if value is not None}


def attached(tx: Tx, records: Iterable[JobRecord]) -> list[JobRecord]:
    """The same jobs, each with its calendar; one whose calendar is not there has a problem."""
    found = list(records)
    used = {(r.spec.calendar.name, r.calendar_revision) for r in found if r.spec.calendar}
    if not used:
        return found
    pinned = as_of(tx, {(name, revision) for name, revision in used if revision is not None})
    newest = current(tx, {name for name, revision in used if (name, revision) not in pinned}, keep=False)
    return [_attached(record, pinned, newest) for record in found]


def nearest(tx: Tx, name: str) -> str:
    """A hint that names the calendar that was probably meant."""
    known = tx.execute(sa.select(calendars.c.name).order_by(calendars.c.name).limit(MOST)).scalars().all()
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {shown(near[0])}?"
    return "there is none yet: PUT it to /api/calendars/… first" if not known else ""


def _attached(
    record: JobRecord, pinned: Mapping[Pin, Calendar], newest: Mapping[str, tuple[int, Calendar]]
) -> JobRecord:
    use = record.spec.calendar
    if use is None:
        return record
    revision = record.calendar_revision or 0
    calendar = pinned.get((use.name, revision))
    if calendar is None and use.name in newest:
        revision, calendar = newest[use.name]
    if calendar is None:
        message = f"calendar: there is no calendar {shown(use.name)}"
        return replace(record, problem=record.problem or message)
    job_calendar = JobCalendar(use, revision, calendar)
    return replace(record, spec=replace(record.spec, job_calendar=job_calendar))


def _ordered() -> sa.Select[Any]:
    return sa.select(calendars).order_by(calendars.c.name)


def read(text: str | None) -> Calendar | None:
    """One that somebody wrote with SQL and that is none is as good as not there."""
    try:
        return None if text is None else stored_calendar(text)
    except (CronqError, ValueError):
        return None


def revisions(tx: Tx, name: str) -> list[dict[str, Any]]:
    """A calendar's revisions, newest first, at most 1,000; the document of one that dropped it is None."""
    query = sa.select(calendar_revisions).where(calendar_revisions.c.name == name)
    found = tx.execute(query.order_by(calendar_revisions.c.revision.desc()).limit(MOST))
    return [dict(row) for row in found.mappings()]

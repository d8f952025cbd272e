"""One job's occurrences: those that have their row in the ledger, and those that are to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice

from flask import Blueprint, Response, request

from cronq import store
from cronq.domain.errors import NotFound
from cronq.domain.preview import Outlook
from cronq.domain.schedule import ScheduleError
from cronq.store import jobs, slots
from cronq.store.rows import JobRecord
from cronq.web import coming, present
from cronq.web.api.page import listed
from cronq.web.api.params import Params, job_id_in
from cronq.web.context import web

blueprint = Blueprint("occurrences", __name__)

_PAST_SHOWN = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@blueprint.get("/api/jobs/<job_id>/occurrences")
def list_occurrences(job_id: str) -> Response:
    """In [since, until), ascending; from a day ago on and without end, unless the query says otherwise."""
    wanted = _Wanted.of(Params(request.args))
    with web().db.read() as tx:
        job = jobs.by_id(tx, job_id_in(job_id))
        if job is None:
            raise NotFound(f"Job not found for id {job_id}")
        now = store.now(tx)
        found = wanted.find(tx, job, now)
    shown = found[: wanted.limit]
    cursor = shown[-1].at if len(found) > wanted.limit else None
    return listed("occurrences", _presented(job, shown, wanted.begin(now)), present.instant(cursor))


@dataclass(frozen=True)
class _Occurrence:
    """`row` is that of the ledger; None for one that is to come."""

    at: datetime
    row: present.Row | None


@dataclass(frozen=True)
class _Wanted:
    since: datetime | None
    until: datetime | None
    limit: int
    cursor: datetime | None

    @classmethod
    def of(cls, params: Params) -> _Wanted:
        """Raises InvalidInput."""
        since, until = params.instant("since"), params.instant("until")
        if since and until and since > until:
            params.problem("since: is after until")
        wanted = cls(since, until, params.whole("limit", 1, 500) or 50, params.instant("cursor"))
        params.done()
        return wanted

    def begin(self, now: datetime) -> datetime:
        """Where the page begins, or the one before ended."""
        return self.cursor or self.since or now - _PAST_SHOWN

    def find(self, tx: store.Tx, job: JobRecord, now: datetime) -> list[_Occurrence]:
        """A page, and one more where there is a next page."""
        since = self.since or now - _PAST_SHOWN
        rows = slots.within(tx, job.id, since, self.until, after=self.cursor, limit=self.limit + 1)
        recorded = [_Occurrence(row["scheduled_for"], row) for row in rows]
        known = {occurrence.at for occurrence in recorded}
        planned = (_Occurrence(at, None) for at in self._planned(job, since, now) if at not in known)
        return list(islice(merge(recorded, planned, key=lambda each: each.at), self.limit + 1))

    def _planned(self, job: JobRecord, since: datetime, now: datetime) -> Iterator[datetime]:
        """None of a job whose stored schedule is not valid: it runs no more until it is corrected."""
        begin = since if self.cursor is None else max(since, self.cursor + _MICROSECOND)
        try:
            for at in coming.instants(job, now, begin):
                if self.until is not None and at >= self.until:
                    return
                yield at
        except ScheduleError:
            return


def _presented(job: JobRecord, found: Sequence[_Occurrence], since: datetime) -> list[present.Json]:
    try:
        outlook = coming.outlook(job)
    except ScheduleError:
        outlook = Outlook(UTC)
    seen = outlook.seen([occurrence.at for occurrence in found], since)
    return [
        present.occurrence(planned, occurrence.row, is_current=_is_current(job, occurrence))
        for planned, occurrence in zip(seen, found, strict=True)
    ]


def _is_current(job: JobRecord, occurrence: _Occurrence) -> bool:
    """Whether it is by the schedule as it now stands, which alone is known here."""
    return occurrence.row is None or occurrence.row["revision"] == job.revision

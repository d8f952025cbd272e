"""What is to come of a job by its `next_run` and its schedule, for the pages and the API alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from cronq.domain.preview import Outlook
from cronq.store.rows import JobRecord

# Far enough for 29 February on a Monday; beyond that nothing is promised.
HORIZON = timedelta(days=366 * 40)
_MICROSECOND = timedelta(microseconds=1)


def instants(job: JobRecord, now: datetime, since: datetime | None = None) -> Iterator[datetime]:
    """Ascending, those from `since` on; a paused or removed job promises nothing.

    What an injector has still to write down as missed is not among them. Raises ScheduleError where the
    stored schedule is none.
    """
    if job.next_run is None or job.removed_at is not None or not job.spec.enabled:
        return
    schedule = job.due_job().parsed()
    if since is None or job.next_run >= since:
        yield job.next_run
    if schedule is None:
        return
    begin = max(job.next_run, now)
    if since is not None and since > begin:
        begin = since - _MICROSECOND
    yield from schedule.between(begin, now + HORIZON)


def outlook(job: JobRecord) -> Outlook:
    """Where its wall clock is, and what remarks on its occurrences; raises ScheduleError."""
    found = Outlook.of(job.due_job().parsed(), job.spec.timezone, job.spec.dst)
    calendar = job.spec.job_calendar
    if calendar is None:
        return found

    def skipped(at: datetime, _: datetime) -> str | None:
        reason = calendar.verdict(at)
        return reason and f"skipped: {reason}"

    return replace(found, sources=(*found.sources, skipped))

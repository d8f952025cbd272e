"""The jobs of the first page: which, in what order, with their latest runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from cronq import store
from cronq.domain.duration import format_duration
from cronq.domain.run import LIVE
from cronq.store import jobs, runs
from cronq.store.rows import JobRecord
from cronq.web.pages import ledger
from cronq.web.pages.ledger import Run
from cronq.web.pages.states import DISABLED, NEVER_RUN, OVERDUE, PAUSED, Sign, sign
from cronq.web.pausing import Held

PER_PAGE = 200
MOST_JOBS = 20_000
NO_CATEGORY = "(none)"
# An injector that is well moves a due job on within a second.
OVERDUE_AFTER = timedelta(seconds=30)


@dataclass(frozen=True)
class Wanted:
    """What the query asks for; pages count from 1."""

    text: str = ""
    category: str = ""
    page: int = 1

    def matches(self, job: JobRecord, category: str) -> bool:
        """Whether the text is in the name, category, command or queue, and the category is the one."""
        if self.category and category != self.category:
            return False
        text = self.text.casefold()
        spec = job.spec
        return not text or any(
            text in field.casefold() for field in (spec.name, category, spec.command, spec.routing_key)
        )


@dataclass(frozen=True)
class Row:
    """A job as the list shows it."""

    job: JobRecord
    category: str
    schedule: str
    latest: Run | None
    last_at: datetime | None
    result: Sign
    standing: Sign | None  # disabled, paused or overdue


@dataclass(frozen=True)
class Listing:
    """One page of jobs by category."""

    wanted: Wanted
    groups: Sequence[tuple[str, Sequence[Row]]]
    categories: Mapping[str, int]  # how many jobs each has, by name
    total: int
    matching: int
    running: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // PER_PAGE))


def listing(tx: store.Tx, wanted: Wanted, now: datetime) -> Listing:
    """The page of jobs that `wanted` names; a few statements, whatever the number of jobs."""
    names = jobs.category_names(tx)
    every = [(category_of(job, names), job) for job in jobs.listed(tx, limit=MOST_JOBS)]
    matching = sorted((e for e in every if wanted.matches(e[1], e[0])), key=_by_category)
    first = (wanted.page - 1) * PER_PAGE
    shown = matching[first : first + PER_PAGE]
    latest = runs.latest_of_jobs(tx, [job.id for _, job in shown])
    held = Held.of(tx, [job for _, job in shown], names)
    rows = [
        _row(category, job, latest.get(job.id), standing(job, now, is_paused=bool(held.pauses_of(job))))
        for category, job in shown
    ]
    groups = [(name, list(group)) for name, group in groupby(rows, key=lambda row: row.category)]
    counts = dict(sorted(Counter(category for category, _ in every).items()))
    running = len(ledger.newest(tx, LIVE, None, ledger.MOST_COUNTED))
    return Listing(wanted, groups, counts, len(every), len(matching), running)


def category_of(job: JobRecord, names: Mapping[int, str]) -> str:
    """The name of a job's category, `(none)` without one."""
    return NO_CATEGORY if job.category_id is None else names.get(job.category_id, NO_CATEGORY)


def _by_category(entry: tuple[str, JobRecord]) -> tuple[str, str, int]:
    category, job = entry
    return category.casefold(), job.spec.name.casefold(), job.id


def _row(category: str, job: JobRecord, latest: Run | None, stands: Sign | None) -> Row:
    """Of a job that only ran before the ledger was there, what the job's own columns say."""
    if latest is None:
        at = job.last_run_stop or job.last_run_start
        result = sign(job.last_run_status) if job.last_run_status else NEVER_RUN
    else:
        at = latest["started_at"] or latest["scheduled_for"]
        result = sign(latest["state"])
    return Row(job, category, schedule_text(job), latest, at, result, stands)


def standing(job: JobRecord, now: datetime, *, is_paused: bool) -> Sign | None:
    """Disabled by its document, paused by a person, overdue, or None: it waits for its next occurrence."""
    if not job.spec.enabled:
        return DISABLED
    if is_paused:
        return PAUSED
    if job.next_run is not None and job.next_run < now - OVERDUE_AFTER:
        return OVERDUE
    return None


def schedule_text(job: JobRecord) -> str:
    """The schedule as it was written, with its zone; of a bare interval `every 5m`; else what it follows."""
    schedule = job.spec.schedule
    if job.spec.after is not None:
        return job.spec.after.in_words()
    if schedule is None:
        return f"every {format_duration(job.interval)}" if job.interval else "once"
    written = schedule if isinstance(schedule, str) else "; ".join(schedule)
    return f"{written} {job.spec.timezone or ''}".strip()

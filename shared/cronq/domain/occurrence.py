"""What a due job gives rise to: its runs, its missed instants, and its next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby, islice

from cronq.domain.calendar_rule import JobCalendar
from cronq.domain.misfire import LATEST, MOST_LIMIT, ON_TIME, Misfires
from cronq.domain.run import Kind, Trigger
from cronq.domain.schedule import Expressions, Schedule, ScheduleError, every, parse

# Instants looked at in one step; a job that missed more goes on in the next one.
MOST_INSTANTS = 10_000
# Up to here each missed instant has its own row; more of them share one, with first, last and count.
MOST_MISSED_ROWS = 100
# Of one step of a job: as many as a misfire rule can let run, and as many that do not.
MOST_ROWS = 2 * MOST_LIMIT


@dataclass(frozen=True)
class DueJob:
    """What of a job decides its occurrences. `interval` counts only where `schedule` is None."""

    schedule: Expressions | None
    timezone: str | None
    dst: str
    interval: timedelta | None
    next_run: datetime | None
    run_now: bool
    seed: str = ""
    start: str | None = None
    end: str | None = None
    misfires: Misfires = LATEST
    calendar: JobCalendar | None = None

    def parsed(self) -> Schedule | None:
        """None: it runs once, at `next_run`. Raises ScheduleError for a text that is not one."""
        if self.schedule is not None:
            return parse(
                self.schedule,
                timezone=self.timezone,
                dst=self.dst,
                seed=self.seed,
                start=self.start,
                end=self.end,
                shift=self.calendar.shift() if self.calendar else None,
            )
        if self.interval and self.next_run:
            return every(self.interval, self.next_run)
        return None


@dataclass(frozen=True)
class Occurrence:
    """One row of the ledger to be: a run to release, or (`missed`, `skipped`) the reason why not.

    `last_scheduled_for` and `count` are set where one row stands for several missed instants.
    """

    kind: Kind
    scheduled_for: datetime
    trigger: Trigger
    missed: str | None = None
    skipped: str | None = None
    last_scheduled_for: datetime | None = None
    count: int | None = None


@dataclass(frozen=True)
class Expansion:
    """The occurrences of one step, and the job's `next_run` after it (None: no more)."""

    occurrences: tuple[Occurrence, ...]
    next_run: datetime | None
    problem: str | None = None  # the stored schedule is not one
    rests: bool = False  # the next one is known when this one has ended


def expand(job: DueJob, now: datetime) -> Expansion:
    """The occurrences of `job` that are due at `now`.

    `next_run` itself is one, also when a person wrote it and the schedule would not have. Which of
    several run is the job's misfire rule; the others are missed.
    """
    wanted = _wanted(job, now)
    if job.next_run is None or job.next_run >= now:
        return Expansion(wanted, job.next_run)
    try:
        schedule = job.parsed()
    except ScheduleError as error:
        row = _slot(job.next_run, missed=f"the schedule is not valid: {error}"[:255])
        return Expansion((*wanted, row), None, problem=str(error))
    slots = _slots(schedule, job.next_run, now, job.misfires, job.calendar)
    return replace(slots, occurrences=(*wanted, *slots.occurrences)) if wanted else slots


def expand_all(job: DueJob, now: datetime) -> Iterator[Occurrence]:
    """The same of as many steps as it takes until nothing is due."""
    while True:
        expansion = expand(job, now)
        yield from expansion.occurrences
        if expansion.next_run is None or expansion.next_run >= now:
            return
        job = replace(job, next_run=expansion.next_run, run_now=False)


def _wanted(job: DueJob, now: datetime) -> tuple[Occurrence, ...]:
    if not job.run_now:
        return ()
    return (Occurrence(Kind.REQUEST, now.replace(microsecond=0), Trigger.MANUAL),)


@lru_cache(maxsize=1024)
def _slots(
    schedule: Schedule | None,
    first: datetime,
    now: datetime,
    misfires: Misfires,
    calendar: JobCalendar | None,
) -> Expansion:
    """Kept, because what is due in one step is often due by one schedule: at midnight, or every minute."""
    instants = list(islice(_instants(first, schedule, now), MOST_INSTANTS + 1))
    kept = misfires.kept
    closed = _closed(calendar, instants)
    if len(instants) > MOST_INSTANTS:
        # There may be more of them: those that could still run are left to the next step.
        return Expansion(tuple(_rows([_late(at, closed) for at in instants[:-kept]])), instants[-kept])
    is_open = [at for at in instants if at not in closed]
    newest = set(is_open[-kept:])
    rows = [_judged(misfires, at, now) if at in newest else _late(at, closed) for at in instants]
    if is_open and len(newest) == len(is_open):
        rows = [_on_time(row, now) if row.scheduled_for == is_open[-1] else row for row in rows]
    rests = schedule is not None and schedule.waits_for_end
    following = schedule.next_after(now) if schedule and not rests else None
    return Expansion(tuple(_rows(rows)), following, rests=rests)


def _instants(first: datetime, schedule: Schedule | None, now: datetime) -> Iterator[datetime]:
    yield first
    if schedule is not None:
        yield from schedule.between(first, now)


def _slot(at: datetime, missed: str | None = None, skipped: str | None = None) -> Occurrence:
    return Occurrence(Kind.SLOT, at, Trigger.SCHEDULE, missed, skipped)


def _closed(calendar: JobCalendar | None, instants: Iterable[datetime]) -> dict[datetime, str]:
    """Those at which the job's calendar lets nothing run, with the reason."""
    if calendar is None:
        return {}
    found = ((at, calendar.verdict(at)) for at in instants)
    return {at: reason for at, reason in found if reason}


def _late(at: datetime, closed: Mapping[datetime, str]) -> Occurrence:
    return _slot(at, skipped=closed[at]) if at in closed else _slot(at, missed="misfire")


def _judged(misfires: Misfires, at: datetime, now: datetime) -> Occurrence:
    why = misfires.refuses(at, now)
    return _slot(at, missed=why) if why else replace(_slot(at), trigger=Trigger.CATCH_UP)


def _on_time(row: Occurrence, now: datetime) -> Occurrence:
    """The last one is nothing that was caught up if it is on time and none was missed."""
    is_late = row.missed or now - row.scheduled_for > ON_TIME
    return row if is_late else replace(row, trigger=Trigger.SCHEDULE)


def _rows(rows: Sequence[Occurrence]) -> Sequence[Occurrence]:
    """Many that do not run, one after the other for one reason, share a row.

    Where that leaves very many, as reasons change all the time, their reasons are not told apart.
    """
    found = list(_shared(rows))
    if len(found) <= MOST_ROWS:
        return found
    return list(_shared(row if _runs(row) else _slot(row.scheduled_for, missed="misfire") for row in rows))


def _shared(rows: Iterable[Occurrence]) -> Iterator[Occurrence]:
    for reason, found in groupby(rows, key=lambda row: row.missed or row.skipped):
        alike = list(found)
        if reason is None or len(alike) <= MOST_MISSED_ROWS:
            yield from alike
        else:
            last, count = alike[-1].scheduled_for, len(alike)
            yield replace(alike[0], last_scheduled_for=last, count=count)


def _runs(row: Occurrence) -> bool:
    return not (row.missed or row.skipped)

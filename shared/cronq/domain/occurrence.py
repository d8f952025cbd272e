"""What a due job gives rise to: its runs, its missed instants, and its next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice

from cronq.domain.run import Kind, Trigger
from cronq.domain.schedule import Expressions, Schedule, ScheduleError, every, parse

# Instants looked at in one step; a job that missed more goes on in the next one.
MOST_INSTANTS = 10_000
# Up to here each missed instant has its own row; more of them share one, with first, last and count.
MOST_MISSED_ROWS = 100


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
            )
        if self.interval and self.next_run:
            return every(self.interval, self.next_run)
        return None


@dataclass(frozen=True)
class Occurrence:
    """One row of the ledger to be: a run to release, or (`missed`) the reason why not.

    `last_scheduled_for` and `count` are set where one row stands for several missed instants.
    """

    kind: Kind
    scheduled_for: datetime
    trigger: Trigger
    missed: str | None = None
    last_scheduled_for: datetime | None = None
    count: int | None = None


@dataclass(frozen=True)
class Expansion:
    """The occurrences of one step, and the job's `next_run` after it (None: no more)."""

    occurrences: tuple[Occurrence, ...]
    next_run: datetime | None
    problem: str | None = None  # the stored schedule is not one


def expand(job: DueJob, now: datetime) -> Expansion:
    """The occurrences of `job` that are due at `now`.

    `next_run` itself is one, also when a person wrote it and the schedule would not have. Of
    several, the latest is to run and the earlier ones are missed (misfire).
    """
    wanted = _wanted(job, now)
    if job.next_run is None or job.next_run >= now:
        return Expansion(wanted, job.next_run)
    try:
        schedule = job.parsed()
    except ScheduleError as error:
        row = _slot(job.next_run, missed=f"the schedule is not valid: {error}"[:255])
        return Expansion((*wanted, row), None, problem=str(error))
    slots = _slots(schedule, job.next_run, now)
    return Expansion((*wanted, *slots.occurrences), slots.next_run) if wanted else slots


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
def _slots(schedule: Schedule | None, first: datetime, now: datetime) -> Expansion:
    """Kept, because what is due in one step is often due by one schedule: at midnight, or every minute."""
    instants = list(islice(_instants(first, schedule, now), MOST_INSTANTS + 1))
    if len(instants) > MOST_INSTANTS:
        *missed, following = instants
        return Expansion(_missed(missed), following)
    *missed, latest = instants
    run = Occurrence(Kind.SLOT, latest, Trigger.CATCH_UP if missed else Trigger.SCHEDULE)
    return Expansion((*_missed(missed), run), schedule.next_after(now) if schedule else None)


def _instants(first: datetime, schedule: Schedule | None, now: datetime) -> Iterator[datetime]:
    yield first
    if schedule is not None:
        yield from schedule.between(first, now)


def _slot(at: datetime, missed: str | None = None) -> Occurrence:
    return Occurrence(Kind.SLOT, at, Trigger.SCHEDULE, missed)


def _missed(instants: list[datetime]) -> tuple[Occurrence, ...]:
    if len(instants) <= MOST_MISSED_ROWS:
        return tuple(_slot(at, missed="misfire") for at in instants)
    summary = replace(
        _slot(instants[0], missed="misfire"), last_scheduled_for=instants[-1], count=len(instants)
    )
    return (summary,)

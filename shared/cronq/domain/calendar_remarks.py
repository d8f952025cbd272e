"""What a job's calendar makes of its next occurrences, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice

from cronq.domain import zone
from cronq.domain.bounded import Bounded
from cronq.domain.job import JobSpec
from cronq.domain.recurrence import Schedule, at, epoch_second
from cronq.domain.shifted import Shifted

# Of the schedule's next occurrences so many are looked at.
LOOKED_AT = 5
# Beyond that nothing is promised.
_HORIZON = timedelta(days=366 * 5)


def calendar_remarks(spec: JobSpec, now: datetime) -> list[str]:
    """Which of the next occurrences of a job move or are skipped, and why; in its zone's wall time.

    Raises ScheduleError where its stored schedule is none.
    """
    if spec.job_calendar is None:
        return []
    plain = replace(spec, job_calendar=None).parsed_schedule()
    if plain is None:
        return []
    home = zone.load(spec.timezone) if spec.timezone else UTC
    following = islice(plain.between(now, now + _HORIZON), LOOKED_AT)
    return list(_remarks(spec, spec.parsed_schedule(), following, home))


def _remarks(
    spec: JobSpec, schedule: Schedule | None, instants: Iterator[datetime], home: tzinfo
) -> Iterator[str]:
    calendar = spec.job_calendar
    if calendar is None:
        return
    moving = schedule.inner if isinstance(schedule, Bounded) else schedule
    for instant in instants:
        goes_to = at(moving.moved(epoch_second(instant))) if isinstance(moving, Shifted) else instant
        said = ""
        if goes_to != instant:
            reason = calendar.calendar.closed_day(calendar.calendar.day_of(epoch_second(instant)))
            said = f" moves to {_shown(goes_to, home)} ({reason})"
        skipped = calendar.verdict(goes_to)
        if skipped:
            said += f"{' and' if said else ''} is skipped ({skipped})"
        if said:
            yield f"{_shown(instant, home)}{said}"


def _shown(instant: datetime, home: tzinfo) -> str:
    return f"{instant.astimezone(home):%a %Y-%m-%d %H:%M %Z}"

"""What a schedule does that its author may not expect: uneven steps, days, and changes of the clock."""

from __future__ import annotations

import re
from calendar import month_name
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice

from cronq.domain import timeline
from cronq.domain.cron import Cron
from cronq.domain.cron_days import LENGTHS
from cronq.domain.cron_field import DAY_OF_MONTH, DAY_OF_WEEK, FIELDS, HOUR, MINUTE, MONTH, Field
from cronq.domain.iso8601 import Repeating
from cronq.domain.once import Once
from cronq.domain.recurrence import Schedule, at, epoch_second
from cronq.domain.timeline import Change
from cronq.domain.words import join

# Each zone that changes its clock does it within a year or so.
_AHEAD = timedelta(days=400)
_SHOWN_CHANGES = 2
_SHOWN_TIMES = 3
_HOURS = 24
_HOUR_S = 3_600
_FEBRUARY = 2
# (what begins again, how many it has, what is counted, the period that has no such edge)
_CYCLES: dict[Field, tuple[str, int, str, str]] = {
    MINUTE: ("hour", 60, "minute", "m"),
    HOUR: ("day", 24, "hour", "h"),
    MONTH: ("year", 12, "month", ""),
    DAY_OF_WEEK: ("week", 7, "day", ""),
}


def notes(schedule: Schedule, now: datetime) -> list[str]:
    """Sentences on it: its remarks, and what its steps, days and the next changes of its zone's clock do."""
    found = schedule.remarks(now)
    if isinstance(schedule, Cron):
        found += [*_uneven_steps(schedule), *_days(schedule)]
    return [*found, *_clock_changes(schedule, now)]


def zone_of(schedule: Schedule) -> tzinfo:
    """The zone of a single schedule's wall time."""
    return schedule.zone if isinstance(schedule, Cron | Repeating | Once) else UTC


def _uneven_steps(schedule: Cron) -> Iterator[str]:
    for field, (_, text, _) in zip(FIELDS, schedule.fields(), strict=True):
        if match := re.fullmatch(r"\*/([0-9]+)", text):
            yield from _uneven(field, int(match[1]))


def _uneven(field: Field, step: int) -> Iterator[str]:
    if step == 1:
        return
    if field is DAY_OF_MONTH:
        yield f"{field.name} */{step} starts again on the 1st of each month, however long the one before was"
        return
    whole, size, unit, short = _CYCLES[field]
    # Day 7 is Sunday once more.
    last = range(field.low, field.low + size, step)[-1]
    gap = field.low + size - last
    if gap != step:
        even = f"; @every {step}{short} does not" if short else ""
        apart = f"{gap} {unit}{'s' if gap > 1 else ''}"
        yield f"{field.name} */{step} starts again with each {whole}: {apart} after {last}, not {step}{even}"


def _days(schedule: Cron) -> Iterator[str]:
    days = schedule.days
    _, _, (_, number, _), _, (_, weekday, _) = schedule.fields()
    is_restricted = not {number, weekday} & {"*", "?"}
    if is_restricted and days.needs_both:
        yield "one of day-of-month and day-of-week begins with *: it occurs on days that match both"
    selected = days.by_number
    if is_restricted or not selected.numbers or selected.from_end or selected.working:
        return
    first = min(selected.numbers)
    if short := [month_name[month] for month in sorted(days.months) if _shortest(month) < first]:
        nothing = "nothing occurs in them" if len(short) > 1 else "nothing occurs in it"
        leap = ", but in leap years" if short == [month_name[_FEBRUARY]] and first == LENGTHS[1] else ""
        yield f"no day {first} in {join(short)}: {nothing}{leap}; L is the last day of any month"


def _shortest(month: int) -> int:
    return LENGTHS[month - 1] - (month == _FEBRUARY)


def _clock_changes(schedule: Schedule, now: datetime) -> Iterator[str]:
    if not isinstance(schedule, Cron | Repeating) or _is_hourly(schedule):
        return
    first = epoch_second(now)
    until = first + _AHEAD // timedelta(seconds=1)
    walls_of = schedule.matches if isinstance(schedule, Cron) else schedule.walls
    for change in islice(timeline.changes(schedule.zone, first, until), _SHOWN_CHANGES):
        low, high = sorted((change.at + change.before, change.at + change.after))
        if walls := list(islice(walls_of(low, high), _SHOWN_TIMES + 1)):
            yield _told(schedule, change, walls)


def _is_hourly(schedule: Schedule) -> bool:
    """One that follows real time, through the day: nobody minds which of its times a clock skips."""
    if not isinstance(schedule, Cron):
        return False
    return schedule.is_wild and len({second // _HOUR_S for second in schedule.times}) == _HOURS


def _told(schedule: Cron | Repeating, change: Change, walls: list[int]) -> str:
    is_forward = change.after > change.before
    begin, end = _clock(change.at + change.before), _clock(change.at + change.after)
    moved = (
        f"on {at(walls[0]):%Y-%m-%d} clocks go {'forward' if is_forward else 'back'} from {begin} to {end}"
    )
    times = join([_clock(wall) for wall in walls[:_SHOWN_TIMES]]) + (
        " …" if len(walls) > _SHOWN_TIMES else ""
    )
    one = len(walls) == 1
    if is_forward:
        return f"{moved}, {times} {'does' if one else 'do'} not exist: {_in_gap(schedule, change, end)}"
    return f"{moved}, {times} {'comes' if one else 'come'} twice: {_in_repeated_time(schedule, change)}"


def _in_gap(schedule: Cron | Repeating, change: Change, end: str) -> str:
    rule = _rule(schedule, change)
    return (f"it occurs once, at {end}" if rule in ("cron", "both") else "left out") + _by(rule)


def _in_repeated_time(schedule: Cron | Repeating, change: Change) -> str:
    rule = _rule(schedule, change)
    return f"it occurs {'the first time' if rule in ('cron', 'skip') else 'both times'}{_by(rule)}"


def _rule(schedule: Cron | Repeating, change: Change) -> str:
    is_wild = isinstance(schedule, Cron) and schedule.is_wild
    return "" if is_wild or change.is_correction else schedule.dst


def _by(rule: str) -> str:
    return f", by the dst rule {rule}" if rule else ", whatever the dst rule"


def _clock(wall: int) -> str:
    return f"{at(wall):%H:%M:%S}".removesuffix(":00")

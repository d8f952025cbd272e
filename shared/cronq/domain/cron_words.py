"""A cron expression in plain English: `at 03:00 on weekdays`, `every 20 minutes from 09:00 to 17:40`."""

from __future__ import annotations

from calendar import month_name
from collections.abc import Iterable, Sequence
from itertools import pairwise

from cronq.domain.cron_days import EVERY_WEEKDAY, LENGTHS, Days
from cronq.domain.cron_field import Selection
from cronq.domain.duration import DAY_S
from cronq.domain.words import each, join

_HOUR_S, _MINUTE_S = 3_600, 60
_HOURS = 24
_MINUTES = 60
_MOST_TIMES = 4
_MOST_MINUTES = 12
# In the order of the week that most of the world reads; Sunday is 0.
_WEEK_ORDER = (1, 2, 3, 4, 5, 6, 0)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_GROUPS = {frozenset({1, 2, 3, 4, 5}): "weekdays", frozenset({0, 6}): "weekends"}
_NTH = ("last", "first", "second", "third", "fourth", "fifth")
_TEENS = (11, 12, 13)


def describe(times: Sequence[int], days: Days) -> str:
    """When it occurs; `times` are the seconds of a day, ascending."""
    when = _times(times)
    which = _days(days) or ("" if "every " in when else "every day")
    return " ".join(part for part in (when, which) if part)


def fields(times: Sequence[int], days: Days) -> tuple[str, ...]:
    """What each of the five fields selects."""
    minutes = sorted({at % _HOUR_S // _MINUTE_S for at in times})
    hours = sorted({at // _HOUR_S for at in times})
    return (
        "every minute" if len(minutes) == _MINUTES else join(_ranges(minutes)),
        "every hour" if len(hours) == _HOURS else join(_ranges(hours)),
        _of_numbers(days.by_number) or "every day",
        "every month" if len(days.months) == len(LENGTHS) else _months(days.months),
        _of_weekdays(days.by_weekday) or "every day of the week",
    )


def _times(times: Sequence[int]) -> str:
    gaps = {later - earlier for earlier, later in pairwise(times)}
    is_round = gaps <= {times[0] + DAY_S - times[-1]}
    if len(times) == _HOURS and gaps == {_HOUR_S}:
        return f"every hour at {_past(times[0])}"
    if len(gaps) == 1 and is_round and (len(times) > _MOST_TIMES):
        return f"every {_step(gaps.pop())}" + (f" from {_clock(times[0])}" if times[0] else "")
    if len(times) <= _MOST_TIMES:
        return f"at {join([_clock(at) for at in times])}"
    if len(gaps) == 1:
        return f"every {_step(gaps.pop())} from {_clock(times[0])} to {_clock(times[-1])}"
    return _past_hours(times)


def _past_hours(times: Sequence[int]) -> str:
    """The times are every minute of one set in every hour of another."""
    hours = sorted({at // _HOUR_S for at in times})
    minutes = sorted({at % _HOUR_S for at in times})
    first = join([_past(at) for at in minutes]) if len(minutes) <= _MOST_MINUTES else ""
    within = "every hour" if len(hours) == _HOURS else f"the hours {join(_ranges(hours))}"
    return f"at {first} of {within}" if first else f"{len(minutes)} times in {within}"


def _step(seconds: int) -> str:
    if seconds % _HOUR_S == 0:
        return each(seconds // _HOUR_S, "hour")
    return each(seconds // _MINUTE_S, "minute")


def _clock(second: int) -> str:
    return f"{second // _HOUR_S:02}:{second % _HOUR_S // _MINUTE_S:02}"


def _past(second: int) -> str:
    return f":{second % _HOUR_S // _MINUTE_S:02}"


def _days(days: Days) -> str:
    """'' where every day matches."""
    months = "" if len(days.months) == len(LENGTHS) else _months(days.months)
    if days.are_all():
        return f"every day in {months}" if months else ""
    numbers = _of_numbers(days.by_number)
    weekdays = _of_weekdays(days.by_weekday)
    of_month = f" of {months or 'the month'}"
    nth_of_month = of_month if days.by_weekday.nth else ""
    within = f" in {months}" if months else nth_of_month
    # `or` would be misread next to a list, so each part says `on` again.
    if not days.needs_both:
        return f"on {numbers}{of_month} or on {weekdays}{within}"
    if not numbers:
        return f"on {weekdays}{within}"
    return f"on {numbers}{of_month}" + (f", if among {weekdays}" if weekdays else "")


def _months(months: Iterable[int]) -> str:
    return join([month_name[month] for month in sorted(months)])


def _of_numbers(selected: Selection) -> str:
    """'' for a plain `*`."""
    if len(selected.numbers) == max(LENGTHS):
        return ""
    parts = [f"the {text}" for text in _ranges(sorted(selected.numbers), ordinal=True)]
    parts += [f"{_back(back)} day" for back in sorted(selected.from_end)]
    parts += [
        f"the working day nearest to the {_ordinal(day)}" if day else "the last working day"
        for day in sorted(selected.working)
    ]
    return join(parts)


def _back(days: int) -> str:
    return "the last" if days == 0 else f"the {_ordinal(days + 1)} last"


def _of_weekdays(selected: Selection) -> str:
    """'' for a plain `*`."""
    if selected.numbers == EVERY_WEEKDAY:
        return ""
    group = _GROUPS.get(selected.numbers)
    parts = [group] if group else [f"{_WEEKDAYS[day]}s" for day in _WEEK_ORDER if day in selected.numbers]
    parts += [
        f"the {_NTH[which]} {_WEEKDAYS[day]}"
        for day, which in sorted(selected.nth, key=lambda nth: nth[::-1])
    ]
    return join(parts)


def _ranges(numbers: Sequence[int], *, ordinal: bool = False) -> list[str]:
    """Three and more in a row as `a to b`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    show = _ordinal if ordinal else str
    found: list[str] = []
    for run in runs:
        found += [f"{show(run[0])} to {show(run[-1])}"] if len(run) > 2 else [show(number) for number in run]
    return found


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number in _TEENS else ending}"

"""ISO 8601 repeating intervals: R[n]/start/period, R[n]/start/end and R[n]/period/end.

Point k is start + k * period, multiplied from the anchor, so that Jan 31 + P1M gives Feb 28 and then
Mar 31. Months are added first, then days, both on the wall clock of the schedule's zone; then the DST
rule turns the wall time into instants; then hours, minutes and seconds are added as real time.
Rn has n such points, the start included; one that the DST rule leaves out or doubles still counts as one.
With a period and an end the points count back from the end, which is the last of them: k is 0, -1, -2, …
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import count

from cronq.domain import timeline, zone
from cronq.domain.duration import DAY_S, Period, parse_period
from cronq.domain.iso8601_start import parse_start
from cronq.domain.recurrence import FIRST_YEAR, LAST_YEAR, SECOND, Schedule, at, epoch_second
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.words import each_period

MOST_REPEATS = 1_000_000
SHORT_PERIOD_S = 10
_HORIZON = epoch_second(datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC))
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# Uneven months and offset changes move a point by less than three mean periods.
_SLACK = 3
_START = "R/2026-01-01T00:00:00Z/PT1M"
_FORM = f"write R[n]/start/period, as {_START}"


@dataclass(frozen=True)
class Repeating(Schedule):
    """`anchor` is point 0 in seconds since the epoch, `wall` its wall second in `zone`.

    The points are those from `lowest` to `highest`, None being no limit on that side.
    """

    text: str
    zone: tzinfo
    dst: str
    anchor: int
    wall: int
    period: Period
    lowest: int | None = 0
    highest: int | None = None
    is_naive: bool = False

    def fixed_period(self) -> timedelta | None:
        if self.period.months or (self.period.days and not zone.is_fixed(self.zone)):
            return None
        return timedelta(seconds=self.period.mean_s)

    def remarks(self, now: datetime) -> list[str]:
        return [
            *_naive_start(self),
            *_calendar_months(self.period),
            *_short_period(self.period),
            *_exhausted(self, now),
        ]

    def describe(self) -> str:
        shown = f"{at(self.wall):%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f", {self.zone}"
        step = f"every {each_period(self.period)}"
        if self.text.startswith("@"):
            return step
        if self.lowest == self.highest:
            return f"once at {shown}"
        if self.lowest == 0:
            times = "" if self.highest is None else f", {self.highest + 1} times"
            return f"{step} from {shown}{times}"
        times = "" if self.lowest is None else f", the last {1 - self.lowest} times"
        return f"{step} until {shown}{times}"

    def last(self) -> int | None:
        """The final occurrence in seconds since the epoch, None without one or beyond 2199."""
        if self.highest is None:
            return None
        for k in range(self.highest, max(self.highest - _SLACK, self.lowest or 0) - 1, -1):
            if found := self._point(k):
                return found[-1]
        return None

    def seconds_after(self, second: int) -> Iterator[int]:
        # Nothing occurs before 1970, however far back a period and an end would go.
        second = max(second, -1)
        first = (second - self.anchor) // self.period.mean_s
        if self.fixed_period() is None:
            return self._calendar(second, self._at_least(first - _SLACK))
        return self._grid(self._at_least(first + 1))

    def walls(self, low: int, high: int) -> Iterator[int]:
        """Those of points that are of the wall clock alone: the period has no hours, minutes or seconds."""
        if self.fixed_period() is not None or self.period.seconds:
            return
        first = self._at_least((low - self.wall) // self.period.mean_s - _SLACK)
        for k in count(first) if self.highest is None else range(first, self.highest + 1):
            wall = self._wall_of(k)
            if wall is None or wall >= high:
                return
            if wall >= low:
                yield wall

    def occurrence_key(self) -> Hashable:
        if self.fixed_period() is None or self.lowest != 0 or self.highest is not None:
            return self
        return self.period.mean_s, self.anchor % self.period.mean_s

    def _at_least(self, k: int) -> int:
        return k if self.lowest is None else max(k, self.lowest)

    def _grid(self, first: int) -> Iterator[int]:
        step = self.period.mean_s
        end = _HORIZON if self.highest is None else min(_HORIZON, self.anchor + self.highest * step)
        return iter(range(self.anchor + first * step, end + 1, step))

    def _calendar(self, second: int, first: int) -> Iterator[int]:
        for k in count(first) if self.highest is None else range(first, self.highest + 1):
            found = self._point(k)
            if found is None:
                return
            yield from (instant for instant in found if instant > second)

    def _point(self, k: int) -> tuple[int, ...] | None:
        """The instants of point k; None when it lies beyond the years supported."""
        wall = self._wall_of(k)
        real = k * self.period.seconds
        if wall is None or wall + real > _HORIZON + DAY_S:
            return None
        found = timeline.instants(self.zone, self.dst, wall)
        if k == 0:
            return self.anchor, *(instant for instant in found if instant > self.anchor)
        return tuple(instant + real for instant in found if instant + real <= _HORIZON)

    def _wall_of(self, k: int) -> int | None:
        day, second = divmod(self.wall, DAY_S)
        if self.period.months:
            moved = _add_months(date.fromordinal(_EPOCH_DAY + day), k * self.period.months)
            if moved is None:
                return None
            day = moved.toordinal() - _EPOCH_DAY
        return (day + k * self.period.days) * DAY_S + second


def parse(text: str, *, timezone: str | None, dst: str) -> Repeating:
    """Reads any of the three forms; a start or end without offset is wall time in `timezone`, else UTC.

    Raises ScheduleError.
    """
    repeat, start, last = _split(text)
    counts_back = start.startswith("P")
    named = zone.load(timezone) if timezone is not None else None
    shown, name = (last, "end") if counts_back else (start, "start")
    moment = parse_start(shown, name)
    home = named or moment.tzinfo or UTC
    anchor, wall = _anchor(moment, f"{name} {shown}", home, dst)
    has_end = not counts_back and re.match(r"[0-9]{4}", last)
    period = _until(last, home, dst, anchor) if has_end else _period(start if counts_back else last)
    is_naive = moment.tzinfo is None and named is None
    limits = _limits(_repeats(repeat), counts_back=counts_back)
    return Repeating(text, home, dst, anchor, wall, period, *limits, is_naive)


def every(period: timedelta, anchor: datetime, text: str = "") -> Repeating:
    """The grid anchor + k * period of real time, k from 0, without end; `text` is how it was written.

    Raises ScheduleError for less than a second, more than 100 years, or parts of a second.
    """
    if period < SECOND or period % SECOND:
        raise _invalid(f"period {period} must be a positive number of whole seconds")
    first = epoch_second(anchor)
    if anchor != at(first) or not FIRST_YEAR <= at(first).year <= LAST_YEAR:
        raise _invalid(f"anchor {anchor.isoformat()} must be a whole second in {FIRST_YEAR}-{LAST_YEAR}")
    seconds = f"PT{period // SECOND}S"
    text = text or f"R/{at(first):%Y-%m-%dT%H:%M:%SZ}/{seconds}"
    return Repeating(text, UTC, "cron", first, first, _period(seconds))


def _split(text: str) -> list[str]:
    parts = text.split("/")
    if len(parts) != len(("repeat", "start", "period")):
        hint = f"write @every {parts[1]}, or a start: {_START}" if _is_bare_period(parts) else _FORM
        raise _invalid(f"a repeating interval has 3 parts between slashes, got {len(parts)}", hint)
    if not parts[1]:
        raise _invalid("start is empty: the schedule would move with every deploy", _FORM)
    return parts


def _is_bare_period(parts: list[str]) -> bool:
    """Whether it is R/period, which would begin anew with every deploy."""
    return parts[0] == "R" and len(parts) == len(("R", "period")) and parts[1].startswith("PT")


def _repeats(text: str) -> int | None:
    digits = text[1:]
    if not digits:
        return None
    if not re.fullmatch(r"[0-9]+", digits) or not 1 <= int(digits) <= MOST_REPEATS:
        hint = "set enabled to false to switch it off" if not digits.strip("0") else "write R/ for no limit"
        raise _invalid(f"repeat count must be 1-{MOST_REPEATS} or empty, got {digits[:20]}", hint)
    return int(digits)


def _limits(repeats: int | None, *, counts_back: bool) -> tuple[int | None, int | None]:
    """(lowest, highest) k."""
    farthest = None if repeats is None else repeats - 1
    if counts_back:
        return None if farthest is None else -farthest, 0
    return 0, farthest


def _anchor(moment: datetime, shown: str, home: tzinfo, dst: str) -> tuple[int, int]:
    """(instant, wall second) of a start or end."""
    if moment.tzinfo is not None:
        instant = epoch_second(moment)
        return instant, instant + timeline.offset_at(home, instant)
    wall = epoch_second(moment.replace(tzinfo=UTC))
    found = timeline.instants(home, dst, wall)
    if not found:
        raise _invalid(f"{shown} does not exist in {home}: its clocks skip it")
    return found[0], wall


def _until(text: str, home: tzinfo, dst: str, anchor: int) -> Period:
    """R[n]/start/end repeats the real time between the two."""
    end, _ = _anchor(parse_start(text, "end"), f"end {text}", home, dst)
    if end <= anchor:
        raise _invalid(f"end {text} is not after the start")
    return _period(f"PT{end - anchor}S")


def _period(text: str) -> Period:
    try:
        return parse_period(text)
    except ScheduleError as error:
        code = "overflow" if error.code == "overflow" else "invalid_schedule"
        raise ScheduleError(code, error.message.replace("duration", "period", 1), error.hint) from error


def _add_months(start: date, months: int) -> date | None:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > LAST_YEAR:
        return None
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


def _naive_start(schedule: Repeating) -> Iterator[str]:
    if schedule.is_naive:
        _, start, end = schedule.text.split("/")
        shown = f"end {end}" if start.startswith("P") else f"start {start}"
        yield f"{shown} has no offset and is read as UTC; give it one, or name a timezone"


def _calendar_months(period: Period) -> Iterator[str]:
    if period.months:
        yield "months and years follow the calendar; before CronQ 1.0 a month was 30 days and a year 365"


def _short_period(period: Period) -> Iterator[str]:
    if period.mean_s < SHORT_PERIOD_S:
        yield f"every {period.mean_s} s: a run may not have ended when the next is due"


def _exhausted(schedule: Repeating, now: datetime) -> Iterator[str]:
    last = schedule.last()
    if last is not None and last <= epoch_second(now):
        yield f"exhausted: its last occurrence was {at(last):%Y-%m-%dT%H:%M:%SZ}"


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

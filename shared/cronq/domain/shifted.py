"""A schedule whose occurrences on days that are no business days move to the next or the previous one.

An occurrence moves by whole days at the same wall time, day by day until it is on a business day of the
calendar. One that finds none within a year stays where it is. Several that meet are one occurrence.
Blackouts move nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from heapq import heappop, heappush

from cronq.domain import timeline
from cronq.domain.calendar import BACKWARD, FARTHEST_SHIFT, FORWARD, Calendar, days_to_business
from cronq.domain.recurrence import LAST_YEAR, Schedule
from cronq.domain.timeline import DAY

_EPOCH_DAY = date(1970, 1, 1).toordinal()
# How far before the UTC midnight of its business day, counted by days only, a moved occurrence can be.
_SLACK = 3 * DAY
_HORIZON = (date(LAST_YEAR + 2, 1, 1).toordinal() - _EPOCH_DAY) * DAY


@dataclass(frozen=True)
class Shift:
    """To which business day: of the calendar of that name, FORWARD or BACKWARD."""

    name: str
    calendar: Calendar
    direction: int

    def words(self) -> str:
        which = "next" if self.direction == FORWARD else "previous"
        return f"moved to the {which} business day of {self.name}"


@dataclass(frozen=True)
class Shifted(Schedule):
    """`zone` is the one whose wall time an occurrence keeps when it moves."""

    text: str
    inner: Schedule
    shift: Shift
    zone: tzinfo

    def fixed_period(self) -> timedelta | None:
        return None

    def remarks(self, now: datetime) -> list[str]:
        return self.inner.remarks(now)

    def describe(self) -> str:
        return f"{self.inner.describe()}, {self.shift.words()}"

    def seconds_after(self, second: int) -> Iterator[int]:
        """Moved ones wait until no later occurrence of the inner schedule can come before them."""
        waiting: list[int] = []
        last = second
        for original in self.inner.seconds_after(self._begin(second)):
            floor = self._floor(original)
            while waiting and waiting[0] < floor:
                moved = heappop(waiting)
                if moved > last:
                    last = moved
                    yield moved
            heappush(waiting, self.moved(original))
        for moved in sorted(set(waiting)):
            if moved > last:
                yield moved

    def moved(self, second: int) -> int:
        """Where an occurrence of the inner schedule goes."""
        direction = self.shift.direction
        distance = days_to_business(self.shift.calendar, self._day(second), direction)
        if not distance:
            return second
        wall = second + timeline.offset_at(self.zone, second)
        # A change of the clock can put another date of the calendar's zone at that time.
        for days in range(max(distance - 1, 1), distance + 2):
            found = timeline.instants(self.zone, "cron", wall + direction * days * DAY)
            if found and self.shift.calendar.is_business_day(self._day(found[0])):
                return found[0]
        return second

    def _day(self, second: int) -> date:
        return self.shift.calendar.day_of(second)

    def _floor(self, original: int) -> int:
        """Nothing from this occurrence on is moved to before it."""
        if self.shift.direction == FORWARD:
            return original
        day = self._day(original)
        distance = days_to_business(self.shift.calendar, day, BACKWARD) or 0
        return _midnight(day - timedelta(days=distance)) - _SLACK

    def _begin(self, second: int) -> int:
        """All that is moved to after `second` comes after this, in the inner schedule."""
        if self.shift.direction == BACKWARD:
            return second
        if second < 0 or second > _HORIZON:
            return second
        day = self._day(second) - timedelta(days=_SLACK // DAY + 1)
        distance = days_to_business(self.shift.calendar, day, BACKWARD)
        farthest = FARTHEST_SHIFT + 1 if distance is None else distance
        return max(_midnight(day) - farthest * DAY, -1)


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH_DAY) * DAY

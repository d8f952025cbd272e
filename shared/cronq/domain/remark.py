"""What a change of the clocks does to one occurrence, in words for who did not expect it.

A wall time that the clocks skip is caught up at the first instant after the gap, or left out; one that
they show twice is met twice, or once. Which of it depends on the DST rule (see timeline.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice

from cronq.domain import timeline
from cronq.domain.recurrence import Schedule, at, epoch_second
from cronq.domain.timeline import HOUR, Change
from cronq.domain.words import join

_MINUTE = 60
# More wall times than these of one gap are told as a range.
_MOST_TIMES = 3
# Of a time since the last occurrence in which clocks changed more often, the latest changes count.
_MOST_GAPS = 3
_DAY_MINUTES = 1_440


@dataclass(frozen=True)
class Clocks:
    """What a schedule's wall time means: its zone and DST rule."""

    schedule: Schedule
    zone: tzinfo
    dst: str

    def remark(self, instant: datetime, since: datetime) -> str | None:
        """Of an occurrence: what the clocks did to it, or to what was due after `since`; None for nothing.

        `since` is the occurrence before it, or the instant from which on somebody looks.
        """
        second, floor = epoch_second(instant), epoch_second(since)
        changes = list(timeline.changes(self.zone, floor, second))
        told = [*self._of_gaps(changes, second)]
        repeated = _repeated(second, self.zone)
        if repeated:
            told.append(repeated)
        elif not told and changes:
            told += _moved(changes)
        return "; ".join(told) or None

    def _of_gaps(self, changes: Sequence[Change], second: int) -> Iterator[str]:
        gaps = [change for change in changes if change.after > change.before]
        for change in gaps[-_MOST_GAPS:]:
            day = f"{at(second + timeline.offset_at(self.zone, second)):%Y-%m-%d}"
            walls = list(islice(self.schedule.walls(*_wall_span(change)), _DAY_MINUTES))
            caught_up = [wall for wall in walls if second in self._instants(wall)]
            if caught_up:
                yield _missing(caught_up, day)
            elif walls and not any(self._instants(wall) for wall in walls):
                yield f"{_missing(walls)} and {'is' if len(walls) == 1 else 'are'} left out"

    def _instants(self, wall: int) -> tuple[int, ...]:
        return timeline.instants(self.zone, self.dst, wall)


def _wall_span(change: Change) -> tuple[int, int]:
    return change.at + change.before, change.at + change.after


def _missing(walls: Sequence[int], day: str = "") -> str:
    """`02:30 does not exist on this day`; with the date of the first unless that is `day`."""
    shown = [f"{at(wall):%H:%M:%S}".removesuffix(":00") for wall in walls]
    date = f"{at(walls[0]):%Y-%m-%d}"
    listed = join(shown) if len(shown) <= _MOST_TIMES else f"{shown[0]} to {shown[-1]}"
    verb = "does not exist" if len(walls) == 1 else "do not exist"
    return f"{listed} {verb} on this day" if date == day else f"{date} {listed} {verb}"


def _repeated(second: int, zone: tzinfo) -> str:
    """PEP 495: the two readings of a wall time differ where clocks show it twice."""
    local = datetime.fromtimestamp(second, zone)
    first, last = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if first is None or last is None or first == last:
        return ""
    which = "second" if local.fold else "first"
    return f"{which} of a repeated {_length(int((first - last).total_seconds()))}"


def _moved(changes: Sequence[Change]) -> Iterator[str]:
    by = changes[-1].after - changes[0].before
    if by:
        day = f"{at(changes[-1].at + changes[-1].before):%Y-%m-%d}"
        way = "forward" if by > 0 else "back"
        yield f"clocks went {way} by {_length(abs(by), 'an ')} on {day}"


def _length(seconds: int, article: str = "") -> str:
    if seconds == HOUR:
        return f"{article}hour"
    hours, rest = divmod(seconds, HOUR)
    if not rest:
        return f"{hours} hours"
    return f"{seconds // _MINUTE} minutes" if not seconds % _MINUTE else f"{seconds} seconds"

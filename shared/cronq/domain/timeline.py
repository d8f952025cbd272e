"""How a zone's wall clock lies on real time, and what each DST rule makes of its jumps.

Real time is cut into spans of constant offset. A DST rule is one number per span: the wall second
at which a schedule takes it up (`opens`). After a jump forward from wall second p to o, opening at p
catches up what fell into the gap, at the first instant after it; opening at o leaves it out. After a
jump back from p to o, opening at p passes the repeated time once; opening at o passes it again.

    rule   gap            repeated time   used for
    real   nothing in it  twice           cron jobs with `*` first in minute or hour, whatever their rule
    cron   once after it  once            the others, as Debian's cron does
    skip   nothing in it  once
    both   once after it  twice

As in Debian's cron (cron(8), "special considerations exist when the clock is changed"), a jump of
three hours or more is a correction of the clock and never caught up, so a day that a zone leaves out
(Apia, 2011-12-30) has no occurrences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from cronq.domain.recurrence import FIRST_YEAR, LAST_YEAR, at, epoch_second

DAY = 86_400
HOUR = 3_600
_CORRECTION = 3 * HOUR
# No zone has two transitions closer than 6.9 days (tzdata 2026: Recife 2000, Gaza 2040).
_PROBE = 5 * DAY
# The widest an offset can be away from UTC, and a margin.
_REACH = 26 * HOUR


class Span(NamedTuple):
    """Seconds [start, end) since the epoch at one offset; `opens` is a wall second."""

    start: int
    end: int
    offset: int
    opens: int


def occurrences(
    zone: tzinfo, rule: str, after: int, walls: Callable[[int, int], Iterator[int]]
) -> Iterator[int]:
    """The instants after `after` at which the wall clock shows one of `walls(low, high)`, ascending.

    A wall second is what the wall clock shows, counted as if it were UTC; `walls` yields those in
    [low, high), ascending. Several that fall into one gap come out as one instant.
    """
    last = max(after, -1)
    for span in _spans_from(zone, rule, last + 1):
        low = span.opens if last < span.start else max(span.opens, last + 1 + span.offset)
        for wall in walls(low, span.end + span.offset):
            instant = max(wall - span.offset, span.start)
            if instant > last:
                last = instant
                yield instant


def instants(zone: tzinfo, rule: str, wall: int) -> tuple[int, ...]:
    """The instants that stand for one wall second: one, none (in a gap) or two (in repeated time)."""
    found: list[int] = []
    for span in _spans_from(zone, rule, wall - _REACH):
        if span.start > wall + _REACH:
            break
        if span.opens <= wall < span.end + span.offset:
            found.append(max(wall - span.offset, span.start))
    return tuple(found)


def transition(zone: tzinfo, low: int, high: int) -> int | None:
    """The first second in (low, high], some days, with the offset of `high`; None: it is that of `low`."""
    return None if offset_at(zone, low) == offset_at(zone, high) else _transition(zone, low, high)


def offset_at(zone: tzinfo, second: int) -> int:
    """Seconds east of UTC at a second since the epoch."""
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else offset.days * DAY + offset.seconds


def _spans_from(zone: tzinfo, rule: str, second: int) -> Iterator[Span]:
    for year in range(max(at(min(second, _HORIZON)).year, FIRST_YEAR - 1), LAST_YEAR + 1):
        for span in _spans(zone, rule, year):
            if span.end > second:
                yield span


@lru_cache(maxsize=4096)
def _spans(zone: tzinfo, rule: str, year: int) -> tuple[Span, ...]:
    cuts = _offsets(zone, year)
    ends = [*(start for start, _ in cuts[1:]), _new_year(year + 1)]
    before = offset_at(zone, _new_year(year) - 1)
    spans = []
    for (start, offset), end in zip(cuts, ends, strict=True):
        spans.append(Span(start, end, offset, start + _opening(rule, before, offset)))
        before = offset
    return tuple(spans)


def _opening(rule: str, before: int, after: int) -> int:
    is_correction = not -_CORRECTION <= after - before < _CORRECTION
    if is_correction or rule == "real":
        return after
    return {"cron": before, "skip": max(before, after), "both": min(before, after)}[rule]


def _offsets(zone: tzinfo, year: int) -> list[tuple[int, int]]:
    """(first second, offset) of each stretch of constant offset within a UTC year."""
    first, end = _new_year(year), _new_year(year + 1)
    found = [(first, offset_at(zone, first))]
    for low, high in pairwise([*range(first, end - 1, _PROBE), end - 1]):
        offset = offset_at(zone, high)
        if offset != found[-1][1]:
            found.append((_transition(zone, low, high), offset))
    return found


def _transition(zone: tzinfo, low: int, high: int) -> int:
    """The first second in (low, high] with the offset of `high`."""
    offset = offset_at(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


def _new_year(year: int) -> int:
    return epoch_second(datetime(year, 1, 1, tzinfo=UTC))


# Nothing occurs from here on, and datetime ends before the seconds do.
_HORIZON = _new_year(LAST_YEAR + 1)

"""Stretches of time with a name: once, from an instant to another, or from each instant of a schedule on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from cronq.domain.recurrence import Schedule


@dataclass(frozen=True, order=True)
class Stretch:
    """The seconds [start, end) since the epoch."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Recurring:
    """`length` seconds from each occurrence of a schedule on."""

    schedule: Schedule
    length: int
    name: str

    def around(self, second: int) -> Stretch | None:
        """The earliest of its stretches that this second lies in."""
        for start in self.schedule.seconds_after(second - self.length):
            return Stretch(start, start + self.length, self.name) if start <= second else None
        return None


class Stretches:
    """Any number of both kinds, quick to ask for what a second lies in."""

    def __init__(self, once: Iterable[Stretch] = (), recurring: Iterable[Recurring] = ()) -> None:
        self._apart = _apart(once)
        self._starts = [stretch.start for stretch in self._apart]
        self._recurring = tuple(recurring)

    def around(self, second: int) -> Stretch | None:
        """One that the second lies in; None outside of all."""
        index = bisect_right(self._starts, second) - 1
        if index >= 0 and second < self._apart[index].end:
            return self._apart[index]
        found = (each.around(second) for each in self._recurring)
        return next((stretch for stretch in found if stretch), None)


def _apart(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Ascending, and what several of them cover left to the one that begins first."""
    found: list[Stretch] = []
    for each in sorted(stretches):
        start = max(each.start, found[-1].end) if found else each.start
        if start < each.end:
            found.append(Stretch(start, each.end, each.name))
    return found

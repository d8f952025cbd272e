"""Several schedules of one job: an instant that two of them name is one occurrence."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby

from cronq.domain.recurrence import Schedule


@dataclass(frozen=True)
class Union(Schedule):
    """Two schedules or more; `text` is all of theirs."""

    text: str
    parts: tuple[Schedule, ...]

    def fixed_period(self) -> timedelta | None:
        """None: two grids make one only by chance."""
        return None

    def remarks(self, now: datetime) -> list[str]:
        return [f"schedule {part.text}: {remark}" for part in self.parts for remark in part.remarks(now)]

    def describe(self) -> str:
        return "; and ".join(part.describe() for part in self.parts)

    def walls(self, low: int, high: int) -> Iterator[int]:
        merged = merge(*(part.walls(low, high) for part in self.parts))
        return (wall for wall, _ in groupby(merged))

    def occurrence_key(self) -> Hashable:
        return frozenset(part.occurrence_key() for part in self.parts)

    def seconds_after(self, second: int) -> Iterator[int]:
        merged = merge(*(part.seconds_after(second) for part in self.parts))
        return (instant for instant, _ in groupby(merged))

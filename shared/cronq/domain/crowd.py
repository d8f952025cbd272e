"""What a forecast warns of: times with more runs than slots, and herds, minutes in which everybody starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil

from cronq.domain.forecast import MINUTE_S, Group, QueueLoad
from cronq.domain.spread import spread

# A minute with at least so many starts, and so many times the usual, is a herd.
HERD_LEAST = 10
HERD_FACTOR = 5
# Herds are looked into from the largest down.
_MOST_MINUTES = 500


@dataclass(frozen=True)
class Overload:
    """Minutes [first, end) in each of which more runs live than there are slots; at most `alive` at once."""

    first: int
    end: int
    alive: int


def overloads(load: QueueLoad, slots: int) -> list[Overload]:
    """In order of time."""
    found: list[Overload] = []
    for is_over, minutes in groupby(range(len(load.alive)), key=lambda minute: load.alive[minute] > slots):
        if is_over:
            span = list(minutes)
            found.append(Overload(span[0], span[-1] + 1, max(load.alive[span[0] : span[-1] + 1])))
    return found


@dataclass(frozen=True)
class Advice:
    """Two jobs or more, by their names, that would start apart with `schedule` for theirs."""

    schedule: str
    jobs: Sequence[str]


@dataclass(frozen=True)
class Herd:
    """Minutes in which the same jobs start together, `starts` of them in the worst.

    `usual` is how many start in a minute on average. `jobs` are names; those of `advice` are among them.
    """

    minutes: Sequence[int]
    starts: int
    usual: float
    jobs: Sequence[str]
    advice: Sequence[Advice]


def herds(load: QueueLoad) -> list[Herd]:
    """The largest first; of more than 500 minutes of herds only the largest 500 are looked into."""
    usual = sum(load.starts) / max(len(load.starts), 1)
    least = max(HERD_LEAST, ceil(HERD_FACTOR * usual))
    large = [minute for minute, starts in enumerate(load.starts) if starts >= least]
    worst = sorted(large, key=lambda minute: -load.starts[minute])[:_MOST_MINUTES]
    found = [
        _herd(load, minutes, groups, usual)
        for groups, minutes in _alike(load.groups, frozenset(worst)).items()
    ]
    return sorted(found, key=lambda herd: (-herd.starts, herd.minutes[0]))


def _alike(groups: Sequence[Group], minutes: frozenset[int]) -> dict[frozenset[int], list[int]]:
    """The minutes by the groups that start in them: those that could start apart, or else all of them."""
    within: dict[int, set[int]] = defaultdict(set)
    could: dict[int, set[int]] = defaultdict(set)
    for number, group in enumerate(groups):
        has_advice = any(spread(job.expression) for job in group.jobs)
        for minute in minutes.intersection([second // MINUTE_S for second in group.starts]):
            within[minute].add(number)
            if has_advice:
                could[minute].add(number)
    found: dict[frozenset[int], list[int]] = defaultdict(list)
    for minute in sorted(minutes):
        found[frozenset(could[minute] or within[minute])].append(minute)
    return found


def _herd(load: QueueLoad, minutes: list[int], numbers: frozenset[int], usual: float) -> Herd:
    jobs = [job for number in sorted(numbers) for job in load.groups[number].jobs if job.queue == load.queue]
    advice: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        better = spread(job.expression)
        if better:
            advice[better].append(job.name)
    apart = [(schedule, names) for schedule, names in advice.items() if len(names) > 1]
    most = sorted(apart, key=lambda item: (-len(item[1]), item[0]))
    return Herd(
        minutes,
        max(load.starts[minute] for minute in minutes),
        usual,
        [job.name for job in jobs],
        [Advice(schedule, names) for schedule, names in most],
    )

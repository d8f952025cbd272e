"""The load to come: how many runs start and live in each minute, queue by queue, and where they crowd.

What schedules promise, each run as long as its job's runs use to be, and none of them waiting for a slot:
where more are alive than there are slots, runs will wait. Runs that live already, retries, requests and
what one run does to another (overlap) are not in it.

Jobs with the same occurrences are worked out once, so ten thousand jobs of a few hundred schedules cost
little more than those schedules. All in all at most MOST_STEPS instants are looked at; the jobs that find
no room any more, the ones due last, are counted as cut.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from math import ceil
from statistics import median

from cronq.domain.schedule import Schedule

MINUTE_S = 60
# Some seconds' work.
MOST_STEPS = 3_000_000
# What a run is taken to last where no run of any job is known.
UNKNOWN_S = 10.0
_EXACT_S = 100


@dataclass(frozen=True)
class Due:
    """A job with an occurrence to come, in the window or later; without `schedule` it is the only one.

    `expression` is its schedule as written, '' unless it is a single text. `lasts_s` is how long a run
    of it takes, None where nobody knows yet.
    """

    name: str
    queue: str
    next_run: datetime
    schedule: Schedule | None = None
    expression: str = ""
    lasts_s: float | None = None


@dataclass(frozen=True)
class Window:
    """[since, until), whole minutes; `since` is one too."""

    since: datetime
    until: datetime

    @property
    def minutes(self) -> int:
        return (self.until - self.since) // timedelta(minutes=1)

    def at(self, minute: int) -> datetime:
        return self.since + timedelta(minutes=minute)


@dataclass
class Group:
    """Jobs with the same occurrences; `starts` are those in the window, as seconds from its beginning."""

    starts: array[int]
    jobs: list[Due] = field(default_factory=list)


@dataclass(frozen=True)
class QueueLoad:
    """Of each minute of the window: runs that start in it, and the most that live at once in it."""

    queue: str
    starts: Sequence[int]
    alive: Sequence[int]
    groups: Sequence[Group] = ()


@dataclass(frozen=True)
class Forecast:
    """`queues` by name. `counted` jobs are in it, `cut` are not.

    Of the counted ones `unknown` never ran; each of their runs is taken to last `assumed_s`.
    """

    window: Window
    queues: Sequence[QueueLoad]
    counted: int
    cut: int
    unknown: int
    assumed_s: float


def forecast(jobs: Sequence[Due], window: Window) -> Forecast:
    """The load of jobs, those due soonest first."""
    known = [job.lasts_s for job in jobs if job.lasts_s is not None]
    assumed_s = median(known) if known else UNKNOWN_S
    loads: dict[str, _Load] = defaultdict(_Load)
    counted = unknown = 0
    for group in _groups(jobs, window, assumed_s):
        counted += len(group.jobs)
        unknown += sum(1 for job in group.jobs if job.lasts_s is None)
        for queue, lasting in _lasting(group.jobs, assumed_s).items():
            loads[queue].add(group, lasting)
    return Forecast(
        window,
        [loads[queue].told(queue, window.minutes) for queue in sorted(loads)],
        counted,
        len(jobs) - counted,
        unknown,
        assumed_s,
    )


def _groups(jobs: Sequence[Due], window: Window, assumed_s: float) -> Iterator[Group]:
    """As many as there is room for."""
    alike: dict[Hashable, list[Due]] = defaultdict(list)
    for job in jobs:
        key = None if job.schedule is None else job.schedule.occurrence_key()
        alike[key, job.next_run].append(job)
    room = MOST_STEPS
    for members in alike.values():
        if room == 0:
            return
        starts = array("L", islice(_starts(members[0], window), room))
        passes = sum(1 + len(lasting) for lasting in _lasting(members, assumed_s).values())
        room -= len(starts)
        if len(starts) * passes <= room:
            room -= len(starts) * passes
            yield Group(starts, members)


def _starts(job: Due, window: Window) -> Iterator[int]:
    """Seconds from the window's beginning."""
    length = window.minutes * MINUTE_S
    first = int((job.next_run - window.since).total_seconds())
    if first >= length:
        return
    yield first
    if job.schedule is not None:
        # The last whole second of the window is in it, its end is not.
        last = window.until - timedelta(seconds=1)
        for at in job.schedule.between(job.next_run, last):
            yield int((at - window.since).total_seconds())


def _lasting(jobs: Sequence[Due], assumed_s: float) -> dict[str, Counter[int]]:
    """Of each queue how many of the jobs last how long."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for job in jobs:
        found[job.queue][_rounded_up(assumed_s if job.lasts_s is None else job.lasts_s)] += 1
    return found


def _rounded_up(seconds: float) -> int:
    """Whole seconds, from 100 on to two digits: jobs that last about as long are worked out together."""
    whole = max(ceil(seconds), 1)
    if whole < _EXACT_S:
        return whole
    unit: int = 10 ** (len(str(whole)) - 2)
    return -(-whole // unit) * unit


@dataclass
class _Load:
    """`change` is by how many more or fewer runs live from a second on."""

    minutes: Counter[int] = field(default_factory=Counter)
    change: Counter[int] = field(default_factory=Counter)
    groups: list[Group] = field(default_factory=list)

    def add(self, group: Group, lasting: Counter[int]) -> None:
        count = lasting.total()
        minutes, change = self.minutes, self.change
        for second in group.starts:
            minutes[second // MINUTE_S] += count
            change[second] += count
        for seconds, ending in lasting.items():
            for second in group.starts:
                change[second + seconds] -= ending
        self.groups.append(group)

    def told(self, queue: str, minutes: int) -> QueueLoad:
        starts = [self.minutes[minute] for minute in range(minutes)]
        return QueueLoad(queue, starts, self._alive(minutes), self.groups)

    def _alive(self, minutes: int) -> list[int]:
        found = [0] * minutes
        alive = entered = 0
        for second in sorted(self.change):
            # What ends in the first second of a minute does not live in it.
            for minute in range(entered, min(-(-second // MINUTE_S), minutes)):
                found[minute] = alive
            entered = max(entered, -(-second // MINUTE_S))
            if second >= minutes * MINUTE_S:
                return found
            alive += self.change[second]
            minute = second // MINUTE_S
            found[minute] = max(found[minute], alive)
        return found

"""Judging chains: whether those of a document make sense, and what the end of a run starts (see `after`).

Graphs go from a job to those that it comes after.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cronq.domain.after import After, JobName, On
from cronq.domain.ids import EPOCH
from cronq.domain.run import ENDED, State
from cronq.domain.strict_json import shown


class Fault(NamedTuple):
    """What is wrong with the `after` of a job."""

    job: str
    code: str
    message: str
    hint: str = ""


Graph = Mapping[JobName, Collection[JobName]]


def faults(category: str, chains: Mapping[str, After | None]) -> Iterator[Fault]:
    """What is wrong with the chains of a whole category's jobs, by what it says itself."""
    graph: dict[JobName, Collection[JobName]] = {}
    for name, after in chains.items():
        if after is None:
            continue
        found = [upstream.resolved(category, chains) for upstream in after.upstreams]
        graph[JobName(category, name)] = found
        yield from _faults_of_names(name, after, found, category, chains)
    yield from cycle_faults(category, graph)


def _faults_of_names(
    job: str, after: After, found: Sequence[JobName], category: str, names: Collection[str]
) -> Iterator[Fault]:
    for upstream, name in zip(after.upstreams, found, strict=True):
        if found.count(name) > 1:
            yield Fault(job, "invalid_value", f"{shown(str(name))} stands there twice; each job once")
            return
        if name.category == category and name.name not in names:
            message = f"the category has no job {shown(upstream.job)}"
            near = difflib.get_close_matches(name.name[:64], list(names), n=1)
            hint = f"did you mean {shown(near[0])}?" if near else "name one of another as category/name"
            yield Fault(job, "unknown_job", message, hint)


def cycle_faults(category: str, graph: Graph) -> Iterator[Fault]:
    """One for each job of the category that would start itself, the first of each circle only."""
    told: set[JobName] = set()
    for job in sorted(name for name in graph if name.category == category):
        circle = [] if job in told else _circle(job, graph)
        told.update(circle)
        if circle:
            way = " → ".join(map(str, [*circle, job]))
            yield Fault(job.name, "cycle", f"it would start itself: {shown(way, 400)}")


def _circle(job: JobName, graph: Graph) -> list[JobName]:
    """A shortest way from a job to itself, in the order of the starts; [] where there is none."""
    came_from: dict[JobName, JobName] = {}
    front = [job]
    while front and job not in came_from:
        following = []
        for each in front:
            for upstream in graph.get(each, ()):
                if upstream not in came_from:
                    came_from[upstream] = each
                    following.append(upstream)
        front = following
    if job not in came_from:
        return []
    way = [job]
    while (following_job := came_from[way[-1]]) != job:
        way.append(following_job)
    return way


# -- judging ends


class End(NamedTuple):
    """A run as those see it that come after its job; `is_over`: it has ended, nobody has yet to decide."""

    run_id: str
    state: State
    has_started: bool
    is_over: bool
    recorded_at: datetime = EPOCH

    @classmethod
    def of(
        cls,
        run_id: str,
        state: str,
        *,
        started_at: datetime | None,
        recorded_at: datetime | None = None,
        needs_decision: bool = False,
    ) -> End:
        found = State(state)
        is_over = found in ENDED and not needs_decision
        return cls(run_id, found, started_at is not None, is_over, recorded_at or EPOCH)

    def meets(self, on: On) -> bool:
        return self.is_over and on.is_met(self.state, has_started=self.has_started)


class Wanted(NamedTuple):
    """One upstream of a join, with its runs of the slot."""

    job: JobName
    on: On
    runs: tuple[End, ...]

    @property
    def met(self) -> End | None:
        """The run that ended as wanted, the latest of them."""
        return next((run for run in reversed(self.runs) if run.meets(self.on)), None)

    @property
    def is_over(self) -> bool:
        """Whether there was a run, and none is to end any more."""
        return bool(self.runs) and all(run.is_over for run in self.runs)


@dataclass(frozen=True)
class Joined:
    """Where a join stands for one slot."""

    wanted: tuple[Wanted, ...]

    @property
    def is_complete(self) -> bool:
        return all(each.met for each in self.wanted)

    @property
    def is_begun(self) -> bool:
        """Whether one of them ended as wanted: a join with a deadline promises a start from then on."""
        return any(each.met for each in self.wanted)

    @property
    def causes(self) -> list[str]:
        """The runs that ended as wanted; the last one completed it."""
        met = [each.met for each in self.wanted if each.met]
        return [end.run_id for end in sorted(met, key=lambda end: (end.recorded_at, end.run_id))]

    def refusal(self) -> str | None:
        """Why it will never be complete, once every one of them is over; None: it is, or may become so."""
        if self.is_complete or not all(each.is_over for each in self.wanted):
            return None
        return self._lacking("was {}, not {}")

    def lack(self) -> str:
        """What it still lacks, in words."""
        return self._lacking("is {}, not {}")

    def _lacking(self, form: str) -> str:
        said = []
        for each in self.wanted:
            if not each.met:
                last = each.runs[-1].state if each.runs else "without a run"
                said.append(f"{each.job} {form.format(last, _WANTED[each.on])}")
        return "; ".join(said)


_WANTED = {On.SUCCESS: "succeeded", On.FAILURE: "failed", On.END: "ended"}

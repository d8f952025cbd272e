"""Gates: what a run that could go waits for, one at a time, until all are open.

    pause:SUBJECT    somebody paused it; SUBJECT is `all`, `category:ID`, `queue:KEY` or `job:ID`
    window:NAME      a maintenance window holds it
    job:ID           the overlap rule of its job
    category:ID      so many runs of a category at once
    queue:KEY        so many runs of a routing key at once
    lock:NAME        a named lock, with weights
    rate:queue:KEY   so many starts of a routing key in a time
    rate:catch-up    what an outage or a pause left is not let out all at once
    host:NAME        so many runs on a host at once (`host:*`: on each); known only at the claim

A run *holds* a gate with a capacity from its release until it ends, but the gate of its job until it has
ended for good: it is in the way of the next one while it waits for another attempt, too. A run that meets
a closed gate is *parked* there, and set free in order (priority, then turn) as soon as there is room. Both
are judged again at every step by what the ledger says of the runs, so that no end of a run has to be
told to anybody, and none can be missed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cronq.domain.job import JobSpec
from cronq.domain.overlap import Overlap, Rule
from cronq.domain.run import State, Trigger

ALL = "all"
CATCH_UP = "rate:catch-up"
# A lock that nobody gave a capacity lets one run in.
LOCK_CAPACITY = 1
EVERY_HOST = "*"
_HOLDING = frozenset({State.QUEUED, State.CLAIMED, State.RUNNING})


def of_job(job_id: int) -> str:
    return f"job:{job_id}"


def of_category(category_id: int) -> str:
    return f"category:{category_id}"


def of_queue(routing_key: str) -> str:
    return f"queue:{routing_key}"


def of_lock(name: str) -> str:
    return f"lock:{name}"


def of_host(host: str) -> str:
    return f"host:{host}"


def rate_of(gate: str) -> str:
    """The gate of a gate's rate of starts."""
    return f"rate:{gate}"


def pause_of(subject: str) -> str:
    return f"pause:{subject}"


def reason_of(gate: str) -> str:
    """Why an occurrence never runs that such a pause or window would hold: `paused`, `window NAME`."""
    return "paused" if gate.startswith("pause:") else gate.replace(":", " ", 1)


def window_of(name: str) -> str:
    return f"window:{name}"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a gate lets through: `capacity` at once (weights add up), `rate` starts in `period`."""

    capacity: int | None = None
    rate: int | None = None
    period: timedelta | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """What holds runs back at this moment: paused subjects, and subjects by the window that is on."""

    pauses: frozenset[str] = frozenset()
    windows: Mapping[str, str] = field(default_factory=dict)  # subject → a window's name

    def gate(self, *, job_id: int, category_id: int, routing_key: str, trigger: str) -> str | None:
        """The gate that holds such a run; None: it may go.

        A pause stops what comes by itself. What a person asks for passes one of its job or category, but
        neither a paused queue nor a maintenance window.
        """
        if not self.pauses and not self.windows:
            return None
        subjects = [ALL, of_category(category_id), of_job(job_id)]
        paused = [of_queue(routing_key), *(subjects if trigger not in ASKED_FOR else [])]
        for subject in paused:
            if subject in self.pauses:
                return pause_of(subject)
        for subject in (*subjects, of_queue(routing_key)):
            if subject in self.windows:
                return window_of(self.windows[subject])
        return None

    def is_open(self, gate: str) -> bool:
        """Of a gate that is a pause or a window."""
        kind, _, subject = gate.partition(":")
        return subject not in (self.pauses if kind == "pause" else self.windows.values())


def trigger_of(triggered_by: str, actor: str | None) -> str:
    """What a person let out from the outage board is asked for, though it came by itself once."""
    return Trigger.MANUAL if actor is not None and triggered_by == Trigger.CATCH_UP else triggered_by


ASKED_FOR = frozenset({Trigger.MANUAL, Trigger.API, Trigger.RERUN})
NOTHING_CLOSED = Closed()


@dataclass(frozen=True, slots=True)
class Need:
    """A gate that a run must hold to go, and how much of it."""

    gate: str
    weight: int = 1
    capacity: int | None = None  # by the job's own definition


def needs(job_id: int, category_id: int, spec: JobSpec, limits: Mapping[str, Limit]) -> tuple[Need, ...]:
    """The gates with a capacity or a rate that a job's runs go through, its own first."""
    found: list[Need] = []
    overlap = spec.overlap_rule
    if overlap.capacity is not None:
        found.append(Need(of_job(job_id), capacity=overlap.capacity))
    found += (Need(of_lock(name), weight) for name, weight in spec.lock_weights)
    for gate in (of_category(category_id), of_queue(spec.routing_key)):
        if gate in limits:
            found.append(Need(gate))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Hold:
    """A run that has hold of a gate, as the ledger knows it now."""

    run_id: str
    state: State
    weight: int
    is_retry: bool = False

    def counts(self, gate: str) -> bool:
        """Whether it takes any room there (see the module's head)."""
        if gate.startswith("job:"):
            return self.state in _HOLDING or self.state is State.SCHEDULED
        return self.state in _HOLDING


Place = tuple[int, int, str]  # priority, turn, run_id: the order in which runs are let through


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that stands in line and needs gates."""

    run_id: str
    priority: int
    turn: int
    needs: tuple[Need, ...]
    overlap: Overlap

    @property
    def place(self) -> Place:
        return (self.priority, self.turn, self.run_id)


@dataclass(frozen=True, slots=True)
class Go:
    """It is let out."""


@dataclass(frozen=True, slots=True)
class Park:
    """It waits at a gate; `kill` are the runs that make way for it, `instead_of` others that wait there."""

    gate: str
    weight: int = 1
    kill: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """It never runs."""

    reason: str


Decision = Go | Park | Skip


class Gates:
    """The gates that some waiting runs need, with who holds and who waits; `decide` keeps it up to date."""

    def __init__(
        self,
        limits: Mapping[str, Limit],
        holds: Mapping[str, Sequence[Hold]],
        parked: Mapping[str, Collection[Place]],
        now: datetime,
    ) -> None:
        self._limits = limits
        self._holds = {gate: [h for h in found if h.counts(gate)] for gate, found in holds.items()}
        self._parked = {gate: set(places) for gate, places in parked.items()}
        self._now = now
        self.next_at: dict[str, datetime] = {}  # of the gates whose rate was used
        self.taken: list[tuple[str, str, int]] = []  # gate, run, weight: holds that are new

    def decide(self, run: Waiting) -> Decision:
        """What becomes of a run; those before it in line were decided."""
        for need in run.needs:
            if self._holds_it(need.gate, run.run_id):
                continue
            if not self._is_room(need, run.place):
                return self._blocked(run, need)
            if need.gate.startswith("job:"):
                self._take(need, run.run_id)
        for need in run.needs:
            if not need.gate.startswith("job:") and not self._holds_it(need.gate, run.run_id):
                self._take(need, run.run_id)
            self._use_rate(need.gate)
        return Go()

    def room(self, gate: str, capacity: int | None) -> int | None:
        """How much weight it still lets in; None: any."""
        limit = self._limits.get(gate, Limit()).capacity
        if gate.startswith("job:"):
            limit = capacity
        elif limit is None and gate.startswith("lock:"):
            limit = LOCK_CAPACITY
        return None if limit is None else limit - sum(h.weight for h in self._holds.get(gate, ()))

    def _weight(self, need: Need) -> int:
        """One that is heavier than the whole gate goes alone."""
        limit = self._limits.get(need.gate, Limit()).capacity
        if limit is None and need.gate.startswith("lock:"):
            limit = LOCK_CAPACITY
        return need.weight if limit is None else min(need.weight, max(limit, 1))

    def _is_room(self, need: Need, place: Place) -> bool:
        """Nobody passes those who came before and wait here."""
        waiting = (*self._parked.get(need.gate, ()), *self._parked.get(rate_of(need.gate), ()))
        if any(other < place for other in waiting):
            return False
        room = self.room(need.gate, need.capacity)
        return (room is None or room >= self._weight(need)) and self._rate_allows(need.gate)

    def _rate_allows(self, gate: str) -> bool:
        limit = self._limits.get(gate, Limit())
        return not limit.rate or tokens(limit, self._now, next_at=self.next_at.get(gate)) > 0

    def _use_rate(self, gate: str) -> None:
        limit = self._limits.get(gate, Limit())
        if limit.rate:
            self.next_at[gate] = after_starts(limit, 1, self._now, next_at=self.next_at.get(gate))

    def _holds_it(self, gate: str, run_id: str) -> bool:
        return any(h.run_id == run_id for h in self._holds.get(gate, ()))

    def _take(self, need: Need, run_id: str) -> None:
        weight = self._weight(need)
        self._holds.setdefault(need.gate, []).append(Hold(run_id, State.QUEUED, weight))
        self.taken.append((need.gate, run_id, weight))

    def _blocked(self, run: Waiting, need: Need) -> Decision:
        if need.gate.startswith("job:"):
            return self._overlapping(run, need)
        has_room = self.room(need.gate, need.capacity)
        is_rate = (has_room is None or has_room >= self._weight(need)) and not self._rate_allows(need.gate)
        return self._park(run, rate_of(need.gate) if is_rate else need.gate, self._weight(need))

    def _overlapping(self, run: Waiting, need: Need) -> Decision:
        holders = self._holds.get(need.gate, [])
        in_the_way = holders[0].run_id if holders else ""
        waiting = sorted(self._parked.get(need.gate, ()))
        if run.overlap.rule is Rule.SKIP:
            return Skip(f"overlap: run {in_the_way or waiting[0][2]} has not ended")  # one of them blocks
        if run.overlap.rule is Rule.QUEUE and len(waiting) >= (run.overlap.waiting or 0):
            return Skip(f"overlap: {len(waiting)} wait already for run {in_the_way}")
        decision = self._park(run, need.gate, 1)
        if run.overlap.rule is not Rule.REPLACE:
            return decision
        self._parked[need.gate] = {run.place}
        return Park(
            need.gate,
            kill=tuple(h.run_id for h in holders),
            instead_of=tuple(run_id for *_, run_id in waiting if run_id != run.run_id),
        )

    def _park(self, run: Waiting, gate: str, weight: int) -> Park:
        self._parked.setdefault(gate, set()).add(run.place)
        return Park(gate, weight)


def tokens(limit: Limit, now: datetime, *, next_at: datetime | None = None) -> int:
    """How many starts the rate allows at this instant: none before the last ones are paid for.

    Starts that nobody made in a pause add up to one period's worth at most (generic cell rate algorithm).
    """
    if not limit.rate or not limit.period:
        return 0
    each = limit.period / limit.rate
    free_at = max(next_at or limit.next_at or now - limit.period, now - limit.period + each)
    return max((now - free_at) // each + 1, 0)


def after_starts(limit: Limit, starts: int, now: datetime, *, next_at: datetime | None = None) -> datetime:
    """`next_at` of a limit after so many starts."""
    if not limit.rate or not limit.period:
        return now
    each = limit.period / limit.rate
    return max(next_at or limit.next_at or now - limit.period, now - limit.period + each) + starts * each


def first_fitting(room: int | None, weights: Iterable[int]) -> int:
    """How many of those that wait, by their weights in order, fit: one that does not stops the rest."""
    if room is None:
        return sum(1 for _ in weights)
    count = 0
    for weight in weights:
        room -= weight
        if room < 0:
            break
        count += 1
    return count

"""What a run that has not started waits for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cronq.domain import gate as gates
from cronq.domain.gate import LOCK_CAPACITY, Limit
from cronq.domain.limit import format_rate

NO_QUEUE = "no_queue"


@dataclass(frozen=True)
class Wait:
    """`what` it waits for, in words; `gate` where that is one (see domain/gate.py).

    `position` is its place of `of` that wait there, 1 for the next; None where there is no order, or more
    wait than are counted. `held_by` are ids of runs that are in the way, the oldest first, not all of many.
    """

    what: str
    gate: str | None = None
    position: int | None = None
    of: int | None = None
    held_by: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Pause:
    """Who paused something, since when, and why."""

    since: datetime
    until: datetime | None = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Known:
    """What there is to know of gates: limits and pauses by gate, categories by id, overlap rules by job."""

    limits: Mapping[str, Limit] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)  # by subject
    categories: Mapping[int, str] = field(default_factory=dict)
    overlaps: Mapping[int, str] = field(default_factory=dict)


def at_gate(gate: str, known: Known, weight: int = 1) -> str:
    """What a run that is parked at a gate waits for: `lock db-main (1 at once)`."""
    kind, _, name = gate.partition(":")
    if gate == gates.CATCH_UP:
        return f"its turn after an outage{_in_brackets(format_rate(known.limits.get(gate, Limit())))}"
    if kind == "rate":
        rate = format_rate(known.limits.get(name, Limit()))
        return f"the start rate of {_subject(name, known)}{_in_brackets(rate)}"
    if kind == "pause":
        return _paused(name, known)
    if kind == "window":
        return f"the end of maintenance window {name}"
    if kind == "job":
        rule = known.overlaps.get(int(name))
        return f"another run of its job{_in_brackets(rule and f'overlap {rule}')}"
    return f"{_subject(gate, known)}{_in_brackets(_capacity(gate, known, weight))}"


def in_line(routing_key: str) -> str:
    """What a run waits for that stands in the line of its key."""
    return f"its turn in the line of key {routing_key}"


def at_queue(routing_key: str, *, is_published: bool, reason: str | None) -> str:
    """What a run waits for that was let out, and that nobody has claimed."""
    if reason == NO_QUEUE:
        return f"a runner of key {routing_key}: no queue takes that key"
    return f"a runner of key {routing_key}" if is_published else f"its message to queue {routing_key}"


def for_time(at: datetime, *, attempt: int, is_retry: bool) -> str:
    """What a run waits for that may not go before an instant."""
    return (
        f"its time: attempt {attempt} at {_instant(at)}"
        if is_retry
        else f"its time: {_instant(at)}, by jitter"
    )


def _capacity(gate: str, known: Known, weight: int) -> str:
    capacity = known.limits.get(gate, Limit()).capacity
    if capacity is None and gate.startswith("lock:"):
        capacity = LOCK_CAPACITY
    if capacity is None:
        return ""
    return f"{capacity} at once" if weight == 1 else f"{capacity} at once, it takes {weight}"


def _paused(subject: str, known: Known) -> str:
    pause = known.pauses.get(subject)
    if pause is None:  # it has just ended
        return f"the end of a pause of {_subject(subject, known)}"
    by = f" by {pause.actor}" if pause.actor else ""
    until = f" until {_instant(pause.until)}" if pause.until else ""
    reason = f": {pause.reason}" if pause.reason else ""
    return f"{_subject(subject, known)}, paused{by} since {_instant(pause.since)}{until}{reason}"


def _subject(name: str, known: Known) -> str:
    """A gate or what is paused, as people call it."""
    if name == gates.ALL:
        return "everything"
    kind, _, rest = name.partition(":")
    if kind == "job":
        return "its job"
    if kind == "category":
        return f"category {known.categories.get(int(rest), rest)}"
    return f"{kind} {rest}"


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"

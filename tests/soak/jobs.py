"""The jobs of the soak: what each does is known, and each writes down that it started and ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Periods that divide a minute, so that occurrences are whole multiples of them since the epoch, and the
# job's own offset.
ANCHOR = "2026-01-01T00:00"
PERIODS_S = (2, 3, 5, 10, 15, 30, 60)
CATEGORY = "soak"


@dataclass(frozen=True)
class Kind:
    """What a job's command does between its two lines, and how it ends."""

    name: str
    script: str
    code: int = 0
    fields: tuple[tuple[str, Any], ...] = ()

    @property
    def attempts(self) -> int:
        return int(dict(self.fields).get("max_attempts", 1))

    @property
    def may_start_again(self) -> bool:
        """Whether a run that got lost is tried again."""
        return dict(self.fields).get("guarantee") == "at_least_once"


KINDS = (
    Kind("quick", ":"),
    Kind("short", "sleep 0.4"),
    Kind("long", "sleep 4"),
    Kind("failing", ":", code=3),
    Kind("retried", ":", code=4, fields=(("max_attempts", 2), ("retry_delay", 1))),
    Kind("again", "sleep 1", fields=(("guarantee", "at_least_once"), ("retry_delay", 0))),
    Kind("held", "sleep 0.5", fields=(("guarantee", "hold"),)),
    Kind("chatty", "i=0; while [ $i -lt 2000 ]; do echo line $i of many; i=$((i+1)); done"),
    Kind("deaf", "trap '' TERM; sleep 0.7"),
    Kind("parent", "(sleep 0.3) & sleep 0.1"),
)


@dataclass(frozen=True)
class Job:
    name: str
    kind: Kind
    period_s: int
    offset_s: int = 0

    def is_due(self, at: float) -> bool:
        """Whether the instant, in seconds since the epoch, is on its schedule."""
        return (at - self.offset_s) % self.period_s == 0

    def due_between(self, since: float, until: float) -> Iterator[float]:
        """The instants after the one and before the other."""
        at = ((since - self.offset_s) // self.period_s + 1) * self.period_s + self.offset_s
        while at < until:
            yield at
            at += self.period_s

    def definition(self, log: Path, note: int) -> dict[str, object]:
        """As it is PUT; the note changes its command and not what it does."""
        names = " ".join(f'"$CRONQ_{name}"' for name in ("JOB", "SCHEDULED_FOR", "ATTEMPT", "RUN_ID"))
        start, end = (f"printf '{what} %s %s %s %s\\n' {names} >> {log}" for what in "SE")
        command = f"{start}; {self.kind.script}; {end}; exit {self.kind.code} # {note}"
        return {
            "name": self.name,
            "schedule": f"R/{ANCHOR}:{self.offset_s:02}Z/PT{self.period_s}S",
            "command": command,
            **dict(self.kind.fields),
        }


def make_jobs(count: int, starts_per_s: float, rng: random.Random) -> list[Job]:
    """Jobs of every kind, which together start about so often."""
    jobs: list[Job] = []
    rate = 0.0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        # What is left of the rate is spread over the jobs that are left.
        wanted = (count - number) / max(starts_per_s - rate, 0.01) * rng.uniform(0.3, 1.7)
        least = 30 if kind.name == "long" else 2
        near = next((p for p in PERIODS_S if p >= max(wanted, least)), PERIODS_S[-1])
        # Spread, so that it is the faults that make a job wait and not its neighbours.
        jobs.append(Job(f"{kind.name}-{number}", kind, near, number % near))
        rate += 1 / near
    return jobs


@dataclass
class Presence:
    """Spans in which jobs were surely there, and surely gone; instants are seconds since the epoch.

    A PUT that fails may have been done all the same, or be done later: from the first asking for a
    change until the answer to the last nothing is sure.
    """

    there: list[tuple[float, float]] = field(default_factory=list)
    gone: list[tuple[float, float]] = field(default_factory=list)
    _sure: bool | None = None
    _since: float = 0.0

    def asked(self, at: float, *, there: bool) -> None:
        """They were asked to be there, or to be gone."""
        if self._sure is not None and self._sure != there:
            (self.there if self._sure else self.gone).append((self._since, at))
            self._sure = None

    def answered(self, at: float, *, there: bool) -> None:
        """And that was confirmed."""
        if self._sure is None:
            self._sure, self._since = there, at

"""What the page of one run shows: its instants with the time between them, how it ended, its events."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cronq.domain.duration import format_duration
from cronq.domain.misfire import Misfires
from cronq.domain.run import State
from cronq.web.pages.ledger import Run

STEPS = ("scheduled_for", "published_at", "claimed_at", "started_at", "finished_at", "recorded_at")


@dataclass(frozen=True)
class Step:
    """One instant of a run's life; `after_s` is the time since the step before it."""

    name: str
    at: datetime
    after_s: float | None


def steps(run: Run) -> list[Step]:
    """Those that happened, in order. Start and finish are by the runner's clock, so a leg may be negative."""
    found: list[Step] = []
    for column in STEPS:
        at: datetime | None = run[column]
        if at is not None:
            after = (at - found[-1].at).total_seconds() if found else None
            found.append(Step(column.partition("_")[0], at, after))
    return found


def why_not_run(run: Run, rule: Misfires, gate: str | None) -> str:
    """In words, why an occurrence that is on the outage board did not run; '' where its reason says it."""
    if gate is not None:
        return _HELD.get(gate.partition(":")[0], "It is held back.")
    if run["state"] == State.EXPIRED or run["reason"] == "deadline":
        deadline = "" if rule.start_deadline is None else f" of {format_duration(rule.start_deadline)}"
        return f"It could not start before its job's deadline{deadline}, so it never did."
    if run["reason"] == "misfire":
        return f"CronQ was down or behind at its instant. The rule of its job now: {rule.in_words()}."
    return "Nobody had claimed it when a later one was due." if run["reason"] == "superseded" else ""


_HELD = {
    "pause": "It is due, and held by a pause.",
    "window": "It is due, and held by a maintenance window.",
    "rate": "It is late, and waits its turn: what an outage left is let out bit by bit.",
}


def ending(run: Run) -> str:
    """`exit 1`, `signal 9 (SIGKILL)`, '' when there is neither."""
    if run["signal"] is not None:
        return f"signal {run['signal']}{_signal_name(run['signal'])}"
    return "" if run["return_code"] is None else f"exit {run['return_code']}"


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


@dataclass(frozen=True)
class Told:
    """One event as a line."""

    at: datetime | None
    kind: str
    attempt: int | None
    host: str
    details: str


def told(events: Iterable[Mapping[str, Any]]) -> Sequence[Told]:
    """The events of a run, each with what it carries."""
    return [Told(e["datetime"], e["type"] or "", e["attempt"], e["host"] or "", _details(e)) for e in events]


def _details(event: Mapping[str, Any]) -> str:
    facts = _payload(event["payload"])
    if event["return_code"] is not None:
        facts = {"return code": event["return_code"], **facts}
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in facts.items())


def _payload(text: str | None) -> Mapping[str, Any]:
    try:
        read = json.loads(text or "{}")
    except ValueError:  # a row written by hand
        return {"payload": text}
    return read if isinstance(read, dict) else {"payload": read}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""What the page of one run shows: its instants with the time between them, how it ended, its events."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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

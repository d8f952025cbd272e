"""What became of one occurrence of a job, or why an instant is none, in one plain sentence."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cronq.domain import timeline, zone
from cronq.domain.recurrence import SECOND, Schedule, at, epoch_second
from cronq.domain.run import LIVE, WAITING, State
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.waiting import Wait

_RUN = re.compile(r"\brun ([0-9a-f]{32})\b")
# How far from an instant a change of clocks is worth a word.
_NEAR = timedelta(hours=26)
# One of these holds the last occurrence before an instant, if there was any: no schedule is rarer than
# 29 February on a Monday.
_BACK = tuple(timedelta(days=days) for days in (1 / 1440, 1 / 24, 1, 32, 370, 8 * 366 + 1, 41 * 366))
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_RULES = {
    "cron": "what falls into a gap is due right after it, and what comes twice is due once",
    "skip": "what falls into a gap is not due, and what comes twice is due once",
    "both": "what falls into a gap is due right after it, and what comes twice is due twice",
}


_DID = {
    State.RUNNING: "runs",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.TIMED_OUT: "timed out",
    State.LAUNCH_FAILED: "could not be launched",
    State.LOST: "got lost",
    State.CANCELLED: "was cancelled",
    State.SKIPPED: "was skipped",
    State.MISSED: "was missed",
    State.EXPIRED: "expired",
}


class Verdict(StrEnum):
    """In one word."""

    RAN = "ran"  # or was started at least
    RUNS = "runs"
    WAITS = "waits"
    MISSED = "missed"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # before its start
    DUE = "due"  # and not taken up yet
    NOT_DUE = "not_due"  # yet
    NO_OCCURRENCE = "no_occurrence"
    NO_JOB = "no_job"  # yet
    DISABLED = "disabled"
    REMOVED = "removed"
    UNACCOUNTED = "unaccounted"  # a hole in the ledger
    NEVER = "never"  # nothing was due so far


@dataclass(frozen=True)
class Answer:
    """`text` is the sentence. `before` and `after` are the nearest occurrences of an instant that is none."""

    verdict: Verdict
    text: str
    before: datetime | None = None
    after: datetime | None = None
    remark: str = ""


Run = Mapping[str, Any]  # a row of the ledger


def of_run(run: Run, wait: Wait | None, other: Run | None, now: datetime) -> Answer:
    """What became of an occurrence that has its row.

    `wait` is what it waits for, `other` the run that its reason names, or that came instead of it.
    """
    state = State(run["state"])
    if state in WAITING:
        return Answer(Verdict.WAITS, _waits(run, wait))
    if state in LIVE:
        return Answer(Verdict.RUNS, _runs(run, now))
    if state in _NOT_RUN:
        verdict, words = _NOT_RUN[state]
        return Answer(verdict, words(run, other))
    if state is State.CANCELLED and run["started_at"] is None:
        return Answer(Verdict.CANCELLED, f"It never started: {_reason(run) or 'it was cancelled'}.")
    return Answer(Verdict.RAN, _ran(run, state))


def named_run(run: Run) -> str | None:
    """The id of the run that a run's reason names."""
    found = _RUN.search(run["reason"] or "")
    return found[1] if found else None


def _waits(run: Run, wait: Wait | None) -> str:
    if wait is None:
        return "It waits."
    place = f", at place {wait.position} of {wait.of}" if wait.position else ""
    since = f", since {_instant(wait.since)}" if wait.since else ""
    again = f" (attempt {run['attempt']})" if run["attempt"] > 1 else ""
    return f"It waits{again} for {wait.what}{place}{since}."


def _runs(run: Run, now: datetime) -> str:
    if run["started_at"] is None:
        return f"Runner {run['runner'] or run['host']} has claimed it and is about to start it."
    return f"It runs{_on(run)} since {_instant(run['started_at'])}, for {_length(now - run['started_at'])}."


def _missed(run: Run, other: Run | None) -> str:
    reason = _reason(run)
    said = {
        "misfire": "nobody took it up in time, and its misfire rule does not make up for it",
        "superseded": "a later occurrence came before any runner had claimed this one",
        "deadline": "when it was taken up, its start_deadline had passed",
        "failover": "the database was restored to a state before it, so it may have run already",
    }.get(reason, reason or "no reason is kept")
    later = f"; run {other['run_id']}, {_short(other)}" if other is not None else ""
    many = ""
    if run["missed_count"]:
        last = _instant(run["last_scheduled_for"] or run["scheduled_for"])
        many = f" One row stands for {run['missed_count']:,} occurrences up to {last}."
    return f"It was missed: {said}{later}.{many}"


def _skipped(run: Run, other: Run | None) -> str:
    reason = _reason(run)
    said = reason.removeprefix("overlap: ") or "no reason is kept"
    rule = " by its overlap rule" if reason.startswith("overlap: ") else ""
    if reason == "paused":
        said = "it was paused or disabled then"
    named = f"; it is {_short(other)}" if other is not None else ""
    return f"It was skipped{rule}: {said}{named}."


def _expired(run: Run, _: Run | None) -> str:
    limit = f" ({_instant(run['expires_at'])})" if run["expires_at"] else ""
    return f"It expired: no runner claimed it before its start_deadline{limit}."


_NOT_RUN: Mapping[State, tuple[Verdict, Callable[[Run, Run | None], str]]] = {
    State.MISSED: (Verdict.MISSED, _missed),
    State.SKIPPED: (Verdict.SKIPPED, _skipped),
    State.EXPIRED: (Verdict.EXPIRED, _expired),
}


def _ran(run: Run, state: State) -> str:
    reason = f": {_reason(run)}" if _reason(run) else ""
    if state is State.LAUNCH_FAILED:
        return f"It could not be launched{_on(run)}{reason}."
    if state is State.LOST:
        runner = run["runner"] or "a runner"
        return f"It was granted to {runner}{_started(run)}, and nobody knows its end{reason}."
    how = {
        State.SUCCEEDED: "It ran and succeeded",
        State.TIMED_OUT: "It ran and was killed by its timeout",
        State.CANCELLED: "It ran and was cancelled",
    }.get(state, "It ran and failed")
    if state is State.FAILED:
        how += f" with signal {run['signal']}" if run["signal"] else f" with exit code {run['return_code']}"
    attempt = f" in attempt {run['attempt']}" if run["attempt"] > 1 else ""
    took = f", for {_seconds(run['duration_s'])}" if run["duration_s"] is not None else ""
    return f"{how}{attempt}{_on(run)}{_started(run)}{took}{reason}."


def _started(run: Run) -> str:
    if run["started_at"] is None:
        return ""
    late = run["started_at"] - run["scheduled_for"]
    after = f", {_length(late)} after its instant" if late >= SECOND else ""
    return f", started {_instant(run['started_at'])}{after}"


def _on(run: Run) -> str:
    return f" on {run['host']}" if run["host"] else ""


def _short(run: Run) -> str:
    """Another run in a few words."""
    began = f", started {_instant(run['started_at'])}" if run["started_at"] else ""
    ended = f", ended {_instant(run['finished_at'])}" if run["finished_at"] else ""
    did = _DID.get(run["state"], f"is {run['state']}")
    return f"that of {_instant(run['scheduled_for'])}, {did}{_on(run)}{began}{ended}"


def _reason(run: Run) -> str:
    return str(run["reason"] or "")


# -- without a row


def not_due(instant: datetime, now: datetime) -> Answer:
    """One that is to come."""
    return Answer(Verdict.NOT_DUE, f"It is not due yet: it will be in {_length(instant - now)}.")


def due(instant: datetime, now: datetime) -> Answer:
    """One that no injector took up yet."""
    text = f"It was due {_length(now - instant)} ago, and no injector has taken it up yet."
    return Answer(Verdict.DUE, text)


def unaccounted() -> Answer:
    return Answer(
        Verdict.UNACCOUNTED, "It was due and the ledger has no row for it: cronq audit shows all such holes."
    )


def never(first: datetime | None) -> Answer:
    """Of a job that nothing was due of so far."""
    coming = f": its first occurrence is at {_instant(first)}" if first else ", and nothing is to come"
    return Answer(Verdict.NEVER, f"Nothing of it was due so far{coming}.")


def no_job(made: datetime | None, by: str) -> Answer:
    if made is None:
        return Answer(Verdict.NO_JOB, "There is no record of the job yet: the injector has not seen it.")
    return Answer(Verdict.NO_JOB, f"The job did not exist then: it was made at {_instant(made)}{by}.")


def removed(since: datetime, by: str) -> Answer:
    return Answer(
        Verdict.REMOVED, f"The job was removed at {_instant(since)}{by}: nothing is due from then on."
    )


def disabled(since: datetime, by: str) -> Answer:
    return Answer(Verdict.DISABLED, f"The job was disabled then, since {_instant(since)}{by}.")


def passed_over(revision: int, since: datetime, by: str, first: datetime | None) -> Answer:
    """One that the schedule has, and that the job's `next_run` did not come by."""
    stood = f"its next run was set to {_instant(first)}" if first else "it had no next run"
    made = f"revision {revision} of {_instant(since)}{by}"
    return Answer(Verdict.NO_OCCURRENCE, f"It was not due, though the schedule has it: by {made} {stood}.")


def no_occurrence(instant: datetime, schedule: Schedule | None, timezone: str | None, dst: str) -> Answer:
    """An instant at which the schedule has nothing; with its neighbours, and what the clocks did."""
    if schedule is None:
        return Answer(Verdict.NO_OCCURRENCE, "It is no occurrence: the job has no schedule.")
    before, after = last_before(schedule, instant), schedule.next_after(instant)
    near = [
        f"{word} is {_both(neighbour, timezone)}"
        for word, neighbour in (("the last before", before), ("the next after", after))
        if neighbour is not None
    ]
    text = "It is no occurrence of the schedule" + (f": {', '.join(near)}." if near else ", which has none.")
    return Answer(Verdict.NO_OCCURRENCE, text, before, after, clocks(instant, timezone, dst))


def is_occurrence(schedule: Schedule | None, instant: datetime) -> bool:
    return schedule is not None and schedule.next_after(instant - SECOND) == instant


def last_before(schedule: Schedule, instant: datetime) -> datetime | None:
    """The last occurrence before an instant."""
    for back in _BACK:
        since = max(instant - back, at(0))
        found = deque(schedule.between(since, instant - SECOND), maxlen=1)
        if found:
            return found[0]
    return None


def clocks(instant: datetime, timezone: str | None, dst: str) -> str:
    """What a zone's clocks did within a day of an instant, and what the rule makes of it; '': nothing."""
    try:
        home = zone.load(timezone) if timezone else None
    except ScheduleError:
        return ""
    if home is None or zone.is_fixed(home):
        return ""
    low, high = max(epoch_second(instant - _NEAR), 0), epoch_second(instant + _NEAR)
    change = next(timeline.changes(home, low, high), None)
    if change is None:
        return ""
    jump, old, new = change
    way = "forward" if new > old else "back"
    shown = f"{at(jump + old):%H:%M} to {at(jump + new):%H:%M} on {at(jump + new):%Y-%m-%d}"
    rule = f"by the DST rule {dst} {_RULES[dst]}"
    return f"The clocks of {timezone} went {way} from {shown} ({_instant(at(jump))}); {rule}."


def _both(instant: datetime, timezone: str | None) -> str:
    try:
        local = f" ({instant.astimezone(zone.load(timezone)):%H:%M:%S} in {timezone})" if timezone else ""
    except ScheduleError:
        local = ""
    return f"{_instant(instant)}{local}"


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else _length(timedelta(seconds=seconds))


def _length(length: timedelta) -> str:
    """In two units at most: 12s, 5m 3s, 3h 20m, 2d 4h."""
    left = max(int(length.total_seconds()), 0)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0")) or "0s"

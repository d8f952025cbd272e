"""The checker: it knows the jobs' own lines, what was asked for, and the API; nothing of our tables.

Each expected occurrence was started once, or the ledger says why not with a reason that the faults
explain; and where the ledger speaks of a start or an end, the jobs' lines say the same. What the only
policies here (overlap `allow`, misfire `latest`) let happen to an occurrence, and nothing else:

missed (misfire)      a later one of its job was due as well when it was looked at, and is not missed so
missed (superseded)   nobody had claimed it when a later one of its job was released
lost                  the keeper of its runner was killed while it had the run
cancelled, skipped    its job was removed, or paused, before anybody had claimed it
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.soak.jobs import Job

# After a fault, how long the system may take to be as before: leases, republishing, what piled up.
CALM_S = 45.0
ENDED = frozenset({"succeeded", "failed", "cancelled", "lost", "missed", "skipped"})
BY_SCHEDULE = frozenset({"schedule", "catch-up"})
KEEPER_KILLED = "kill -9 of a keeper"
# Between an instant and its expansion while all is well.
LAG_S = 5.0
# Readings of one clock by several processes, some of them rounded to seconds.
ROUNDING_S = 1.5

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """What a job wrote: S at its start or E at its end."""

    what: str
    job: str
    at: float  # the occurrence, seconds since the epoch
    attempt: int
    run_id: str


@dataclass
class Window:
    """When a fault was in force, in seconds since the epoch, and what it was done to."""

    name: str
    since: float
    until: float
    on: str = ""


Span = tuple[float, float]


@dataclass
class Asked:
    """Since when the jobs were there and until when, in seconds since the epoch; PUTs take a moment.

    `comers` came and went meanwhile: they were surely there in the spans of `there`, and surely not in
    those of `gone`. `requests` are the ids of the runs that were asked for by hand.
    """

    jobs: Sequence[Job]
    since: Span
    until: Span
    faults: Sequence[Window] = ()
    comers: frozenset[str] = frozenset()
    there: Sequence[Span] = ()
    gone: Sequence[Span] = ()
    requests: Sequence[str] = ()
    killed: Sequence[str] = ()  # ids of runs whose processes a fault killed

    def occurrences(self, job: Job) -> Iterator[float]:
        """Those that must have been due; one that fell into a PUT that changed that is left out."""
        spans = self.there if job.name in self.comers else [(self.since[1], self.until[0])]
        for since, until in spans:
            yield from job.due_between(since, until)

    def is_excused(self, at: float, slack_s: float = CALM_S) -> bool:
        """Whether a fault was in force then, or not long before."""
        return any(w.since - 2 <= at <= w.until + slack_s for w in self.faults)


@dataclass
class Verdict:
    """What came of a soak."""

    expected: int = 0
    started: int = 0
    states: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def read_lines(text: str) -> list[Line]:
    found = []
    for line in text.splitlines():
        what, job, at, attempt, run_id = line.split(" ")
        found.append(Line(what, job, seconds(at), int(attempt), run_id))
    return found


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def check(lines: Iterable[Line], ledger: Sequence[Run], asked: Asked) -> Verdict:
    """Compare what the jobs wrote and what the ledger says with what was asked for."""
    return _Check(list(lines), ledger, asked).run()


class _Check:
    def __init__(self, lines: Sequence[Line], ledger: Sequence[Run], asked: Asked) -> None:
        self.asked = asked
        self.verdict = Verdict()
        self.starts: Counter[tuple[str, int]] = Counter()
        self.ends: Counter[tuple[str, int]] = Counter()
        self.by_occurrence: defaultdict[tuple[str, float], set[str]] = defaultdict(set)
        for line in lines:
            (self.starts if line.what == "S" else self.ends)[line.run_id, line.attempt] += 1
            self.by_occurrence[line.job, line.at].add(line.run_id)
        self.ledger = {run["id"]: run for run in ledger}
        self.jobs = {job.name: job for job in asked.jobs}
        self.rows: defaultdict[str, list[Run]] = defaultdict(list)
        for run in ledger:
            self.rows[str(run["job"])].append(run)
            self.verdict.states[run["state"]] += 1

    def run(self) -> Verdict:
        for job in self.asked.jobs:
            self._check_occurrences(job)
        for run_id, attempt in self.starts:
            self._check_start(run_id, attempt)
        for run in self.ledger.values():
            self._check_run(run)
        for run_id in self.asked.requests:
            self._check_request(run_id)
        return self.verdict

    def _say(self, text: str, at: float | None = None) -> None:
        near = [
            f"{w.name} {w.on} {w.since:.0f}-{w.until:.0f}"
            for w in self.asked.faults
            if at and w.since - 30 < at < w.until + 60
        ]
        self.verdict.violations.append(f"{text}{'; faults near: ' + ', '.join(near) if near else ''}")

    def _check_occurrences(self, job: Job) -> None:
        rows = self._rows_by_instant(job)
        for at in self.asked.occurrences(job):
            self.verdict.expected += 1
            started = {run_id for run_id in self.by_occurrence[job.name, at] if self._is_slot(run_id)}
            if len(started) > 1:
                self._say(f"{job.name} at {at:.0f} was started as {len(started)} runs: {sorted(started)}", at)
            if started:
                self.verdict.started += 1
                continue
            row = rows.get(at)
            if row is None:
                self._say(f"{job.name} at {at:.0f} neither started nor has it a row", at)
            elif not self._explains(row, at):
                self._say(f"{job.name} at {at:.0f} did not start: {_shown(row)}", at)

    def _is_slot(self, run_id: str) -> bool:
        return self.ledger.get(run_id, {}).get("trigger", "schedule") in BY_SCHEDULE

    def _rows_by_instant(self, job: Job) -> dict[float, Run]:
        """A summary row stands for all the instants between its first and its last."""
        found: dict[float, Run] = {}
        for row in self.rows[job.name]:
            if row["trigger"] not in BY_SCHEDULE:
                continue
            at = seconds(row["scheduled_for"])
            while at <= _last(row):
                if at in found:
                    self._say(f"{job.name} at {at:.0f} has two rows: {_shown(found[at])}, {_shown(row)}", at)
                found[at] = row
                at += job.period_s
        return found

    def _explains(self, row: Run, at: float) -> bool:
        """Why an occurrence may not have started; see the module."""
        state, reason = row["state"], row["reason"]
        if state == "missed" and reason == "misfire":
            return self.asked.is_excused(at) and self._has_later(row, made_at=row["created_at"])
        if state == "missed" and reason == "superseded":
            return self.asked.is_excused(at) and self._has_later(row, made_at=row["recorded_at"])
        if state == "lost":  # the keeper was killed before the job's first line
            return self._is_keeper_killed(row)
        ended = seconds(row["recorded_at"])
        if state == "cancelled" and reason == "job removed" and row["job"] in self.asked.comers:
            return any(at < until <= ended + ROUNDING_S for _, until in self.asked.there)
        if state == "skipped" and reason == "paused":
            return ended >= self.asked.until[0] - ROUNDING_S and at > self.asked.until[0] - LAG_S
        return False

    def _has_later(self, row: Run, made_at: str) -> bool:
        """Whether a later occurrence was released, or ended, in the transaction of that instant."""
        return any(
            other["created_at"] == made_at
            and seconds(other["scheduled_for"]) > _last(row)
            and other["reason"] != "misfire"
            for other in self.rows[row["job"]]
            if other["trigger"] in BY_SCHEDULE
        )

    def _is_keeper_killed(self, row: Run) -> bool:
        """Whether that was done to the run's own runner, while it had the run."""
        if row["runner"] is None or row["claimed_at"] is None:
            return False
        claimed, ended = seconds(row["claimed_at"]), seconds(row["finished_at"] or row["recorded_at"])
        return any(
            w.name == KEEPER_KILLED
            and w.on == row["runner"]
            and w.until >= claimed - ROUNDING_S
            and w.since <= ended + ROUNDING_S
            for w in self.asked.faults
        )

    def _check_start(self, run_id: str, attempt: int) -> None:
        if self.starts[run_id, attempt] > 1:
            self._say(f"run {run_id} started {self.starts[run_id, attempt]} times as attempt {attempt}")
        run = self.ledger.get(run_id)
        if run is None:
            self._say(f"run {run_id} started and is not in the ledger")
            return
        kind = self.jobs[run["job"]].kind
        attempts = {n for started, n in self.starts if started == run_id} if attempt > 1 else {attempt}
        if len(attempts) > kind.attempts and not kind.may_start_again:
            self._say(f"run {run_id} of {run['job']} started as attempts {sorted(attempts)}: {_shown(run)}")

    def _check_run(self, run: Run) -> None:
        run_id, attempt, state = run["id"], run["attempt"], run["state"]
        kind = self.jobs[run["job"]].kind
        has_started, has_ended = self.starts[run_id, attempt] > 0, self.ends[run_id, attempt] > 0
        if state not in ENDED:
            self._say(f"run {run_id} of {run['job']} has no end that may be: {_shown(run)}")
        elif state == "succeeded" and not (has_ended and kind.code == 0):
            self._say(f"run {run_id} of {run['job']} did not succeed: {_shown(run)}")
        elif state == "failed" and run_id in self.asked.killed:
            pass  # by a signal, with or without its last line
        elif state == "failed" and not (has_ended and run["return_code"] == kind.code != 0):
            self._say(f"run {run_id} of {run['job']} did not fail so: {_shown(run)}")
        elif state == "missed" and has_started:
            self._say(f"run {run_id} of {run['job']} is missed and was started")
        elif state == "lost" and not self._is_keeper_killed(run):
            at = seconds(run["created_at"])
            self._say(f"run {run_id} of {run['job']} is lost and its keeper lived: {_shown(run)}", at)
        elif state in ("cancelled", "skipped") and (has_started or run["trigger"] not in BY_SCHEDULE):
            self._say(f"run {run_id} of {run['job']} did not run for no reason: {_shown(run)}")
        self._check_reason_to_be(run)

    def _check_reason_to_be(self, run: Run) -> None:
        """Nothing runs that nobody asked for."""
        at = seconds(run["scheduled_for"])
        if run["trigger"] not in BY_SCHEDULE:
            if run["id"] not in self.asked.requests:
                self._say(f"run {run['id']} of {run['job']} was asked for by nobody: {run['trigger']}", at)
        elif not self.jobs[run["job"]].is_due(at):
            self._say(f"{run['job']} has a run for {at:.0f}, which is not on its schedule", at)
        elif run["job"] in self.asked.comers and any(a < at < b for a, b in self.asked.gone):
            self._say(f"{run['job']} has a run for {at:.0f}, when it was not there: {_shown(run)}", at)

    def _check_request(self, run_id: str) -> None:
        run = self.ledger.get(run_id)
        if run is None:
            self._say(f"run {run_id} was asked for by hand and has no row")
        elif not any(started == run_id for started, _ in self.starts) and not self._is_keeper_killed(run):
            self._say(f"run {run_id} was asked for by hand and did not start: {_shown(run)}")


def _last(run: Run) -> float:
    """The last instant that a row stands for."""
    return seconds(run["last_scheduled_for"] or run["scheduled_for"])


def _shown(run: Run) -> str:
    told = f"{run['state']} ({run['reason']}), attempt {run['attempt']}, code {run['return_code']}"
    return f"{told}, on {run['runner']}, made {run['created_at']}, recorded {run['recorded_at']}"

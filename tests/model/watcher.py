"""What must hold after every step, in terms of the ledger's rows, what really started, and nothing else.

I1 default jobs start at most once per run; I2 any job at most once per attempt, and a further one only where
the job asked for it or the one before never started; I3 each due occurrence has its row once `next_run` moved
past it; I5 an end in the ledger is an end that really was; I6 what another attempt or owner says changes
nothing; and of I4 what can be told at once: a run is given up only after its runner was asked, and could
have answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cronq.bus.messages import Event
from cronq.domain.event import Boot, Canary, EventType, Heartbeat, RunEvent
from cronq.domain.run import ENDED, LIVE, State
from cronq.store import tables

if TYPE_CHECKING:
    from tests.model.host import Fork
    from tests.model.world import World

Row = Mapping[str, Any]
MINUTE = timedelta(minutes=1)

RUN_COLUMNS = (
    "run_id", "job_id", "kind", "scheduled_for", "last_scheduled_for", "state", "attempt", "lineage",
    "instance", "claimed_at", "lease_until", "asked_at", "return_code", "started_at", "finished_at",
    "needs_decision", "decided_by", "recovered", "reason",
)  # fmt: skip
JOB_COLUMNS = ("id", "next_run", "enabled", "schedule")
ALL_RUNS = sa.select(*[tables.runs.c[name] for name in RUN_COLUMNS])
ALL_JOBS = sa.select(*[tables.jobs.c[name] for name in JOB_COLUMNS])
# What an event may change beside the lease.
FACTS = ("state", "attempt", "lineage", "instance", "return_code", "started_at", "finished_at", "recovered")

S = State
OVER = {S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LAUNCH_FAILED}
NEVER_RAN = {S.CANCELLED, S.EXPIRED, S.SKIPPED, S.MISSED}
# (before, after, by how much the attempt changes)
MOVES = (
    {(S.SCHEDULED, S.QUEUED, 0), (S.QUEUED, S.CLAIMED, 0), (S.CLAIMED, S.RUNNING, 0)}
    | {(before, after, 0) for before in (S.SCHEDULED, S.QUEUED) for after in NEVER_RAN}
    | {(before, after, 0) for before in LIVE for after in OVER | {S.LOST}}
    | {(before, S.SCHEDULED, 1) for before in (*LIVE, S.LOST)}  # retried
    | {(before, S.QUEUED, 1) for before in (S.CLAIMED, S.LOST)}  # never started
    | {(S.LOST, after, 0) for after in OVER}  # the truth, late
    | {
        (before, after, -1) for before in (S.SCHEDULED, S.QUEUED) for after in OVER
    }  # the same, of a retried one
)


class Violation(AssertionError):
    """The protocol does not hold."""


class Watcher:
    """Looks at the world after each step; what led to the change is noted before in its attributes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[str, Row] = {}
        self.jobs: dict[int, Row] = {}
        self.told: list[Event] = []  # what results applies in this step
        self.is_reaping = False
        self.is_editing = False
        self._seen_forks = self._seen_commits = 0
        self._permitted: set[tuple[str, int, str]] = set()
        self._canary_at: datetime | None = None  # when the latest that was applied had been sent

    def look(self) -> None:
        """Compare the world with how it was at the last look. Raises Violation."""
        if self._world.db.commits != self._seen_commits:
            self._seen_commits = self._world.db.commits
            self._look_at_rows()
        self._check_forks()
        self.told, self.is_reaping, self.is_editing = [], False, False

    def _look_at_rows(self) -> None:
        before, jobs_before = self.runs, self.jobs
        self._read()
        self._note_told()
        for row in self.runs.values():
            self._check_end(row)
        for run_id, row in self.runs.items():
            if run_id in before and row != before[run_id]:
                self._check_change(before[run_id], row)
        self._check_occurrences(jobs_before)
        if self.is_editing:
            self._check_unmoved(jobs_before)

    def _read(self) -> None:
        with self._world.db.read() as tx:
            self.runs = {row["run_id"]: dict(row) for row in tx.execute(ALL_RUNS).mappings()}
            self.jobs = {row["id"]: dict(row) for row in tx.execute(ALL_JOBS).mappings()}
        for row in self.runs.values():
            if row["state"] in LIVE:
                self._permitted.add((row["run_id"], row["attempt"], row["lineage"]))

    def _note_told(self) -> None:
        for event in self.told:
            if isinstance(event, Canary):
                self._canary_at = max(event.at, self._canary_at or event.at)
            elif isinstance(event, RunEvent) and event.type is EventType.FINISHED:
                self._check_truth(event, self.runs[event.run_id])

    def _check_truth(self, event: RunEvent, row: Row) -> None:
        is_its = (event.attempt, event.lineage) == (row["attempt"], row["lineage"])
        if is_its and row["state"] == State.LOST:
            raise Violation(f"I4: still lost, though {event} was told: {row}")

    # -- starts

    def _check_forks(self) -> None:
        forks = self._world.forks
        if len(forks) == self._seen_forks:
            return
        by_run: dict[str, list[Fork]] = defaultdict(list)
        for fork in forks:
            by_run[fork.run_id].append(fork)
        for fork in forks[self._seen_forks :]:
            if (fork.run_id, fork.attempt, fork.lineage) not in self._permitted:
                raise Violation(f"started without permission: {fork}")
            self._check_starts(by_run[fork.run_id])
        self._seen_forks = len(forks)

    def _check_starts(self, forks: Sequence[Fork]) -> None:
        """Of one run, the latest last."""
        attempts = [fork.attempt for fork in forks]
        if len(set(attempts)) < len(attempts):
            raise Violation(f"I2: an attempt started twice: {forks}")
        if self.guarantee(self.runs[forks[0].run_id]) == "at_least_once":
            return
        if len(forks) > self._world.plan.max_attempts:
            raise Violation(f"I1: a run started {len(forks)} times: {forks}")
        if not all(fork.is_bad for fork in forks[:-1]):
            raise Violation(f"I1: started again without a failure: {forks}")

    def guarantee(self, row: Row) -> str:
        return self._world.plan.guarantees[self._world.job_ids.index(row["job_id"])]

    def fork_of(self, row: Row) -> Fork | None:
        """What really started of a row's attempt, by its owner."""
        key = row["run_id"], row["attempt"], row["lineage"]
        found = (f for f in self._world.forks if (f.run_id, f.attempt, f.lineage) == key)
        return next(found, None)

    # -- ends

    def _check_end(self, row: Row) -> None:
        state = State(row["state"])
        fork = self.fork_of(row) if state in ENDED else None
        if row["decided_by"] or state not in ENDED:
            return
        if state is State.SUCCEEDED and (fork is None or not fork.is_good):
            raise Violation(f"I5: succeeded, but {fork or 'it never started'}: {row}")
        if state in (State.FAILED, State.TIMED_OUT) and (fork is None or not fork.is_bad):
            raise Violation(f"I5: {state}, but {fork or 'it never started'}: {row}")
        if fork is not None and fork.is_running and state is not State.LOST:
            raise Violation(f"I5: {state}, but it runs: {fork}: {row}")

    # -- changes

    def _check_change(self, before: Row, row: Row) -> None:
        old, new = State(before["state"]), State(row["state"])
        raised = row["attempt"] - before["attempt"]
        is_decided = old is State.LOST and row["decided_by"]
        if (old, new, raised) not in MOVES and (old is not new or raised) and not is_decided:
            raise Violation(f"not a move: {old} {before['attempt']} → {new} {row['attempt']}: {row}")
        if raised > 0:
            self._check_next_attempt(before)
        if self.told:
            self._check_tellers(before, row)
        if self.is_reaping and old in LIVE and new not in LIVE:
            self._check_loss(before)

    def _check_next_attempt(self, before: Row) -> None:
        fork = self.fork_of(before)
        if fork is not None and not fork.is_bad and self.guarantee(before) != "at_least_once":
            raise Violation(f"I2: another attempt after {fork}: {before}")

    def _check_tellers(self, before: Row, row: Row) -> None:
        if all(before[name] == row[name] for name in FACTS):
            if before["lease_until"] != row["lease_until"] and not self._is_listed(before):
                raise Violation(f"I6: the lease was extended by {self.told}: {before}")
            return
        if not any(_may_change(event, before) for event in self.told):
            raise Violation(f"I6: changed by {self.told}: {before} → {row}")

    def _is_listed(self, before: Row) -> bool:
        return any(
            isinstance(event, Heartbeat | Boot) and _beat(event).lineage == before["lineage"]
            for event in self.told
        )

    def _check_loss(self, before: Row) -> None:
        now, asked_at = self._world.clock.now, before["asked_at"]
        if asked_at is None or now - asked_at < timedelta(seconds=self._world.settings.lease_s / 2):
            raise Violation(f"I4: given up and not asked for long enough: {before}")
        if self._canary_at is None or self._canary_at < asked_at:
            raise Violation(f"I4: given up while nothing came through: {before}")

    # -- occurrences

    def _check_unmoved(self, jobs_before: Mapping[int, Row]) -> None:
        """Who edits something else moves no occurrence."""
        for job_id, before in jobs_before.items():
            after = self.jobs[job_id]
            same = before["enabled"] and after["enabled"] and before["schedule"] == after["schedule"]
            if same and before["next_run"] != self.jobs[job_id]["next_run"]:
                raise Violation(f"I3: an edit moved the occurrences of {before} to {self.jobs[job_id]}")

    def _check_occurrences(self, jobs_before: Mapping[int, Row]) -> None:
        rows = [row for row in self.runs.values() if row["kind"] == "slot"]
        for job_id, before in jobs_before.items():
            now_there = self.jobs[job_id]
            if before["next_run"] is None or before["next_run"] == now_there["next_run"]:
                continue
            until = min(now_there["next_run"] or self._world.clock.now, self._world.clock.now)
            mine = [row for row in rows if row["job_id"] == job_id]
            for at in _due(before, until):
                if before["enabled"] and sum(_stands_for(row, at) for row in mine) != 1:
                    raise Violation(f"I3: job {job_id} has not one row for {at}, and goes on to {now_there}")


def _due(job: Row, until: datetime) -> Iterator[datetime]:
    """The instants of a job from its `next_run` on; its schedule is `* * * * *` or `*/n * * * *`."""
    period = int(job["schedule"].split()[0].removeprefix("*/").replace("*", "1"))
    at = job["next_run"]
    while at < until:
        yield at
        at += MINUTE
        while at.minute % period:
            at += MINUTE


def _stands_for(row: Row, at: datetime) -> bool:
    first: datetime = row["scheduled_for"]
    last: datetime = row["last_scheduled_for"] or first
    return first <= at <= last


def _beat(event: Heartbeat | Boot) -> Heartbeat:
    return event.heartbeat if isinstance(event, Boot) else event


def _may_change(event: Event, before: Row) -> bool:
    if isinstance(event, Boot):
        return bool(event.heartbeat.lineage == before["lineage"])
    if not isinstance(event, RunEvent) or event.run_id != before["run_id"]:
        return False
    if event.lineage != before["lineage"]:
        return False
    is_late = before["state"] in (State.SCHEDULED, State.QUEUED) and event.attempt == before["attempt"] - 1
    return event.attempt == before["attempt"] or (is_late and event.type is EventType.FINISHED)

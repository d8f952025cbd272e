"""The rules about what runners do, say, and are believed, each with a way to take it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from cronq.domain import run
from cronq.domain.run import RunView, State
from cronq.runner.service import Runner
from cronq.store import leases, outcomes
from tests.model.keeper import KeeperProcess
from tests.model.mutation import CLAIMED, STARTED, TOLD, Patch, mutation

# -- the runner


@mutation("nothing starts without a claim")
def start_unclaimed(patch: Patch) -> None:
    def consider(self: Any, delivery: Any, now: float) -> None:
        service = import_module("cronq.runner.service")
        job = service.decode_job(delivery.body)
        delivery.ack()
        self._attempts.start(service.Grant(job.run_id, job.attempt, "", "", job.command), job.job_id)

    patch.setattr(Runner, "_consider", consider)


@mutation(
    "an attempt with a trace in the journal never starts",
    plan={"hosts": 1},
    more={"double": 15, "end": 15, "apply": 0.5, "kill_runner": 0},
    way=("publish", "double", *TOLD[1:]),
)
def ignore_the_journal(patch: Patch) -> None:
    patch.setattr(KeeperProcess, "has_trace", lambda self, key: False)


@mutation(
    "what is given back is in the journal, and so can't start later",
    plan={"hosts": 1},
    more={"double": 15, "wait": 7, "apply": 2, "expand": 0, "kill_runner": 0},
    way=("publish", "double", *CLAIMED[1:], "wait_long", "deliver", "step"),
)
def no_tombstone(patch: Patch) -> None:
    patch.setattr(KeeperProcess, "_tombstone", _tell_without_a_trace)


def _tell_without_a_trace(self: KeeperProcess, key: tuple[str, int], reason: str) -> None:
    if self.has_trace(key):
        self._say_duplicate(key)
    else:
        fields = {"run_id": key[0], "attempt": key[1], "at": self._host.time(), "reason": reason}
        self._tell_record({"type": "not_started", **fields})


@mutation(
    "a runner that starts tells what its journal knows",
    more={"kill_runner": 5},
    to_the_end=True,
    way=(*CLAIMED, "kill_runner"),
)
def no_boot_report(patch: Patch) -> None:
    patch.setattr(Runner, "_boot", lambda self: self._heartbeat())


@mutation(
    "a runner that is asked about an end tells it again",
    more={"wipe": 5, "end": 12},
    to_the_end=True,
    way=(*TOLD, "obey", "wipe"),
)
def do_not_answer(patch: Patch) -> None:
    attempts = import_module("cronq.runner.attempts").Attempts
    patch.setattr(attempts, "_tell_again", lambda self, key, entry: None)


@mutation(
    "a runner that starts adopts what runs",
    plan={"jobs_take_s": 130},
    more={"kill_runner": 5, "end": 0},
    to_the_end=True,
    way=(*STARTED, "step", "kill_runner", "start"),
)
def do_not_adopt(patch: Patch) -> None:
    attempts = import_module("cronq.runner.attempts").Attempts
    connect = attempts.connect

    def forgetful(self: Any) -> None:
        connect(self)
        self._live.clear()

    patch.setattr(attempts, "connect", forgetful)


# -- results


def _decide(change: Callable[[RunView, Any], Any]) -> Callable[[RunView, Any], Any]:
    return lambda view, event: run.decide(view, change(view, event))


@mutation(
    "an event of another attempt changes nothing",
    plan={"max_attempts": 3},
    way=(*TOLD, "double", "double", *["apply"] * 4, "wait_long", "release", "lease", *CLAIMED),
    more={"wait": 5, "apply": 15},
)
def any_attempt_tells(patch: Patch) -> None:
    patch.setattr(outcomes, "decide", _decide(lambda view, event: replace(event, attempt=view.attempt)))


@mutation(
    "an event of another owner changes nothing",
    plan={"are_twins": True, "hosts": 2},
    way=(*["apply"] * 4, *STARTED, "suspect", "deliver", "step", "obey", "step", *["apply"] * 4),
    more={"suspect": 1, "deliver": 30},
)
def any_owner_tells(patch: Patch) -> None:
    def change(view: RunView, event: Any) -> Any:
        return event if view.owner is None else replace(event, lineage=view.owner.lineage)

    patch.setattr(outcomes, "decide", _decide(change))


@mutation("the truth corrects a run that was given up", more={"suspect": 3}, way=STARTED)
def lost_for_ever(patch: Patch) -> None:
    def decided(view: RunView, event: Any) -> Any:
        return run.Superseded("lost") if view.state is State.LOST else run.decide(view, event)

    patch.setattr(outcomes, "decide", decided)


@mutation(
    "a journal proves nothing of the time before it",
    plan={"hosts": 1},
    more={"rotate": 12, "kill_runner": 5, "start": 12, "end": 15, "apply": 1},
    way=(*TOLD, "obey", "wipe", "rotate", "kill_runner", "start", "apply"),
)
def trust_a_short_journal(patch: Patch) -> None:
    patch.setattr(leases, "_covers", lambda report, claimed_at, now: True)


@mutation(
    "a boot report says nothing of later processes",
    plan={"hosts": 1},
    more={"kill_runner": 4, "start": 12, "apply": 4},
    way=("kill_runner", "start", *CLAIMED),
)
def boots_of_any_age(patch: Patch) -> None:
    boot = leases.boot

    def ageless(tx: Any, report: Any, now: Any, until: Any) -> Any:
        beat = replace(report.heartbeat, instance="f" * 32)
        return boot(tx, replace(report, heartbeat=beat), now, until)

    patch.setattr(leases, "boot", ageless)


@mutation(
    "what never started is queued again, and not what runs",
    plan={"hosts": 1},
    more={"kill_runner": 5, "start": 12, "end": 15, "apply": 2},
    way=(*TOLD, "wipe", "kill_runner", "start", "apply"),
)
def requeue_the_running(patch: Patch) -> None:
    def boot(tx: Any, report: Any, now: Any, until: Any) -> Any:
        return settle(tx, replace(report, known=()), now, until)

    settle = leases.boot
    patch.setattr(leases, "boot", boot)

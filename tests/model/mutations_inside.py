"""The rules of the injector and of results: what happens to rows, each with a way to take it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa

from cronq.domain import retry, run
from cronq.domain.run import ENDED, Claim, ClaimView, Denial, State
from cronq.store import claims, doorbells, leases, runs, tables
from tests.model.mutation import CLAIMED, STARTED, TOLD, Patch, mutation

expanding, publishing = import_module("cronq.injector.expand"), import_module("cronq.injector.publish")
watching = import_module("cronq.injector.watch")
results = import_module("cronq.results.service")


# -- the injector


@mutation("a row and the advance past its instant are one commit", more={"expand": 12, "wait": 12})
def advance_first(patch: Patch) -> None:
    expand_once, insert = expanding.expand_once, runs.insert
    put_off: list[Any] = []

    def later(tx: Any, rows: Sequence[Any], now: Any) -> frozenset[str]:
        put_off.append((rows, now))
        return frozenset(str(row["run_id"]) for row in rows)

    def in_two(db: Any, **how: Any) -> Any:
        put_off.clear()
        with pytest.MonkeyPatch.context() as first:
            first.setattr(runs, "insert", later)
            expanded = expand_once(db, **how)
        for rows, now in put_off:
            db.transact(lambda tx, rows=rows, now=now: insert(tx, rows, now))
        return expanded

    patch.setattr(expanding, "expand_once", in_two)


@mutation("an occurrence becomes one row", more={"expand": 6, "wait": 12})
def forget_the_missed(patch: Patch) -> None:
    occurrence = import_module("cronq.domain.occurrence")
    patch.setattr(occurrence, "_rows", lambda rows: [row for row in rows if not row.missed])
    patch.setattr(occurrence, "_slots", occurrence._slots.__wrapped__)  # nothing of this is to be kept


@mutation("an edit of something else leaves `next_run` alone", more={"edit": 10, "wait": 10})
def edits_move(patch: Patch) -> None:
    edit = import_module("cronq.store.categories")._Edit
    patch.setattr(edit, "_moved", lambda self, record, spec, changed: self._next_run(spec))


@mutation("marking is a compare-and-set: a claimed run is left alone")
def mark_blindly(patch: Patch) -> None:
    def mark(tx: Any, bells: Sequence[Any], now: Any, republish: Any, plain: Any) -> None:
        table = tables.runs
        which = table.c.run_id.in_([bell.run_id for bell in bells]) & table.c.state.not_in(ENDED)
        again = {"state": State.QUEUED, "publish_at": now + republish, "published_at": now}
        tx.execute(sa.update(table).where(which).values(**again))

    patch.setattr(doorbells, "mark_published", mark)


@mutation("what nobody claims is published again", more={"drop": 8, "wipe": 3}, to_the_end=True)
def never_republish(patch: Patch) -> None:
    mark = doorbells.mark_published

    def once(tx: Any, bells: Any, now: Any, republish: Any, plain: Any) -> None:
        mark(tx, bells, now, republish, frozenset(bell.routing_key for bell in bells))

    patch.setattr(doorbells, "mark_published", once)


@mutation(
    "bells are leased, and come back when their injector is gone", more={"crash_injector": 6}, to_the_end=True
)
def lease_for_ever(patch: Patch) -> None:
    lease = doorbells.lease_unpublished

    def take(tx: Any, now: Any, until: Any, limit: int) -> Any:
        bells = lease(tx, now, until, limit)
        which = tables.runs.c.run_id.in_([bell.run_id for bell in bells])
        tx.execute(sa.update(tables.runs).where(which).values(publish_at=None))
        return bells

    patch.setattr(doorbells, "lease_unpublished", take)


@mutation("a silent pipeline is never read as dead runners", more={"silence": 3}, way=STARTED)
def ignore_the_canary(patch: Patch) -> None:
    patch.setattr(watching.Watch, "judge_pipeline", lambda self: True)


@mutation("a silent runner is asked before it is given up", more={"suspect": 3}, way=STARTED)
def lose_unasked(patch: Patch) -> None:
    lose = leases.lose_unanswered

    def at_once(tx: Any, now: Any, limit: int, **_: Any) -> Any:
        expired = tables.runs.c.lease_until < now
        tx.execute(sa.update(tables.runs).where(expired).values(asked_at=now))
        return lose(tx, now, limit)

    patch.setattr(leases, "lose_unanswered", at_once)


@mutation(
    "the reaper gives the runs of default jobs up, and does not start them again",
    more={"suspect": 3},
    way=STARTED,
    plan={"hosts": 2},
)
def requeue_the_lost(patch: Patch) -> None:
    patch.setattr(retry.Policy, "retries_loss", lambda self, retries: True)


@mutation(
    "a failure is retried only where the job asks for it",
    way=(*TOLD, *["apply"] * 4, "wait_long", "release", "lease", *CLAIMED),
)
def retry_all(patch: Patch) -> None:
    patch.setattr(retry.Policy, "retries_failure", lambda self, retries: retries < 3)


@mutation(
    "a held run waits for a person", plan={"guarantees": ("hold", "hold")}, more={"suspect": 3}, way=STARTED
)
def do_not_hold(patch: Patch) -> None:
    def loss(self: retry.Policy, retries: int) -> bool:
        return self.guarantee is not retry.Guarantee.AT_MOST_ONCE and retries < 10

    patch.setattr(retry.Policy, "retries_loss", loss)


@mutation(
    "only runs that nobody has claimed are superseded or cancelled at once", more={"cancel": 5}, way=STARTED
)
def end_the_live(patch: Patch) -> None:
    patch.setattr(runs, "WAITING", frozenset(State) - ENDED)


# -- claims and grants


@mutation(
    "a grant is committed before it is told",
    way=(*CLAIMED[:3], "crash_grant", "deliver", "step", "obey"),
    plan={"hosts": 1},
)
def reply_before_the_commit(patch: Patch) -> None:
    answer = results.Results._answer

    def told_too_early(self: Any, tx: Any, asked: Any) -> Any:
        answers = answer(self, tx, asked)
        self._reply([f"cronq_runner.{claim.owner.instance}" for claim in asked], answers)
        return answers

    patch.setattr(results.Results, "_answer", told_too_early)


def _decide_claim(change: Callable[[ClaimView, Claim], Claim]) -> Callable[[ClaimView | None, Claim], Any]:
    def decided(view: ClaimView | None, claim: Claim) -> Denial | None:
        return run.decide_claim(view, claim if view is None else change(view, claim))

    return decided


@mutation(
    "only the instance that was granted is granted again",
    plan={"hosts": 1},
    more={"start": 12},
    way=(*CLAIMED, "kill_runner", "start", *CLAIMED[1:], "deliver", "step", "obey"),
)
def grant_any_instance(patch: Patch) -> None:
    def change(view: ClaimView, claim: Claim) -> Claim:
        is_kin = view.owner is not None and view.owner.lineage == claim.owner.lineage
        return replace(claim, owner=view.owner) if is_kin and view.owner else claim

    patch.setattr(claims, "decide_claim", _decide_claim(change))


@mutation(
    "only the runner that was granted is granted again",
    way=("publish", "double", *CLAIMED[1:]),
    plan={"hosts": 2},
)
def grant_any_runner(patch: Patch) -> None:
    patch.setattr(
        claims,
        "decide_claim",
        _decide_claim(lambda view, claim: replace(claim, owner=view.owner or claim.owner)),
    )


@mutation(
    "a claim of another attempt is denied",
    plan={"hosts": 2},
    more={"double": 12, "kill_runner": 5, "start": 12},
    way=("publish", "double", *CLAIMED[1:], "kill_runner", "start", "apply"),
)
def grant_any_attempt(patch: Patch) -> None:
    patch.setattr(
        claims, "decide_claim", _decide_claim(lambda view, claim: replace(claim, attempt=view.attempt))
    )


@mutation(
    "a run that is over is not granted",
    more={"double": 12},
    way=("publish", "double", *TOLD[1:], "apply"),
    plan={"hosts": 2},
)
def grant_the_ended(patch: Patch) -> None:
    def decided(view: ClaimView | None, claim: Claim) -> Denial | None:
        if view is not None and view.state in ENDED:
            return None
        return run.decide_claim(view, claim)

    patch.setattr(claims, "decide_claim", decided)

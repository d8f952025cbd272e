"""Runs whose end nobody knows: the alerts about them, and what people decide."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import structlog

from cronq.domain.errors import Conflict, NotFound
from cronq.domain.event import SEQ_DECIDED
from cronq.domain.run import ENDED, State, Trigger
from cronq.store import alerts, requests, runs
from cronq.store.changes import Losses
from cronq.store.engine import Tx
from cronq.store.events import event_row, insert_events
from cronq.store.tables import runs as runs_table

log = structlog.get_logger()

KIND = "runner_lost"


class Decision(StrEnum):
    """What a person says about a run that is held."""

    RERUN = "rerun"  # run it again, as a run of its own
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def tell(tx: Tx, losses: Losses, why: str, now: datetime) -> None:
    """Raise an alert for each run that is lost, clear those of the runs that are not any more."""
    for run_id in losses.lost:
        what = f"run {run_id} is lost: {why}"
        if run_id in losses.held:
            what += f"; decide with `cronq decide {run_id} rerun|succeeded|failed`"
        alerts.raise_alert(tx, KIND, alerts.run(run_id), what, now)
        log.warning("run.lost", run_id=run_id, why=why, held=run_id in losses.held)
    for run_id in losses.retried:
        log.warning("run.lost_and_retried", run_id=run_id, why=why)
    alerts.clear_all(tx, KIND, [alerts.run(run_id) for run_id in losses.found_again], now)


def decide(tx: Tx, run_id: str, decision: Decision, by: str, now: datetime) -> str:
    """Settle a held run; returns the id of the run that carries on: itself, or the rerun.

    Raises NotFound, and Conflict when nothing is to be decided about it, or its job can't run again.
    """
    row = runs.by_id(tx, run_id, lock=True)
    if row is None:
        raise NotFound(f"no run has the id {run_id}")
    if not row["needs_decision"]:
        by_whom = f": {row['decided_by']} decided" if row["decided_by"] else ""
        raise Conflict(f"run {run_id} is {row['state']}, nothing is to be decided about it{by_whom}")
    values: dict[str, object] = {"needs_decision": False, "decided_by": by[:255]}
    if decision is not Decision.RERUN:
        values |= {"state": State(decision.value), "reason": f"decided by {by}"[:255], "recorded_at": now}
    tx.execute(runs_table.update().where(runs_table.c.run_id == run_id).values(**values))
    fact = event_row(row["job_id"], run_id, "decided", SEQ_DECIDED, now, attempt=row["attempt"])
    insert_events(tx, [fact])
    alerts.clear(tx, KIND, alerts.run(run_id), now)
    log.info("run.decided", run_id=run_id, decision=decision.value, by=by)
    if decision is not Decision.RERUN:
        return run_id
    return requests.request_run(tx, requests.Wish(row["job_id"], Trigger.RERUN, by), now)


def rerun(tx: Tx, run_id: str, by: str, now: datetime) -> str:
    """Order the job of a run that is over once more; returns the new run's id.

    A held run is thereby decided. Raises NotFound, and Conflict when it is not over or can't run.
    """
    row = runs.by_id(tx, run_id, lock=True)
    if row is None:
        raise NotFound(f"no run has the id {run_id}")
    if row["needs_decision"]:
        return decide(tx, run_id, Decision.RERUN, by, now)
    if State(row["state"]) not in ENDED:
        raise Conflict(f"run {run_id} is {row['state']}: only a run that is over can be run again")
    return requests.request_run(tx, requests.Wish(row["job_id"], Trigger.RERUN, by), now)

"""Carrying out decided changes on locked rows of runs: the second half of each compare-and-set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.retry import ONCE, Guarantee, Policy
from cronq.domain.run import ENDED, Change, Kind, Owner, RunView, State
from cronq.store import dialect, epoch, jobs
from cronq.store.engine import Tx
from cronq.store.tables import runs

CHANGING = (
    "state", "reason", "attempt", "runner", "lineage", "instance", "queued_at", "publish_at",
    "publishes", "claimed_at", "lease_until", "asked_at", "host", "pid", "started_at", "finished_at",
    "recorded_at", "return_code", "signal", "duration_s", "recovered", "release_at", "retries",
    "needs_decision", "output_bytes",
)  # fmt: skip
OF_AN_OWNER = ("runner", "lineage", "instance")
OF_AN_ATTEMPT = (
    "claimed_at", "lease_until", "asked_at", "host", "pid", "started_at", "finished_at", "recorded_at",
    "return_code", "signal", "duration_s",
)  # fmt: skip
# Lengths of columns; the event keeps the whole text.
MOST_REASON, MOST_RUNNER = 255, 190

Row = dict[str, Any]
_WAS = "_was"


@dataclass
class Losses:
    """What changes did about runs whose end nobody knew; the lists have ids of runs."""

    lost: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)  # those of `lost` that a person is to decide
    retried: list[str] = field(default_factory=list)  # not lost: another attempt waits
    found_again: list[str] = field(default_factory=list)  # they were lost, and have ended or wait again

    def note(self, row: Row, change: Change) -> None:
        """To be called before the change is made."""
        run_id = row["run_id"]
        if change.state is State.LOST:
            self.lost.append(run_id)
            if change.needs_decision:
                self.held.append(run_id)
        elif change.lost:
            self.retried.append(run_id)
        elif row["state"] == State.LOST and change.state is not None:
            self.found_again.append(run_id)


def columns() -> list[sa.Column[Any]]:
    """What of a row `view` and `merge` need."""
    return [runs.c[name] for name in ("run_id", "job_id", "cancel_requested_at", "epoch", *CHANGING)]


def locked(tx: Tx, run_ids: Iterable[str]) -> dict[str, Row]:
    """Rows with these columns, locked in the order of their ids."""
    found = tx.execute(_LOCKED, {"ids": sorted(run_ids)})
    return {row["run_id"]: row for row in as_rows(found)}


_LOCKED = (
    sa.select(*columns())
    .where(runs.c.run_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(runs.c.run_id)
    .with_for_update()
)


def as_rows(found: sa.Result[Any]) -> list[Row]:
    """Rows with these columns, and with what they were as the database has them (`_WAS`)."""
    return [{**row, _WAS: row} for row in found.mappings()]


def policies(tx: Tx, rows: Collection[Row]) -> dict[str, Policy]:
    """What the jobs of these runs ask for, by run; a removed job asks for nothing.

    A run that was granted in an earlier epoch may have ended in what the database forgot, so a person
    decides about it, and not its job.
    """
    found = jobs.by_ids(tx, {row["job_id"] for row in rows}) if rows else {}
    asked = {
        row["run_id"]: found[row["job_id"]].spec.retry_policy
        for row in rows
        if row["job_id"] in found and found[row["job_id"]].removed_at is None
    }
    again = {run_id for run_id, policy in asked.items() if policy.guarantee is Guarantee.AT_LEAST_ONCE}
    if again:
        number = epoch.number(tx)
        older = {row["run_id"] for row in rows if row["epoch"] < number} & again
        asked |= {run_id: replace(asked[run_id], guarantee=Guarantee.HOLD) for run_id in older}
    return asked


def outdated(tx: Tx, run_ids: Collection[str]) -> frozenset[str]:
    """Of these runs, those whose job had a later occurrence since."""
    if not run_ids:
        return frozenset()
    newer = runs.alias("newer")
    query = sa.select(runs.c.run_id).where(
        runs.c.run_id.in_(sorted(run_ids)),
        sa.exists().where(
            newer.c.job_id == runs.c.job_id,
            newer.c.kind == Kind.SLOT,
            newer.c.scheduled_for > runs.c.scheduled_for,
        ),
    )
    return frozenset(tx.execute(query).scalars())


def view(row: Row, policy: Policy | None = None, *, has_newer: bool = False) -> RunView:
    owner = None
    if row["runner"] is not None:
        owner = Owner(row["runner"], row["lineage"] or "", row["instance"] or "")
    return RunView(
        row["run_id"],
        row["job_id"],
        State(row["state"]),
        row["attempt"],
        owner,
        cancel_requested=row["cancel_requested_at"] is not None,
        has_newer=has_newer,
        retries=row["retries"],
        policy=policy or ONCE,
    )


def merge(row: Row, change: Change, now: datetime) -> None:
    """Make the change in the row, not yet in the database."""
    for name in ("started_at", "finished_at", "return_code", "signal", "pid", "host", "duration_s"):
        value = getattr(change, name)
        if value is not None:
            row[name] = value
    if change.owner is not None:
        row["runner"] = change.owner.runner[:MOST_RUNNER]
        row["lineage"], row["instance"] = change.owner.lineage, change.owner.instance
    if change.state is None:
        return
    row["state"] = change.state
    row["reason"] = change.reason and change.reason[:MOST_REASON]
    row["asked_at"] = None
    row["recovered"] = int(bool(row["recovered"]) or change.recovered)
    row["needs_decision"] = int(change.needs_decision)
    if change.attempt is not None:
        row["attempt"], row["release_at"] = change.attempt, None
        row["retries"] -= 1
    if change.next_attempt:
        _wait_again(row, change, now)
    else:
        # A run of a plain runner was never leased; a claimed one stays leased while it lives.
        row["publish_at"] = None
        if change.state in ENDED:
            row["recorded_at"], row["lease_until"] = now, None


def _wait_again(row: Row, change: Change, now: datetime) -> None:
    row["attempt"] += 1
    row["publishes"] = row["output_bytes"] = 0
    for name in OF_AN_ATTEMPT if change.lost else (*OF_AN_OWNER, *OF_AN_ATTEMPT):
        row[name] = None
    row["queued_at"] = row["publish_at"] = now if change.state is State.QUEUED else None
    if change.retry_after is not None:
        row["release_at"] = now + change.retry_after
        row["retries"] += 1


def write(tx: Tx, rows: Iterable[Row]) -> None:
    """Write what `merge` changed of rows that `locked` or `as_rows` gave."""
    ordered = sorted(rows, key=lambda r: str(r["run_id"]))
    names = [name for name in CHANGING if any(r[name] != r[_WAS][name] for r in ordered)]
    if names:
        changed: Sequence[dict[str, object]] = [
            {"run_id": r["run_id"], **{name: r[name] for name in names}} for r in ordered
        ]
        dialect.update_rows(tx, runs, changed, keys=("run_id",))

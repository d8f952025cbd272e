"""Before a job changes: what is due of it this moment gets its rows, by what the job was."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from cronq.domain.ids import run_id
from cronq.domain.occurrence import Occurrence, expand_all
from cronq.domain.run import State
from cronq.store import runs, skips
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord


def settle(tx: Tx, records: Sequence[JobRecord], state: State, reason: str | None, now: datetime) -> None:
    """Write the rows of what is due of these jobs where they are on: in this state, if it is to run."""
    on = [record for record in records if record.spec.enabled and record.removed_at is None]
    due = {record.id: list(expand_all(record.due_job(), now)) for record in on}
    if state is State.SCHEDULED:
        due |= skips.take(tx, due)
    rows = [
        runs.new_row(
            run_id(now, secrets.randbits),
            record.id,
            kind=occurrence.kind,
            scheduled_for=occurrence.scheduled_for,
            triggered_by=occurrence.trigger,
            state=_state(occurrence, state, record.problem),
            routing_key=record.key,
            now=now,
            reason=occurrence.missed or record.problem or occurrence.skipped or reason,
            revision=record.revision,
            last_scheduled_for=occurrence.last_scheduled_for,
            missed_count=occurrence.count,
            category_id=record.category_id,
            priority=record.spec.priority,
        )
        for record in on
        for occurrence in due[record.id]
    ]
    runs.insert(tx, rows, now)


def _state(occurrence: Occurrence, state: State, problem: str | None) -> State:
    """A job with a problem never runs."""
    if occurrence.missed or problem:
        return State.MISSED
    return State.SKIPPED if occurrence.skipped else state

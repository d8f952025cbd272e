"""Pauses: setting and lifting them, what they hold, and what was missed meanwhile.

Which runs a pause stops is judged in domain/gate.py, by what `limits.closed` reads. Nobody is told when one
ends: the next step of an injector finds its gate open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate
from cronq.domain.errors import Conflict
from cronq.domain.pause import MOST_REASON, Pause
from cronq.domain.run import Kind, State
from cronq.store import dialect, limits
from cronq.store.engine import Tx
from cronq.store.rows import DEFAULT_KEY
from cronq.store.runs import OpenRun, end_here
from cronq.store.tables import jobs, parked, pauses, runs

# Every step of an injector reads those in force, and `limits.closed` no more than twice as many.
MOST = limits.MOST // 2
# Jobs that a resume tells of one by one, and rows of the ledger that it looks at.
MOST_TOLD, MOST_COUNTED = 100, 50_000
_CHUNK = 500
_NOT_RUN = (State.MISSED, State.EXPIRED, State.SKIPPED)


def pause(tx: Tx, wanted: Pause, now: datetime) -> Pause:
    """Hold a subject back; of one that is held already the reason, the end and who, but not since when.

    Raises Conflict where there are too many.
    """
    row = {"subject": wanted.subject, "since": now, "until": wanted.until, "reason": "", "actor": ""}
    _check_room(tx, wanted.subject, now)
    dialect.insert_new(tx, pauses, [row])
    found = _locked(tx, wanted.subject)
    since = found.since if found is not None and _is_in_force(found, now) else now
    tx.execute(
        sa.update(pauses)
        .where(pauses.c.subject == wanted.subject)
        .values(
            since=since, until=wanted.until, reason=wanted.reason[:MOST_REASON], actor=wanted.by[:MOST_REASON]
        )
    )
    return Pause(wanted.subject, since, wanted.until, wanted.reason, wanted.by)


def _check_room(tx: Tx, subject: str, now: datetime) -> None:
    others = sa.select(sa.func.count()).where(in_force(now), pauses.c.subject != subject)
    if tx.execute(others).scalar_one() >= MOST:
        message = f"there are {MOST:,} pauses, the most that are allowed; pause a category, or everything"
        raise Conflict(message)


def in_force(now: datetime) -> sa.ColumnElement[bool]:
    """Of a pause's row: it has not ended by itself."""
    return pauses.c.until.is_(None) | (pauses.c.until > now)


def _is_in_force(found: Pause, now: datetime) -> bool:
    return found.until is None or found.until > now


def _locked(tx: Tx, subject: str) -> Pause | None:
    query = sa.select(pauses).where(pauses.c.subject == subject).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _pause(row)


def _pause(row: Any) -> Pause:
    return Pause(row["subject"], row["since"], row["until"], row["reason"], row["actor"])


# -- lifting


@dataclass
class Share:
    """What a pause did to one job: its runs that go on or stay held, its occurrences that did not run."""

    job_id: int
    going_on: int = 0
    still_held: int = 0
    missed: int = 0
    skipped: int = 0


@dataclass
class Resumed:
    """What lifting a pause did; `pause` is None where there was none.

    `shares` are the first MOST_TOLD, `is_whole` tells whether everything was counted.
    """

    pause: Pause | None = None
    total: Share = field(default_factory=lambda: Share(0))
    shares: Sequence[Share] = ()
    is_whole: bool = True


def resume(tx: Tx, subject: str, now: datetime) -> Resumed:
    """Lift a pause: an injector's next step lets out what it held, but for what something else holds."""
    found = _locked(tx, subject)
    if found is None:
        return Resumed()
    tx.execute(sa.delete(pauses).where(pauses.c.subject == subject))
    if not _is_in_force(found, now):
        return Resumed()
    shares: defaultdict[int, Share] = defaultdict(lambda: Share(0))
    _count_held(tx, subject, now, shares)
    is_whole = _count_not_run(tx, found, shares)
    for job_id, share in shares.items():
        share.job_id = job_id
    told = sorted(
        shares.values(), key=lambda s: (-s.going_on - s.still_held, -s.missed - s.skipped, s.job_id)
    )
    return Resumed(found, _sum(told), told[:MOST_TOLD], is_whole and len(told) <= MOST_TOLD)


def _count_held(tx: Tx, subject: str, now: datetime, shares: defaultdict[int, Share]) -> None:
    """Runs that wait at its gate (ix_parked_gate), by what becomes of them."""
    closed = limits.closed(tx, now)
    kinds = (runs.c.job_id, runs.c.category_id, runs.c.routing_key, runs.c.triggered_by)
    found = tx.execute(
        sa.select(*kinds, sa.func.count().label("runs"))
        .select_from(parked.join(runs, runs.c.run_id == parked.c.run_id))
        .where(parked.c.gate == gate.pause_of(subject), runs.c.state == State.SCHEDULED)
        .group_by(*kinds)
        .limit(MOST_COUNTED)
    )
    for job_id, category_id, key, trigger, count in found:
        stop = closed.gate(job_id=job_id, category_id=category_id, routing_key=key, trigger=trigger)
        if stop is None:
            shares[job_id].going_on += count
        else:
            shares[job_id].still_held += count


def _count_not_run(tx: Tx, lifted: Pause, shares: defaultdict[int, Share]) -> bool:
    """Occurrences since the pause began that don't run (ux_runs_occurrence); whether all were counted."""
    left = MOST_COUNTED
    for job_ids in _chunks(jobs_of(tx, lifted.subject)):
        some = (
            sa.select(
                runs.c.job_id, runs.c.state, sa.func.coalesce(runs.c.missed_count, 1).label("occurrences")
            )
            .where(
                runs.c.job_id.in_(job_ids),
                runs.c.kind == Kind.SLOT,
                runs.c.scheduled_for >= lifted.since,
                runs.c.state.in_(_NOT_RUN),
            )
            .with_hint(runs, "FORCE INDEX (ux_runs_occurrence)", "mysql")
            .limit(left)
            .subquery()
        )
        counted = tx.execute(
            sa.select(some.c.job_id, some.c.state, sa.func.sum(some.c.occurrences), sa.func.count())
            .group_by(some.c.job_id, some.c.state)
            .order_by(some.c.job_id)
        )
        for job_id, state, occurrences, rows in counted:
            left -= rows
            if state == State.SKIPPED:
                shares[job_id].skipped += int(occurrences)
            else:
                shares[job_id].missed += int(occurrences)
        if left <= 0:
            return False
    return True


def jobs_of(tx: Tx, subject: str) -> list[int]:
    """The ids of the jobs that a subject stands for, ascending."""
    kind, _, name = subject.partition(":")
    query = sa.select(jobs.c.id).where(jobs.c.removed_at.is_(None)).order_by(jobs.c.id)
    if kind == "job":
        query = sa.select(jobs.c.id).where(jobs.c.id == int(name))
    elif kind == "category":
        query = query.where(jobs.c.category_id == int(name))
    elif kind == "queue":
        query = query.where(sa.func.coalesce(jobs.c.routing_key, DEFAULT_KEY) == name)
    return list(tx.execute(query).scalars())


def _chunks(job_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(job_ids), _CHUNK):
        yield job_ids[start : start + _CHUNK]


def _sum(shares: Iterable[Share]) -> Share:
    total = Share(0)
    for share in shares:
        total.going_on += share.going_on
        total.still_held += share.still_held
        total.missed += share.missed
        total.skipped += share.skipped
    return total


def forget_over(tx: Tx, now: datetime, limit: int) -> list[Pause]:
    """Delete snoozes that have ended by themselves (ix_pauses_until); returns them."""
    found = tx.execute(
        sa.select(pauses)
        .where(pauses.c.until <= now)
        .order_by(pauses.c.until)
        .limit(limit)
        .with_hint(pauses, "FORCE INDEX (ix_pauses_until)", "mysql")
        .with_for_update(skip_locked=True)
    )
    over = [_pause(row) for row in found.mappings()]
    if over:
        tx.execute(sa.delete(pauses).where(pauses.c.subject.in_([each.subject for each in over])))
    return over


# -- while they last


def keep_newest(tx: Tx, kept: Mapping[int, int], now: datetime) -> int:
    """Of each job's occurrences that are held, so many may run later; the older ones are missed.

    Returns how many. That is the limit of misfire rule `all`, which one step of an expansion keeps by itself.
    """
    if not kept:
        return 0
    counts = tx.execute(
        _held(sa.select(runs.c.job_id, sa.func.count()))
        .where(runs.c.job_id.in_(sorted(kept)))
        .group_by(runs.c.job_id)
    ).all()
    older: list[OpenRun] = []
    for job_id, count in sorted((job_id, count) for job_id, count in counts if count > kept[job_id]):
        found = tx.execute(
            _held(sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt))
            .where(runs.c.job_id == job_id)
            .order_by(runs.c.scheduled_for)
            .limit(count - kept[job_id])
            .with_for_update(skip_locked=True)
        )
        older += [OpenRun(*row) for row in found]
    end_here(tx, older, State.MISSED, "misfire", now)
    return len(older)


def _held(query: sa.Select[Any]) -> sa.Select[Any]:
    """Of occurrences that wait at a closed gate and were not started yet (ix_runs_job_state)."""
    return (
        query.select_from(runs.join(parked, parked.c.run_id == runs.c.run_id))
        .where(
            runs.c.state == State.SCHEDULED,
            runs.c.kind == Kind.SLOT,
            runs.c.retries == 0,
            parked.c.gate.like("pause:%") | parked.c.gate.like("window:%"),
        )
        .with_hint(runs, "FORCE INDEX (ix_runs_job_state)", "mysql")
    )


# -- reading


def listed(tx: Tx, now: datetime, subjects: Iterable[str] | None = None) -> list[Pause]:
    """Those in force, of these subjects only where they are given; the oldest first."""
    query = sa.select(pauses).where(in_force(now)).order_by(pauses.c.since, pauses.c.subject)
    if subjects is not None:
        query = query.where(pauses.c.subject.in_(sorted(subjects)))
    return [_pause(row) for row in tx.execute(query.limit(limits.MOST)).mappings()]


def nearest(
    found: Mapping[str, Pause], job_id: int, category_id: int | None, routing_key: str
) -> list[Pause]:
    """Those of `found`, by their subjects, that hold a job back: its own first, that of everything last."""
    subjects = (gate.of_job(job_id), gate.of_category(category_id or 0), gate.of_queue(routing_key), gate.ALL)
    return [found[subject] for subject in subjects if subject in found]


def held_by_gate(tx: Tx) -> dict[str, int]:
    """How many runs wait, by the subject of the pause (ix_parked_gate)."""
    prefix = gate.pause_of("")
    found = tx.execute(
        sa.select(parked.c.gate, sa.func.count())
        .where(parked.c.gate.like(f"{prefix}%"))
        .group_by(parked.c.gate)
        .limit(limits.MOST)
    )
    return {name.removeprefix(prefix): count for name, count in found}


def held_of_job(tx: Tx, job_id: int) -> int:
    """How many runs of a job wait for a pause to end (ix_runs_job_state)."""
    query = (
        sa.select(sa.func.count())
        .select_from(runs.join(parked, parked.c.run_id == runs.c.run_id))
        .where(runs.c.job_id == job_id, runs.c.state == State.SCHEDULED, parked.c.gate.like("pause:%"))
    )
    return int(tx.execute(query).scalar_one())


def keys_of_jobs(tx: Tx) -> set[str]:
    """The routing keys that jobs have."""
    key = sa.func.coalesce(jobs.c.routing_key, DEFAULT_KEY)
    found = tx.execute(sa.select(key).where(jobs.c.removed_at.is_(None)).distinct().limit(limits.MOST))
    return {str(each).strip() for each in found.scalars()}

"""Expand: due jobs become rows of the ledger, and `next_run` moves past them, in one commit."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cronq import store
from cronq.domain.ids import run_id
from cronq.domain.occurrence import Expansion, Occurrence, expand
from cronq.domain.run import Kind, State
from cronq.domain.schedule import ScheduleError
from cronq.runtime import crash
from cronq.store import alerts, doorbells, epoch, jobs, runs
from cronq.store.doorbells import Doorbell
from cronq.store.epoch import Epoch
from cronq.store.rows import JobRecord

BATCH = 500
# After long outages a step looks at no more than this: under a second of work, and locks are lost
# after three.
MOST_INSTANTS = 200_000


@dataclass
class Expanded:
    """What one step did: doorbells to ring now, and how many jobs it took."""

    bells: list[Doorbell] = field(default_factory=list)
    jobs: int = 0
    missed: int = 0
    last_run: str | None = None  # one that is in the ledger now


# Which epoch it is; raises `epoch.Held` when nothing may be started.
Check = Callable[[store.Tx, datetime], Epoch]


def _any_state(tx: store.Tx, _: datetime) -> Epoch:
    return epoch.current(tx)


def expand_once(
    db: store.Store,
    *,
    locked_by: str,
    window: int,
    publish_lease: timedelta,
    check: Check = _any_state,
) -> Expanded:
    """Expand up to BATCH due jobs. The bells are leased to the caller for `publish_lease`.

    Raises what `check` does.
    """
    return db.transact(lambda tx: _expand(tx, locked_by, window, publish_lease, check))


def _expand(tx: store.Tx, locked_by: str, window: int, publish_lease: timedelta, check: Check) -> Expanded:
    now = store.now(tx)
    began = check(tx, now).since
    due = _expansions(jobs.claim_due(tx, now, BATCH), now, began)
    if not due:
        return Expanded()
    crash.reach("injector.expand.claimed")
    begins = {d.job.id: _first_run(d.job, now) for d in due if _begins(d.job)}
    changed = [d.job for d in due if d.job.is_changed_by_hand() or d.job.id in begins]
    jobs.record_hand_changes(tx, changed, now, begins)
    rows, bells = _ledger(due, _Room(tx, window), now, now + publish_lease)
    fresh = runs.insert(tx, rows, now)
    released = {int(str(r["job_id"])) for r in rows if r["run_id"] in fresh and r["kind"] == Kind.SLOT}
    runs.supersede(tx, released, now, newer=fresh)
    crash.reach("injector.expand.half")
    jobs.advance(tx, [(d.job.id, begins.get(d.job.id, d.expansion.next_run)) for d in due], locked_by)
    _alert_problems(tx, due, now)
    crash.reach("injector.expand.uncommitted")
    missed = sum(r["state"] == State.MISSED for r in rows)
    # A bell for an occurrence that has its row already would ring for nothing.
    last = str(rows[-1]["run_id"]) if rows and rows[-1]["run_id"] in fresh else None
    return Expanded([b for b in bells if b.run_id in fresh], len(due), missed, last)


@dataclass(frozen=True)
class _Due:
    """A due job and what it gives rise to."""

    job: JobRecord
    expansion: Expansion


def _expansions(claimed: Sequence[JobRecord], now: datetime, began: datetime | None) -> list[_Due]:
    """As many of the claimed jobs as can be expanded before the database takes its locks back.

    What was due when the epoch `began` may have run before it, and is missed.
    """
    due: list[_Due] = []
    instants = 0
    for job in claimed:
        expansion = expand(job.due_job(), now)
        if job.problem:
            refused = (replace(o, missed=o.missed or job.problem) for o in expansion.occurrences)
            expansion = replace(expansion, occurrences=tuple(refused))
        if began is not None:
            expansion = _missed_before(began, expansion)
        due.append(_Due(job, expansion))
        instants += sum(o.count or 1 for o in expansion.occurrences)
        if instants >= MOST_INSTANTS:
            break
    return due


def _missed_before(began: datetime, expansion: Expansion) -> Expansion:
    kept = (
        replace(o, missed=epoch.REASON)
        if o.kind is Kind.SLOT and o.scheduled_for <= began and not o.missed
        else o
        for o in expansion.occurrences
    )
    return replace(expansion, occurrences=tuple(kept))


class _Room:
    """How many runs each routing key may still let out."""

    def __init__(self, tx: store.Tx, window: int) -> None:
        self._window = window
        self._queued = Counter(doorbells.queued_counts(tx))
        self._waiting = frozenset(doorbells.waiting_keys(tx))

    def take(self, key: str) -> bool:
        """Whether a new run goes straight to its queue: there is room, and nobody waits before it."""
        is_free = key not in self._waiting and self._queued[key] < self._window
        self._queued[key] += is_free
        return is_free


def _ledger(
    due: Sequence[_Due], room: _Room, now: datetime, publish_at: datetime
) -> tuple[list[dict[str, object]], list[Doorbell]]:
    """Rows, and bells for those that go straight to their queue."""
    rows: list[dict[str, object]] = []
    bells: list[Doorbell] = []
    for job, occurrence in _flat(due):
        at_once = not occurrence.missed and room.take(job.key)
        row = _row(job, occurrence, at_once=at_once, now=now, publish_at=publish_at)
        rows.append(row)
        if at_once:
            spec = job.spec
            bells.append(Doorbell(str(row["run_id"]), 1, job.id, spec.name, spec.command, job.key, 0))
    return rows, bells


def _flat(due: Sequence[_Due]) -> Iterator[tuple[JobRecord, Occurrence]]:
    for each in due:
        for occurrence in each.expansion.occurrences:
            yield each.job, occurrence


def _row(
    job: JobRecord, occurrence: Occurrence, *, at_once: bool, now: datetime, publish_at: datetime
) -> dict[str, object]:
    state = State.QUEUED if at_once else State.SCHEDULED
    return runs.new_row(
        run_id(now, secrets.randbits),
        job.id,
        kind=occurrence.kind,
        scheduled_for=occurrence.scheduled_for,
        triggered_by=occurrence.trigger,
        state=State.MISSED if occurrence.missed else state,
        routing_key=job.key,
        now=now,
        request=secrets.token_hex(16) if occurrence.kind is Kind.REQUEST else "",
        reason=occurrence.missed,
        revision=job.revision + job.is_changed_by_hand(),
        publish_at=publish_at if at_once else None,
        last_scheduled_for=occurrence.last_scheduled_for,
        missed_count=occurrence.count,
    )


def _begins(job: JobRecord) -> bool:
    """A job that was never scheduled begins now, also one whose `next_run` is no instant at all."""
    return job.next_run is None and (job.revision == 0 or not job.run_now)


def _alert_problems(tx: store.Tx, due: Sequence[_Due], now: datetime) -> None:
    for each in due:
        if _begins(each.job):
            _alert_unreadable(tx, each.job, now)
        if each.expansion.problem:
            hint = "PUT another schedule, or set next_run with it"
            _alert(tx, each.job, f"will not run again: {each.expansion.problem}; {hint}", now)
        elif each.job.problem:
            _alert(tx, each.job, f"does not run: {each.job.problem}", now)


def _alert(tx: store.Tx, job: JobRecord, what: str, now: datetime) -> None:
    alerts.raise_alert(tx, alerts.BAD_JOB, alerts.job(job.id), f"job {job.id} {job.spec.name!r} {what}", now)


def _alert_unreadable(tx: store.Tx, job: JobRecord, now: datetime) -> None:
    try:
        job.spec.parsed_schedule()
    except ScheduleError as error:
        _alert(tx, job, f"will not run: {error}", now)


def adopt_unseen_once(db: store.Store) -> int:
    """Give jobs that were inserted by hand their first revision, and a `next_run` if they have none."""
    return db.transact(_adopt)


def _adopt(tx: store.Tx) -> int:
    now = store.now(tx)
    unseen = jobs.claim_unseen(tx, BATCH)
    waiting = [j for j in unseen if j.next_run is None and j.removed_at is None]
    begins = {j.id: _first_run(j, now) for j in waiting}
    jobs.record_hand_changes(tx, unseen, now, begins)
    jobs.begin_at(tx, [(job_id, at) for job_id, at in begins.items() if at])
    for job in waiting:
        _alert_unreadable(tx, job, now)
    return len(unseen)


def _first_run(job: JobRecord, now: datetime) -> datetime | None:
    """On its schedule's next instant; a bare interval begins at once; neither: only when asked."""
    if job.spec.schedule is None:
        start = now.replace(microsecond=0)
        return start + (job.interval if job.run_now else timedelta(0)) if job.interval else None
    with suppress(ScheduleError):
        schedule = job.spec.parsed_schedule()
        return schedule.next_after(now) if schedule else None
    return None

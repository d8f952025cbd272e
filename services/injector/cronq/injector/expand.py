"""Expand: due jobs become rows of the ledger, and `next_run` moves past them, in one commit."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cronq import store
from cronq.domain import gate as gates
from cronq.domain.gate import Park, Place
from cronq.domain.ids import run_id, turn
from cronq.domain.jitter import jittered
from cronq.domain.misfire import ON_TIME, Misfire
from cronq.domain.occurrence import Expansion, Occurrence, expand
from cronq.domain.run import Kind, State, Trigger
from cronq.domain.schedule import ScheduleError
from cronq.runtime import crash
from cronq.store import alerts, doorbells, epoch, jobs, limits, line, pauses, resting, runs, skips
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
    way = _Way(tx, window, now)
    due = _skip_next(tx, [way.skipped(each) for each in due])
    rows, bells = _ledger(due, way, now + publish_lease)
    fresh = runs.insert(tx, rows, now)
    line.park(tx, way.parked(fresh), now)
    runs.supersede(tx, way.outdated(due, rows, fresh), now, newer=fresh)
    pauses.keep_newest(tx, way.limited(due), now)
    crash.reach("injector.expand.half")
    jobs.advance(tx, [(d.job.id, begins.get(d.job.id, d.expansion.next_run)) for d in due], locked_by)
    resting.rest(tx, [d.job.id for d in due if d.expansion.rests])
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


def _skip_next(tx: store.Tx, due: Sequence[_Due]) -> list[_Due]:
    """The same, without the occurrences that somebody said are to be skipped."""
    changed = skips.take(tx, {each.job.id: each.expansion.occurrences for each in due})
    return [
        replace(each, expansion=replace(each.expansion, occurrences=tuple(changed[each.job.id])))
        if each.job.id in changed
        else each
        for each in due
    ]


def _missed_before(began: datetime, expansion: Expansion) -> Expansion:
    kept = (
        replace(o, missed=epoch.REASON)
        if o.kind is Kind.SLOT and o.scheduled_for <= began and not o.missed
        else o
        for o in expansion.occurrences
    )
    return replace(expansion, occurrences=tuple(kept))


class _Way:
    """Where a new run goes: straight to its queue, in line, or to a gate that is closed to it."""

    def __init__(self, tx: store.Tx, window: int, now: datetime) -> None:
        self.now = now
        self._window = window
        self._queued = Counter({key: sum(of.values()) for key, of in doorbells.queued_counts(tx).items()})
        self._waiting = frozenset(doorbells.waiting(tx))
        self._limits = limits.all_limits(tx)
        self._closed = limits.closed(tx, now)
        self._parked: list[tuple[Place, Park]] = []

    def skipped(self, due: _Due) -> _Due:
        """The same, without what a paused job that makes up for nothing would run."""
        gate = self._held(due.job)
        if gate is None or due.job.spec.misfire_rule.rule is not Misfire.SKIP:
            return due
        why = gates.reason_of(gate)
        kept = (
            replace(o, skipped=why) if o.kind is Kind.SLOT and not o.missed else o
            for o in due.expansion.occurrences
        )
        return replace(due, expansion=replace(due.expansion, occurrences=tuple(kept)))

    def is_straight(self, job: JobRecord, occurrence: Occurrence) -> bool:
        """Whether a run needs no decision: there is room, nobody waits before it, and it needs no gate."""
        spec, key = job.spec, job.key
        if self._gate(job, occurrence) or spec.jitter or key in self._waiting:
            return False
        if gates.needs(job.id, job.category_id or 0, spec, self._limits) or spec.priority:
            return False
        is_free = self._queued[key] < self._window
        self._queued[key] += is_free
        return is_free

    def park(self, run_id: str, job: JobRecord, occurrence: Occurrence) -> bool:
        """Whether a run waits at a gate from the first."""
        gate = self._gate(job, occurrence)
        if gate is not None:
            self._parked.append(((job.spec.priority, turn(run_id), run_id), Park(gate)))
        return gate is not None

    def parked(self, fresh: Collection[str]) -> list[tuple[Place, Park]]:
        return [each for each in self._parked if each[0][2] in fresh]

    def outdated(self, due: Sequence[_Due], rows: Sequence[Row], fresh: Collection[str]) -> set[int]:
        """Jobs with a new run that makes pointless what of their slots nobody has claimed."""
        released = {r["job_id"] for r in rows if r["run_id"] in fresh and r["kind"] == Kind.SLOT}
        return {each.job.id for each in due if each.job.id in released and self._supersedes(each.job)}

    def limited(self, due: Sequence[_Due]) -> dict[int, int]:
        """Jobs whose occurrences are all held, with how many of them at most."""
        rules = {each.job.id: each.job.spec.misfire_rule for each in due if self._held(each.job)}
        return {job_id: rule.limit for job_id, rule in rules.items() if rule.rule is Misfire.ALL}

    def _supersedes(self, job: JobRecord) -> bool:
        """Of a job that is paused only the last occurrence is held, if only that is to be made up for."""
        if job.spec.misfire_rule.rule is Misfire.ALL:
            return False
        return job.spec.overlap_rule.supersedes or self._held(job) is not None

    def _gate(self, job: JobRecord, occurrence: Occurrence) -> str | None:
        gate = self._held(job, occurrence.trigger)
        if gate is None and occurrence.kind is Kind.SLOT and self.now - occurrence.scheduled_for > ON_TIME:
            return gates.CATCH_UP
        return gate

    def _held(self, job: JobRecord, trigger: Trigger = Trigger.SCHEDULE) -> str | None:
        return self._closed.gate(
            job_id=job.id, category_id=job.category_id or 0, routing_key=job.key, trigger=trigger
        )


Row = dict[str, object]


def _ledger(due: Sequence[_Due], way: _Way, publish_at: datetime) -> tuple[list[Row], list[Doorbell]]:
    """Rows, and bells for those that go straight to their queue."""
    rows: list[Row] = []
    bells: list[Doorbell] = []
    for job, occurrence in _flat(due):
        at_once = not _is_over(occurrence) and way.is_straight(job, occurrence)
        row = _row(job, occurrence, at_once=at_once, now=way.now, publish_at=publish_at)
        rows.append(row)
        if at_once:
            spec = job.spec
            bells.append(Doorbell(str(row["run_id"]), 1, job.id, spec.name, spec.command, job.key, 0))
        elif _is_over(occurrence) or row["release_at"] is not None:
            continue  # where jitter still spreads it, the gates are asked when its time has come
        elif way.park(str(row["run_id"]), job, occurrence):
            row["release_at"] = line.NEVER
    return rows, bells


def _is_over(occurrence: Occurrence) -> bool:
    return bool(occurrence.missed or occurrence.skipped)


def _flat(due: Sequence[_Due]) -> Iterator[tuple[JobRecord, Occurrence]]:
    for each in due:
        for occurrence in each.expansion.occurrences:
            yield each.job, occurrence


def _row(
    job: JobRecord, occurrence: Occurrence, *, at_once: bool, now: datetime, publish_at: datetime
) -> dict[str, object]:
    spec = job.spec
    is_slot = occurrence.kind is Kind.SLOT
    return runs.new_row(
        run_id(now, secrets.randbits),
        job.id,
        kind=occurrence.kind,
        scheduled_for=occurrence.scheduled_for,
        triggered_by=occurrence.trigger,
        state=_state(occurrence, at_once=at_once),
        routing_key=job.key,
        now=now,
        category_id=job.category_id,
        priority=spec.priority,
        request=secrets.token_hex(16) if occurrence.kind is Kind.REQUEST else "",
        reason=occurrence.missed or occurrence.skipped,
        revision=job.revision + job.is_changed_by_hand(),
        release_at=_release_at(job, occurrence, now) if is_slot else None,
        expires_at=occurrence.scheduled_for + spec.start_deadline
        if is_slot and spec.start_deadline
        else None,
        publish_at=publish_at if at_once else None,
        last_scheduled_for=occurrence.last_scheduled_for,
        missed_count=occurrence.count,
    )


def _state(occurrence: Occurrence, *, at_once: bool) -> State:
    if occurrence.missed:
        return State.MISSED
    if occurrence.skipped:
        return State.SKIPPED
    return State.QUEUED if at_once else State.SCHEDULED


def _release_at(job: JobRecord, occurrence: Occurrence, now: datetime) -> datetime | None:
    """Jitter moves the release of an occurrence, the same way whoever works it out, and not its instant."""
    if not job.spec.jitter:
        return None
    at = occurrence.scheduled_for + jittered(job.spec.jitter, f"{job.id}:{occurrence.scheduled_for}")
    return at if at > now else None


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

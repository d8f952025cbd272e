"""What a forecast reads: jobs to be due, what runs last, slots of runners; and one job's occurrences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cronq import store
from cronq.domain.run import Kind, Owner, State
from cronq.store import forecasts, leases, slots
from tests.factories import (
    HOUR,
    LEASE,
    MINUTE,
    NOON,
    SECOND,
    definition,
    heartbeat,
    insert_job,
    insert_run,
    job_named,
    put,
)


def due_names(db: store.Store, until: datetime, limit: int = 100) -> list[str]:
    with db.read() as tx:
        return [job.spec.name for job in forecasts.due_before(tx, until, limit)]


def durations(db: store.Store, *job_ids: int) -> dict[int, float]:
    with db.read() as tx:
        return forecasts.durations(tx, job_ids)


def ran(db: store.Store, job_id: int, *lasted: float | None, state: State = State.SUCCEEDED) -> None:
    """Runs that lasted so many seconds, the oldest first."""
    for number, seconds in enumerate(lasted):
        at = NOON + number * SECOND
        insert_run(db, job_id, state, at=at, kind=Kind.REQUEST, duration_s=seconds)


def test_jobs_due_before_an_instant_come_the_soonest_first(db: store.Store) -> None:
    for name, wait in (("late", 3), ("soon", 1), ("between", 2)):
        insert_job(db, name=name, schedule="@hourly", next_run=NOON + wait * HOUR)

    assert due_names(db, NOON + 3 * HOUR) == ["soon", "between"]
    assert due_names(db, NOON + 9 * HOUR, limit=2) == ["soon", "between"]
    with db.read() as tx:
        assert forecasts.count_due_before(tx, NOON + 9 * HOUR) == 3


def test_jobs_that_are_paused_removed_or_never_due_are_not_among_them(db: store.Store) -> None:
    put(db, definition("gone"), definition("paused", enabled=False), definition("stays"))
    put(db, definition("paused", enabled=False), definition("stays"))
    insert_job(db, name="by hand only", run_now=1)

    assert due_names(db, NOON + 24 * HOUR) == ["stays"]


def test_a_run_lasts_as_the_middle_one_of_the_last_successful_ones(db: store.Store) -> None:
    [job_id, other] = (insert_job(db) for _ in range(2))
    ran(db, job_id, *[900.0] * 40, *range(1, 10))
    ran(db, other, 3.0, 4.0)

    assert durations(db, job_id, other) == {job_id: 5.0, other: 3.5}


def test_only_success_tells_how_long_a_run_lasts(db: store.Store) -> None:
    [job_id, failing] = (insert_job(db) for _ in range(2))
    ran(db, job_id, 7.0, None)
    ran(db, job_id, *[1.0] * 12, state=State.FAILED)
    ran(db, failing, 1.0, state=State.TIMED_OUT)

    assert durations(db, job_id, failing) == {job_id: 7.0}


def test_durations_of_many_jobs_are_found(db: store.Store) -> None:
    job_id = insert_job(db)
    ran(db, job_id, 2.0)

    assert durations(db, *range(1, job_id + 2_500)) == {job_id: 2.0}
    assert durations(db) == {}


def beat(
    db: store.Store, number: int, queues: Sequence[str], *, at: datetime = NOON, draining: bool = False
) -> None:
    owner = Owner(f"host/{number}", f"{number:032x}", f"{number:032x}")
    sign = replace(heartbeat(owner, at=at, slots=4, draining=draining), queues=tuple(queues))
    db.transact(lambda tx: leases.beat(tx, [sign], at, at + LEASE))


def test_slots_are_those_of_the_runners_that_live_and_take_more(db: store.Store) -> None:
    beat(db, 1, ["cronq_jobs", "cronq_jobs.slow"])
    beat(db, 2, ["cronq_jobs.slow"])
    beat(db, 3, ["cronq_jobs.slow"], draining=True)
    beat(db, 4, ["cronq_jobs.gpu"], at=NOON - HOUR)

    with db.read() as tx:
        assert forecasts.slots(tx, NOON - MINUTE) == {"default": 4, "slow": 8}


# -- the slots of one job


def found(
    db: store.Store, job_id: int, since: datetime, until: datetime | None, **page: object
) -> list[datetime]:
    with db.read() as tx:
        rows = slots.within(tx, job_id, since, until, **{"limit": 100, **page})  # type: ignore[arg-type]  # its own keywords
    return [row["scheduled_for"] for row in rows]


def test_slots_of_a_window_come_in_order_and_page_by_page(db: store.Store) -> None:
    job_id, other = insert_job(db), insert_job(db)
    every = [NOON + number * MINUTE for number in range(6)]
    for at in (*every[::2], *every[1::2]):
        insert_run(db, job_id, State.MISSED, at=at)
    insert_run(db, other, at=NOON + MINUTE)
    insert_run(db, job_id, at=NOON + 90 * SECOND, kind=Kind.REQUEST)

    assert found(db, job_id, every[1], every[5]) == every[1:5]
    assert found(db, job_id, every[1], None, limit=2) == every[1:3]
    assert found(db, job_id, every[1], None, after=every[2]) == every[3:]


def test_a_row_for_many_that_reaches_into_the_window_comes_first(db: store.Store) -> None:
    put(db, definition())
    job_id = job_named(db).id
    for begin, end in ((-9 * HOUR, -5 * HOUR), (-3 * HOUR, HOUR)):
        last = NOON + end
        insert_run(db, job_id, State.MISSED, at=NOON + begin, last_scheduled_for=last, missed_count=200)
    insert_run(db, job_id, at=NOON + 2 * HOUR)

    assert found(db, job_id, NOON, None) == [NOON - 3 * HOUR, NOON + 2 * HOUR]
    assert found(db, job_id, NOON, None, after=NOON - 3 * HOUR) == [NOON + 2 * HOUR]
    assert found(db, job_id, NOON, None, after=NOON - 9 * HOUR) == [NOON + 2 * HOUR]
    assert found(db, job_id, NOON, None, limit=1) == [NOON - 3 * HOUR]
    assert found(db, job_id, NOON + timedelta(hours=1), None) == [NOON - 3 * HOUR, NOON + 2 * HOUR]

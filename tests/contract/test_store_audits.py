"""The audit on what injectors, edits and people with SQL really leave behind; then on what somebody broke."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.audit import Report, Window
from cronq.domain.errors import InvalidInput
from cronq.injector.chains import Chains
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.store import audits
from cronq.store.audits import CHUNK, Scope
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    by_hand,
    definition,
    execute,
    insert_job,
    insert_run,
    job_named,
    put,
    runs_of,
)

DAY = 24 * HOUR
EACH_13_S = "R/2026-11-01T00:00:00Z/PT13S"


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def work(db: store.Store) -> None:
    """An injector that is at work until nothing is due."""
    adopt_unseen_once(db)
    while expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND).jobs:
        pass


def live(db: store.Store, clock: Clock, steps: int, by: timedelta = MINUTE) -> None:
    for _ in range(steps):
        clock.tick(by)
        work(db)


def look(
    db: store.Store,
    clock: Clock,
    scope: Scope | None = None,
    *,
    since: datetime = NOON - DAY,
    until: datetime | None = None,
) -> Report:
    return audits.audit(db, Window.of(since, until, clock.now), scope or Scope())


def named(report: Report) -> tuple[list[datetime], list[datetime], list[datetime]]:
    """Holes, doubles and unexpected rows."""
    holes, doubles, unexpected = report.holes, report.doubles, report.unexpected
    return (
        [f.scheduled_for for f in holes],
        [f.scheduled_for for f in doubles],
        [f.scheduled_for for f in unexpected],
    )


CLEAN: tuple[list[datetime], list[datetime], list[datetime]] = ([], [], [])


def check(db: store.Store, clock: Clock, expected: int) -> None:
    """Nothing is wrong, in whatever window, and all that is there was expected."""
    report = look(db, clock)
    assert named(report) == CLEAN
    assert (report.expected, report.found) == (expected, expected)
    assert sum(r["missed_count"] or 1 for r in runs_of(db) if r["kind"] == "slot") == expected
    length = clock.now - NOON + HOUR
    for k in range(1, 12):
        assert named(look(db, clock, since=NOON - HOUR + length * k / 12)) == CLEAN


# -- what goes by the rules


def test_a_job_that_is_on_time_has_all_its_rows(db: store.Store, clock: Clock) -> None:
    put(db, definition(), now=clock.now)
    live(db, clock, 10)

    check(db, clock, 10)


def test_an_outage_leaves_rows_for_many_that_count(db: store.Store, clock: Clock) -> None:
    put(db, definition(), definition("often", schedule=EACH_13_S), now=clock.now)
    live(db, clock, 3)
    clock.tick(2 * DAY)
    work(db)
    live(db, clock, 3)

    assert len([r for r in runs_of(db) if r["missed_count"]]) == 3
    check(db, clock, 2_886 + (2_886 * 60) // 13)


def test_edits_move_a_job_from_one_schedule_to_the_other(db: store.Store, clock: Clock) -> None:
    edits: list[dict[str, Any]] = [
        {"schedule": EACH_13_S},
        {"command": "other", "schedule": EACH_13_S},
        {"schedule": "*/7 * * * *", "timezone": "Europe/Berlin"},
        {"schedule": "R9/2026-11-21T12:20:00Z/PT31S"},
        {"schedule": "*/2 * * * *", "dst": "skip"},
        {"schedule": ["H/3 * * * *", "*/5 * * * *"]},
        {"schedule": ["H/3 * * * *", "*/5 * * * *"], "start": "2026-11-21T12:35:00Z"},
    ]
    put(db, definition(), now=clock.now)
    for edit in edits:
        live(db, clock, 3, 97 * SECOND)
        put(db, definition(**edit), now=clock.now)
    live(db, clock, 3, 97 * SECOND)

    check(db, clock, len(runs_of(db)))


def test_an_edit_while_the_injector_is_behind(db: store.Store, clock: Clock) -> None:
    put(db, definition(), definition("kept"), now=clock.now)
    live(db, clock, 2)
    clock.tick(10 * MINUTE)
    put(db, definition(schedule="*/4 * * * *"), definition("kept", command="other"), now=clock.now)
    live(db, clock, 5)

    # 12:01, 12:02, what was due (12:03 … 12:12), 12:16 by four; and 17 of the other.
    check(db, clock, 2 + 10 + 1 + 17)


@pytest.mark.parametrize("behind", [timedelta(0), 5 * MINUTE])
def test_pauses_and_removals_settle_what_is_due_and_owe_nothing_after(
    db: store.Store, clock: Clock, behind: timedelta
) -> None:
    put(db, definition("paused"), definition("removed"), now=clock.now)
    live(db, clock, 3)
    clock.tick(behind)
    put(db, definition("paused", enabled=False), now=clock.now)
    live(db, clock, 7)
    put(db, definition("paused", enabled=False, schedule=EACH_13_S), now=clock.now)
    live(db, clock, 2)
    put(db, definition("paused"), definition("removed"), now=clock.now)
    live(db, clock, 4)

    check(db, clock, 2 * (3 + behind // MINUTE + 4))


def test_repeats_that_run_out_owe_no_more(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule="R4/2026-11-21T12:01:00Z/PT1M"), now=clock.now)
    live(db, clock, 8)

    check(db, clock, 4)


# -- people with SQL


@pytest.mark.parametrize("run_now", [0, 1])
@pytest.mark.parametrize("columns", [{"interval": 40 * SECOND}, {"schedule": "* * * * *"}, {}])
def test_jobs_inserted_by_hand_owe_what_they_begin_with(
    db: store.Store, clock: Clock, columns: dict[str, object], run_now: int
) -> None:
    insert_job(db, run_now=run_now, **columns)
    insert_job(db, next_run=NOON - 3 * MINUTE, run_now=run_now, **columns)
    live(db, clock, 4, 40 * SECOND)

    check(db, clock, len([r for r in runs_of(db) if r["kind"] == "slot"]))
    assert len(runs_of(db)) >= 1


@pytest.mark.parametrize(
    "to", [NOON + 9 * MINUTE + SECOND, NOON - 17 * MINUTE, NOON + 2 * MINUTE, NOON - HOUR + SECOND, None]
)
def test_a_next_run_by_hand_is_owed_and_what_it_skips_is_not(
    db: store.Store, clock: Clock, to: datetime | None
) -> None:
    put(db, definition(), now=clock.now)
    insert_job(db, interval=40 * SECOND, next_run=NOON, name="bare")
    live(db, clock, 3)
    execute(db, "UPDATE jobs SET next_run = :to", to=by_hand(to) if to else None)
    live(db, clock, 12)
    put(db, definition(command="other"), now=clock.now)
    live(db, clock, 2)

    check(db, clock, len(runs_of(db)))


def test_what_a_next_run_by_hand_skips_is_not_owed_before_an_injector_saw_it(
    db: store.Store, clock: Clock
) -> None:
    put(db, definition(), now=clock.now)
    live(db, clock, 2)
    execute(db, "UPDATE jobs SET next_run = '2026-11-21 13:00:00'")
    live(db, clock, 20)

    check(db, clock, 2)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("schedule = '*/5 * * * *'", "schedule = '* * * * *'"),
        ("schedule = 'every tuesday'", "schedule = '* * * * *', next_run = '2026-11-21 12:11:00'"),
        ("enabled = 0", "enabled = 1"),
        ("removed_at = '2026-11-21 12:03:00'", "removed_at = NULL"),
        ("schedule = NULL, `interval` = '1970-01-01 00:00:40'", "schedule = '* * * * *'"),
        ("timezone = 'Nowhere/At_All'", "timezone = NULL, next_run = '2026-11-21 12:11:00'"),
        ("routing_key = 'no key'", "routing_key = 'default'"),
    ],
)
def test_edits_by_hand_hold_from_where_the_job_stood(
    db: store.Store, clock: Clock, change: str, back: str
) -> None:
    put(db, definition(), now=clock.now)
    live(db, clock, 3)
    execute(db, f"UPDATE jobs SET {change}")
    live(db, clock, 7)
    assert named(look(db, clock, until=clock.now - 7 * MINUTE)) == CLEAN
    execute(db, f"UPDATE jobs SET {back}")
    live(db, clock, 3)

    check(db, clock, len(runs_of(db)))


def test_a_job_that_was_removed_by_hand_and_is_put_again(db: store.Store, clock: Clock) -> None:
    put(db, definition(), now=clock.now)
    live(db, clock, 3)
    execute(db, "UPDATE jobs SET removed_at = '2026-11-21 12:03:30'")
    live(db, clock, 5)
    put(db, definition(), now=clock.now)
    live(db, clock, 2)

    check(db, clock, 5)


def test_a_job_that_was_removed_and_is_brought_back_by_hand(db: store.Store, clock: Clock) -> None:
    """It has no `next_run` until somebody gives it one."""
    put(db, definition(), now=clock.now)
    live(db, clock, 3)
    put(db, now=clock.now)
    execute(db, "UPDATE jobs SET removed_at = NULL")
    clock.tick(HOUR)
    put(db, definition(command="echo other"), now=clock.now)
    live(db, clock, 3)
    check(db, clock, 3)

    execute(db, "UPDATE jobs SET next_run = :at", at=by_hand(clock.now + MINUTE))
    live(db, clock, 3)

    check(db, clock, 6)


def test_a_job_of_one_instant_that_is_sent_back_by_hand(db: store.Store, clock: Clock) -> None:
    put(db, definition(), now=clock.now)
    live(db, clock, 3)
    execute(db, "UPDATE jobs SET schedule = NULL, `interval` = NULL" if not db.is_sqlite() else
                'UPDATE jobs SET schedule = NULL, "interval" = NULL')  # fmt: skip
    live(db, clock, 3)
    check(db, clock, 4)

    execute(db, "UPDATE jobs SET next_run = :at", at=by_hand(clock.now - 2 * MINUTE - 30 * SECOND))
    live(db, clock, 3)

    check(db, clock, 5)


def test_a_job_that_is_to_run_now_owes_no_more_for_it(db: store.Store, clock: Clock) -> None:
    put(db, definition(), now=clock.now)
    execute(db, "UPDATE jobs SET run_now = 1")
    live(db, clock, 3)

    assert len(runs_of(db)) == 4
    check(db, clock, 3)


# -- what is broken


@pytest.fixture
def job_id(db: store.Store, clock: Clock) -> int:
    """A minutely job with an edit and an outage behind it: rows for one, and one for 200."""
    put(db, definition(), now=clock.now)
    live(db, clock, 5)
    put(db, definition(command="other"), now=clock.now)
    clock.tick(201 * MINUTE)
    work(db)
    live(db, clock, 3)
    check(db, clock, 209)
    return job_named(db).id


@pytest.mark.parametrize("minute", [1, 5, 206, 209])
def test_a_deleted_row_is_a_hole(db: store.Store, clock: Clock, job_id: int, minute: int) -> None:
    clock.tick(6 * SECOND)
    at = NOON + minute * MINUTE
    execute(
        db,
        "DELETE FROM runs WHERE scheduled_for BETWEEN :a AND :b",
        a=by_hand(at - SECOND),
        b=by_hand(at + SECOND),
    )

    report = look(db, clock)

    assert named(report) == ([at], [], [])
    assert (report.holes[0].job_id, report.expected, report.found) == (job_id, 209, 208)


def test_a_deleted_row_for_many_is_as_many_holes(db: store.Store, clock: Clock, job_id: int) -> None:
    execute(db, "DELETE FROM runs WHERE missed_count = 200")

    assert [f.scheduled_for for f in look(db, clock).holes] == [NOON + k * MINUTE for k in range(6, 206)]


def test_a_row_that_was_moved_leaves_a_hole_and_is_unexpected(
    db: store.Store, clock: Clock, job_id: int
) -> None:
    [first, *_] = runs_of(db)
    moved = by_hand(NOON + 90 * SECOND)
    execute(db, "UPDATE runs SET scheduled_for = :at WHERE run_id = :id", at=moved, id=first["run_id"])

    report = look(db, clock)

    assert named(report) == ([NOON + MINUTE], [], [NOON + 90 * SECOND])
    assert report.unexpected[0].run_ids == (first["run_id"],)


def test_a_row_within_a_row_for_many_is_a_double(db: store.Store, clock: Clock, job_id: int) -> None:
    [many] = [r for r in runs_of(db) if r["missed_count"]]
    added = insert_run(db, job_id, at=NOON + 100 * MINUTE, revision=many["revision"])

    for since in (NOON, NOON + 50 * MINUTE, NOON + 100 * MINUTE):
        [double] = look(db, clock, since=since).doubles
        assert (double.job_id, double.scheduled_for) == (job_id, NOON + 100 * MINUTE)
        assert sorted(double.run_ids) == sorted([many["run_id"], added])
    assert named(look(db, clock, since=NOON + 101 * MINUTE)) == CLEAN


@pytest.mark.parametrize(
    ("change", "holes"),
    [
        ("missed_count = 199", [NOON + 205 * MINUTE]),
        ("missed_count = 201", []),
        ("last_scheduled_for = '2026-11-21 15:24:00'", [NOON + 205 * MINUTE]),
    ],
)
def test_a_row_for_many_that_is_wrong_about_them_is_named(
    db: store.Store, clock: Clock, job_id: int, change: str, holes: list[datetime]
) -> None:
    execute(db, f"UPDATE runs SET {change} WHERE missed_count = 200")

    assert named(look(db, clock)) == (holes, [], [NOON + 6 * MINUTE])


def test_a_second_row_of_one_slot_is_a_double(db: store.Store, clock: Clock, job_id: int) -> None:
    insert_run(db, job_id, at=NOON, request="again", scheduled_for=NOON + 2 * MINUTE)

    assert named(look(db, clock)) == ([], [NOON + 2 * MINUTE], [])


def test_injectors_that_do_not_work_leave_holes_after_some_seconds(
    db: store.Store, clock: Clock, job_id: int
) -> None:
    clock.tick(MINUTE)
    assert look(db, clock).is_clean()
    clock.tick(6 * SECOND)
    assert named(look(db, clock)) == ([NOON + 210 * MINUTE], [], [])


def test_a_row_before_the_first_revision_is_unexpected(db: store.Store, clock: Clock, job_id: int) -> None:
    insert_run(db, job_id, at=NOON - HOUR)

    assert named(look(db, clock)) == ([], [], [NOON - HOUR])


# -- scope and bounds


def test_one_job_or_one_category_is_looked_at_alone(db: store.Store, clock: Clock) -> None:
    for category in ("a", "b"):
        put(db, definition(category), category=category, now=clock.now)
    live(db, clock, 2)
    execute(db, "DELETE FROM runs WHERE job_id = :id", id=job_named(db, "a").id)
    clock.tick(30 * SECOND)
    found: Callable[[Scope], int] = lambda scope: len(look(db, clock, scope).holes)  # noqa: E731

    assert [found(Scope(job_named(db, name).id)) for name in ("a", "b")] == [2, 0]
    assert [found(Scope(category_id=job_named(db, name).category_id)) for name in ("a", "b")] == [2, 0]


def test_all_jobs_are_looked_at_chunk_by_chunk(db: store.Store, clock: Clock) -> None:
    put(db, *(definition(f"job {k}") for k in range(2 * CHUNK + 1)), now=clock.now)
    live(db, clock, 1)

    check(db, clock, 2 * CHUNK + 1)


def test_more_occurrences_than_one_audit_looks_at_are_refused(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "MOST_OCCURRENCES", 100)
    monkeypatch.setattr(audits, "CHUNK", 1)
    put(db, *(definition(f"job {k}") for k in range(3)), now=clock.now)
    live(db, clock, 33)
    assert look(db, clock).expected == 99
    live(db, clock, 1)

    with pytest.raises(InvalidInput):
        look(db, clock)


def test_an_audit_on_the_edge_of_time(db: store.Store, clock: Clock, job_id: int) -> None:
    ends = datetime(1, 1, 1, tzinfo=NOON.tzinfo), datetime(9999, 12, 31, 23, 59, 59, tzinfo=NOON.tzinfo)

    assert look(db, clock, since=ends[0], until=ends[1]).expected == 209
    assert look(db, clock, since=ends[1]).expected == 0


def test_a_job_that_comes_after_others_owes_no_occurrence(db: store.Store, clock: Clock) -> None:
    follower: dict[str, object] = {"name": "b", "command": "true", "after": "a"}
    put(db, definition("a"), follower, now=clock.now)
    live(db, clock, 3)
    for run in runs_of(db, job_named(db, "a").id):
        execute(
            db,
            "UPDATE runs SET state = 'succeeded', recorded_at = :at WHERE run_id = :id",
            at=by_hand(NOON),
            id=run["run_id"],
        )
    Chains(db).follow_once()
    execute(db, "UPDATE jobs SET command = 'false' WHERE name = 'b'")
    live(db, clock, 1)
    put(db, definition("a"), definition("b"), now=clock.now)
    live(db, clock, 2)

    report = look(db, clock)

    assert len(runs_of(db, job_named(db, "b").id)) == 3 + 2
    assert not report.holes
    assert not report.doubles

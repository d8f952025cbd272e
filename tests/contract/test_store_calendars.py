"""Calendars in the tables: what an edit does to the jobs that go by them, and what the ledger says then."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.audit import Report, Window
from cronq.domain.calendar_document import read_calendar
from cronq.domain.errors import Conflict, InvalidInput, NotFound
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.store import audits, calendar_edits, calendars
from cronq.store.audits import Scope
from cronq.store.calendar_edits import Changed
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    definition,
    execute,
    insert_job,
    job_named,
    open_alerts,
    put,
    revisions_of,
    runs_of,
    select,
)

# NOON is on a Saturday.
DAY = 24 * HOUR
MONDAY, TUESDAY = NOON + 2 * DAY, NOON + 3 * DAY
DAILY = "0 12 * * *"
HOLIDAY = {"holidays": [{"date": "2026-11-23", "name": "Founders' day"}]}


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def put_calendar(db: store.Store, document: dict[str, Any], name: str = "days") -> Changed:
    calendar = read_calendar(document)
    return db.transact(lambda tx: calendar_edits.put(tx, name, calendar, "ann", store.now(tx)))


def drop_calendar(db: store.Store, clock: Clock, name: str = "days") -> None:
    db.transact(lambda tx: calendar_edits.drop(tx, name, "ann", clock.now))


def job_by(rule: str, **fields: object) -> dict[str, object]:
    return definition() | {"schedule": DAILY, "calendar": {"name": "days", "rule": rule}} | fields


def work(db: store.Store) -> None:
    adopt_unseen_once(db)
    while expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND).jobs:
        pass


def at(db: store.Store, clock: Clock, instant: datetime) -> None:
    clock.now = instant + timedelta(milliseconds=500)
    work(db)


def ledger(db: store.Store) -> list[tuple[datetime, str, str | None]]:
    return [(r["scheduled_for"], r["state"], r["reason"]) for r in runs_of(db)]


def audit(db: store.Store, clock: Clock, since: datetime = NOON - 30 * DAY) -> Report:
    return audits.audit(db, Window.of(since, None, clock.now), Scope())


# -- calendars themselves


def test_a_calendar_is_kept_with_its_revisions(db: store.Store, clock: Clock) -> None:
    assert put_calendar(db, {}) == Changed(changed=True, revision=1)
    clock.tick()
    assert put_calendar(db, HOLIDAY) == Changed(changed=True, revision=2)

    with db.read() as tx:
        row = calendars.by_name(tx, "days")
        known = calendars.revisions(tx, "days")
    assert row is not None
    assert (row["revision"], row["actor"], row["at"]) == (2, "ann", clock.now)
    assert json.loads(row["document"]) == HOLIDAY
    assert [(r["revision"], json.loads(r["document"])) for r in known] == [(2, HOLIDAY), (1, {})]


def test_the_same_calendar_again_changes_nothing(db: store.Store) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("next"))

    assert put_calendar(db, HOLIDAY) == Changed(changed=False, revision=1)

    assert len(revisions_of(db, job_named(db).id)) == 1


def test_a_calendar_that_no_job_uses_can_be_dropped_and_its_revisions_go_on(
    db: store.Store, clock: Clock
) -> None:
    put_calendar(db, {})
    drop_calendar(db, clock)

    with db.read() as tx:
        assert calendars.by_name(tx, "days") is None
        assert [r["document"] for r in calendars.revisions(tx, "days")] == [None, "{}"]
    assert put_calendar(db, {}).revision == 3


def test_a_calendar_that_jobs_use_cannot_be_dropped(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, *(job_by("skip", name=f"job {number}") for number in range(7)))

    with pytest.raises(Conflict, match=r'"days" is used by "cat/job 0", .*"cat/job 4" and 2 more'):
        drop_calendar(db, clock)

    put(db, allow_removals=7)
    drop_calendar(db, clock)
    with pytest.raises(NotFound):
        drop_calendar(db, clock)


# -- categories that name one


def test_a_category_with_an_unknown_calendar_is_refused_with_the_nearest_one(db: store.Store) -> None:
    put_calendar(db, {}, "de-holidays")

    with pytest.raises(InvalidInput) as caught:
        put(db, definition("a"), definition("b", calendar="de-holiday"))

    [problem] = caught.value.problems
    assert (problem.code, problem.pointer) == ("unknown_calendar", "/jobs/1/calendar")
    assert problem.message == 'calendar: there is no calendar "de-holiday"'
    assert problem.hint == 'did you mean "de-holidays"?'
    with pytest.raises(InvalidInput):
        put(db, definition(calendar="x"), dry_run=True)


def test_a_job_begins_on_the_instant_that_its_calendar_moves_it_to(db: store.Store) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("next"), job_by("skip", name="other"))

    assert job_named(db).next_run == TUESDAY
    assert job_named(db, "other").next_run == NOON + DAY
    content = json.loads(revisions_of(db, job_named(db).id)[0]["document"])
    assert content["calendar"] == {"name": "days", "rule": "next"}
    assert content["calendar_revision"] == 1


def test_the_same_category_again_changes_nothing(db: store.Store) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("next"), definition("bare", calendar="days"))

    assert not put(db, job_by("next"), definition("bare", calendar={"name": "days"})).changed


def test_another_rule_moves_the_job(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("skip"), now=clock.now)
    put(db, job_by("next"), now=clock.tick())

    assert job_named(db).next_run == MONDAY
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


# -- expansion


def test_what_is_due_in_a_closed_time_is_skipped_with_the_reason(db: store.Store, clock: Clock) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("skip"), now=clock.now)

    for number in (1, 2, 3):
        at(db, clock, NOON + number * DAY)

    assert ledger(db) == [
        (NOON + DAY, "skipped", "calendar days: Sunday"),
        (MONDAY, "skipped", "calendar days: Founders' day"),
        (TUESDAY, "queued", None),
    ]
    assert audit(db, clock).is_clean()


def test_only_runs_what_is_due_in_a_closed_time(db: store.Store, clock: Clock) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("only"), now=clock.now)

    for number in (2, 3):
        at(db, clock, NOON + number * DAY)

    assert ledger(db)[1:] == [(MONDAY, "queued", None), (TUESDAY, "skipped", "calendar days: open")]


def test_after_an_outage_the_latest_open_occurrence_runs(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("skip"), now=clock.now)

    at(db, clock, NOON + 8 * DAY)

    assert ledger(db) == [
        (NOON + DAY, "skipped", "calendar days: Sunday"),
        *((NOON + number * DAY, "missed", "misfire") for number in (2, 3, 4, 5)),
        (NOON + 6 * DAY, "scheduled", None),
        (NOON + 7 * DAY, "skipped", "calendar days: Saturday"),
        (NOON + 8 * DAY, "skipped", "calendar days: Sunday"),
    ]
    assert audit(db, clock).is_clean()


def test_many_skipped_ones_share_a_row_that_the_audit_understands(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("skip", schedule="* * * * *"), now=clock.now)

    at(db, clock, NOON + 5 * HOUR)

    assert [(r["state"], r["missed_count"]) for r in runs_of(db)] == [("skipped", 300)]
    assert audit(db, clock).is_clean()
    assert audit(db, clock, NOON + 3 * HOUR).expected == 121


def test_what_moves_into_a_blackout_is_skipped(db: store.Store, clock: Clock) -> None:
    freeze = {"from": "2026-11-23T11:00", "to": "2026-11-23T13:00", "name": "freeze"}
    put_calendar(db, {"blackouts": [freeze]})
    put(db, job_by("next"), now=clock.now)

    at(db, clock, MONDAY)

    assert ledger(db) == [(MONDAY, "skipped", "calendar days: freeze")]


# -- a calendar that changes


def test_a_change_moves_the_jobs_that_shift_in_the_same_commit(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("next"), job_by("skip", name="other"), definition("none"), now=clock.now)

    assert put_calendar(db, HOLIDAY) == Changed(changed=True, revision=2, jobs=2)

    job, other = job_named(db), job_named(db, "other")
    assert (job.next_run, other.next_run) == (TUESDAY, NOON + DAY)
    assert (job.revision, other.revision, job_named(db, "none").revision) == (2, 2, 1)
    assert not job.is_changed_by_hand()
    newest = revisions_of(db, job.id)[-1]
    assert (newest["origin"], newest["actor"]) == ("calendar", "ann")
    assert (newest["next_run"], newest["replaced_run"]) == (TUESDAY, MONDAY)
    assert json.loads(newest["document"])["calendar_revision"] == 2


def test_what_was_due_by_the_calendar_as_it_was_has_its_row(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("next"), now=clock.now)
    clock.now = MONDAY + SECOND

    put_calendar(db, HOLIDAY)

    assert [row[:2] for row in ledger(db)] == [(MONDAY, "scheduled")]
    assert job_named(db).next_run == TUESDAY
    at(db, clock, TUESDAY)
    assert [row[0] for row in ledger(db)] == [MONDAY, TUESDAY]
    assert audit(db, clock).is_clean()


def test_the_audit_recomputes_with_the_calendar_as_it_was(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("previous"), job_by("skip", name="other"), now=clock.now)
    at(db, clock, TUESDAY)
    put_calendar(db, {"weekend": ["tue", "wed", "thu"]})
    at(db, clock, TUESDAY + 6 * DAY)
    put_calendar(db, {"holidays": ["2026-12-02", "2026-12-03"]})
    at(db, clock, TUESDAY + 14 * DAY)

    report = audit(db, clock)

    assert report.is_clean()
    assert report.expected == len(runs_of(db)) > 20
    execute(db, "DELETE FROM runs WHERE state = 'skipped'")
    assert not audit(db, clock).is_clean()


def test_the_audit_finds_what_a_shifting_job_lacks(db: store.Store, clock: Clock) -> None:
    put_calendar(db, HOLIDAY)
    put(db, job_by("next"), now=clock.now)
    at(db, clock, TUESDAY + DAY)
    execute(db, "DELETE FROM runs WHERE state = 'missed'")

    clock.tick(MINUTE)

    assert [hole.scheduled_for for hole in audit(db, clock).holes] == [TUESDAY]


def test_an_edit_of_another_field_after_a_change_goes_on_where_the_job_stood(
    db: store.Store, clock: Clock
) -> None:
    put_calendar(db, {})
    put(db, job_by("next"), now=clock.now)
    put_calendar(db, HOLIDAY)
    put(db, job_by("next", command="false"), now=clock.tick())

    assert job_named(db).next_run == TUESDAY
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


def test_a_paused_job_and_a_removed_one_stay_as_they_are(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    put(db, job_by("next", enabled=False), job_by("next", name="gone"), now=clock.now)
    put(db, job_by("next", enabled=False), now=clock.tick())

    assert put_calendar(db, HOLIDAY).jobs == 1

    assert job_named(db, "gone").next_run is None
    put(db, job_by("next"), job_by("next", name="gone"), now=clock.tick())
    assert job_named(db, "gone").next_run == job_named(db).next_run == TUESDAY
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


# -- jobs by hand


def test_a_job_by_hand_goes_by_the_newest_calendar(db: store.Store, clock: Clock) -> None:
    put_calendar(db, HOLIDAY)
    insert_job(db, name="job", schedule=DAILY, definition='{"calendar": {"name": "days", "rule": "next"}}')
    work(db)
    assert job_named(db).next_run == TUESDAY

    assert put_calendar(db, {}).jobs == 1

    assert job_named(db).next_run == MONDAY
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


def test_what_is_due_of_a_job_by_hand_goes_by_the_calendar_as_it_was(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    insert_job(db, name="job", schedule=DAILY, definition='{"calendar": {"name": "days", "rule": "next"}}')
    work(db)
    clock.now = MONDAY + SECOND

    put_calendar(db, HOLIDAY)

    assert [row[:2] for row in ledger(db)] == [(MONDAY, "scheduled")]
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


def test_a_calendar_that_comes_later_is_that_of_a_job_by_hand(db: store.Store, clock: Clock) -> None:
    insert_job(db, name="job", schedule=DAILY, definition='{"calendar": {"name": "days", "rule": "next"}}')
    work(db)
    clock.now = NOON + DAY + SECOND

    put_calendar(db, HOLIDAY)

    assert ledger(db) == [(NOON + DAY, "missed", 'calendar: there is no calendar "days"')]
    assert job_named(db).next_run == TUESDAY
    at(db, clock, TUESDAY)
    assert audit(db, clock).is_clean()


def test_an_interval_by_hand_is_not_lost_with_a_change_of_its_calendar(db: store.Store, clock: Clock) -> None:
    put_calendar(db, {})
    insert_job(db, name="job", interval=HOUR, definition='{"calendar": "days"}')
    work(db)
    put_calendar(db, HOLIDAY)
    at(db, clock, NOON + 2 * HOUR)

    assert job_named(db).interval == HOUR
    assert audit(db, clock).is_clean()


def test_a_job_by_hand_with_an_unknown_calendar_does_not_run_and_says_why(
    db: store.Store, clock: Clock
) -> None:
    insert_job(db, name="job", schedule=DAILY, definition='{"calendar": "days"}', next_run=NOON)
    work(db)

    [(_, state, reason)] = ledger(db)
    assert (state, reason) == ("missed", 'calendar: there is no calendar "days"')
    assert [kind for kind, _ in open_alerts(db)] == ["bad_schedule"]


def test_a_calendar_that_somebody_broke_with_sql_is_as_good_as_not_there(db: store.Store) -> None:
    put_calendar(db, {})
    put(db, job_by("skip"))
    execute(db, "UPDATE calendar_revisions SET document = '{'")
    execute(db, "UPDATE calendars SET document = '[]'")

    assert job_named(db).problem == 'calendar: there is no calendar "days"'
    with pytest.raises(InvalidInput):
        put(db, job_by("skip"))
    assert put_calendar(db, {}).changed
    assert job_named(db).problem is None
    assert select(db, "SELECT revision FROM jobs") == [{"revision": 2}]

"""Why an occurrence did not run, from the ledger and the revisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronq import store
from cronq.domain.run import Kind, State
from cronq.domain.why import Verdict
from cronq.store import jobs, why
from cronq.store.why import Told
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    definition,
    execute,
    insert_job,
    insert_run,
    job_named,
    job_of,
    put,
)

HOURLY = definition(schedule="0 * * * *")
MADE = NOON - timedelta(hours=10)


def told(db: store.Store, at: datetime | None = None, *, now: datetime = NOON, name: str = "job") -> Told:
    with db.read() as tx:
        return why.explain(tx, job_named(db, name), at, now)


def verdict(db: store.Store, at: datetime | None = None, *, now: datetime = NOON) -> Verdict:
    return told(db, at, now=now).answer.verdict


def hourly(db: store.Store, next_run: datetime | None = NOON + HOUR) -> int:
    """A job of ten hours ago that was taken up to `next_run`."""
    put(db, HOURLY, now=MADE)
    if next_run is not None:
        execute(db, f"UPDATE jobs SET next_run = '{next_run:%F %T}', planned_run = '{next_run:%F %T}'")
    return job_named(db).id


def test_an_occurrence_that_ran_is_found_by_its_instant(db: store.Store) -> None:
    job_id = hourly(db)
    run_id = insert_run(db, job_id, State.SUCCEEDED, at=NOON - HOUR, host="db1")

    found = told(db, NOON - HOUR)

    assert (found.answer.verdict, found.answer.text) == (Verdict.RAN, "It ran and succeeded on db1.")
    assert found.run is not None
    assert found.run["run_id"] == run_id


def test_without_an_instant_the_last_due_one_is_meant(db: store.Store) -> None:
    job_id = hourly(db)
    insert_run(db, job_id, State.SUCCEEDED, at=NOON - 2 * HOUR)
    insert_run(db, job_id, State.FAILED, at=NOON - HOUR, return_code=3)
    insert_run(db, job_id, State.SUCCEEDED, at=NOON - SECOND, kind=Kind.REQUEST)

    found = told(db)

    assert (found.at, found.answer.text) == (NOON - HOUR, "It ran and failed with exit code 3.")


def test_the_last_due_one_may_have_no_row_yet(db: store.Store) -> None:
    hourly(db, next_run=NOON - 2 * HOUR)

    found = told(db, now=NOON + 5 * MINUTE)

    assert found.at == NOON
    assert found.answer.text == "It was due 5m ago, and no injector has taken it up yet."
    assert verdict(db, NOON - HOUR) is Verdict.DUE


def test_one_of_many_missed_ones_is_found_in_their_row(db: store.Store) -> None:
    job_id = hourly(db)
    first, last = NOON - 4 * HOUR, NOON - 2 * HOUR
    insert_run(db, job_id, State.MISSED, at=first, reason="misfire", missed_count=3, last_scheduled_for=last)
    instead = insert_run(db, job_id, State.SUCCEEDED, at=NOON - HOUR)

    found = told(db, NOON - 3 * HOUR)

    assert found.answer.verdict is Verdict.MISSED
    assert "One row stands for 3 occurrences up to 2026-11-21T10:00:00Z" in found.answer.text
    assert found.in_the_way == instead
    assert verdict(db, NOON - 3 * HOUR + MINUTE) is Verdict.NO_OCCURRENCE


def test_the_run_in_the_way_of_a_skipped_one_is_named(db: store.Store) -> None:
    job_id = hourly(db)
    blocking = insert_run(db, job_id, State.SUCCEEDED, at=NOON - 2 * HOUR, host="db1")
    reason = f"overlap: run {blocking} has not ended"
    insert_run(db, job_id, State.SKIPPED, at=NOON - HOUR, reason=reason)

    found = told(db, NOON - HOUR)

    assert (found.answer.verdict, found.in_the_way) == (Verdict.SKIPPED, blocking)
    assert found.answer.text == (
        f"It was skipped by its overlap rule: run {blocking} has not ended;"
        " it is that of 2026-11-21T10:00:00Z, succeeded on db1."
    )


def test_a_superseded_one_names_what_came_instead(db: store.Store) -> None:
    job_id = hourly(db)
    insert_run(db, job_id, State.MISSED, at=NOON - 2 * HOUR, reason="superseded")
    instead = insert_run(db, job_id, State.RUNNING, at=NOON - HOUR, started_at=NOON - HOUR)

    found = told(db, NOON - 2 * HOUR)

    assert found.in_the_way == instead
    assert f"; run {instead}, that of 2026-11-21T11:00:00Z, runs, started" in found.answer.text


def test_one_that_waits_says_for_what(db: store.Store) -> None:
    job_id = hourly(db)
    insert_run(db, job_id, State.SCHEDULED, at=NOON - HOUR)

    found = told(db, NOON - HOUR)

    assert found.answer.text == (
        "It waits for its turn in the line of key default, at place 1 of 1, since 2026-11-21T11:00:00Z."
    )


def test_an_instant_that_is_no_occurrence_has_neighbours(db: store.Store) -> None:
    hourly(db)

    found = told(db, NOON - 30 * MINUTE)

    assert found.answer.verdict is Verdict.NO_OCCURRENCE
    assert (found.answer.before, found.answer.after) == (NOON - HOUR, NOON)


def test_an_instant_in_a_gap_of_the_clocks_is_remarked(db: store.Store) -> None:
    made = datetime(2026, 3, 1, tzinfo=UTC)
    put(db, definition(schedule="30 2 * * *", timezone="Europe/Berlin", dst="skip"), now=made)
    gap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)

    found = told(db, gap)

    assert found.answer.verdict is Verdict.NO_OCCURRENCE
    assert "went forward from 02:00 to 03:00 on 2026-03-29" in found.answer.remark
    assert found.answer.after == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_one_to_come_is_not_due_yet(db: store.Store) -> None:
    hourly(db)

    assert told(db, NOON + HOUR).answer.text == "It is not due yet: it will be in 1h."
    assert verdict(db, NOON + 2 * HOUR) is Verdict.NOT_DUE
    assert verdict(db, NOON + MINUTE) is Verdict.NO_OCCURRENCE


def test_before_the_job_was_made_there_was_none(db: store.Store) -> None:
    hourly(db)

    found = told(db, MADE - HOUR)

    assert found.answer.verdict is Verdict.NO_JOB
    assert found.answer.text == "The job did not exist then: it was made at 2026-11-21T02:00:00Z by ci."


def test_a_job_that_was_disabled_then_says_since_when(db: store.Store) -> None:
    put(db, HOURLY, now=MADE)
    put(db, {**HOURLY, "enabled": False}, now=MADE + HOUR)
    put(db, {**HOURLY, "enabled": False, "command": "false"}, now=MADE + 2 * HOUR)
    put(db, HOURLY, now=MADE + 5 * HOUR)

    found = told(db, MADE + 3 * HOUR)

    assert found.answer.text == "The job was disabled then, since 2026-11-21T03:00:00Z by ci."
    assert verdict(db, MADE + 6 * HOUR) is Verdict.DUE


def test_a_job_that_was_removed_then_says_when(db: store.Store) -> None:
    put(db, HOURLY, now=MADE)
    put(db, now=MADE + HOUR, allow_removals=1)

    assert told(db, MADE + 2 * HOUR).answer.text == (
        "The job was removed at 2026-11-21T03:00:00Z by ci: nothing is due from then on."
    )
    assert verdict(db, NOON + HOUR) is Verdict.REMOVED


def test_a_disabled_job_has_nothing_to_come(db: store.Store) -> None:
    put(db, {**HOURLY, "enabled": False}, now=MADE)

    assert verdict(db, NOON + HOUR) is Verdict.DISABLED


def test_one_that_the_ledger_lacks_is_unaccounted_for(db: store.Store) -> None:
    hourly(db)

    assert verdict(db, NOON - HOUR) is Verdict.UNACCOUNTED


def test_one_that_a_person_passed_over_with_sql_says_so(db: store.Store) -> None:
    put(db, HOURLY, now=MADE)
    with db.begin() as tx:
        skipped_to = f"{MADE + 5 * HOUR:%F %T}"
        tx.exec_driver_sql(f"UPDATE jobs SET next_run = '{skipped_to}'")
    with db.begin() as tx:
        jobs.record_hand_changes(tx, [job_named(db)], MADE + MINUTE)

    found = told(db, MADE + 2 * HOUR)

    assert found.answer.verdict is Verdict.NO_OCCURRENCE
    assert found.answer.text == (
        "It was not due, though the schedule has it: by revision 2 of 2026-11-21T02:01:00Z by SQL by hand"
        " its next run was set to 2026-11-21T07:00:00Z."
    )


def test_a_job_of_which_nothing_was_due_says_what_is_first(db: store.Store) -> None:
    put(db, HOURLY, now=NOON + MINUTE)

    found = told(db, now=NOON + 2 * MINUTE)

    assert (found.at, found.answer.text) == (
        None,
        "Nothing of it was due so far: its first occurrence is at 2026-11-21T13:00:00Z.",
    )


def test_a_row_by_hand_that_no_injector_saw_is_no_job_yet(db: store.Store) -> None:
    job_id = insert_job(db, schedule="0 * * * *", name="job")

    assert job_of(db, job_id).revision == 0
    assert verdict(db, NOON - HOUR) is Verdict.NO_JOB

"""Every kind of schedule in the tables: stored, read back, expanded, and steady through edits by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from cronq import store
from cronq.domain.schedule import parse
from cronq.injector.expand import adopt_unseen_once, expand_once
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
    job_of,
    open_alerts,
    put,
    revisions_of,
    runs_of,
    select,
)

BOTH = ["0 * * * *", "*/30 13 * * *"]
JUST_AFTER = timedelta(milliseconds=500)


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + JUST_AFTER
    return clock


def expand_at(db: store.Store, clock: Clock, at: datetime) -> None:
    clock.now = at + JUST_AFTER
    expand_once(db, locked_by="host.1", window=2_000, publish_lease=MINUTE)


def column(db: store.Store, name: str, job: str = "job") -> str | None:
    [row] = select(db, f"SELECT {name} AS found FROM jobs WHERE name = :job", job=job)
    found: str | None = row["found"]
    return found


def extras(db: store.Store, job: str = "job") -> dict[str, object]:
    found: dict[str, object] = json.loads(column(db, "definition", job) or "{}")
    return found


def due(db: store.Store, *instants: datetime) -> bool:
    return [r["scheduled_for"] for r in runs_of(db)] == list(instants)


# -- lists


def test_a_list_of_schedules_is_kept_as_json_and_read_back(db: store.Store) -> None:
    put(db, definition(schedule=BOTH))

    assert json.loads(column(db, "schedule") or "") == BOTH
    assert job_named(db).spec.schedule == tuple(BOTH)
    [revision] = revisions_of(db, job_named(db).id)
    assert json.loads(revision["document"])["schedule"] == BOTH
    assert not put(db, definition(schedule=BOTH)).changed
    assert not job_named(db).is_changed_by_hand()


def test_an_instant_that_two_schedules_name_is_one_run(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule=BOTH))
    expected = [NOON + HOUR, NOON + 90 * MINUTE, NOON + 2 * HOUR]

    for at in expected:
        assert job_named(db).next_run == at
        expand_at(db, clock, at)

    assert sorted(r["scheduled_for"] for r in runs_of(db)) == expected
    assert job_named(db).next_run == NOON + 3 * HOUR


def test_what_an_outage_missed_of_a_list_has_a_row_each(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule=BOTH))

    expand_at(db, clock, NOON + 2 * HOUR)

    found = sorted((r["scheduled_for"], r["state"]) for r in runs_of(db))
    assert found == [
        (NOON + HOUR, "missed"),
        (NOON + 90 * MINUTE, "missed"),
        (NOON + 2 * HOUR, "queued"),
    ]


def test_a_list_written_by_hand_is_followed(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db, schedule=json.dumps(BOTH))

    adopt_unseen_once(db)

    assert job_of(db, job_id).next_run == NOON + HOUR
    expand_at(db, clock, NOON + HOUR)
    assert job_of(db, job_id).next_run == NOON + 90 * MINUTE


def test_a_list_by_hand_that_is_none_raises_an_alert(db: store.Store) -> None:
    job_id = insert_job(db, schedule='["0 * * * *", 7]')

    adopt_unseen_once(db)

    assert job_of(db, job_id).next_run is None
    assert open_alerts(db) == [("bad_schedule", f"job {job_id}")]


# -- one-shots and fixed grids


def test_a_one_shot_runs_once_and_is_done(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule="@at 2026-11-21T13:30:00", timezone="Europe/Berlin"))
    assert job_named(db).next_run == NOON + 30 * MINUTE

    expand_at(db, clock, NOON + 30 * MINUTE)

    assert due(db, NOON + 30 * MINUTE)
    assert job_named(db).next_run is None


def test_a_grid_is_not_moved_by_deploys(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule="@every 7m"))
    first = job_named(db).next_run

    put(db, definition(schedule="@every 8m"), now=NOON + SECOND)
    put(db, definition(schedule="@every 7m"), now=NOON + 2 * SECOND)

    assert job_named(db).next_run == first
    assert job_named(db).interval == 7 * MINUTE


# -- start and end


def test_start_and_end_bound_what_is_due(db: store.Store, clock: Clock) -> None:
    bounds = {"start": "2026-11-21T15:00:00Z", "end": "2026-11-21T16:00:00Z"}
    put(db, definition(schedule="0 * * * *", **bounds))
    assert extras(db) == bounds

    for at in (NOON + 3 * HOUR, NOON + 4 * HOUR):
        assert job_named(db).next_run == at
        expand_at(db, clock, at)

    assert job_named(db).next_run is None


@pytest.mark.parametrize(
    ("field", "bound", "moved_to"),
    [
        ("start", "2026-11-21T15:30:00Z", NOON + 4 * HOUR),
        ("end", "2026-11-21T12:59:59Z", None),
    ],
)
def test_a_change_of_a_bound_moves_the_next_run(
    db: store.Store, field: str, bound: str, moved_to: datetime | None
) -> None:
    put(db, definition(schedule="0 * * * *"))
    assert job_named(db).next_run == NOON + HOUR

    done = put(db, definition(schedule="0 * * * *", **{field: bound}))

    assert done.plan.updated == {"job": (field,)}
    assert job_named(db).next_run == moved_to


def test_a_bound_written_by_hand_that_is_none_stops_the_job(db: store.Store) -> None:
    job_id = insert_job(db, schedule="0 * * * *", definition='{"start": "2026-13-01T00:00:00Z"}')

    adopt_unseen_once(db)

    assert job_of(db, job_id).next_run is None
    assert open_alerts(db) == [("bad_schedule", f"job {job_id}")]


# -- the seed of H


def test_h_goes_by_category_and_name_and_is_stored(db: store.Store) -> None:
    put(db, definition(schedule="H H * * *"), definition("plain"), category="shop")

    assert extras(db) == {"seed": "shop/job"}
    assert column(db, "definition", "plain") is None
    assert job_named(db).next_run == parse("H H * * *", seed="shop/job").next_after(NOON)
    [revision] = revisions_of(db, job_named(db).id)
    assert json.loads(revision["document"])["seed"] == "shop/job"
    assert not put(db, definition(schedule="H H * * *"), definition("plain"), category="shop").changed


def test_jobs_of_other_names_get_other_times(db: store.Store) -> None:
    put(db, *(definition(f"job {number}", schedule="H H * * *") for number in range(20)))

    assert len({job_named(db, f"job {number}").next_run for number in range(20)}) > 15


def test_a_job_keeps_its_seed_through_edits(db: store.Store) -> None:
    put(db, definition(schedule="H H * * *"))
    first = job_named(db).next_run

    put(db, definition(schedule="H H * * *", command="false"))
    assert job_named(db).next_run == first
    put(db, definition(schedule="@daily", command="false"))
    put(db, definition(schedule="H H * * *", command="false"))
    put(db)
    put(db, definition(schedule="H H * * *"))

    assert (extras(db), job_named(db).next_run) == ({"seed": "cat/job"}, first)


def test_a_rename_by_hand_does_not_shift_it(db: store.Store, clock: Clock) -> None:
    put(db, definition(schedule="H * * * *"))
    first = job_named(db).next_run
    assert first is not None

    execute(db, "UPDATE jobs SET name = 'another' WHERE name = 'job'")
    expand_at(db, clock, first)
    put(db, definition("another", schedule="H * * * *", command="false"), now=first + SECOND)

    assert job_named(db, "another").next_run == first + HOUR
    assert extras(db, "another") == {"seed": "cat/job"}


def test_an_h_written_by_hand_goes_by_the_jobs_id(db: store.Store, clock: Clock) -> None:
    job_ids = [insert_job(db, schedule="H H * * *", command="true") for _ in range(10)]

    adopt_unseen_once(db)

    found = {job_of(db, job_id).next_run for job_id in job_ids}
    assert len(found) > 5
    first = job_of(db, job_ids[0]).next_run
    execute(db, "UPDATE jobs SET name = 'renamed' WHERE id = :id", id=job_ids[0])
    assert first is not None
    expand_at(db, clock, first)
    assert job_of(db, job_ids[0]).next_run == first + 24 * HOUR


def test_a_put_over_a_row_by_hand_keeps_its_time(db: store.Store) -> None:
    put(db, definition("other"))
    [category] = select(db, "SELECT id FROM categories")
    job_id = insert_job(db, name="job", schedule="H H * * *", category_id=category["id"])
    adopt_unseen_once(db)
    first = job_of(db, job_id).next_run

    put(db, definition("other"), definition(schedule="H H * * *", command="false"))

    assert (job_of(db, job_id).next_run, extras(db)) == (first, {"seed": f"job {job_id}"})

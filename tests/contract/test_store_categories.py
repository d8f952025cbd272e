"""Replacing a category by a document: idempotent, all or nothing, and no occurrence is lost on the way."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from cronq import store
from cronq.domain.category import parse_value
from cronq.domain.errors import Conflict, PreconditionFailed
from cronq.domain.occurrence import MOST_INSTANTS
from cronq.domain.run import State
from cronq.store import alerts, categories, jobs
from cronq.store.categories import Author, Conditions
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    claimed_run,
    definition,
    execute,
    insert_job,
    insert_run,
    job_named,
    job_of,
    put,
    revisions_of,
    run_of,
    runs_of,
    select,
    states_of,
)

NEXT_MINUTE = NOON + MINUTE


def names(db: store.Store, category: str = "cat") -> list[str]:
    with db.read() as tx:
        return sorted(j.spec.name for j in jobs.listed(tx, category=category, limit=1000))


def set_next_run(db: store.Store, at: datetime | None) -> None:
    execute(db, "UPDATE jobs SET next_run = :at", at=None if at is None else at.strftime("%Y-%m-%d %H:%M:%S"))


# -- adding


def test_a_new_category_gets_its_jobs(db: store.Store) -> None:
    done = put(db, definition("a"), definition("b", schedule="0 3 * * *", routing_key="slow", timeout="90s"))

    assert (done.changed, done.revision, done.plan.added) == (True, 1, ("a", "b"))
    found = job_named(db, "b")
    assert (found.spec.routing_key, found.spec.timeout) == ("slow", timedelta(seconds=90))
    assert (found.revision, found.run_now, found.is_changed_by_hand()) == (1, False, False)
    assert (job_named(db, "a").next_run, found.next_run) == (
        NEXT_MINUTE,
        datetime(2026, 11, 22, 3, tzinfo=NOON.tzinfo),
    )


def test_an_empty_document_makes_an_empty_category(db: store.Store) -> None:
    assert not put(db).changed

    with db.read() as tx:
        assert [(c["name"], c["revision"]) for c in categories.all_categories(tx)] == [("cat", 0)]


def test_categories_do_not_touch_each_other(db: store.Store) -> None:
    put(db, definition("same"), category="one")
    put(db, definition("same", command="false"), category="two")
    put(db, category="two")

    assert (names(db, "one"), names(db, "two")) == (["same"], [])


def test_a_job_without_a_next_instant_has_none(db: store.Store) -> None:
    put(db, definition(schedule="R1/2020-01-01T00:00:00Z/PT1M"))

    assert job_named(db).next_run is None


def test_a_revision_tells_who_when_and_from_where(db: store.Store) -> None:
    put(db, definition(), author=Author("api", "ann"), source={"repo": "shop", "commit": "abc"})

    [revision] = revisions_of(db, job_named(db).id)
    assert (revision["revision"], revision["origin"], revision["actor"]) == (1, "api", "ann")
    assert (revision["at"], revision["next_run"], revision["removed"]) == (NOON, NEXT_MINUTE, False)
    assert json.loads(revision["provenance"]) == {"repo": "shop", "commit": "abc"}
    assert json.loads(revision["document"]) == {"name": "job", "schedule": "* * * * *", "command": "true"}


# -- again


def test_the_same_document_again_changes_nothing_at_all(db: store.Store) -> None:
    put(db, definition("a", timeout="5m", tags=["x"]), definition("b"))
    before = select(db, "SELECT * FROM jobs"), select(db, "SELECT * FROM job_revisions")

    done = put(db, definition("b"), definition("a", tags=["x"], timeout=300), now=NOON + HOUR)

    assert (done.changed, done.revision) == (False, 1)
    assert (select(db, "SELECT * FROM jobs"), select(db, "SELECT * FROM job_revisions")) == before


@pytest.mark.parametrize("next_run", [NOON - MINUTE, NOON + 7 * SECOND, None])
def test_a_change_that_is_not_of_the_schedule_keeps_the_next_run(
    db: store.Store, next_run: datetime | None
) -> None:
    put(db, definition())
    set_next_run(db, next_run)

    done = put(db, definition(command="false", timeout="5m"), now=NOON + 5 * SECOND)

    assert done.plan.updated == {"job": ("command", "timeout")}
    assert (job_named(db).next_run, job_named(db).spec.command) == (next_run, "false")
    told = [(r["origin"], r["next_run"]) for r in revisions_of(db, job_named(db).id)]
    assert told == [("put", NEXT_MINUTE), ("sql", next_run), ("put", next_run)]


def test_run_now_survives_a_change(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET run_now = 1")

    put(db, definition(command="false", schedule="0 3 * * *"))

    assert job_named(db).run_now


@pytest.mark.parametrize(
    "change", [{"schedule": "0 13 * * *"}, {"schedule": "0 14 * * *", "timezone": "Europe/Berlin"}]
)
def test_another_schedule_moves_the_next_run(db: store.Store, change: dict[str, object]) -> None:
    put(db, definition())

    put(db, {**definition(), **change}, now=NOON + SECOND)

    assert job_named(db).next_run == NOON + HOUR


def test_another_schedule_does_not_eat_a_run_that_is_due(db: store.Store) -> None:
    put(db, definition())

    put(db, definition(schedule="0 3 * * *"), now=NEXT_MINUTE + SECOND)

    assert job_named(db).next_run == NOON + 15 * HOUR
    [run] = runs_of(db)
    assert (run["state"], run["scheduled_for"], run["triggered_by"]) == ("scheduled", NEXT_MINUTE, "schedule")


def test_another_schedule_accounts_for_all_that_was_due_by_the_old_one(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET run_now = 1")

    put(db, definition(schedule="0 3 * * *"), now=NOON + 4 * MINUTE + SECOND)

    assert [(r["scheduled_for"], r["state"], r["reason"]) for r in runs_of(db)] == [
        (NOON + 1 * MINUTE, "missed", "misfire"),
        (NOON + 2 * MINUTE, "missed", "misfire"),
        (NOON + 3 * MINUTE, "missed", "misfire"),
        (NOON + 4 * MINUTE, "scheduled", None),
    ]
    assert job_named(db).run_now, "a wish is kept"


def test_revisions_count_every_edit(db: store.Store) -> None:
    done = [put(db, definition(command=f"echo {k}"), now=NOON + k * MINUTE) for k in range(4)]

    job = job_named(db)
    assert ([d.revision for d in done], job.revision) == ([1, 2, 3, 4], 4)
    assert [(r["revision"], r["at"]) for r in revisions_of(db, job.id)] == [
        (k + 1, NOON + k * MINUTE) for k in range(4)
    ]


def test_an_edit_by_hand_is_written_down_before_it_is_replaced(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET command = 'by hand'")

    done = put(db, definition(), now=NOON + MINUTE)

    assert done.plan.updated == {"job": ("command",)}
    found = revisions_of(db, job_named(db).id)
    assert [(r["revision"], r["origin"]) for r in found] == [(1, "put"), (2, "sql"), (3, "put")]
    assert [json.loads(r["document"])["command"] for r in found] == ["true", "by hand", "true"]


def test_a_row_of_the_ancestor_is_taken_over(db: store.Store) -> None:
    put(db)
    [category] = select(db, "SELECT id FROM categories")
    job_id = insert_job(
        db, name="job", category_id=category["id"], interval=MINUTE, next_run=NOON + 30 * SECOND
    )

    done = put(db, definition(schedule="R/2013-05-29T00:00:00/PT1M"))

    assert done.plan.updated == {"job": ("schedule",)}
    assert (job_named(db).id, job_named(db).interval, job_named(db).next_run) == (job_id, MINUTE, NEXT_MINUTE)
    assert [r["origin"] for r in revisions_of(db, job_id)] == ["sql", "put"]


def test_a_row_that_makes_no_sense_is_repaired(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET definition = 'no json', routing_key = 'a b', schedule = 'never'")

    put(db, definition(), now=NOON + SECOND)

    found = job_named(db)
    assert (found.problem, found.spec.schedule, found.next_run) == (None, "* * * * *", NEXT_MINUTE)


def test_a_repaired_schedule_takes_its_alert_back(db: store.Store) -> None:
    put(db, definition())
    job_id = job_named(db).id
    with db.begin() as tx:
        alerts.raise_alert(tx, alerts.BAD_JOB, alerts.job(job_id), "made up", NOON)

    put(db, definition(schedule="0 3 * * *"))

    assert select(db, "SELECT * FROM alerts WHERE closing = ''") == []


# -- removing


def test_a_removed_job_keeps_its_id_and_its_history(db: store.Store) -> None:
    put(db, definition())
    job_id = job_named(db).id
    insert_run(db, job_id, State.SUCCEEDED, at=NOON - HOUR)
    execute(db, "UPDATE jobs SET run_now = 1")

    done = put(db, now=NOON + SECOND)

    assert (done.plan.removed, done.revision) == (("job",), 2)
    found = job_of(db, job_id)
    assert (found.removed_at, found.next_run, found.run_now) == (NOON + SECOND, None, False)
    assert [r["removed"] for r in revisions_of(db, job_id)] == [False, True]
    assert names(db) == []
    assert "succeeded" in states_of(db, job_id)


def test_what_of_a_removed_job_waits_is_cancelled_and_what_lives_goes_on(db: store.Store) -> None:
    put(db, definition())
    job_id = job_named(db).id
    waiting = [insert_run(db, job_id, s, at=NOON - HOUR) for s in (State.QUEUED,)]
    waiting.append(insert_run(db, job_id, State.SCHEDULED, at=NOON - MINUTE))
    live = claimed_run(db, job_id)

    put(db)

    assert {(run_of(db, m)["state"], run_of(db, m)["reason"]) for m in waiting} == {
        ("cancelled", "job removed")
    }
    assert run_of(db, live)["state"] == "claimed"


def test_a_job_removed_while_it_is_due_has_its_rows(db: store.Store) -> None:
    put(db, definition())

    put(db, now=NOON + 3 * MINUTE + SECOND)

    found = [(r["scheduled_for"], r["state"], r["reason"]) for r in runs_of(db)]
    assert found == [
        (NOON + MINUTE, "missed", "misfire"),
        (NOON + 2 * MINUTE, "missed", "misfire"),
        (NOON + 3 * MINUTE, "cancelled", "job removed"),
    ]


def test_a_job_removed_after_a_long_outage_has_all_of_them(db: store.Store) -> None:
    put(db, definition(schedule="R/2026-01-01T00:00:00Z/PT1S"))

    put(db, now=NOON + (2 * MOST_INSTANTS + 500) * SECOND + timedelta(milliseconds=1))

    found = runs_of(db)
    assert sum(r["missed_count"] or 1 for r in found) == 2 * MOST_INSTANTS + 500
    assert [r["state"] for r in found][-1] == "cancelled"


def test_a_job_that_comes_back_is_the_same_job(db: store.Store) -> None:
    put(db, definition())
    job_id = job_named(db).id
    put(db)

    done = put(db, definition(), now=NOON + HOUR)

    assert (done.plan.added, job_named(db).id) == (("job",), job_id)
    assert (job_named(db).removed_at, job_named(db).next_run) == (None, NOON + HOUR + MINUTE)
    assert [(r["revision"], r["removed"]) for r in revisions_of(db, job_id)] == [
        (1, False),
        (2, True),
        (3, False),
    ]


def test_a_mass_removal_needs_to_be_meant(db: store.Store) -> None:
    put(db, *(definition(f"job {k}") for k in range(6)))

    with pytest.raises(Conflict, match="allow_removals=6"):
        put(db)
    assert len(names(db)) == 6
    put(db, allow_removals=6)
    assert names(db) == []


# -- pausing


def test_a_disabled_job_keeps_its_row_and_what_was_due_is_skipped(db: store.Store) -> None:
    put(db, definition())

    put(db, definition(enabled=False), now=NOON + 2 * MINUTE + SECOND)

    found = [(r["scheduled_for"], r["state"], r["reason"]) for r in runs_of(db)]
    assert found == [(NOON + MINUTE, "missed", "misfire"), (NOON + 2 * MINUTE, "skipped", "paused")]
    assert job_named(db).next_run == NOON + 3 * MINUTE
    with db.begin() as tx:
        assert jobs.claim_due(tx, NOON + HOUR, 10) == []


def test_a_wish_to_run_now_that_was_skipped_is_not_fulfilled_later(db: store.Store) -> None:
    put(db, definition())
    execute(db, "UPDATE jobs SET run_now = 1")

    put(db, definition(enabled=False), now=NOON + SECOND)
    put(db, definition(enabled=True), now=NOON + 2 * SECOND)

    assert [(r["kind"], r["state"]) for r in runs_of(db)] == [("request", "skipped")]
    assert not job_named(db).run_now


def test_an_enabled_job_does_not_catch_up(db: store.Store) -> None:
    put(db, definition(enabled=False))

    put(db, definition(enabled=True), now=NOON + HOUR + SECOND)

    assert (job_named(db).next_run, runs_of(db)) == (NOON + HOUR + MINUTE, [])


# -- conditions


def test_a_dry_run_writes_nothing(db: store.Store) -> None:
    done = put(db, definition(), dry_run=True)

    assert (done.plan.added, done.revision) == (("job",), 0)
    assert select(db, "SELECT * FROM categories") == select(db, "SELECT * FROM jobs") == []


def test_a_dry_run_tells_what_would_change_and_keeps_hand_edits_unseen(db: store.Store) -> None:
    put(db, definition("a"), definition("b"))
    execute(db, "UPDATE jobs SET command = 'by hand' WHERE name = 'a'")
    tables = ("categories", "jobs", "job_revisions", "runs")
    before = [select(db, f"SELECT * FROM {table}") for table in tables]

    done = put(db, definition("a"), definition("c"), dry_run=True, now=NOON + HOUR)

    assert (done.plan.added, done.plan.updated, done.plan.removed) == (("c",), {"a": ("command",)}, ("b",))
    assert [select(db, f"SELECT * FROM {table}") for table in tables] == before


@pytest.mark.parametrize("revision", [1, 3])
def test_another_revision_than_expected_is_refused(db: store.Store, revision: int) -> None:
    put(db, definition())
    put(db, definition(command="false"))

    with pytest.raises(PreconditionFailed, match=f"category 'cat' is at revision 2, not {revision}"):
        put(db, revision=revision)
    assert names(db) == ["job"]


def test_the_expected_revision_goes_ahead(db: store.Store) -> None:
    put(db, definition())

    assert put(db, definition(command="false"), revision=1).revision == 2


def test_create_only_refuses_what_exists_and_leaves_no_category_behind(db: store.Store) -> None:
    put(db, definition(), revision=0)

    with pytest.raises(PreconditionFailed):
        put(db, definition(command="false"), revision=0)
    with pytest.raises(PreconditionFailed):
        put(db, definition(), category="new", revision=7)
    with db.read() as tx:
        assert categories.by_name(tx, "new") is None


def test_a_put_that_breaks_in_the_middle_leaves_everything_as_it_was(
    db: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(db, definition("a"))
    before = select(db, "SELECT * FROM jobs"), select(db, "SELECT * FROM job_revisions")
    wanted = parse_value({"jobs": [definition("b")]}, url_name="cat")

    def broken(*_: object) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(categories._Edit, "_remove", broken)
    with pytest.raises(RuntimeError, match="made up"), db.begin() as tx:
        categories.replace(tx, wanted, Author("put"), Conditions(), NOON)

    assert (select(db, "SELECT * FROM jobs"), select(db, "SELECT * FROM job_revisions")) == before


def test_warnings_are_told(db: store.Store) -> None:
    [warning] = put(db, definition(schedule="R/2026-01-01T00:00:00Z/PT1S")).warnings

    assert warning.startswith('job "job": every 1 s')


def test_a_large_category_is_one_put(db: store.Store) -> None:
    many = [definition(f"job {k}", command=f"echo {k}") for k in range(2_000)]
    put(db, *many)

    done = put(db, *many[1:], definition("new"), now=NOON + SECOND)

    assert (len(done.plan.unchanged), done.plan.added, done.plan.removed) == (1_999, ("new",), ("job 0",))

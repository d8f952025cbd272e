"""What pages say of missed and held occurrences, and the button that lets one out; on every kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cronq import store
from cronq.domain.run import State
from tests.browser.visitor import Visitor, text_of
from tests.factories import HOUR, MINUTE, NOON, definition, execute, insert_run, job_named, put, run_of

BUTTON = "Run it now"


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def a_run(db: store.Store, state: State, *, job: dict[str, object] | None = None, **columns: Any) -> str:
    put(db, definition(**(job or {})), now=NOON - HOUR)  # type: ignore[arg-type]  # fields of a job
    return insert_run(db, job_named(db).id, state, at=NOON - MINUTE, made_at=NOON, **columns)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "the latest one runs, the earlier ones are missed"),
        (
            {"misfire": "skip", "start_deadline": "5m"},
            "60 s late; none starts later than 5m",
        ),
        ({"misfire": "all", "misfire_limit": 1000}, "each one runs, of more than 1,000 the newest"),
    ],
)
def test_a_jobs_page_says_what_becomes_of_what_it_misses(
    visitor: Visitor, db: store.Store, fields: dict[str, object], words: str
) -> None:
    put(db, definition(**fields), now=NOON)  # type: ignore[arg-type]  # fields of a job

    text = text_of(visitor.read(f"/job/{job_named(db).id}"))

    assert "When it is missed" in text
    assert words in text


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (State.MISSED, "misfire", "The rule of its job now: the latest one runs"),
        (State.MISSED, "superseded", "Nobody had claimed it when a later one was due"),
        (State.MISSED, "failover", BUTTON),
        (State.EXPIRED, "deadline", "before its job's deadline of 5m"),
        (State.SKIPPED, "overlap: it runs", BUTTON),
    ],
)
def test_the_page_of_one_that_did_not_run_says_why_and_runs_it_in_its_own_row(
    visitor: Visitor, db: store.Store, state: State, reason: str, words: str
) -> None:
    made = a_run(db, state, job={"start_deadline": "5m"}, reason=reason)
    before = text_of(visitor.read(f"/run/{made}"))
    assert words in before
    assert BUTTON in before

    back = visitor.order(f"/run/{made}/let-out", on=f"/run/{made}")

    assert back.location == f"/run/{made}"
    run = run_of(db, made)
    assert (run["state"], run["triggered_by"]) == ("scheduled", "catch-up")
    after = text_of(visitor.read(back.location))
    assert "It runs as soon as a runner takes it" in after
    assert BUTTON not in after


def test_of_a_row_that_stands_for_many_the_latest_runs(visitor: Visitor, db: store.Store) -> None:
    made = a_run(db, State.MISSED, reason="misfire")
    execute(db, "UPDATE runs SET missed_count = 200, last_scheduled_for = :last, revision = 1",
            last=(NOON + 198 * MINUTE).strftime("%Y-%m-%d %H:%M:%S.000000"))  # fmt: skip

    assert "Run the latest now" in text_of(visitor.read(f"/run/{made}"))
    back = visitor.order(f"/run/{made}/let-out", on=f"/run/{made}")

    taken = run_of(db, str(back.location).rpartition("/")[2])
    assert (taken["scheduled_for"], taken["state"]) == (NOON + 198 * MINUTE, "scheduled")


def test_one_that_is_held_says_where_and_can_be_let_out(visitor: Visitor, db: store.Store) -> None:
    made = a_run(db, State.SCHEDULED, release_at=NOON + HOUR)
    assert BUTTON not in text_of(visitor.read(f"/run/{made}"))
    row = "(:r, 'pause:all', 1, 0, 0, :at)"
    execute(
        db,
        f"INSERT INTO parked (run_id, gate, weight, priority, turn, at) VALUES {row}",
        r=made,
        at="2026-11-21 12:00:00",
    )

    assert "It is due, and held by a pause" in text_of(visitor.read(f"/run/{made}"))
    visitor.order(f"/run/{made}/let-out", on=f"/run/{made}")

    assert run_of(db, made)["release_at"] is None


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.RUNNING, State.LOST, State.CANCELLED])
def test_any_other_run_has_no_such_button_and_is_left_alone(
    visitor: Visitor, db: store.Store, state: State
) -> None:
    made = a_run(db, state)

    assert BUTTON not in text_of(visitor.read(f"/run/{made}"))
    back = visitor.order(f"/run/{made}/let-out", on=f"/run/{made}")

    assert "Nothing was done" in text_of(visitor.read(back.location))
    assert run_of(db, made)["state"] == state


def test_one_of_a_disabled_job_says_so(visitor: Visitor, db: store.Store) -> None:
    made = a_run(db, State.MISSED, job={"enabled": False})

    back = visitor.order(f"/run/{made}/let-out", on=f"/run/{made}")

    assert "its job is disabled" in text_of(visitor.read(back.location))
    assert run_of(db, made)["state"] == "missed"


def test_without_the_csrf_token_nothing_happens(visitor: Visitor, db: store.Store) -> None:
    made = a_run(db, State.MISSED)

    assert visitor.client.post(f"/run/{made}/let-out").status_code == 400
    visitor.order(f"/run/{'0' * 32}/let-out", on=f"/run/{made}", status=404)
    assert run_of(db, made)["state"] == "missed"

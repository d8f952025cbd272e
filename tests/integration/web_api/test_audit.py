"""The audit over HTTP: what it found, of which jobs, and which questions it refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.runtime.clock import utc_now
from cronq.store import Store
from tests.factories import by_hand, execute, insert_job, insert_run
from tests.integration.web_api.support import Client, job, put_jobs

PATH = "/api/audit/occurrences"
KEYS = ["since", "until", "expected", "found", "holes", "doubles", "unexpected", "not_named"]


@pytest.fixture
def owed(db: Store) -> list[str]:
    """Five occurrences of job 1, a minute apart, that no injector saw; as the API writes instants."""
    first = utc_now().replace(microsecond=0) - timedelta(minutes=4, seconds=30)
    insert_job(db, interval=timedelta(minutes=1), next_run=first)
    return [f"{first + k * timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}" for k in range(5)]


def test_each_hole_double_and_unexpected_row_is_named(client: Client, db: Store, owed: list[str]) -> None:
    at = utc_now().fromisoformat(owed[1])
    once, again = insert_run(db, 1, at=at), insert_run(db, 1, at=at - timedelta(days=9))
    execute(
        db, "UPDATE runs SET scheduled_for = :at, request = 'x' WHERE run_id = :id", at=by_hand(at), id=again
    )
    stray = insert_run(db, 1, at=at + timedelta(seconds=1))

    found = client.get(f"{PATH}?since={owed[0]}").json["data"]

    assert list(found) == KEYS
    assert (found["expected"], found["found"], found["not_named"]) == (5, 1, 0)
    assert found["holes"] == [{"job_id": 1, "scheduled_for": at} for at in (owed[0], *owed[2:])]
    [double] = found["doubles"]
    assert (double["scheduled_for"], sorted(double["runs"])) == (owed[1], sorted([once, again]))
    [unexpected] = found["unexpected"]
    assert (unexpected["job_id"], unexpected["runs"]) == (1, [stray])


def test_the_window_is_told_and_ends_now_at_the_latest(client: Client, owed: list[str]) -> None:
    found = client.get(f"{PATH}?since={owed[1]}&until={owed[3]}").json["data"]
    later = client.get(f"{PATH}?since={owed[1]}&until=2999-01-01T00:00:00%2B01:00").json["data"]

    assert (found["since"], found["until"], found["expected"]) == (owed[1], owed[3], 2)
    assert later["until"] < "2999"
    assert later["expected"] == 4


def test_without_anything_due_nothing_is_wrong(client: Client) -> None:
    put_jobs(client, job("a", schedule="0 0 1 1 *"))

    found = client.get(f"{PATH}?since=1970-01-01T00:00:00Z").json["data"]

    assert [found[name] for name in KEYS[2:]] == [0, 0, [], [], [], 0]


def test_one_job_or_category_is_looked_at(client: Client, owed: list[str]) -> None:
    put_jobs(client, job("a"), category="ops")

    def expected(scope: str) -> int:
        return int(client.get(f"{PATH}?since={owed[0]}&{scope}").json["data"]["expected"])

    assert [expected(scope) for scope in ("job.id=1", "job.id=2", "category=ops")] == [5, 0, 0]


@pytest.mark.parametrize("scope", ["job.id=99", "category=nope"])
def test_what_there_is_not_is_not_found_clean(client: Client, scope: str) -> None:
    answer = client.get(f"{PATH}?since=2026-01-01T00:00:00Z&{scope}")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "since: is missing; it must be an RFC 3339 instant such as 2026-01-31T14:00:00Z"),
        ("since=", "since: "),
        ("since=yesterday", 'since: "yesterday" is not allowed; an RFC 3339 instant'),
        ("since=2026-01-01T00:00:00", "is not allowed; an RFC 3339 instant"),
        ("since=2026-01-01", "is not allowed; an RFC 3339 instant"),
        ("since=2026-01-01T00:00:00Z&until=x", 'until: "x" is not allowed; an RFC 3339 instant'),
        (
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
            "since: 2026-01-02T00:00:00Z is not allowed; an instant up to until, 2026-01-01T00:00:00Z, is",
        ),
        ("since=2026-01-01T00:00:00Z&job=1", "is no parameter of this address"),
        ("since=2026-01-01T00:00:00Z&job.id=x", "a whole number from 1"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client: Client, query: str, words: str) -> None:
    answer = client.get(f"{PATH}?{query}")

    assert answer.status_code in (400, 422)
    assert any(words in problem["message"] for problem in answer.json["errors"])


def test_too_large_a_question_says_what_to_narrow(client: Client, db: Store) -> None:
    insert_job(db, interval=timedelta(seconds=1), next_run=utc_now() - timedelta(days=7))

    answer = client.get(f"{PATH}?since=2026-01-01T00:00:00Z")

    assert answer.status_code == 422
    [problem] = answer.json["errors"]
    assert "more than 200,000 occurrences" in problem["message"]
    assert problem["hint"] == "narrow since and until, or name a category or a job"

"""The outage board over HTTP: what is on it, and orders about it in bulk."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from cronq.domain.run import State
from cronq.store import Store, now
from tests.factories import insert_run, runs_of
from tests.integration.web_api.conftest import Connect
from tests.integration.web_api.support import Answer, Client, job, put_jobs

MINUTE = timedelta(minutes=1)


@pytest.fixture
def noon(db: Store) -> datetime:
    """An hour ago."""
    with db.read() as tx:
        return now(tx).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
def ids(client: Client, db: Store, noon: datetime) -> list[str]:
    """Three occurrences that job 1 missed, and two of job 2; by instant."""
    put_jobs(client, job("a"), job("b"))
    return [
        insert_run(db, job_id, State.MISSED, at=noon + k * MINUTE, reason="misfire")
        for job_id, count in ((1, 3), (2, 2))
        for k in range(count)
    ]


def written(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def post(client: Client, action: str, **body: Any) -> Answer:
    return client.post(f"/api/missed/{action}", json=body)


def done(answer: Answer) -> dict[str, Any]:
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json["data"]["done"]
    return found


def test_each_says_what_it_is_and_the_head_counts_each_job(
    client: Client, ids: list[str], noon: datetime
) -> None:
    answer = client.get("/api/missed").json

    assert [row["run"] for row in answer["data"]["missed"]] == sorted(ids, reverse=True)
    [row] = [row for row in answer["data"]["missed"] if row["run"] == ids[0]]
    assert row == {
        "run": ids[0],
        "job_id": 1,
        "job": "a",
        "category": "ops",
        "scheduled_for": written(noon),
        "last_scheduled_for": None,
        "count": 1,
        "standing": "missed",
        "state": "missed",
        "reason": "misfire",
        "waits_for": None,
        "can_run": True,
        "why_not": None,
    }
    assert [(head["job"], head["count"]) for head in answer["data"]["jobs"]] == [("a", 3), ("b", 2)]
    assert answer["data"]["jobs"][0]["last"] == written(noon + 2 * MINUTE)


def test_a_long_list_comes_in_pages(client: Client, ids: list[str]) -> None:
    pages: list[str] = []
    answer = client.get("/api/missed?limit=2")
    while True:
        pages += [row["run"] for row in answer.json["data"]["missed"]]
        if answer.json["next_cursor"] is None:
            break
        answer = client.get(answer.headers["Link"].partition(">")[0][1:])

    assert pages == sorted(ids, reverse=True)
    assert answer.json["data"]["jobs"] == []


def test_it_can_be_narrowed(client: Client, ids: list[str], noon: datetime) -> None:
    def count(**query: object) -> int:
        answer = client.get("/api/missed", query_string={k.replace("_", "."): v for k, v in query.items()})
        assert answer.status_code == 200, answer.text
        return len(answer.json["data"]["missed"])

    assert (count(job_id=1), count(category="ops"), count(state="expired,held")) == (3, 5, 0)
    assert count(since=written(noon + MINUTE), until=written(noon + 2 * MINUTE)) == 2


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("since=yesterday", 422, "since: "),
        ("since=2026-11-22T00:00:00Z&until=2026-11-21T00:00:00Z", 422, "since: is after until"),
        ("state=gone", 422, "expired, held, lost, missed, skipped"),
        ("job.id=0", 422, "job.id: "),
        ("job.id=99", 404, "99"),
        ("category=nowhere", 404, "nowhere"),
        ("cursor=x", 422, "cursor: "),
        ("limit=501", 422, "1 to 500"),
        ("colour=red", 422, "no parameter of this address"),
    ],
)
def test_a_bad_question_says_what_is_wrong(lasting: Client, query: str, status: int, said: str) -> None:
    answer = lasting.get(f"/api/missed?{query}")

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert said in answer.text


def test_named_ones_are_let_out_once(client: Client, db: Store, ids: list[str]) -> None:
    answer = post(client, "run", runs=ids[:2])

    assert answer.status_code == 202
    assert done(answer) == {"action": "run", "changed": ids[:2], "unchanged": [], "left": 0}
    run = client.get(f"/api/runs/{ids[0]}").json["data"]["run"]
    assert (run["state"], run["trigger"], run["scheduled_for"] is not None) == ("scheduled", "catch-up", True)
    assert run["actor"]
    again = done(post(client, "run", runs=ids[:2]))
    assert (again["changed"], [u["run"] for u in again["unchanged"]]) == ([], ids[:2])


def test_the_latest_of_each_job_or_all_of_a_category(
    client: Client, db: Store, ids: list[str], noon: datetime
) -> None:
    latest = done(post(client, "run", since=written(noon), which="latest"))
    assert sorted(latest["changed"]) == sorted([ids[2], ids[4]])
    assert done(post(client, "run", since=written(noon), which="latest"))["changed"] == []

    rest = done(post(client, "skip", since=written(noon), which="all", category="ops", reason="by hand"))
    assert (len(rest["changed"]), rest["left"]) == (3, 0)
    run = client.get(f"/api/runs/{ids[0]}").json["data"]["run"]
    assert (run["state"], run["reason"][:11], run["reason"][-9:]) == ("skipped", "skipped_by ", ": by hand")
    assert client.get("/api/missed").json["data"]["missed"] == []
    assert len(client.get("/api/missed?state=skipped").json["data"]["missed"]) == 3


def test_shifted_ones_are_let_out_later_and_apart(client: Client, db: Store, ids: list[str]) -> None:
    answer = done(post(client, "shift", runs=ids, by="2h", every="10s"))

    at = sorted(r["release_at"] for r in runs_of(db))
    assert len(answer["changed"]) == 5
    assert {b - a for a, b in pairwise(at)} == {timedelta(seconds=10)}
    with db.read() as tx:
        assert timedelta(hours=1, minutes=59) < at[0] - now(tx) <= timedelta(hours=2)


def test_or_from_an_instant_on(client: Client, db: Store, ids: list[str]) -> None:
    with db.read() as tx:
        to = now(tx).replace(microsecond=0) + timedelta(hours=3)

    post(client, "shift", runs=ids[:1], to=written(to))

    assert [r["release_at"] for r in runs_of(db) if r["run_id"] == ids[0]] == [to]


SINCE = {"since": "2026-01-01T00:00:00Z"}
ONE = {"runs": ["a" * 32]}


@pytest.mark.parametrize(
    ("action", "body", "said"),
    [
        ("run", {}, "since: is missing"),
        ("run", {}, "which: is missing"),
        ("run", [], "must be an object"),
        ("run", SINCE, "which: is missing"),
        ("run", {**SINCE, "which": "newest"}, '\\"newest\\" is not allowed; one of latest, all is'),
        ("run", {"since": "9am", "which": "all"}, "since: "),
        ("run", {"since": 5, "which": "all"}, "since: "),
        ("run", {**SINCE, "until": "2025-01-01T00:00:00Z", "which": "all"}, "since: is after until"),
        ("run", {"runs": []}, "a list of 1 to 1,000 run ids"),
        ("run", {"runs": ["x"]}, "a list of 1 to 1,000 run ids"),
        ("run", {"runs": [None]}, "a list of 1 to 1,000 run ids"),
        ("run", {"runs": "a" * 32}, "a list of 1 to 1,000 run ids"),
        ("run", {**ONE, **SINCE}, "since: does not go with runs"),
        ("run", {**ONE, "category": "ops"}, "category: does not go with runs"),
        ("run", {**ONE, "by": "2h"}, "by"),
        ("run", {**ONE, "every": "1 hour"}, "every: "),
        ("run", {**ONE, "every": "2d"}, "up to 1d"),
        ("run", {**ONE, "every": True}, "every: "),
        ("run", {**ONE, "every": -1}, "every: "),
        ("run", {**ONE, "wich": "all"}, 'did you mean \\"which\\"?'),
        ("run", {**SINCE, "which": "all", "state": ["lost"]}, "a list of expired, held, missed, skipped"),
        ("run", {**SINCE, "which": "all", "state": "missed"}, "state: "),
        ("run", {**SINCE, "which": "all", "job": "a"}, "job: "),
        ("run", {**SINCE, "which": "all", "category": 7}, "category: "),
        ("shift", ONE, 'give either \\"by\\"'),
        ("shift", {**ONE, "by": "2h", "to": "2030-01-01T00:00:00Z"}, 'give either \\"by\\"'),
        ("shift", {**ONE, "by": "400d"}, "up to 366d"),
        ("shift", {**ONE, "by": "-2h"}, "by: "),
        ("shift", {**ONE, "to": "2020-01-01T00:00:00Z"}, "to: 2020-01-01T00:00:00Z is not allowed"),
        ("shift", {**ONE, "to": "9999-01-01T00:00:00Z"}, "to: 9999-01-01T00:00:00Z is not allowed"),
        ("skip", {**ONE, "every": "1s"}, "every"),
        ("skip", {**ONE, "reason": "x" * 201}, "at most 200 characters"),
        ("skip", {**ONE, "reason": "a\u0000b"}, "reason: "),
    ],
)
def test_a_bad_order_says_what_is_wrong(lasting: Client, action: str, body: object, said: str) -> None:
    answer = lasting.post(f"/api/missed/{action}", json=body)

    assert (answer.status_code, answer.content_type) == (422, "application/problem+json"), answer.text
    assert said in answer.text


@pytest.mark.parametrize(
    "body", [ONE, {**SINCE, "which": "all", "job": 99}, {**SINCE, "which": "all", "category": "x"}]
)
def test_what_nobody_knows_is_not_found(lasting: Client, body: object) -> None:
    assert lasting.post("/api/missed/run", json=body).status_code == 404


def test_what_can_not_run_is_a_conflict_that_says_why(client: Client, db: Store, ids: list[str]) -> None:
    put_jobs(client, job("a", enabled=False), job("b"))

    answer = post(client, "run", runs=ids[:2])

    assert (answer.status_code, answer.content_type) == (409, "application/problem+json")
    assert "its job is disabled" in answer.json["detail"]
    [row] = [r for r in client.get("/api/missed").json["data"]["missed"] if r["run"] == ids[0]]
    assert (row["can_run"], row["why_not"]) == (False, "its job is disabled")


@pytest.mark.parametrize("action", ["run", "skip", "shift"])
def test_only_who_may_write_may_order(connect: Connect, action: str) -> None:
    client = connect(CRONQ_API_TOKEN="t0k3n-of-the-api-9Zq")  # made up

    assert client.post(f"/api/missed/{action}", json=ONE).status_code == 401
    assert client.get("/api/missed").status_code == 200

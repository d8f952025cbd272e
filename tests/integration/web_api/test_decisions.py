"""What only a person can say, over HTTP: once more, what became of it, go on with this database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.domain.event import EventType
from cronq.store import Store, epoch, leases, lost, now
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs


@pytest.fixture
def held(client: Client, ledger: Runs, db: Store) -> str:
    """A run of a job with guarantee hold, lost."""
    put_jobs(client, job("a", guarantee="hold"))
    run_id = order(client)
    ledger.claim(run_id)
    ledger.tell(run_id, EventType.STARTING)
    with db.begin() as tx:
        late = now(tx) + timedelta(hours=1)
        leases.ask_expired(tx, late, late, 10)
        lost.tell(tx, leases.lose_unanswered(tx, late + timedelta(seconds=1), 10), "silent", late)
    return run_id


def test_a_run_says_that_a_decision_is_needed(client: Client, held: str) -> None:
    run = client.get(f"/api/runs/{held}").json["data"]["run"]

    assert (run["state"], run["needs_decision"], run["decided_by"]) == ("lost", True, None)


@pytest.mark.parametrize("decision", ["succeeded", "failed"])
def test_a_person_says_what_became_of_it(client: Client, held: str, decision: str) -> None:
    answer = client.post(f"/api/runs/{held}/decide", json={"decision": decision})

    assert answer.status_code == 200
    run = answer.json["data"]["run"]
    assert (run["state"], run["needs_decision"]) == (decision, False)
    assert run["decided_by"]
    again = client.post(f"/api/runs/{held}/decide", json={"decision": decision})
    assert (again.status_code, again.content_type) == (409, "application/problem+json")


def test_a_person_orders_it_once_more(client: Client, held: str) -> None:
    answer = client.post(f"/api/runs/{held}/decide", json={"decision": "rerun"})

    assert answer.status_code == 202
    run = answer.json["data"]["run"]
    assert answer.headers["Location"].endswith(f"/api/runs/{run['id']}")
    assert (run["trigger"], run["state"]) == ("rerun", "scheduled")
    assert client.get(f"/api/runs/{held}").json["data"]["run"]["state"] == "lost"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"decision": "maybe"}, '"maybe" is not allowed; one of rerun, succeeded, failed is'),
        ({"decision": ["rerun"]}, "is not allowed"),
        ({"decision": "rerun", "force": True}, "no such field"),
        ({}, "decision: is missing"),
        ([], "decision: is missing"),
    ],
)
def test_anything_else_is_refused_and_changes_nothing(
    client: Client, held: str, body: object, said: str
) -> None:
    answer = client.post(f"/api/runs/{held}/decide", json=body)

    assert answer.status_code == 422
    assert said in str([problem["message"] for problem in answer.json["errors"]])
    assert client.get(f"/api/runs/{held}").json["data"]["run"]["needs_decision"] is True


def test_a_run_that_is_over_is_run_again(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    assert client.post(f"/api/runs/{run_id}/retry").status_code == 409
    ledger.finish(run_id, return_code=1)

    answer = client.post(f"/api/runs/{run_id}/retry")

    assert answer.status_code == 202
    assert answer.json["data"]["run"]["trigger"] == "rerun"


@pytest.mark.parametrize("path", ["retry", "decide"])
def test_a_run_that_nobody_knows_is_not_found(client: Client, path: str) -> None:
    body = {"decision": "rerun"} if path == "decide" else {}

    assert client.post(f"/api/runs/{'0' * 32}/{path}", json=body).status_code == 404


def test_a_database_that_is_older_is_accepted_once(client: Client, db: Store) -> None:
    assert client.get("/api/failover").json == {"data": {"failover": {"epoch": 1, "held": None}}}
    assert client.post("/api/failover/accept").status_code == 409
    put_jobs(client, job("a"))
    waiting = order(client)
    epoch.hold(db, "run 0 is gone")
    assert client.get("/api/failover").json["data"]["failover"]["held"] == "run 0 is gone"

    answer = client.post("/api/failover/accept")

    assert answer.json == {"data": {"failover": {"epoch": 2, "held": None, "missed": 1}}}
    run = client.get(f"/api/runs/{waiting}").json["data"]["run"]
    assert (run["state"], run["reason"]) == ("missed", "failover")
    assert client.post("/api/failover/accept").status_code == 409

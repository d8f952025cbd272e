"""Jobs that come after others over HTTP: what a PUT refuses and warns of, and what is shown."""

from __future__ import annotations

from cronq.injector.chains import Chains
from cronq.store import Store
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs


def after(name: str, value: object) -> dict[str, object]:
    return {"name": name, "command": "true", "after": value}


def test_a_job_shows_what_it_comes_after_and_what_comes_after_it(client: Client) -> None:
    put_jobs(client, job("a"), after("b", {"job": "a", "on": "failure"}))

    a, b = (client.get(f"/api/jobs/{n}").json["data"]["job"] for n in (1, 2))

    assert (a["after"], b["after"]) == (None, {"job": "a", "on": "failure"})
    assert a["followers"] == [{"job_id": 2, "job": "ops/b", "on": "failure", "joined": False}]
    assert (b["followers"], b["schedule"], b["schedule_text"]) == ([], None, "after a fails")


def test_a_run_shows_what_started_it_and_what_it_started(client: Client, ledger: Runs, db: Store) -> None:
    put_jobs(client, job("a"), after("b", "a"))
    cause = order(client, 1)
    ledger.finish(cause)
    Chains(db).follow_once()
    [shown] = client.get("/api/runs?job.id=2").json["data"]["runs"]

    assert (shown["caused_by"], shown["caused"], shown["trigger"]) == (cause, [], "chain")
    run = client.get(f"/api/runs/{cause}").json["data"]["run"]
    assert (run["caused_by"], run["caused"]) == (None, [shown["id"]])


def test_a_circle_is_refused_with_its_way(client: Client) -> None:
    answer = client.put("/api/category/ops", json={"jobs": [after("a", "b"), after("b", "a")]})

    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert (error["code"], error["pointer"]) == ("cycle", "/jobs/0/after")
    assert "ops/a → ops/b → ops/a" in error["message"]


def test_an_unknown_job_is_refused_in_the_own_category_and_warned_of_in_another(client: Client) -> None:
    answer = client.put("/api/category/ops", json={"jobs": [job("load"), after("b", "laod")]})
    assert (answer.status_code, answer.json["errors"][0]["hint"]) == (422, 'did you mean "load"?')

    answer = client.put("/api/category/ops?dry_run=true", json={"jobs": [after("b", "etl/load")]})
    assert answer.status_code == 200
    assert answer.json["warnings"] == [
        'job "b": there is no job "etl/load" to come after, until somebody makes it'
    ]


def test_exactly_one_of_schedule_and_after_is_needed(client: Client) -> None:
    both = {**after("a", "b"), "schedule": "@daily"}
    answer = client.put("/api/category/ops", json={"jobs": [both, {"name": "c", "command": "true"}]})

    assert answer.status_code == 422
    found = {(e["code"], e["pointer"]) for e in answer.json["errors"]}
    assert found == {("conflicting_fields", "/jobs/0/after"), ("missing_field", "/jobs/1")}
    assert all("exactly one of schedule and after" in e["message"] for e in answer.json["errors"])

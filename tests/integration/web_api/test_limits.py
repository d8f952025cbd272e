"""Limits over HTTP, and what waiting runs say of them."""

from __future__ import annotations

import pytest

from cronq.store import Store
from tests.integration.web_api.conftest import Connect
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs

LOCK = "/api/limits/lock/db-main"
TOKEN = "t0k3n-of-the-api-9Zq"


def test_a_limit_is_set_shown_and_dropped(client: Client) -> None:
    put = client.put(LOCK, json={"capacity": 5})
    assert (put.status_code, put.json["changed"]) == (200, True)
    limit = put.json["data"]["limit"]
    set_at = limit["set_at"]
    assert set_at.endswith("Z")
    assert limit == {
        "kind": "lock",
        "name": "db-main",
        "capacity": 5,
        "rate": None,
        "in_use": 0,
        "waiting": 0,
        "holders": [],
        "origin": "api",
        "set_by": "127.0.0.1 without login",
        "set_at": set_at,
    }
    assert client.get(LOCK).json == {"data": {"limit": limit}}
    assert client.get("/api/limits").json == {"data": {"limits": [limit]}, "next_cursor": None}
    again = client.put(LOCK, json={"capacity": 5})
    assert (again.json["changed"], again.json["data"]["limit"]["set_at"]) == (False, set_at)

    assert client.open(LOCK, method="DELETE").status_code == 204
    gone = client.open(LOCK, method="DELETE")
    assert gone.status_code == 404
    assert 'no limit is set for lock "db-main"; a lock without one lets 1 run in' in gone.text.replace(
        '\\"', '"'
    )
    assert client.get("/api/limits").json["data"]["limits"] == []


def test_a_limit_is_replaced_whole(client: Client) -> None:
    client.put("/api/limits/queue/gpu", json={"capacity": 5, "rate": "100/1m"})

    limit = client.put("/api/limits/queue/gpu", json={"rate": "1/90s"}).json["data"]["limit"]

    assert (limit["capacity"], limit["rate"]) == (None, "1/90s")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("lock/db-main", {"capacity": 0}, "capacity: 0 is not allowed; 1 to 100000 is"),
        ("lock/db-main", {"rate": "1/1m"}, "only a limit of kind queue or catch-up has a rate"),
        ("catch-up/all", {"capacity": 1}, "only a limit of kind category or queue or lock or host has a"),
        ("queue/gpu", {"rate": "x"}, 'rate: "x" is not allowed; N/DURATION'),
        ("queue/gpu", {}, "capacity: is missing"),
        ("queue/a b", {"capacity": 1}, 'queue: "a b" is not allowed; 1 to 32 of'),
        ("catch-up/some", {"rate": "1/1s"}, 'catch-up: "some" is not allowed; "all", its only name, is'),
    ],
)
def test_a_limit_that_can_not_be_is_422(lasting: Client, path: str, body: object, said: str) -> None:
    answer = lasting.put(f"/api/limits/{path}", json=body)

    assert answer.status_code == 422
    assert said in answer.json["errors"][0]["message"]


def test_a_category_or_kind_that_is_not_there_is_404_with_what_was_meant(client: Client) -> None:
    put_jobs(client, job(), category="billing")

    category = client.put("/api/limits/category/biling", json={"capacity": 1})
    kind = client.put("/api/limits/locks/db-main", json={"capacity": 1})

    assert (category.status_code, kind.status_code) == (404, 404)
    assert category.json["detail"] == ('no category has the name "biling"; did you mean "billing"?')
    assert kind.json["detail"].endswith('did you mean "lock"?')
    assert client.get("/api/limits/queue/gpu").status_code == 404


def test_limits_are_paged_by_kind_and_name(client: Client) -> None:
    put_jobs(client, job(), category="ops")
    for path in ("queue/b", "queue/a", "category/ops", "catch-up/all", "lock/z", "host/h"):
        body = {"rate": "1/1s"} if path == "catch-up/all" else {"capacity": 1}
        assert client.put(f"/api/limits/{path}", json=body).status_code == 200

    seen, path = [], "/api/limits?limit=4"
    while path:
        page = client.get(path).json
        seen += [f"{limit['kind']}/{limit['name']}" for limit in page["data"]["limits"]]
        path = f"/api/limits?limit=4&cursor={page['next_cursor']}" if page["next_cursor"] else ""

    assert seen == ["catch-up/all", "category/ops", "host/h", "lock/z", "queue/a", "queue/b"]


def test_setting_a_limit_needs_the_token(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    assert client.put(LOCK, json={"capacity": 1}).status_code == 401
    assert client.open(LOCK, method="DELETE").status_code == 401
    assert client.get("/api/limits").status_code == 200


def test_a_lock_in_use_is_listed_though_nobody_limits_it(client: Client, ledger: Runs) -> None:
    put_jobs(client, job(locks=["db-main"]))
    first, second = order(client), order(client)
    ledger.queue()

    [limit] = client.get("/api/limits").json["data"]["limits"]

    assert (limit["kind"], limit["name"], limit["capacity"]) == ("lock", "db-main", 1)
    assert (limit["in_use"], limit["waiting"], limit["holders"]) == (1, 1, [first])
    assert (limit["set_by"], limit["origin"]) == (None, None)
    assert client.get(LOCK).json["data"]["limit"] == limit
    run = client.get(f"/api/runs/{second}").json["data"]["run"]
    assert run["release_at"] is None
    waiting = run["waiting"]
    since = waiting.pop("since")
    assert since.endswith("Z")
    assert waiting == {
        "for": "lock db-main (1 at once)",
        "gate": "lock:db-main",
        "position": 1,
        "of": 1,
        "held_by": [first],
        "until": None,
    }


def test_runs_say_in_short_what_they_wait_for(client: Client, ledger: Runs) -> None:
    put_jobs(client, job(locks=["db-main"]))
    first, second = order(client), order(client)
    ledger.finish(first)
    third = order(client)
    ledger.queue()

    told = {run["id"]: run["waiting_for"] for run in client.get("/api/runs").json["data"]["runs"]}

    assert told[first] is None
    assert told[second] == "lock db-main (1 at once)"
    assert told[third] == "lock db-main (1 at once)"
    assert client.get(f"/api/runs/{first}").json["data"]["run"]["waiting"] is None


def test_a_document_limits_its_category(client: Client, db: Store) -> None:
    document = {"jobs": [job()], "limits": {"concurrency": 5}}

    dry = client.put("/api/category/ops?dry_run=true", json=document).json
    assert (dry["changed"], dry["limits"]) == (True, {"concurrency": {"from": None, "to": 5}})
    assert client.get("/api/limits").json["data"]["limits"] == []
    done = client.put("/api/category/ops", json=document).json
    assert (done["changed"], done["limits"]) == (True, {"concurrency": {"from": None, "to": 5}})
    [limit] = client.get("/api/limits").json["data"]["limits"]
    assert (limit["name"], limit["capacity"], limit["origin"]) == ("ops", 5, "put")
    again = client.put("/api/category/ops", json=document).json
    assert (again["changed"], "limits" in again) == (False, False)


def test_queues_tell_what_waits_and_what_limits_them(client: Client, ledger: Runs) -> None:
    put_jobs(client, job(routing_key="gpu", locks=["db-main"]))
    client.put("/api/limits/queue/gpu", json={"capacity": 3, "rate": "100/1m"})
    order(client)
    order(client)
    ledger.queue("gpu")

    [queue] = client.get("/api/queues").json["data"]["queues"]

    oldest = queue.pop("oldest_at")
    assert oldest.endswith("Z")
    assert queue == {
        "name": "cronq_jobs.gpu",
        "ready": None,
        "consumers": None,
        "measured_at": None,
        "routing_key": "gpu",
        "waiting": 1,
        "parked": 1,
        "capacity": 3,
        "rate": "100/1m",
        "served": False,
    }


# -- why


def test_why_tells_of_an_instant_in_the_jobs_zone(client: Client) -> None:
    put_jobs(client, job(schedule="30 2 * * *", timezone="Europe/Berlin"))

    by_utc = client.get("/api/jobs/1/why?at=2199-01-01T01:30:00Z").json["data"]["why"]
    local = client.get("/api/jobs/1/why?at=2199-01-01T02:30:00").json["data"]["why"]

    assert by_utc["verdict"] == "not_due"
    assert (by_utc["job"], by_utc["at"], by_utc["run"]) == ("backup", "2199-01-01T01:30:00Z", None)
    assert local["at"] == by_utc["at"]
    other = client.get("/api/jobs/1/why?at=2199-01-01T03:30:00Z").json["data"]["why"]
    assert (other["verdict"], other["before"]) == ("no_occurrence", "2199-01-01T01:30:00Z")


def test_why_without_an_instant_is_of_the_last_due_one(client: Client) -> None:
    put_jobs(client, job(schedule="0 3 1 1 *"))

    told = client.get("/api/jobs/1/why").json["data"]["why"]

    assert (told["verdict"], told["at"]) == ("never", None)
    assert told["text"].startswith("Nothing of it was due so far: its first occurrence is at ")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/jobs/4711/why", 404),
        ("/api/jobs/x/why", 404),
        ("/api/jobs/1/why?at=yesterday", 422),
        ("/api/jobs/1/why?at=2026-01-01", 422),
        ("/api/jobs/1/why?when=2026-01-01T00:00:00Z", 422),
    ],
)
def test_why_of_what_is_not_there_is_refused(client: Client, path: str, status: int) -> None:
    put_jobs(client, job())

    assert client.get(path).status_code == status

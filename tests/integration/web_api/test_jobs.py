"""Jobs over HTTP: the ancestor's answers key by key, what ours add, and ordering runs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cronq.domain.event import EventType
from cronq.runtime.clock import utc_now
from cronq.store import Store
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs

ANCESTORS_JOB = {
    "id": int,
    "category_id": int,
    "category": dict,
    "name": str,
    "interval": float,
    "next_run": str,
    "last_run_start": str,
    "last_run_stop": str,
    "last_run_status": str,
    "last_run_text": str,
    "current_status": str,
    "routing_key": str,
    "command": str,
    "locked_by": type(None),
    "runs": list,
}
ANCESTORS_RUN = {
    "id": str,
    "job_id": int,
    "status": str,
    "started_at": str,
    "started_event_id": int,
    "completed_at": str,
    "completed_event_id": int,
    "return_code": int,
    "host": str,
}
OURS = {
    "schedule", "schedule_text", "timezone", "dst", "start", "end", "enabled", "revision", "description",
    "tags", "timeout", "kill_grace", "guarantee", "max_attempts", "retry_delay", "retry_backoff",
    "calendar", "calendar_remarks",
    "overlap", "priority", "locks",
    "after", "followers",
    "misfire", "misfire_limit", "start_deadline", "jitter",
    "paused", "skip_next",
}  # fmt: skip


def test_a_job_has_the_ancestors_keys_and_types(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    ledger.finish(order(client))

    listed = client.get("/api/jobs").json
    alone = client.get("/api/jobs/1").json

    [found] = listed["data"]["jobs"]
    assert listed == {"data": {"jobs": [found]}}
    assert alone == {"data": {"job": found}}
    assert {name: type(found[name]) for name in ANCESTORS_JOB} == ANCESTORS_JOB
    assert set(found) == set(ANCESTORS_JOB) | OURS
    assert found["category"] == {"id": 1, "name": "ops"}
    assert found["interval"] == 60.0
    for name in ("next_run", "last_run_start", "last_run_stop"):
        assert datetime.fromisoformat(found[name]).tzinfo is None


def test_a_job_tells_its_schedule_as_written_and_in_words(client: Client) -> None:
    times = ["0 3 * * 1-5", "@at 2099-12-24T18:00:00"]
    end = "2099-12-31T00:00:00Z"
    put_jobs(client, job("a", schedule=times, timezone="Europe/Berlin", end=end))

    found = client.get("/api/jobs/1").json["data"]["job"]

    assert (found["schedule"], found["start"], found["end"]) == (times, None, end)
    assert found["schedule_text"] == (
        "at 03:00 on weekdays, Europe/Berlin; and once at 2099-12-24 18:00, Europe/Berlin, not after " + end
    )


def test_a_runs_item_has_the_ancestors_keys_and_types(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.finish(run_id)

    [run] = client.get("/api/jobs/1").json["data"]["job"]["runs"]

    assert {name: type(run[name]) for name in run} == ANCESTORS_RUN
    assert (run["id"], run["status"], run["return_code"], run["host"]) == (run_id, "succeeded", 0, "h1")
    assert run["started_event_id"] < run["completed_event_id"]
    assert datetime.fromisoformat(run["started_at"]).tzinfo is None


def test_the_status_of_a_run_is_failed_where_the_ancestor_said_finished(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    failed, running, waiting = order(client), order(client), order(client)
    ledger.finish(failed, return_code=3, finished_at=utc_now() - timedelta(seconds=2))
    ledger.claim(running)
    ledger.tell(running, EventType.STARTING)

    found = client.get("/api/jobs/1").json["data"]["job"]

    told = {run["id"]: (run["status"], run["return_code"]) for run in found["runs"]}
    assert told == {failed: ("failed", 3), running: ("pending", None), waiting: ("pending", None)}
    assert [run["id"] for run in found["runs"]] == sorted(told, reverse=True)
    assert found["last_run_status"] == "failed"
    assert found["current_status"] == "starting"
    assert found["last_run_text"] == "Running now"


def test_the_runs_of_a_job_are_its_newest_ten_and_nobody_elses(client: Client) -> None:
    put_jobs(client, job("a"), job("b"))
    mine = [order(client, 1) for _ in range(12)]
    other = order(client, 2)

    first, second = client.get("/api/jobs").json["data"]["jobs"]

    assert [run["id"] for run in first["runs"]] == mine[:1:-1]
    assert [run["id"] for run in second["runs"]] == [other]


def test_a_job_never_run_says_none_as_the_ancestor_did(client: Client) -> None:
    put_jobs(client, job("a"))

    found = client.get("/api/jobs/1").json["data"]["job"]

    assert found["current_status"] == "none"
    assert found["last_run_text"] == "Waiting..."
    assert found["runs"] == []
    nothing = ("last_run_start", "last_run_stop", "last_run_status", "locked_by")
    assert [found[name] for name in nothing] == [None] * 4


def test_our_fields_are_those_of_the_document(client: Client) -> None:
    fields = {
        "schedule": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "dst": "skip",
        "enabled": False,
        "description": "every night",
        "tags": ["db", "night"],
        "timeout": "10m",
        "kill_grace": "30s",
        "routing_key": "slow",
    }
    put_jobs(client, job("a", **fields))

    found = client.get("/api/jobs/1").json["data"]["job"]

    assert {name: found[name] for name in fields} == fields
    assert found["interval"] is None
    assert found["revision"] == 1


def test_a_row_written_by_hand_is_shown(client: Client, db: Store) -> None:
    with db.begin() as tx:
        tx.exec_driver_sql(
            "INSERT INTO jobs (name, `interval`, next_run, command)"
            " VALUES ('by hand', '1970-01-02 00:00:00', '2030-01-01 00:00:00', 'true')"
        )

    found = client.get("/api/jobs/1").json["data"]["job"]

    assert found["category"] == {"id": None, "name": "(none)"}
    assert (found["interval"], found["schedule"], found["routing_key"]) == (86400.0, None, "default")
    assert found["next_run"] == "2030-01-01T00:00:00"


def test_jobs_are_paged_as_the_ancestor_did(client: Client) -> None:
    put_jobs(client, *(job(f"j{n:02}") for n in range(12)))

    first = client.get("/api/jobs")
    second = client.get("/api/jobs?page=1")
    small = client.get("/api/jobs?per_page=5&page=2")

    def names(answer: object) -> list[str]:
        return [j["name"] for j in answer.json["data"]["jobs"]]  # type: ignore[attr-defined]  # a Answer

    assert names(first) == [f"j{n:02}" for n in range(10)]
    assert first.headers["Link"] == '</api/jobs?page=1>; rel="next"'
    assert names(second) == ["j10", "j11"]
    assert "Link" not in second.headers
    assert names(small) == ["j10", "j11"]
    assert client.get("/api/jobs?page=99").json == {"data": {"jobs": []}}


def test_jobs_are_paged_by_cursor(client: Client) -> None:
    put_jobs(client, *(job(f"j{n}") for n in range(5)))
    pages = []
    url = "/api/jobs?limit=2"

    while url:
        answer = client.get(url)
        pages.append([j["name"] for j in answer.json["data"]["jobs"]])
        cursor, link = answer.json["next_cursor"], answer.headers.get("Link", "")
        assert cursor is None or link == f'</api/jobs?limit=2&cursor={cursor}>; rel="next"'
        url = link[1 : link.find(">")]

    assert pages == [["j0", "j1"], ["j2", "j3"], ["j4"]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sort=name.desc", ["d", "c", "b", "a"]),
        ("sort=name.asc", ["a", "b", "c", "d"]),
        ("sort=id.desc", ["c", "b", "d", "a"]),
        ("sort=category_id.desc", ["b", "c", "a", "d"]),
        ("id=2", ["d"]),
        ("id=99", []),
        ("category.id=2", ["b", "c"]),
        ("category.name=ops", ["a", "d"]),
        ("category.name=nope", []),
        ("category.name=ops&category.id=2", []),
    ],
)
def test_jobs_are_sorted_and_filtered(client: Client, query: str, names: list[str]) -> None:
    put_jobs(client, job("a"), job("d"), category="ops")
    put_jobs(client, job("b"), job("c"), category="shop")

    answer = client.get(f"/api/jobs?{query}")

    assert [j["name"] for j in answer.json["data"]["jobs"]] == names


def test_ordering_a_run_answers_with_it_and_its_place(client: Client) -> None:
    put_jobs(client, job("a", routing_key="slow"))

    answer = client.post("/api/jobs/1/run")

    run = answer.json["run"]
    assert answer.status_code == 202
    assert set(answer.json) == {"success", "run"}
    assert answer.json["success"] == {"message": f"Job submitted at {run['created_at']}"}
    assert answer.headers["Location"] == f"/api/runs/{run['id']}"
    assert (run["state"], run["trigger"], run["routing_key"]) == ("scheduled", "api", "slow")
    located = client.get(answer.headers["Location"]).json["data"]["run"]
    assert located == run | {"waiting": located["waiting"]}


def test_n_orders_are_n_runs(client: Client) -> None:
    put_jobs(client, job("a"))

    ids = {order(client) for _ in range(3)}

    assert len(ids) == 3
    assert {run["id"] for run in client.get("/api/runs").json["data"]["runs"]} == ids


def test_an_idempotency_key_stands_for_one_run(client: Client) -> None:
    put_jobs(client, job("a"), job("b"))
    key = {"Idempotency-Key": '"deploy-7"'}

    first = client.post("/api/jobs/1/run", headers=key)
    again = client.post("/api/jobs/1/run", headers={"Idempotency-Key": "deploy-7"})
    other = client.post("/api/jobs/2/run", headers=key)
    forced = client.post("/api/jobs/1/run?force=true", headers=key)
    new = client.post("/api/jobs/1/run", headers={"Idempotency-Key": "deploy-8"})

    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert again.json == first.json
    for reused in (other, forced):
        assert reused.status_code == 422
        assert reused.json["errors"][0]["code"] == "idempotency_key_reused"
    assert new.headers["Location"] != first.headers["Location"]
    assert len(client.get("/api/runs").json["data"]["runs"]) == 2


def test_a_disabled_job_runs_only_when_forced(client: Client) -> None:
    put_jobs(client, job("a", enabled=False))

    refused = client.post("/api/jobs/1/run")
    forced = client.post("/api/jobs/1/run?force=true")

    assert refused.status_code == 409
    assert "force=true" in refused.json["detail"]
    assert forced.status_code == 202


def test_a_removed_job_cannot_be_ordered(client: Client) -> None:
    put_jobs(client, job("a"))
    put_jobs(client)

    answer = client.post("/api/jobs/1/run")

    assert answer.status_code == 404
    assert answer.json["detail"] == "Job not found for id 1"

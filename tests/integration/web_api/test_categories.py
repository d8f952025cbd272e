"""PUT of a category: the ancestor's request, all or nothing, and what it says it did."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest

from cronq.store import Store, jobs
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs

SEED = """
    {
        "category": "example",
        "jobs": [{
            "name": "Test Job",
            "schedule": "R/2013-05-29T00:00:00/PT1M",
            "command": "sleep 10",
            "routing_key": "slow"
        }]
    }"""


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_request_of_the_ancestors_readme_works(client: Client, method: str) -> None:
    answer = client.open(
        "/api/category/example", method=method, data=SEED, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["ETag"] == '"1"'
    warnings = answer.json["warnings"]
    assert answer.json == {
        "status": "success",
        "changed": True,
        "revision": 1,
        "added": ["Test Job"],
        "updated": [],
        "removed": [],
        "warnings": warnings,
    }
    assert len(warnings) == 1
    assert "UTC" in warnings[0]


def test_the_same_document_again_changes_nothing_and_keeps_next_run(client: Client, db: Store) -> None:
    put_jobs(client, job("a"), job("b"))
    before = client.get("/api/jobs").json

    answer = client.put("/api/category/ops", json={"jobs": [job("b"), job("a")]})

    assert answer.json["changed"] is False
    assert answer.json["revision"] == 1
    assert answer.headers["ETag"] == '"1"'
    assert client.get("/api/jobs").json == before
    with db.read() as tx:
        assert len(jobs.revisions(tx, 1)) == 1


def test_a_new_command_does_not_move_next_run_and_a_new_schedule_does(client: Client) -> None:
    put_jobs(client, job("a", schedule="0 3 1 1 *"))
    [before] = client.get("/api/jobs").json["data"]["jobs"]

    put_jobs(client, job("a", schedule="0 3 1 1 *", command="false"))
    [after] = client.get("/api/jobs").json["data"]["jobs"]
    put_jobs(client, job("a", schedule="0 4 1 1 *", command="false"))
    [moved] = client.get("/api/jobs").json["data"]["jobs"]

    assert (after["command"], after["revision"]) == ("false", 2)
    assert after["next_run"] == before["next_run"]
    assert moved["next_run"] == before["next_run"].replace("T03", "T04")


def test_a_bad_second_job_changes_nothing_and_creates_no_category(client: Client) -> None:
    answer = client.put("/api/category/ops", json={"jobs": [job("a"), job("b", schedule="60 * * * *")]})

    assert answer.status_code == 422
    assert client.get("/api/jobs").json == {"data": {"jobs": []}}
    assert client.get("/api/categories").json["data"] == {"categories": []}
    assert client.get("/api/categories/ops").status_code == 404


def test_every_problem_is_told_at_once_with_its_place(client: Client) -> None:
    answer = client.put(
        "/api/category/ops",
        json={"category": "other", "jobs": [{"name": "a", "shedule": "* * * * *", "command": ""}, 7]},
    )

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    told = {(error["code"], error["pointer"]) for error in answer.json["errors"]}
    assert told == {
        ("category_mismatch", "/category"),
        ("unknown_field", "/jobs/0/shedule"),
        ("missing_field", "/jobs/0"),
        ("invalid_value", "/jobs/0/command"),
        ("invalid_type", "/jobs/1"),
    }
    [unknown] = [error for error in answer.json["errors"] if error["code"] == "unknown_field"]
    assert unknown["hint"] == 'did you mean "schedule"?'


def test_a_removed_job_is_gone_from_lists_and_keeps_its_history(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"), job("b"))
    run_id = order(client, 2)
    ledger.finish(run_id)

    answer = client.put("/api/category/ops", json={"jobs": [job("a")]})

    assert answer.json["removed"] == ["b"]
    assert [j["name"] for j in client.get("/api/jobs").json["data"]["jobs"]] == ["a"]
    assert client.get("/api/jobs/2").status_code == 404
    assert "/api/runs?job.id=2" in client.get("/api/jobs/2").json["detail"]
    [kept] = client.get("/api/runs?job.id=2").json["data"]["runs"]
    assert (kept["id"], kept["state"], kept["job"]) == (run_id, "succeeded", "b")
    revisions = client.get("/api/jobs/2/revisions").json["data"]["revisions"]
    assert [(r["revision"], r["removed"]) for r in revisions] == [(2, True), (1, False)]


def test_a_job_that_comes_back_has_the_id_that_it_had(client: Client) -> None:
    put_jobs(client, job("a"), job("b"))
    put_jobs(client, job("a"))

    put_jobs(client, job("a"), job("b"))

    assert [(j["id"], j["name"]) for j in client.get("/api/jobs").json["data"]["jobs"]] == [
        (1, "a"),
        (2, "b"),
    ]


def test_a_run_that_waits_is_cancelled_with_its_job(client: Client) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)

    put_jobs(client)

    run = client.get(f"/api/runs/{run_id}").json["data"]["run"]
    assert (run["state"], run["reason"]) == ("cancelled", "job removed")


def test_a_dry_run_tells_the_plan_and_writes_nothing(client: Client) -> None:
    first = client.put("/api/category/ops?dry_run=true", json={"jobs": [job("a")]})
    assert first.json["added"] == ["a"]
    assert first.json["changed"] is True
    assert client.get("/api/categories").json["data"] == {"categories": []}

    put_jobs(client, job("a"), job("b"))
    before = client.get("/api/jobs").json
    second = client.put("/api/category/ops?dry_run=1", json={"jobs": [job("a", command="x"), job("c")]})

    assert (second.json["added"], second.json["updated"], second.json["removed"]) == (["c"], ["a"], ["b"])
    assert second.json["revision"] == 1
    assert client.get("/api/jobs").json == before


def test_removing_five_jobs_and_more_than_half_needs_to_be_meant(client: Client) -> None:
    put_jobs(client, *(job(f"j{n}") for n in range(6)))

    refused = client.put("/api/category/ops", json={"jobs": [job("j0")]})
    assert refused.status_code == 409
    assert "allow_removals=5" in refused.json["detail"]
    assert len(client.get("/api/jobs").json["data"]["jobs"]) == 6

    meant = client.put("/api/category/ops?allow_removals=5", json={"jobs": [job("j0")]})
    assert meant.status_code == 200
    assert len(meant.json["removed"]) == 5


def test_if_match_lets_only_the_revision_through_that_it_names(client: Client) -> None:
    def put(command: str, **headers: str) -> int:
        document = {"jobs": [job("a", command=command)]}
        return client.put("/api/category/ops", json=document, headers=headers).status_code

    assert put("1", **{"If-Match": '"1"'}) == 412
    assert put("1", **{"If-Match": "*"}) == 412
    assert client.get("/api/categories").json["data"] == {"categories": []}
    assert put("1", **{"If-None-Match": "*"}) == 200
    assert put("2", **{"If-None-Match": "*"}) == 412
    assert put("2", **{"If-Match": '"7"'}) == 412
    assert put("2", **{"If-Match": 'W/"1"'}) == 412
    assert put("2", **{"If-Match": '"7", "1"'}) == 200
    assert put("3", **{"If-Match": "*"}) == 200
    [after] = client.get("/api/jobs").json["data"]["jobs"]
    assert after["command"] == "3"
    assert client.get("/api/categories/ops").headers["ETag"] == '"3"'


def test_a_412_names_the_revision_that_there_is(client: Client) -> None:
    put_jobs(client, job("a"))

    answer = client.put("/api/category/ops", json={"jobs": []}, headers={"If-Match": '"9"'})

    assert answer.json["detail"] == 'category "ops" is at revision 1; If-Match wants "9"'
    assert answer.json["type"] == "/docs/errors/precondition_failed"


def test_of_concurrent_puts_at_one_revision_one_wins(client: Client) -> None:
    put_jobs(client, job("a"))
    statuses: list[int] = []

    def put(number: int) -> None:
        answer = client.application.test_client().put(
            "/api/category/ops", json={"jobs": [job("a", command=f"{number}")]}, headers={"If-Match": '"1"'}
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(statuses) == [200, 412, 412, 412, 412, 412]


def test_concurrent_puts_of_one_new_category_make_one_category_and_whole_documents(
    client: Client,
) -> None:
    statuses: list[int] = []

    def put(number: int) -> None:
        document = {"jobs": [job(f"{number}-{n}") for n in range(4)]}
        answer = client.application.test_client().put("/api/category/ops?allow_removals=9", json=document)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert statuses == [200] * 6
    [category] = client.get("/api/categories").json["data"]["categories"]
    assert category["revision"] == 6
    names = [j["name"] for j in client.get("/api/jobs?limit=100").json["data"]["jobs"]]
    assert len(names) == 4
    assert len({name.partition("-")[0] for name in names}) == 1


def test_a_put_keeps_the_interval_for_readers_of_the_ancestors_table(client: Client, db: Store) -> None:
    put_jobs(client, job("a", schedule="R/2013-05-29T00:00:00Z/PT90S"), job("b", schedule="@daily"))

    with db.read() as tx:
        fixed, daily = jobs.by_id(tx, 1), jobs.by_id(tx, 2)

    assert fixed is not None
    assert fixed.interval is not None
    assert fixed.interval.total_seconds() == 90
    assert daily is not None
    assert daily.next_run is not None
    assert daily.next_run > datetime.now(UTC).replace(microsecond=0)


def test_categories_are_listed_found_by_id_and_by_name(client: Client) -> None:
    put_jobs(client, job("a"), category="ops")
    put_jobs(client, job("a"), category="web shop")

    everything = client.get("/api/categories").json
    one = client.get("/api/categories?id=2").json
    named = client.get("/api/categories/web%20shop")

    free = {"paused": None, "skip_next": None}
    ops, shop = ({"id": i, "name": name, "revision": 1} | free for i, name in ((1, "ops"), (2, "web shop")))
    assert everything == {"data": {"categories": [ops, shop]}, "next_cursor": None}
    assert one["data"] == {"categories": [shop]}
    assert named.json == {"data": {"category": shop}}
    assert named.headers["ETag"] == '"1"'


def test_where_a_document_came_from_is_kept_with_each_revision(client: Client) -> None:
    source = {"repo": "https://git.example/ops", "commit": "3fa9c1", "actor": "ana"}

    client.put("/api/category/ops", data=json.dumps({"source": source, "jobs": [job("a")]}),
               content_type="application/json; charset=UTF-8")  # fmt: skip

    [revision] = client.get("/api/jobs/1/revisions").json["data"]["revisions"]
    assert revision["source"] == source
    assert revision["origin"] == "put"
    assert revision["actor"] == "127.0.0.1 without login"
    assert revision["document"] == {
        "name": "a",
        "schedule": "R/2013-05-29T00:00:00Z/PT1M",
        "command": "true",
    }

"""Pauses, snoozes and skips over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from cronq.injector.expand import expand_once
from cronq.injector.release import release_once, set_free_once
from cronq.store import Store, now
from tests.factories import by_hand, execute
from tests.integration.web_api.support import Answer, Client, job, order, put_jobs
from tests.integration.web_api.test_bad_requests import check

REST = {"ops": "/api/categories/ops", "job": "/api/jobs/1", "queue": "/api/queues/default", "all": "/api"}


def post(client: Client, path: str, status: int = 200, **body: object) -> Any:
    """`lasting` is sent as `for`, which no argument can be called."""
    body = {"for" if name == "lasting" else name: value for name, value in body.items()}
    answer = client.post(path, json=body) if body else client.post(path)
    assert answer.status_code == status, answer.text
    return answer.json["data"] if status == 200 else answer.json


def shown_job(client: Client, job_id: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json["data"]["job"]
    return found


def pauses_of(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/api/pauses").json["data"]["pauses"]
    return found


def make_due(db: Store) -> None:
    """As if no injector had been there for ten minutes."""
    with db.read() as tx:
        at = by_hand(now(tx) - timedelta(minutes=10))
    execute(db, "UPDATE jobs SET next_run = :at, planned_run = :at", at=at)


def work(db: Store) -> None:
    expand_once(db, locked_by="host.1", window=2_000, publish_lease=timedelta(seconds=2))
    while set_free_once(db, catch_up_rate=1_000) or release_once(db, 2_000):
        pass


def problem(answer: Answer, status: int = 422) -> dict[str, str]:
    [found] = check(answer, status)
    return found


@pytest.mark.parametrize(
    ("kind", "subject", "name"),
    [
        ("job", "job:1", "ops/backup"),
        ("ops", "category:1", "ops"),
        ("queue", "queue:default", "default"),
        ("all", "all", None),
    ],
)
def test_a_pause_is_set_listed_shown_by_its_jobs_and_lifted(
    client: Client, kind: str, subject: str, name: str | None
) -> None:
    put_jobs(client, job())
    with capture_logs() as logged:
        pause = post(client, f"{REST[kind]}/pause", reason="disk full")["pause"]

    assert (pause["subject"], pause["name"], pause["reason"], pause["until"]) == (
        subject, name, "disk full", None,
    )  # fmt: skip
    assert "without login" in pause["by"]
    assert pauses_of(client) == [pause | {"held": 0}]
    assert shown_job(client)["paused"] == pause
    [category] = client.get("/api/categories").json["data"]["categories"]
    assert category["paused"] == (pause if kind in ("ops", "all") else None)

    with capture_logs() as logged_later:
        done = post(client, f"{REST[kind]}/resume")["resumed"]
    assert (done["changed"], done["pause"], done["jobs"], done["is_whole"]) == (True, pause, [], True)
    assert (pauses_of(client), shown_job(client)["paused"]) == ([], None)
    [began] = [line for line in logged if line["event"] == "pause.began"]
    [lifted] = [line for line in logged_later if line["event"] == "pause.lifted"]
    assert (began["subject"], began["reason"], began["by"]) == (subject, "disk full", pause["by"])
    assert (lifted["since"], lifted["lifted_by"]) == (pause["since"], pause["by"])


def test_resuming_what_is_not_paused_changes_nothing(client: Client) -> None:
    put_jobs(client, job())
    for path in REST.values():
        done = post(client, f"{path}/resume")["resumed"]
        assert (done["changed"], done["pause"], done["going_on"]) == (False, None, 0)


def test_a_resume_tells_what_was_missed_and_what_goes_on(client: Client, db: Store) -> None:
    put_jobs(client, job(), job("skips", misfire="skip"))
    post(client, "/api/jobs/1/pause")
    post(client, "/api/pause", reason="move")
    # As if the pauses had begun before what is due.
    execute(db, "UPDATE pauses SET since = '2019-01-01 00:00:00'")
    make_due(db)
    work(db)
    assert [(p["subject"], p["held"]) for p in pauses_of(client)] == [("all", 1), ("job:1", 0)]

    done = post(client, "/api/resume")["resumed"]

    assert (done["going_on"], done["still_held"]) == (0, 1)
    assert [(j["job_id"], j["job"], j["still_held"]) for j in done["jobs"]] == [
        (1, "ops/backup", 1),
        (2, "ops/skips", 0),
    ]
    work(db)
    last = post(client, "/api/jobs/1/resume")["resumed"]
    assert (last["going_on"], last["still_held"]) == (1, 0)
    assert last["missed"] > 0
    work(db)
    assert client.get("/api/runs?job.id=1&state=queued").json["data"]["runs"] != []


def test_a_pause_may_end_by_itself(client: Client) -> None:
    put_jobs(client, job())
    snoozed = post(client, "/api/jobs/1/snooze", reason="later", lasting="2h")["pause"]
    since, until = (datetime.fromisoformat(snoozed[name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=2)

    again = post(client, "/api/jobs/1/pause", until="2030-01-01T00:00:00+01:00")["pause"]
    assert (again["since"], again["until"]) == (snoozed["since"], "2029-12-31T23:00:00Z")
    assert len(pauses_of(client)) == 1


@pytest.mark.parametrize(
    ("order_", "body", "pointer", "said"),
    [
        (
            "pause",
            {"until": "2020-01-01T00:00:00Z"},
            "/until",
            '"2020-01-01T00:00:00Z" is over; an instant from',
        ),
        ("pause", {"until": "2999-01-01T00:00:00Z"}, "/until", "is too far away; an instant from"),
        (
            "snooze",
            {"until": "2030-01-01T00:00:00Z", "for": "2h"},
            "/for",
            "both given; one of them is allowed",
        ),
        ("snooze", {"reason": "x"}, "", "a snooze needs one of them"),
        ("snooze", {}, "", "a snooze needs one of them"),
        ("snooze", {"for": "-1h"}, "/for", "a duration from 1s to ten years is"),
        ("pause", {"reason": "x" * 300}, "/reason", "reason: 300 characters; at most 255 are allowed"),
        ("pause", {"reasn": "x"}, "/reasn", "there is no such field; allowed: reason, until, for"),
        ("skip", {}, "", "count: is missing; 0 to 1,000 is allowed"),
        ("skip", {"count": 1001}, "/count", "count: 1001 is not allowed; 0 (none) to 1,000 is"),
        ("skip", [], "", "an object with count, reason is"),
    ],
)
def test_a_wrong_order_is_told_and_changes_nothing(
    client: Client, order_: str, body: object, pointer: str, said: str
) -> None:
    put_jobs(client, job())

    found = problem(client.post(f"/api/jobs/1/{order_}", json=body))

    assert found["pointer"] == pointer
    assert said in found["message"]
    assert (shown_job(client)["paused"], shown_job(client)["skip_next"]) == (None, None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/jobs/7/pause", "Job not found for id 7"),
        ("/api/jobs/x/resume", "Job not found"),
        ("/api/jobs/7/skip", "Job not found for id 7"),
        ("/api/categories/nope/pause", "no category has the name"),
        ("/api/categories/nope/resume", "no category has the name"),
        ("/api/queues/defualt/pause", 'did you mean "default"?'),
        ("/api/queues/a%20b/resume", "no queue has the key"),
    ],
)
def test_what_is_not_there_is_404(client: Client, path: str, said: str) -> None:
    put_jobs(client, job())
    body = {"count": 1} if path.endswith("skip") else None

    assert said in problem(client.post(path, json=body) if body else client.post(path), 404)["message"]


def test_a_body_that_is_no_json_is_refused(client: Client) -> None:
    put_jobs(client, job())
    assert client.post("/api/jobs/1/pause", data={"reason": "x"}).status_code == 415
    assert client.post("/api/jobs/1/pause", json={"reason": "x"}, query_string="a=1").status_code == 422
    assert client.get("/api/jobs/1/pause").status_code == 405
    assert shown_job(client)["paused"] is None


def test_a_removed_job_is_not_paused_but_resumed(client: Client) -> None:
    put_jobs(client, job(), job("b"))
    post(client, "/api/jobs/2/pause")
    put_jobs(client, job())

    post(client, "/api/jobs/2/pause", 404)
    assert [p["name"] for p in pauses_of(client)] == ["ops/b"]
    assert post(client, "/api/jobs/2/resume")["resumed"]["changed"] is True


def test_what_comes_next_is_skipped_by_a_job_a_category_or_everything(client: Client, db: Store) -> None:
    put_jobs(client, job(), job("b"))
    put_jobs(client, job("c"), category="shop")
    assert post(client, "/api/jobs/1/skip", count=3, reason="holiday")["skip"]["jobs"] == 1
    left = shown_job(client)["skip_next"]
    assert (left["remaining"], left["reason"]) == (3, "holiday")

    assert post(client, "/api/categories/ops/skip", count=1)["skip"]["jobs"] == 2
    assert [c["skip_next"] for c in client.get("/api/categories").json["data"]["categories"]] == [
        {"jobs": 2}, None,
    ]  # fmt: skip
    assert post(client, "/api/skip", count=1, reason="move")["skip"]["jobs"] == 3
    assert post(client, "/api/jobs/3/skip", count=0)["skip"]["remaining"] == 0
    make_due(db)
    work(db)

    newest = [client.get(f"/api/runs?job.id={i}&limit=200").json["data"]["runs"] for i in (1, 2, 3)]
    ended = [{(r["state"], (r["reason"] or "").partition(": ")[2][-4:]) for r in runs} for runs in newest]
    assert ("skipped", "move") in ended[0]
    assert ("skipped", "move") in ended[1]
    assert not {state for state, _ in ended[2]} & {"skipped"}
    assert shown_job(client)["skip_next"] is None


def test_a_queue_has_no_occurrences_to_skip(client: Client) -> None:
    put_jobs(client, job())
    assert client.post("/api/queues/default/skip", json={"count": 1}).status_code == 404


def test_a_paused_job_runs_when_somebody_asks(client: Client, db: Store) -> None:
    put_jobs(client, job())
    post(client, "/api/pause")
    run_id = order(client)
    work(db)

    assert client.get(f"/api/runs/{run_id}").json["data"]["run"]["state"] == "queued"

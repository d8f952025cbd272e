"""The ledger over HTTP: its fields, filters, pages, output, events, and cancelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.event import EventType
from cronq.store import Store, now
from cronq.store import runs as runs_store
from tests.integration.web_api.support import Client, Runs, job, order, put_jobs

FIXED_BY_NAME = [
    "id", "job_id", "job", "category", "state", "reason", "trigger",
    "scheduled_for", "queued_at", "published_at", "claimed_at", "started_at", "finished_at", "recorded_at",
    "attempt", "return_code", "signal", "runner", "host", "pid", "duration_s",
    "revision", "commit",
]  # fmt: skip


def test_a_run_has_every_field_that_is_fixed_by_name(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.finish(run_id, return_code=3)

    run = client.get(f"/api/runs/{run_id}").json["data"]["run"]

    assert list(run)[: len(FIXED_BY_NAME)] == FIXED_BY_NAME
    told = {
        "id": run_id,
        "job_id": 1,
        "job": "a",
        "category": "ops",
        "state": "failed",
        "trigger": "api",
        "attempt": 1,
        "return_code": 3,
        "runner": "runner-1",
        "host": "h1",
        "pid": 4411,
        "duration_s": 1.5,
        "revision": 1,
    }
    assert {name: run[name] for name in told} == told
    instants = ("scheduled_for", "queued_at", "claimed_at", "started_at", "finished_at", "recorded_at")
    for name in instants:
        assert run[name].endswith("Z"), name
        assert datetime.fromisoformat(run[name]).utcoffset() == timedelta(0)


@pytest.fixture
def history(client: Client, ledger: Runs) -> dict[str, str]:
    """A succeeded, a failed and a waiting run of two jobs, by name."""
    put_jobs(client, job("a"), category="ops")
    put_jobs(client, job("b"), category="shop")
    done = {"good": order(client, 1), "bad": order(client, 1), "waiting": order(client, 2)}
    ledger.finish(done["good"])
    ledger.finish(done["bad"], return_code=1)
    return done


def ids(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/api/runs?{query}")
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.json["data"]["runs"]]


def test_runs_are_listed_the_newest_first_and_filtered(client: Client, history: dict[str, str]) -> None:
    good, bad, waiting = history["good"], history["bad"], history["waiting"]

    assert ids(client) == [waiting, bad, good]
    assert ids(client, "job.id=1") == [bad, good]
    assert ids(client, "job.id=99") == []
    assert ids(client, "category=shop") == [waiting]
    assert ids(client, "category=nope") == []
    assert ids(client, "state=failed") == [bad]
    assert ids(client, "state=failed,succeeded") == [bad, good]
    assert ids(client, "state=failed&category=shop") == []


def test_since_and_until_are_about_when_a_run_was_due(client: Client, db: Store) -> None:
    put_jobs(client, job("a"))
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with db.begin() as tx:
        rows = [
            runs_store.new_row(
                f"{hour:032x}",
                1,
                kind="slot",
                scheduled_for=noon + timedelta(hours=hour),
                triggered_by="schedule",
                state="missed",
                routing_key="default",
                now=now(tx),
                reason="misfire",
            )
            for hour in range(4)
        ]
        runs_store.insert(tx, rows, now(tx))

    since, until = "2026-03-01T13:00:00Z", "2026-03-01T16:00:00%2B01:00"

    assert ids(client, f"since={since}") == [f"{hour:032x}" for hour in (3, 2, 1)]
    assert ids(client, f"since={since}&until={until}") == [f"{hour:032x}" for hour in (2, 1)]
    run = client.get(f"/api/runs/{0:032x}").json["data"]["run"]
    assert (run["state"], run["reason"], run["scheduled_for"]) == (
        "missed",
        "misfire",
        "2026-03-01T12:00:00Z",
    )
    assert client.get("/api/jobs/1").json["data"]["job"]["runs"] == []


def test_runs_are_paged_by_cursor(client: Client) -> None:
    put_jobs(client, job("a"))
    made = [order(client) for _ in range(5)]

    first = client.get("/api/runs?limit=2&job.id=1")
    cursor = first.json["next_cursor"]
    second = client.get(f"/api/runs?limit=2&job.id=1&cursor={cursor}")
    third = client.get(f"/api/runs?limit=2&job.id=1&cursor={second.json['next_cursor']}")

    assert first.headers["Link"] == f'</api/runs?limit=2&job.id=1&cursor={cursor}>; rel="next"'
    pages = [[run["id"] for run in page.json["data"]["runs"]] for page in (first, second, third)]
    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
    assert third.json["next_cursor"] is None
    assert "Link" not in third.headers


def test_a_waiting_run_is_cancelled_at_once(client: Client) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)

    answer = client.post(f"/api/runs/{run_id}/cancel")

    run = answer.json["data"]["run"]
    assert answer.status_code == 202
    assert (run["state"], run["reason"]) == ("cancelled", "cancelled_by 127.0.0.1 without login")
    assert client.post(f"/api/runs/{run_id}/cancel").status_code == 409


def test_a_live_run_is_asked_to_end_and_asking_twice_is_the_same(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.claim(run_id)
    ledger.tell(run_id, EventType.STARTING)

    first = client.post(f"/api/runs/{run_id}/cancel")
    second = client.post(f"/api/runs/{run_id}/cancel")

    assert (first.status_code, second.status_code) == (202, 202)
    run = second.json["data"]["run"]
    assert run["state"] == "running"
    assert run["cancelled_by"] == "127.0.0.1 without login"
    assert run["cancel_requested_at"] == first.json["data"]["run"]["cancel_requested_at"]


def test_a_run_that_is_over_cannot_be_cancelled(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.finish(run_id)

    answer = client.post(f"/api/runs/{run_id}/cancel")

    finished_at = client.get(f"/api/runs/{run_id}").json["data"]["run"]["finished_at"]
    assert answer.status_code == 409
    assert answer.json["detail"] == f"run {run_id} is over: succeeded at {finished_at}"


def test_the_events_of_a_run_come_in_their_order(client: Client, ledger: Runs) -> None:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.finish(run_id)

    told = client.get(f"/api/runs/{run_id}/events").json

    events = told["data"]["events"]
    assert told["next_cursor"] is None
    assert [event["type"] for event in events] == ["queued", "claimed", "starting", "finished"]
    assert events[-1]["return_code"] == 0
    assert events[-1]["payload"] == {"run_time_s": 1.5}
    assert all(event["at"].endswith("Z") for event in events)
    assert client.get(f"/api/runs/{'0' * 32}/events").status_code == 404


def test_the_events_of_a_run_of_the_ancestor_are_there_without_a_run(client: Client, db: Store) -> None:
    put_jobs(client, job("a"))
    run_id = "ab" * 16
    with db.begin() as tx:
        tx.exec_driver_sql(
            "INSERT INTO events (job_id, datetime, run_id, type, host, return_code)"
            f" VALUES (1, '2020-01-01 00:00:00', '{run_id}', 'finished', 'old', 0)"
        )

    [event] = client.get(f"/api/runs/{run_id}/events").json["data"]["events"]

    assert (event["type"], event["at"], event["attempt"]) == ("finished", "2020-01-01T00:00:00Z", None)
    assert client.get(f"/api/runs/{run_id}").status_code == 404


@pytest.fixture
def running(client: Client, ledger: Runs) -> str:
    put_jobs(client, job("a"))
    run_id = order(client)
    ledger.claim(run_id)
    ledger.tell(run_id, EventType.STARTING)
    return run_id


def test_output_is_the_bytes_that_came(client: Client, ledger: Runs, running: str) -> None:
    ledger.write(running, (0, b"line 1\n"), (7, "zwölf\n".encode()), (14, b"\xff\x00\n"))

    answer = client.get(f"/api/runs/{running}/output")

    assert answer.status_code == 200
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.data == b"line 1\nzw\xc3\xb6lf\n\xff\x00\n"
    assert answer.headers["X-Output-Next-Offset"] == "17"
    assert answer.headers["X-Output-Dropped-Bytes"] == "0"
    assert answer.headers["X-Output-Ended"] == "false"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_output_goes_on_from_an_offset(client: Client, ledger: Runs, running: str) -> None:
    ledger.write(running, (0, b"abcdef"), (6, b"ghi"))

    answer = client.get(f"/api/runs/{running}/output?offset=4")
    nothing = client.get(f"/api/runs/{running}/output?offset=9")

    assert (answer.data, answer.headers["X-Output-Next-Offset"]) == (b"efghi", "9")
    assert (nothing.data, nothing.headers["X-Output-Next-Offset"]) == (b"", "9")


def test_a_line_says_how_much_of_the_middle_was_dropped(client: Client, ledger: Runs, running: str) -> None:
    ledger.write(running, (0, b"head\n"), (1_000_005, b"tail\n"))
    ledger.tell(running, EventType.FINISHED, return_code=0)

    answer = client.get(f"/api/runs/{running}/output")

    assert answer.data.decode() == "head\n\n… 1,000,000 bytes dropped …\ntail\n"
    assert answer.headers["X-Output-Dropped-Bytes"] == "1000000"
    assert answer.headers["X-Output-Ended"] == "true"


def test_output_comes_in_portions_of_two_megabytes_at_most(
    client: Client, ledger: Runs, running: str
) -> None:
    piece = b"0123456789abcdef" * 4096
    for number in range(40):
        ledger.write(running, (number * len(piece), piece))

    first = client.get(f"/api/runs/{running}/output")
    rest = client.get(f"/api/runs/{running}/output?offset={first.headers['X-Output-Next-Offset']}")

    assert len(first.data) == 2 * 1024 * 1024
    assert first.data + rest.data == piece * 40


def test_a_run_without_output_has_empty_output(client: Client) -> None:
    put_jobs(client, job("a"))

    answer = client.get(f"/api/runs/{order(client)}/output")

    assert (answer.status_code, answer.data) == (200, b"")

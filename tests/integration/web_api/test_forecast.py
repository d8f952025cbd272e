"""The load forecast over HTTP: what it counts, what it warns of, and what it leaves out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq.domain.run import Kind, State
from cronq.runtime.clock import utc_now
from cronq.store import Store, leases, now
from cronq.web.api import forecast
from tests.factories import MINUTE, OURS, execute, heartbeat, insert_job, insert_run
from tests.integration.web_api.support import Client, job, put_jobs

HOURLY = "0 * * * *"


def told(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/forecast?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json["data"]["forecast"]
    return found


def beat(db: Store, slots: int) -> None:
    """A runner that takes `default` gives a sign of life."""

    def work(tx: Any) -> None:
        at = now(tx)
        leases.beat(tx, [heartbeat(OURS, at=at, slots=slots)], at, at + MINUTE)

    db.transact(work)


def test_a_day_is_told_by_the_minute(client: Client) -> None:
    put_jobs(client, job("a", schedule=HOURLY), job("b", schedule=HOURLY, routing_key="slow"))

    found = told(client)

    begin = datetime.fromisoformat(found["since"])
    assert datetime.fromisoformat(found["until"]) - begin == timedelta(days=1)
    assert utc_now() - MINUTE < begin + MINUTE
    assert (found["step_s"], found["jobs"]) == (60, {"counted": 2, "not_counted": 0})
    assert [queue["queue"] for queue in found["queues"]] == ["default", "slow"]
    [queue, _] = found["queues"]
    assert len(queue["starts"]) == len(queue["alive"]) == 24 * 60
    assert {(begin + n * MINUTE).minute for n, starts in enumerate(queue["starts"]) if starts} == {0}
    assert queue["total"] == sum(queue["starts"]) in (23, 24)
    assert queue["peak"]["alive"] == max(queue["alive"]) == 1


def test_longer_steps_begin_with_the_clocks_hours(client: Client) -> None:
    put_jobs(client, job("a", schedule="*/10 * * * *"))

    found = told(client, "hours=48&step_s=3600")

    assert found["since"].endswith(":00:00Z")
    [queue] = found["queues"]
    assert len(queue["starts"]) == 48
    assert set(queue["starts"][1:]) == {6}


def test_past_durations_decide_how_many_live_at_once(client: Client, db: Store) -> None:
    put_jobs(client, job("a", schedule="*/10 * * * *"), job("new", schedule="@yearly"))
    for number in range(3):
        at = utc_now() - number * MINUTE
        insert_run(db, 1, State.SUCCEEDED, at=at, kind=Kind.REQUEST, duration_s=1500.0)

    found = told(client)

    assert found["durations"] == {"unknown_jobs": 0, "assumed_s": 1500.0}
    assert found["queues"][0]["peak"]["alive"] == 3


def test_more_runs_than_slots_are_warned_of(client: Client, db: Store) -> None:
    put_jobs(client, *(job(f"j{number}", schedule=HOURLY) for number in range(5)))
    beat(db, 4)

    [queue] = told(client)["queues"]

    assert queue["slots"] == 4
    assert queue["overload_minutes"] == sum(queue["starts"]) // 5
    assert {span["alive"] for span in queue["overloads"]} == {5}
    assert all(span["since"].endswith(":00:00Z") for span in queue["overloads"])


def test_without_a_runner_there_are_no_slots_to_exceed(client: Client) -> None:
    put_jobs(client, job("a", schedule=HOURLY))

    [queue] = told(client)["queues"]

    assert (queue["slots"], queue["overloads"], queue["overload_minutes"]) == (0, [], 0)


def test_a_herd_is_named_and_an_h_suggested(client: Client) -> None:
    put_jobs(client, *(job(f"j{number:02}", schedule=HOURLY) for number in range(21)))

    [queue] = told(client)["queues"]

    [herd] = queue["herds"]
    assert herd["times"] == queue["total"] // 21
    assert (herd["starts"], herd["jobs"], herd["usual"]) == (21, 21, round(queue["total"] / 1440, 2))
    assert herd["names"] == [f"ops/j{number:02}" for number in range(10)]
    [advice] = herd["advice"]
    assert (advice["schedule"], advice["jobs"]) == ("H * * * *", 21)
    assert advice["text"] == "H * * * * for 21 of these jobs"


def test_one_queue_is_looked_at_by_any_of_its_names(client: Client) -> None:
    put_jobs(client, job("a", schedule=HOURLY), job("b", schedule=HOURLY, routing_key="slow"),
             job("c", schedule=HOURLY, routing_key="cronq_jobs"))  # fmt: skip

    assert [q["queue"] for q in told(client, "queue=slow")["queues"]] == ["slow"]
    for name in ("default", "cronq_jobs"):
        [queue] = told(client, f"queue={name}")["queues"]
        assert (queue["queue"], set(queue["starts"])) == ("default", {0, 2})
    assert told(client, "queue=none")["queues"] == []


def test_what_is_overdue_starts_now(client: Client, db: Store) -> None:
    insert_job(db, interval=timedelta(days=99), next_run=utc_now() - timedelta(hours=5))

    [queue] = told(client)["queues"]

    assert sum(queue["starts"][:2]) == queue["total"] == 1


def test_jobs_that_will_not_run_are_not_counted(client: Client, db: Store) -> None:
    put_jobs(client, job("off", schedule=HOURLY, enabled=False), job("bad", schedule=HOURLY))
    execute(db, "UPDATE jobs SET schedule = 'nonsense' WHERE name = 'bad'")

    assert told(client)["queues"] == []


def test_beyond_so_many_jobs_the_rest_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    put_jobs(client, *(job(f"j{number}", schedule=HOURLY) for number in range(5)))
    monkeypatch.setattr(forecast, "MOST_JOBS", 2)

    assert told(client)["jobs"] == {"counted": 2, "not_counted": 3}


def test_without_jobs_there_is_nothing(client: Client) -> None:
    assert told(client)["queues"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("hours=0", "hours: "),
        ("hours=169", "a whole number from 1 to 168"),
        ("step_s=30", "step_s: "),
        ("step_s=90", "step_s: 90 is not allowed; whole minutes into which an hour divides are"),
        ("step_s=420", "step_s: 420 is not allowed"),
        ("days=7", "days"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(lasting: Client, query: str, words: str) -> None:
    answer = lasting.get(f"/api/forecast?{query}")

    assert answer.status_code == 422
    assert words in answer.json["errors"][0]["message"]

"""One job's occurrences: its ledger and its future in one list, in pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronq.domain.run import State
from cronq.runtime.clock import utc_now
from cronq.store import Store
from tests.factories import HOUR, MINUTE, execute, insert_job, insert_run, job_of
from tests.integration.web_api.support import Client, job, put_jobs


def written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def listed(client: Client, query: str = "", job_id: int = 1) -> list[dict[str, Any]]:
    answer = client.get(f"/api/jobs/{job_id}/occurrences?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["data"]["occurrences"]
    return found


@pytest.fixture
def hour(db: Store) -> datetime:
    """The hour that comes, at which job 1 is due next; it is due every hour."""
    hour = utc_now().replace(minute=0, second=0, microsecond=0) + HOUR
    insert_job(db, schedule="@hourly", next_run=hour)
    return hour


def test_what_ran_and_what_is_to_come_are_one_list(client: Client, db: Store, hour: datetime) -> None:
    ran = insert_run(db, 1, State.SUCCEEDED, at=hour - 2 * HOUR)
    missed = insert_run(db, 1, State.MISSED, at=hour - HOUR, reason="misfire")

    found = listed(client, "limit=4")

    assert [each["at"] for each in found] == [written(hour + number * HOUR) for number in (-2, -1, 0, 1)]
    assert [(each["run"], each["state"], each["reason"]) for each in found] == [
        (ran, "succeeded", None),
        (missed, "missed", "misfire"),
        (None, None, None),
        (None, None, None),
    ]


def test_an_occurrence_that_has_its_row_already_is_told_once(
    client: Client, db: Store, hour: datetime
) -> None:
    """As after `next_run` was put back by hand."""
    insert_run(db, 1, State.SUCCEEDED, at=hour)

    assert [each["state"] for each in listed(client, "limit=2")] == ["succeeded", None]


def test_a_window_is_kept_to(client: Client, db: Store, hour: datetime) -> None:
    insert_run(db, 1, State.SUCCEEDED, at=hour - 48 * HOUR)

    query = f"since={written(hour + HOUR)}&until={written(hour + 3 * HOUR)}"
    assert [each["at"] for each in listed(client, query)] == [written(hour + HOUR), written(hour + 2 * HOUR)]
    assert listed(client, f"until={written(hour)}") == []
    assert len(listed(client, f"since={written(hour - 48 * HOUR)}&until={written(hour)}")) == 1


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_together_are_the_whole(client: Client, db: Store, hour: datetime, limit: int) -> None:
    for number in range(1, 4):
        insert_run(db, 1, State.SUCCEEDED, at=hour - number * HOUR)
    query = f"since={written(hour - 9 * HOUR)}&until={written(hour + 3 * HOUR)}"
    whole = listed(client, query)
    paged: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = client.get(f"/api/jobs/1/occurrences?{query}&limit={limit}{cursor}").json
        paged += page["data"]["occurrences"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert len(whole) == 6
    assert paged == whole


def test_a_row_for_many_says_how_many(client: Client, db: Store, hour: datetime) -> None:
    last = hour - HOUR
    for number in (200, 150):
        insert_run(db, 1, State.MISSED, at=hour - number * HOUR)
    insert_run(db, 1, State.MISSED, at=hour - 99 * HOUR, last_scheduled_for=last, missed_count=99)
    insert_run(db, 1, State.MISSED, at=hour - 60 * HOUR)

    page = client.get("/api/jobs/1/occurrences?limit=1").json
    [first] = page["data"]["occurrences"]
    [second] = listed(client, f"limit=1&cursor={page['next_cursor']}")

    assert second["at"] == written(hour)
    assert (first["missed_count"], first["last_scheduled_for"]) == (99, written(last))


@pytest.mark.parametrize("change", ["enabled = 0", "schedule = 'nonsense'", "next_run = NULL"])
def test_a_job_that_will_not_run_has_only_its_past(
    client: Client, db: Store, hour: datetime, change: str
) -> None:
    insert_run(db, 1, State.SUCCEEDED, at=hour - HOUR)
    execute(db, f"UPDATE jobs SET {change}")

    assert [each["state"] for each in listed(client)] == ["succeeded"]


def test_a_removed_jobs_past_can_be_read(client: Client, db: Store) -> None:
    put_jobs(client, job("gone", schedule="@hourly"))
    insert_run(db, 1, State.SUCCEEDED, at=utc_now().replace(microsecond=0))
    put_jobs(client)

    assert [each["state"] for each in listed(client)] == ["succeeded"]


def test_each_is_told_in_the_jobs_zone_with_the_remarks_of_a_preview(client: Client, db: Store) -> None:
    put_jobs(client, job("nightly", schedule="30 2 * * *", timezone="Europe/Berlin"))
    spring = job_of(db, 1).next_run
    assert spring is not None
    until = datetime(spring.year + 1, spring.month, spring.day, tzinfo=UTC)

    found = listed(client, f"limit=500&until={written(until)}")
    told = [each for each in found if each["remark"]]

    assert [each["remark"] for each in told if "exist" in each["remark"]] == [
        "02:30 does not exist on this day"
    ]
    [odd] = [each for each in told if "exist" in each["remark"]]
    assert odd["local"].endswith("T03:00:00+02:00")
    assert sum("repeated hour" in each["remark"] for each in told) == 1


def test_of_an_older_schedule_no_remark_is_known(client: Client, db: Store) -> None:
    gap = datetime(2026, 3, 29, 1, tzinfo=UTC)
    put_jobs(client, job("nightly", schedule="30 2 * * *", timezone="Europe/Berlin"))
    insert_run(db, 1, State.SUCCEEDED, at=gap, revision=1)
    insert_run(db, 1, State.SUCCEEDED, at=gap + timedelta(days=210), revision=0)
    query = f"since={written(gap - MINUTE)}&until=2026-11-01T00:00:00Z"

    assert [each["remark"] for each in listed(client, query)] == ["02:30 does not exist on this day", None]


@pytest.mark.parametrize("job_id", ["99", "x", "0", "9" * 30])
def test_a_job_that_there_is_not_is_not_found(client: Client, job_id: str) -> None:
    assert client.get(f"/api/jobs/{job_id}/occurrences").status_code == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=noon", "since: "),
        ("until=noon", "until: "),
        ("cursor=noon", "cursor: "),
        ("limit=501", "limit: "),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since: is after until"),
        ("before=1", "before"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    client: Client, hour: datetime, query: str, words: str
) -> None:
    answer = client.get(f"/api/jobs/1/occurrences?{query}")

    assert answer.status_code == 422
    assert words in answer.json["errors"][0]["message"]


def test_the_farthest_instants_may_be_asked_for(client: Client, hour: datetime) -> None:
    assert listed(client, "since=9999-12-31T23:59:59Z") == []
    assert len(listed(client, "since=0001-01-01T00:00:00Z&limit=3")) == 3

"""Calendars and maintenance windows over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cronq.store import Store
from tests.factories import execute
from tests.integration.web_api.conftest import Connect
from tests.integration.web_api.support import Client, job, put_jobs

PATH = "/api/calendars"
CHRISTMAS = {"date": "12-25", "name": "Christmas"}
ICAL = (
    b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Feast\r\nDTSTART:20300101\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
TOKEN = "t0k3n-of-the-api-9Zq"


def put(client: Client, document: dict[str, Any], name: str = "de") -> dict[str, Any]:
    answer = client.put(f"{PATH}/{name}", json=document)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json
    return told


def problems(client: Client, path: str, **request: Any) -> list[dict[str, Any]]:
    answer = client.put(path, **request)
    assert answer.status_code == 422, answer.text
    found: list[dict[str, Any]] = answer.json["errors"]
    return found


def test_a_calendar_is_put_shown_and_listed(client: Client) -> None:
    document = {"description": "Germany", "timezone": "Europe/Berlin", "holidays": [CHRISTMAS]}
    assert put(client, document) == {
        "status": "success", "changed": True, "revision": 1, "jobs": 0, "warnings": []
    }  # fmt: skip
    assert put(client, document)["changed"] is False
    put_jobs(client, job(calendar="de"))

    answer = client.get(f"{PATH}/de")
    shown = answer.json["data"]["calendar"]
    assert answer.headers["ETag"] == '"1"'
    assert (shown["document"], shown["jobs"]) == (document, ["ops/backup"])
    [listed] = client.get(PATH).json["data"]["calendars"]
    assert listed == {name: shown[name] for name in listed}
    assert (listed["name"], listed["timezone"], listed["description"]) == ("de", "Europe/Berlin", "Germany")
    assert client.get(f"{PATH}/fr").status_code == 404


def test_an_icalendar_file_is_a_calendar(client: Client) -> None:
    answer = client.put(
        f"{PATH}/x?timezone=Asia/Tokyo", data=ICAL, content_type="text/calendar; charset=utf-8"
    )

    assert answer.status_code == 200, answer.text
    document = client.get(f"{PATH}/x").json["data"]["calendar"]["document"]
    assert document["holidays"] == [{"date": "2030-01-01", "name": "Feast"}]
    assert document["timezone"] == "Asia/Tokyo"


def test_every_problem_of_a_document_is_told(client: Client) -> None:
    found = problems(client, f"{PATH}/de", json={"holidays": ["x"], "zone": "UTC"})
    assert [each["pointer"] for each in found] == ["/holidays/0", "/zone"]
    [problem] = problems(client, f"{PATH}/de", data=b"BEGIN:VCALENDAR\nx\n", content_type="text/calendar")
    assert problem["message"].startswith("line 2: ")
    [problem] = problems(client, f"{PATH}/de?timezone=UTC", json={})
    assert "iCalendar" in problem["message"]
    [problem] = problems(client, f"{PATH}/de?timezone=Nowhere", data=ICAL, content_type="text/calendar")
    assert problem["pointer"] == "/timezone"
    [problem] = problems(client, f"{PATH}/a%20b", json={})
    assert problem["code"] == "invalid_name"


def test_another_type_is_not_read(client: Client) -> None:
    answer = client.put(f"{PATH}/de", data=b"x", content_type="text/plain")
    assert answer.status_code == 415
    assert "application/json and text/calendar are" in answer.text


def test_a_calendar_that_a_job_uses_is_not_dropped(client: Client) -> None:
    put(client, {})
    put_jobs(client, job(calendar="de"))

    answer = client.open(f"{PATH}/de", method="DELETE")
    assert answer.status_code == 409
    assert "ops/backup" in answer.text

    put_jobs(client)
    assert client.open(f"{PATH}/de", method="DELETE").status_code == 204
    assert client.open(f"{PATH}/de", method="DELETE").status_code == 404


def test_a_category_that_names_an_unknown_one_is_refused(client: Client) -> None:
    put(client, {}, "de-holidays")
    body = {"jobs": [job(calendar={"name": "de-holiday", "rule": "next"})]}
    [problem] = problems(client, "/api/category/ops", json=body)
    assert (problem["code"], problem["pointer"]) == ("unknown_calendar", "/jobs/0/calendar")
    assert problem["hint"] == 'did you mean "de-holidays"?'


def test_a_job_shows_its_calendar_and_what_that_makes_of_its_next_occurrences(client: Client) -> None:
    put(client, {"weekend": ["mon"]})
    put_jobs(client, job(schedule="0 9 * * MON", calendar={"name": "de", "rule": "next"}))

    shown = client.get("/api/jobs/1").json["data"]["job"]
    assert shown["calendar"] == {"name": "de", "rule": "next", "revision": 1}
    assert len(shown["calendar_remarks"]) == 5
    assert all(" moves to Tue " in remark for remark in shown["calendar_remarks"])
    page = client.get("/job/1").text
    assert "moves to the next business day" in page
    assert shown["calendar_remarks"][0] in page
    put(client, {"weekend": ["tue"]})
    assert client.get("/api/jobs/1").json["data"]["job"]["calendar_remarks"] == []
    [newest, _] = client.get("/api/jobs/1/revisions").json["data"]["revisions"]
    assert (newest["origin"], newest["document"]["calendar_revision"]) == ("calendar", 2)


def test_each_occurrence_to_come_tells_that_it_will_be_skipped(client: Client) -> None:
    put(client, {"weekend": ["mon"]})
    put_jobs(client, job(schedule="0 9 * * MON", calendar="de"))

    coming = client.get("/api/jobs/1/occurrences?limit=2").json["data"]["occurrences"]

    assert [each["remark"] for each in coming] == ["skipped: calendar de: Monday"] * 2
    assert "skipped: calendar de: Monday" in client.get("/job/1").text


@pytest.mark.parametrize(
    ("at", "closed", "is_open_day", "following"),
    [
        ("2026-12-24T23:30:00Z", "Christmas", False, "2026-12-28"),
        ("2026-12-24T22:30:00Z", None, True, "2026-12-24"),
    ],
)
def test_a_calendar_says_what_it_makes_of_an_instant(
    client: Client, at: str, closed: str | None, *, is_open_day: bool, following: str
) -> None:
    put(client, {"timezone": "Europe/Berlin", "holidays": [CHRISTMAS]})
    check = client.get(f"{PATH}/de/check?at={at}").json["data"]["check"]
    assert (check["closed"], check["is_business_day"]) == (closed, is_open_day)
    assert check["next_business_day"] == following


@pytest.mark.parametrize("query", ["", "?at=now", "?at=9999-12-31T23:59:59Z", "?at=0001-01-01T00:00:00Z"])
def test_an_instant_that_cannot_be_asked_is_refused(client: Client, query: str) -> None:
    put(client, {"timezone": "Asia/Tokyo"})
    assert client.get(f"{PATH}/de/check{query}").status_code == 422


def test_what_somebody_broke_with_sql_is_shown_and_can_be_put_again(client: Client, db: Store) -> None:
    put(client, {})
    execute(db, "UPDATE calendars SET document = '{'")

    assert client.get(PATH).json["data"]["calendars"][0]["timezone"] == "UTC"
    assert client.get(f"{PATH}/de").json["data"]["calendar"]["document"] == "{"
    assert client.get(f"{PATH}/de/check?at=2026-12-24T12:00:00Z").status_code == 409
    assert put(client, {})["changed"] is True


# -- windows


def test_a_window_is_put_shown_listed_and_dropped(client: Client) -> None:
    document = {"scope": "queue:gpu", "schedule": "0 3 1 1 *", "duration": "2h", "reason": "the yearly move"}
    answer = client.put("/api/windows/move", json=document)

    assert answer.status_code == 200, answer.text
    shown = answer.json["window"]
    assert answer.json["changed"] is True
    assert (shown["scope"], shown["reason"], shown["document"]) == ("queue:gpu", "the yearly move", document)
    assert shown["next_start"].endswith("-01-01T03:00:00Z")
    assert client.get("/api/windows").json["data"]["windows"] == [shown]
    assert client.get("/api/windows/move").json["data"]["window"] == shown
    assert client.put("/api/windows/move", json=document).json["changed"] is False
    assert client.open("/api/windows/move", method="DELETE").status_code == 204
    assert client.get("/api/windows/move").status_code == 404


def test_a_wrong_window_is_refused(client: Client) -> None:
    [problem] = problems(client, "/api/windows/x", json={"scope": "category:nope", "from": "2030-01-01T00:00",
                                                         "to": "2030-01-02T00:00"})  # fmt: skip
    assert (problem["code"], problem["pointer"]) == ("unknown_category", "/scope")
    assert problems(client, "/api/windows/a%20b", json={"scope": "all"})[0]["code"] == "invalid_name"


# -- who may


@pytest.mark.parametrize("path", [f"{PATH}/de", "/api/windows/x"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_stranger_may_change_nothing(connect: Connect, path: str, method: str) -> None:
    stranger = connect(CRONQ_API_TOKEN=TOKEN)
    assert stranger.open(path, method=method, json={}).status_code == 401
    owner = {"Authorization": f"Bearer {TOKEN}"}
    assert stranger.open(path, method=method, json={}, headers=owner).status_code != 401
    assert stranger.get(PATH).status_code == 200

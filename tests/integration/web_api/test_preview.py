"""The preview of a schedule: words, remarks and instants, and questions that make no sense."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.web_api.support import Client

PATH = "/api/preview"


def preview(client: Client, *schedules: str, **params: object) -> Any:
    query = urlencode([*(("schedule", text) for text in schedules), *params.items()])
    answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def test_a_schedule_is_told_in_words_and_instants(lasting: Client) -> None:
    found = preview(lasting, "0 3 * * 1-5", timezone="Europe/Berlin", after="2026-11-20T12:00:00Z", n=2)

    assert found == {
        "text": "at 03:00 on weekdays, Europe/Berlin",
        "remarks": [],
        "occurrences": [
            {"at": "2026-11-23T02:00:00Z", "local": "2026-11-23T03:00:00+01:00", "remark": None},
            {"at": "2026-11-24T02:00:00Z", "local": "2026-11-24T03:00:00+01:00", "remark": None},
        ],
    }


@pytest.mark.parametrize(
    ("dst", "after", "local", "remark"),
    [
        ("cron", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00", "02:30 does not exist on this day"),
        (
            "skip",
            "2026-03-28T12:00:00Z",
            "2026-03-30T02:30:00+02:00",
            "2026-03-29 02:30 does not exist and is left out",
        ),
        ("both", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00", "first of a repeated hour"),
        ("both", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00+01:00", "second of a repeated hour"),
    ],
)
def test_a_change_of_the_clocks_is_remarked_on(
    lasting: Client, dst: str, after: str, local: str, remark: str
) -> None:
    found = preview(lasting, "30 2 * * *", timezone="Europe/Berlin", dst=dst, after=after, n=1)

    assert [(each["local"], each["remark"]) for each in found["occurrences"]] == [(local, remark)]


def test_several_schedules_are_one(lasting: Client) -> None:
    found = preview(lasting, "0 * * * *", "*/30 13 * * *", after="2026-11-20T12:00:00Z", n=3)

    assert [each["at"][11:16] for each in found["occurrences"]] == ["13:00", "13:30", "14:00"]


def test_ten_from_now_on_are_shown_by_default(lasting: Client) -> None:
    found = preview(lasting, "* * * * *")["occurrences"]

    assert len(found) == 10
    assert found[0]["at"] > "2026"


def test_the_seed_decides_what_an_h_is_and_its_lack_is_told(lasting: Client) -> None:
    named = preview(lasting, "H H * * *", seed="shop/backup", after="2026-11-20T12:00:00Z", n=1)
    nameless = preview(lasting, "H H * * *")

    assert named["remarks"] == []
    assert named["occurrences"][0]["at"] == "2026-11-21T07:23:00Z"
    assert nameless["remarks"] == ["H is another value for each job: name the job with seed=CATEGORY/NAME"]


def test_start_and_end_bound_it(lasting: Client) -> None:
    found = preview(
        lasting,
        "@daily",
        start="2027-01-05T00:00:00Z",
        end="2027-01-06T00:00:00Z",
        after="2026-12-01T00:00:00Z",
    )

    assert [each["at"] for each in found["occurrences"]] == ["2027-01-05T00:00:00Z", "2027-01-06T00:00:00Z"]


def test_what_is_over_has_no_occurrence_and_says_so(lasting: Client) -> None:
    found = preview(lasting, "@at 2020-01-01T00:00:00Z")

    assert found["occurrences"] == []
    assert found["remarks"] == ["exhausted: its only occurrence was 2020-01-01T00:00:00Z"]


@pytest.mark.parametrize("after", ["0001-01-01T00:00:00Z", "2199-12-31T23:59:00Z", "9999-12-31T23:59:59Z"])
def test_any_instant_may_be_asked_for(lasting: Client, after: str) -> None:
    found = preview(lasting, "* * * * *", timezone="Europe/Berlin", after=after)["occurrences"]

    assert len(found) == (10 if after < "1970" else 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "schedule: is missing"),
        ("schedule=", "schedule: "),
        ("schedule=61+*+*+*+*", "schedule: "),
        ("schedule=@daily&schedule=nope", "schedule number 2: "),
        ("schedule=0+0+30+2+*", "schedule: it never fires"),
        ("schedule=@daily&timezone=Berlin", "timezone: unknown time zone 'Berlin'"),
        ("schedule=@daily&dst=maybe", 'dst: "maybe" is not allowed; one of cron, skip, both is'),
        ("schedule=@daily&start=noon", "start: "),
        ("schedule=@daily&start=2027-01-02T00:00:00Z&end=2027-01-01T00:00:00Z", "end: "),
        ("schedule=@daily&after=noon", 'after: "noon" is not allowed; an RFC 3339 instant'),
        ("schedule=@daily&n=0", "n: "),
        ("schedule=@daily&n=1001", "a whole number from 1 to 1000"),
        ("schedule=@daily&zone=UTC", "zone"),
        ("schedule=" + "&schedule=".join(["@daily"] * 21), "schedule: 21 schedules; 1 to 20 are allowed"),
        ("schedule=" + "x" * 2000, "schedule: 2,000 characters; at most 1,000 are allowed"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_its_parameter(
    lasting: Client, query: str, words: str
) -> None:
    answer = lasting.get(f"{PATH}?{query}")

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert words in answer.json["errors"][0]["message"]
    assert answer.json["errors"][0]["pointer"] == ""


def test_an_unknown_zone_comes_with_what_was_meant(lasting: Client) -> None:
    answer = lasting.get(f"{PATH}?schedule=@daily&timezone=Berlin")

    assert answer.json["errors"][0]["hint"] == "did you mean Europe/Berlin?"

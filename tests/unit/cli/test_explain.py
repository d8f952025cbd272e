from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cronq.cli.explain import explain_command
from cronq.domain.schedule import ScheduleError

FORWARD = (
    "on 2027-03-28 clocks go forward from 02:00 to 03:00, 02:30 does not exist: "
    "it occurs once, at 03:00, by the dst rule cron"
)
BACK = (
    "on 2027-10-31 clocks go back from 03:00 to 02:00, 02:30 comes twice: "
    "it occurs the first time, by the dst rule cron"
)
AFTER = ("--after", "2026-11-28T00:00:00Z")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explain_command, [*arguments, *AFTER])


def explained(*arguments: str) -> Any:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_it_is_told_in_words_by_field_with_remarks_and_instants() -> None:
    assert run("30 2 * * */2", "--tz", "Europe/Berlin").stdout.splitlines() == [
        "30 2 * * */2: at 02:30 on Tuesdays, Thursdays, Saturdays and Sundays, Europe/Berlin",
        "",
        "minute        30   30",
        "hour          2    2",
        "day-of-month  *    every day",
        "month         *    every month",
        "day-of-week   */2  Tuesdays, Thursdays, Saturdays and Sundays",
        "",
        "- day-of-week */2 starts again with each week: 1 day after 6, not 2",
        f"- {FORWARD}",
        f"- {BACK}",
        "",
        "NEXT                         UTC",
        "Sat 2026-11-28 02:30:00 CET  2026-11-28T01:30:00Z",
        "Sun 2026-11-29 02:30:00 CET  2026-11-29T01:30:00Z",
        "Tue 2026-12-01 02:30:00 CET  2026-12-01T01:30:00Z",
        "Thu 2026-12-03 02:30:00 CET  2026-12-03T01:30:00Z",
        "Sat 2026-12-05 02:30:00 CET  2026-12-05T01:30:00Z",
    ]


def test_json_has_the_same() -> None:
    found = explained("*/30 9-10 1 JAN *", "--tz", "Asia/Tokyo")
    assert found["expression"] == "*/30 9-10 1 JAN *"
    assert found["words"] == "at 09:00, 09:30, 10:00 and 10:30 on the 1st of January, Asia/Tokyo"
    assert found["remarks"] == []
    assert [field["words"] for field in found["fields"]] == [
        "0 and 30",
        "9 and 10",
        "the 1st",
        "January",
        "every day of the week",
    ]
    assert found["next"][0] == {"local": "2027-01-01T09:00:00+09:00", "utc": "2027-01-01T00:00:00Z"}
    assert len(found["next"]) == 5


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", ["every minute", "every hour", "every day", "every month", "every day of the week"]),
        ("@daily", ["0", "0", "every day", "every month", "every day of the week"]),
        ("0-9 22-1 L,15W 1,3-5 MON,5L", [
            "0 to 9",
            "0, 1, 22 and 23",
            "the last day and the working day nearest to the 15th",
            "January, March, April and May",
            "Mondays and the last Friday",
        ]),
    ],
)  # fmt: skip
def test_each_field_is_told(expression: str, words: list[str]) -> None:
    assert [field["words"] for field in explained(expression)["fields"]] == words


def test_what_is_no_cron_expression_has_no_fields() -> None:
    found = explained("R/2026-01-01T02:30:00+02:00/P1D")
    assert found["fields"] == []
    assert found["next"][0] == {"local": "2026-11-28T02:30:00+02:00", "utc": "2026-11-28T00:30:00Z"}


def test_what_is_over_says_so() -> None:
    assert "nothing is due any more" in run("@at 2020-01-01T00:00:00Z").stdout
    assert "exhausted" in run("@at 2020-01-01T00:00:00Z").stdout


def test_an_h_without_a_seed_is_remarked() -> None:
    assert "--seed CATEGORY/NAME" in explained("H 3 * * *")["remarks"][0]
    assert explained("H H * * *", "--seed", "shop/backup")["remarks"] == []
    assert explained("H H * * *", "--seed", "shop/backup")["next"][0]["utc"] == "2026-11-28T07:23:00Z"


def test_the_dst_rule_counts() -> None:
    remarks = explained("30 2 * * *", "--tz", "Europe/Berlin", "--dst", "both")["remarks"]
    assert remarks[1].endswith("it occurs both times, by the dst rule both")


@pytest.mark.parametrize(
    ("expression", "hint"), [("0 0 30 2 *", "February has no day 30"), ("@reboot", "hosts come and go")]
)
def test_what_is_no_schedule_is_an_error(expression: str, hint: str) -> None:
    result = run(expression)
    assert isinstance(result.exception, ScheduleError)
    assert hint in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("wrong", [["--dst", "maybe"], ["-o", "yaml"]])
def test_a_wrong_option_is_a_usage_error(wrong: list[str]) -> None:
    assert run("@daily", *wrong).exit_code == 2

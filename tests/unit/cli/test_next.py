from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from cronq.cli.next import next_command
from cronq.domain.schedule import ScheduleError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(next_command, list(arguments))


def instants(*arguments: str) -> list[str]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0
    found: list[str] = json.loads(result.stdout)
    return found


AFTER = ("--after", "2026-11-20T12:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["0 12 * * *"], ["2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z"]),  # strictly after
        (["0 3 * * *", "--tz", "Europe/Berlin"], ["2026-11-21T02:00:00Z", "2026-11-22T02:00:00Z"]),
        (["0 0 * * FRI-MON"], ["2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"]),
        (["0 0 L * *"], ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"]),
        (["0 0 ? * 5#2"], ["2026-12-11T00:00:00Z", "2027-01-08T00:00:00Z"]),
        (["@every 90s"], ["2026-11-20T12:01:30Z", "2026-11-20T12:03:00Z"]),
        (["@at 2026-12-24T18:00:00", "--tz", "Europe/Berlin"], ["2026-12-24T17:00:00Z"]),
        (["R3/2026-11-20T11:00:00Z/PT1H"], ["2026-11-20T13:00:00Z"]),
        (["R3/2026-11-20T10:00:00Z/PT1H"], []),
        (["H H * * *", "--seed", "shop/backup"], ["2026-11-21T07:23:00Z", "2026-11-22T07:23:00Z"]),
    ],
)
def test_instants_are_those_of_the_schedule(arguments: list[str], expected: list[str]) -> None:
    assert instants(*arguments, *AFTER, "-n", "2") == expected


@pytest.mark.parametrize(
    ("dst", "expected"),
    [
        ("cron", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("skip", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("both", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]),
    ],
)
def test_the_dst_rule_counts(dst: str, expected: list[str]) -> None:
    there = ("30 2 * * *", "--tz", "Europe/Berlin", "--dst", dst, "--after", "2026-10-24T00:00:00+02:00")
    assert instants(*there, "-n", "3") == expected


def test_a_day_that_does_not_exist_has_nothing() -> None:
    there = ("0 12 * * *", "--tz", "Pacific/Apia", "--after", "2011-12-29T00:00:00Z")
    assert instants(*there, "-n", "2") == ["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"]


@pytest.mark.parametrize("after", ["9999-12-31T23:59:59-05:00", "2199-12-31T23:59:00Z"])
def test_after_the_end_of_all_schedules_there_is_nothing(after: str) -> None:
    assert instants("* * * * *", "--after", after) == []


def test_before_the_first_instant_there_is_nothing_either() -> None:
    assert instants("@hourly", "--after", "0001-01-01T00:00:00+05:00", "-n", "1") == ["1970-01-01T00:00:00Z"]


def test_a_table_is_one_instant_a_line_and_its_words_are_talk() -> None:
    result = run("0 3 * * 1-5", *AFTER, "-n", "2")
    assert result.stdout == "2026-11-23T03:00:00Z\n2026-11-24T03:00:00Z\n"
    assert result.stderr == "0 3 * * 1-5: at 03:00 on weekdays, UTC\n"


def test_with_a_zone_its_own_time_stands_beside() -> None:
    result = run("0 3 * * 1-5", "--tz", "Europe/Berlin", *AFTER, "-n", "1")
    assert result.stdout == "2026-11-23T02:00:00Z  2026-11-23T03:00:00+01:00\n"
    assert result.stderr == "0 3 * * 1-5: at 03:00 on weekdays, Europe/Berlin\n"


def test_what_clocks_do_to_an_occurrence_is_remarked_on() -> None:
    there = ("30 2 * * *", "--tz", "Europe/Berlin", "--after", "2027-03-27T12:00:00Z", "-n", "2")
    assert run(*there).stdout.splitlines() == [
        "2027-03-28T01:00:00Z  2027-03-28T03:00:00+02:00  02:30 does not exist on this day",
        "2027-03-29T00:30:00Z  2027-03-29T02:30:00+02:00",
    ]


def test_an_h_without_a_seed_is_told_of_on_stderr() -> None:
    assert "--seed CATEGORY/NAME" in run("H 3 * * *", "-o", "json").stderr
    assert run("H 3 * * *", "--seed", "a/b", "-o", "json").stderr == ""
    assert run("0 3 * * *", "-o", "json").stderr == ""


def test_a_schedule_that_never_fires_is_an_error() -> None:
    result = run("0 0 30 2 *")
    assert isinstance(result.exception, ScheduleError)
    assert result.stdout == ""


@pytest.mark.parametrize("wrong", [["--after", "noon"], ["--dst", "maybe"], ["-n", "0"], ["-o", "xml"]])
def test_a_wrong_option_is_a_usage_error(wrong: list[str]) -> None:
    assert run("@daily", *wrong).exit_code == 2


def test_an_expression_with_a_dash_is_a_wrong_expression_and_no_option() -> None:
    result = run("-1 * * * *", *AFTER)
    assert isinstance(result.exception, ScheduleError)
    assert str(result.exception) == "field minute: -1 not in 0-59"
    assert run("--tzz", "UTC", "@daily").exit_code == 2
    assert run("-n", "1", *AFTER, "--", "@daily").stdout == "2026-11-21T00:00:00Z\n"


def test_what_is_probably_not_meant_is_told_on_stderr() -> None:
    result = run("R2/2020-01-01T00:00:00/P1D", "-o", "json", *AFTER)
    assert json.loads(result.stdout) == []
    assert result.stderr.splitlines() == [
        "remark: start 2020-01-01T00:00:00 has no offset and is read as UTC; give it one, or name a timezone",
        "remark: exhausted: its last occurrence was 2020-01-02T00:00:00Z",
    ]

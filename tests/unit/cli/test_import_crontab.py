from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cronq.cli.import_crontab import import_group
from cronq.domain.category import parse_value

CLEAN = "CRON_TZ=Europe/Berlin\n30 2 * * 1-5 backup\n"
MIXED = f"{CLEAN}0 3 * * * cat%x\n@reboot y\n"


def run(crontab: str | bytes, *options: str) -> Result:
    return CliRunner().invoke(import_group, ["crontab", "-", *options], input=crontab, standalone_mode=False)


def printed(crontab: str | bytes, *options: str) -> Any:
    return json.loads(run(crontab, *options, "-o", "json").stdout)


def test_a_table_has_a_row_for_each_line_and_ends_with_a_summary() -> None:
    lines = run(MIXED).stdout.splitlines()
    assert lines[0].split() == ["LINE", "RESULT", "JOB", "WHEN", "REASON"]
    assert lines[2].split("  ")[0] == "2"
    assert "imported" in lines[2]
    assert "at 02:30 on weekdays, Europe/Berlin" in lines[2]
    assert lines[-1] == "2 jobs; lines: 2 imported, 1 to be decided, 1 refused"


def test_json_has_the_jobs_and_the_report() -> None:
    found = printed(MIXED)
    assert found["jobs"] == [
        {"name": "backup", "schedule": "30 2 * * 1-5", "command": "backup", "timezone": "Europe/Berlin"},
        {
            "name": "cat",
            "schedule": "0 3 * * *",
            "command": "cat",
            "timezone": "Europe/Berlin",
            "stdin": "x\n",
        },
    ]
    assert [(row["line"], row["result"], row["job"]) for row in found["report"]] == [
        (1, "imported", None),
        (2, "imported", "backup"),
        (3, "needs decision", "cat"),
        (4, "refused", None),
    ]
    assert found["report"][1]["words"] == "at 02:30 on weekdays, Europe/Berlin"
    assert "service manager" in found["report"][3]["reason"]


def test_a_document_can_be_put_as_it_is() -> None:
    document = json.loads(run(MIXED, "-o", "document", "--category", "shop").stdout)
    assert [job.name for job in parse_value(document, url_name="shop").jobs] == ["backup"]


@pytest.mark.parametrize(
    ("crontab", "code"),
    [(CLEAN, 0), ("", 0), ("# nothing\n", 0), (MIXED, 1), ("@reboot x\n", 1), ("MAILTO=a\n", 1)],
)
@pytest.mark.parametrize("output", ["table", "json", "document"])
def test_the_exit_code_tells_whether_anything_is_left_to_do(crontab: str, code: int, output: str) -> None:
    assert run(crontab, "-o", output).return_value == code


def test_jobs_without_a_zone_are_told_of_on_stderr() -> None:
    assert "name it with --tz" in run("@daily x\n").stderr
    assert run("@daily x\n", "--tz", "Europe/Berlin").stderr == ""
    assert run(CLEAN).stderr == ""


def test_a_zone_is_that_of_the_jobs_before_any_cron_tz() -> None:
    found = printed("@daily a\nCRON_TZ=UTC\n@daily b\n", "--tz", "Asia/Tokyo")
    assert [job["timezone"] for job in found["jobs"]] == ["Asia/Tokyo", "UTC"]


def test_a_user_column_on_standard_input_is_asked_for() -> None:
    assert printed("@daily www-data x\n", "--system")["jobs"][0]["user"] == "www-data"
    assert "user" not in printed("@daily www-data x\n")["jobs"][0]


def test_the_category_is_named_for_standard_input_too() -> None:
    assert printed("")["category"] == "crontab"
    assert printed("", "--category", "shop")["category"] == "shop"


def test_what_is_no_text_is_refused_alone_and_a_mark_at_the_beginning_is_none() -> None:
    found = printed(b"\xef\xbb\xbf@daily a\n@daily b\xe9\n")
    assert [row["result"] for row in found["report"]] == ["imported", "refused"]


def test_no_terminal_obeys_a_crontab() -> None:
    assert "\x1b" not in run("@daily a\n\x1b[31m=b\n\x1b * * * * x\n").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tz", "PST"], "did you mean America/Los_Angeles?"),
        (["--category", "a/b"], "--category"),
        (["--user", "root"], "name one crontab"),
        (["-o", "yaml"], "document"),
    ],
)
def test_a_wrong_option_is_a_usage_error(options: list[str], said: str) -> None:
    result = CliRunner().invoke(import_group, ["crontab", "-", *options], input=CLEAN)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_crontab_must_be_named() -> None:
    assert "name one crontab" in CliRunner().invoke(import_group, ["crontab"]).stderr

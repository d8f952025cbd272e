"""Whole crontabs: the jobs, and a row for each line that says something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.crontab import Crontab, ImportedJob, Result, Row, read_crontab
from cronq.domain.crontab_env import not_exported, with_environment
from cronq.domain.job import read_job
from cronq.domain.schedule import parse

IMPORTED, DECISION, REFUSED = Result.IMPORTED, Result.NEEDS_DECISION, Result.REFUSED


def read(*lines: str, has_user: bool = False, timezone: str | None = None) -> Crontab:
    return read_crontab("\n".join([*lines, ""]), category="shop", has_user=has_user, timezone=timezone)


def only(*lines: str, has_user: bool = False) -> Row:
    """The last line's row."""
    return read(*lines, has_user=has_user).rows[-1]


def job(*lines: str, has_user: bool = False) -> ImportedJob:
    found = only(*lines, has_user=has_user).job
    assert found
    return found


def test_a_plain_crontab_is_imported_as_it_stands() -> None:
    found = read("# nightly", "", "30 2 * * 1-5\t/usr/local/bin/backup --full", "@hourly clean")
    assert [each.definition() for each in found.jobs()] == [
        {"name": "backup", "schedule": "30 2 * * 1-5", "command": "/usr/local/bin/backup --full"},
        {"name": "clean", "schedule": "@hourly", "command": "clean"},
    ]
    assert [(row.line, row.result, row.reason) for row in found.rows] == [
        (3, IMPORTED, ""),
        (4, IMPORTED, ""),
    ]
    assert found.is_clean


def test_each_job_has_its_schedule_in_words() -> None:
    found = read("CRON_TZ=Europe/Berlin", "30 2 * * 1-5 a", "H 3 * * * b")
    assert [each.words for each in found.jobs()] == [
        "at 02:30 on weekdays, Europe/Berlin",
        parse("H 3 * * *", timezone="Europe/Berlin", seed="shop/b").describe(),
    ]


def test_cron_tz_holds_for_the_jobs_after_it() -> None:
    found = read("@daily a", "CRON_TZ=Europe/Berlin", "@daily b", 'CRON_TZ=""', "@daily c")
    assert [each.timezone for each in found.jobs()] == [None, "Europe/Berlin", None]


def test_the_zone_of_the_others_comes_from_outside() -> None:
    found = read("@daily a", "CRON_TZ=UTC", "@daily b", timezone="Asia/Tokyo")
    assert [each.timezone for each in found.jobs()] == ["Asia/Tokyo", "UTC"]


def test_an_unknown_zone_is_refused_and_so_is_what_goes_by_it() -> None:
    found = read("CRON_TZ=PST", "@daily a", "CRON_TZ=UTC", "@daily b")
    assert [row.result for row in found.rows] == [REFUSED, REFUSED, IMPORTED, IMPORTED]
    for row in found.rows[:2]:
        assert "unknown time zone 'PST'; did you mean America/Los_Angeles?" in row.reason


def test_settings_are_in_force_for_the_lines_after_them() -> None:
    found = read("@daily a", "A=1", "@daily b", "A='2 x'", "B=$A", "@daily c")
    assert [each.command for each in found.jobs()] == ["a", "export A=1; b", "export A='2 x' B='$A'; c"]
    assert found.is_clean


def test_a_home_is_where_the_command_starts() -> None:
    assert job("HOME=/srv", "@daily a").command == 'export HOME=/srv; cd "$HOME"; a'


def test_the_plain_shell_is_as_here() -> None:
    assert job("SHELL=/bin/sh", "@daily a").command == "a"


def test_another_shell_runs_the_command() -> None:
    command = job("SHELL=/bin/bash", "@daily echo 'a b' | wc").command
    assert command == """export SHELL=/bin/bash; exec /bin/bash -c 'echo '"'"'a b'"'"' | wc'"""


@pytest.mark.parametrize(
    ("setting", "result", "said"),
    [
        ("PATH=/bin", IMPORTED, "PATH: exported in front of each command after it"),
        ("HOME=/srv", IMPORTED, "HOME: exported in front of each command after it, which starts there"),
        ("SHELL=/bin/sh", IMPORTED, "SHELL: as here"),
        ("SHELL=/bin/bash", IMPORTED, "SHELL: runs each command after it"),
        ("TZ=UTC", IMPORTED, "the zone of schedules is CRON_TZ"),
        ("CRON_TZ=UTC", IMPORTED, "CRON_TZ: the timezone of the jobs after it"),
        ("LOGNAME=x", IMPORTED, "LOGNAME: left out"),
        ('MAILTO=""', IMPORTED, "MAILTO: no mail, as here"),
        ("MAILTO=ops@example.com", DECISION, "MAILTO: this release sends no mail"),
        ("MAILFROM=x", IMPORTED, "MAILFROM: left out"),
        ("IFS=x", DECISION, "IFS: left out of the commands after it: the shell goes by it when it starts"),
        ("LD_PRELOAD=/x", DECISION, "LD_PRELOAD: left out"),
        ("CRONQ_JOB=x", DECISION, "CronQ sets such variables itself"),
        ("'Q N'=x", DECISION, "no shell can set a variable of that name"),
        ("A='x", REFUSED, "quotes"),
    ],
)
def test_each_setting_has_a_row_of_its_own(setting: str, result: Result, said: str) -> None:
    row = only(setting)
    assert (row.line, row.result, row.job) == (1, result, None)
    assert said in row.reason


def test_no_value_of_a_setting_is_told() -> None:
    assert "hunter2" not in "".join(
        only(f"{name}=hunter2").reason for name in ("A", "MAILTO", "IFS", "SHELL", "HOME", "'Q N'")
    )


def test_mail_is_for_a_person_to_decide_and_no_matter_of_the_jobs() -> None:
    found = read("MAILTO=root", "@daily a")
    assert [row.result for row in found.rows] == [DECISION, IMPORTED]
    assert found.jobs()[0].command == "a"
    assert not found.is_clean


def test_a_job_that_ran_with_a_variable_that_it_cannot_have_is_for_a_person_to_decide() -> None:
    row = only("IFS=x", "A=1", "@daily a")
    assert row.result is DECISION
    assert "it ran with IFS set" in row.reason
    assert row.job
    assert row.job.command == "export A=1; a"


def test_a_user_is_for_a_person_to_decide() -> None:
    row = only("17 * * * * www-data /srv/x", has_user=True)
    assert row.result is DECISION
    assert "routing_key that only runners of www-data serve" in row.reason
    assert row.job
    assert row.job.definition() == {
        "name": "x",
        "schedule": "17 * * * *",
        "command": "/srv/x",
        "user": "www-data",
    }


def test_input_is_for_a_person_to_decide() -> None:
    row = only("0 22 * * 1-5 mail joe%Joe,%%Where are your kids?%")
    assert row.result is DECISION
    assert "here" not in row.reason
    assert "<<'END'" in row.reason
    assert row.job
    assert row.job.stdin == "Joe,\n\nWhere are your kids?\n"
    assert row.job.command == "mail joe"


def test_a_range_that_never_matched_is_for_a_person_to_decide() -> None:
    row = only("0 22-3 * * * x")
    assert row.result is DECISION
    assert "Debian's cron never matches 22-3" in row.reason


def test_what_looks_like_a_user_column_is_for_a_person_to_decide() -> None:
    assert "--system" in only("0 3 * * * root /x").reason
    assert only("0 3 * * * root /x").result is DECISION
    assert only("0 3 * * * rooted /x").result is IMPORTED


def test_flags_of_another_cron_are_for_a_person_to_decide() -> None:
    assert only("0 3 * * * -n x").result is DECISION


def test_a_remark_is_no_decision() -> None:
    row = only(r"-0 3 * * * sed s/\\./x/")
    assert row.result is IMPORTED
    assert "syslog" in row.reason
    assert "became one" in row.reason


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@reboot x", "start it from the service manager of each host"),
        ("60 * * * * x", "schedule: field minute: 60 not in 0-59"),
        ("0~59 * * * * x", "write H for one by hash"),
        ("5/10 * * * * x", "write 5-59/10 to go on from 5, or 5 alone"),
        ("*/70 * * * * x", "step must be 1-59"),
        ("0 0 30 2 * x", "it never fires: February has no day 30"),
        ("* * * * x y", "field day-of-week: 'x' is not a number"),
        ("@dayly x", "did you mean @daily?"),
        ("0 0 3 * * * x", "seconds are not supported"),
        ("0 3 * * *", "there is no command"),
        ("0 3 * * * %x", "command: is empty"),
        ("0 3 * * * a\0b", "U+0000"),
        ("0 3 * * * a\udce9b", "U+DCE9"),
        ("1\u20135 * * * * x", "is not an ASCII character"),
        ("nonsense", "there is no command"),
        ("0 3 * * * " + "x" * 65_536, "at most 65,535"),
    ],
)
def test_what_cannot_be_a_job_is_refused_with_its_reason(line: str, said: str) -> None:
    row = only(line)
    assert (row.result, row.job) == (REFUSED, None)
    assert said in row.reason
    assert row.reason.isprintable()


def test_a_refused_line_stops_nothing_and_takes_no_name() -> None:
    found = read("61 * * * * backup", "@daily backup")
    assert [each.name for each in found.jobs()] == ["backup"]
    assert [row.line for row in found.rows] == [1, 2]


def test_names_are_unique() -> None:
    assert [each.name for each in read("@daily x", "@hourly x", "@weekly x").jobs()] == ["x", "x-2", "x-3"]


def test_line_ends_of_another_system_and_a_missing_one_are_no_part_of_a_line() -> None:
    found = read_crontab("A=1\r\n\r\n# x\r\n@daily a\r\n@hourly b", category="shop")
    assert [(row.line, row.result) for row in found.rows] == [(1, IMPORTED), (4, IMPORTED), (5, IMPORTED)]
    assert [each.command for each in found.jobs()] == ["export A=1; a", "export A=1; b"]


def test_only_a_line_feed_ends_a_line() -> None:
    assert job("@daily echo a\x0bb\u2028c\x1ed").command == "echo a\x0bb\u2028c\x1ed"


def test_the_system_crontab_of_debian_is_read() -> None:
    found = read(
        "SHELL=/bin/sh",
        "#PATH=/usr/bin",
        "17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly",
        "25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
        "47 6\t* * 7\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }",
        has_user=True,
    )
    assert [(each.name, each.schedule, each.user) for each in found.jobs()] == [
        ("cron.hourly", "17 * * * *", "root"),
        ("cron.daily", "25 6 * * *", "root"),
        ("cron.weekly", "47 6 * * 7", "root"),
    ]


def test_what_is_imported_can_be_put_and_the_rest_is_listed_too() -> None:
    found = read("A='x y'", "@daily a", "@daily cat%x", "SHELL=/bin/bash", "@hourly b")
    assert [each.name for each in found.jobs()] == ["a", "cat", "b"]
    for each in found.jobs(IMPORTED):
        assert read_job(each.definition()).name == each.name
    assert [each.name for each in found.jobs(IMPORTED)] == ["a", "b"]


def test_variables_that_are_not_exported_are_named() -> None:
    assert not_exported(["A", "IFS", "MAILTO", "LD_X", "a b"]) == ["IFS", "LD_X", "a b"]
    assert with_environment("x", {"IFS": "1", "LD_X": "1", "a b": "1", "MAILTO": "1"}) == "x"


WORDS = ["0 3 * * *", "@daily", "A=b", "CRON_TZ=", "SHELL=x", "root", "x"]
SIGNS = ["#", "%", "\\", "-", "'", '"', " ", "\t", "\n", "\r\n"]


@given(st.lists(st.sampled_from([*WORDS, *SIGNS])), st.booleans())
def test_any_text_has_one_row_for_each_line_that_says_something(parts: list[str], has_user: bool) -> None:
    text = "".join(parts)
    found = read_crontab(text, category="c", has_user=has_user)
    lines = [line.strip() for line in text.split("\n")]
    said = [number for number, line in enumerate(lines, start=1) if line and not line.startswith("#")]
    assert [row.line for row in found.rows] == said
    for each in found.jobs(IMPORTED):
        read_job(each.definition())

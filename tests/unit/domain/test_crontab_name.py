"""Names of imported jobs: readable, unique, and the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.crontab_name import Names, readable_name
from cronq.domain.job import read_job


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full", "backup.sh"),
        ("$HOME/bin/daily.job >> $HOME/tmp/out 2>&1", "daily.job"),
        ("cd /srv/app && ./bin/report", "report"),
        ("[ -x /usr/lib/x ] && /usr/lib/x", "x"),
        ("test -e /run/systemd/system || SERVICE_MODE=1 /sbin/e2scrub_all -A -r", "e2scrub_all"),
        ("command -v debian-sa1 > /dev/null && debian-sa1 1 1", "debian-sa1"),
        ("if [ -x /etc/x ]; then /etc/y; fi", "y"),
        ("(cd /x; tar c .) | gzip > /y", "tar"),
        ("> /dev/null 2>&1 rotate", "rotate"),
        ("A=1 B='x y' thing", "thing"),
        ("nice -n 10 ionice -c3 /a/slow", "slow"),
        ("timeout -k 5 60 /a/b", "b"),
        ("flock -n /run/lock /a/sync", "sync"),
        ("flock /run/lock -c '/a/sync now'", "sync-now"),
        ("sudo -u www-data php /srv/artisan schedule:run", "artisan"),
        ("/usr/bin/python3 -u /opt/report.py", "report.py"),
        ("python3 -m app.clean", "app.clean"),
        ("python3 -c 'import x'", "python3"),
        ("perl -e 'print 1'", "perl"),
        ("java -jar /opt/x.jar", "x.jar"),
        ("sh -c 'cd /x; ./y.sh'", "y.sh"),
        ('bash -lc "make it"', "make"),
        ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "cron.daily"),
        ("echo 'not closed", "echo"),
        ("/srv/r\u00e9sum\u00e9 x", "r-sum"),
        ("nice", "nice"),
        ("", "job"),
        ("# nothing", "job"),
        ("/", "job"),
        ("\u65e5\u672c", "job"),
    ],
)
def test_a_name_is_the_basename_of_the_program_that_does_the_work(command: str, name: str) -> None:
    assert readable_name(command) == name


def test_each_name_is_given_once_whatever_its_case() -> None:
    names = Names()
    commands = ["/a/backup", "/b/backup", "/c/Backup", "/d/backup-2", "/e/backup"]
    assert [names.name(command) for command in commands] == [
        "backup",
        "backup-2",
        "Backup-3",
        "backup-2-2",
        "backup-4",
    ]


def test_the_same_commands_have_the_same_names() -> None:
    commands = ["/a/backup", "/b/backup", "x"]
    first, second = Names(), Names()
    assert [first.name(each) for each in commands] == [second.name(each) for each in commands]


def test_a_command_without_end_is_named_at_once() -> None:
    assert readable_name("nice " * 100_000) == "nice"


@given(st.lists(st.text(min_size=1), max_size=20))
def test_every_name_is_allowed_and_unique(commands: list[str]) -> None:
    names = Names()
    given_names = [names.name(command) for command in commands]
    assert len({name.lower() for name in given_names}) == len(commands)
    for name in given_names:
        assert read_job({"name": name, "schedule": "@daily", "command": "true"}).name == name

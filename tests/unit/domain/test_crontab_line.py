"""Lines of a crontab: what Debian's cron 3.0pl1-162 made of them when it was run on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.crontab_line import (
    BadLine,
    backward_ranges,
    has_flags,
    is_active,
    read_entry,
    read_setting,
)


@pytest.mark.parametrize(
    ("line", "active"),
    [
        ("", False),
        (" \t ", False),
        ("# m h dom mon dow command", False),
        (" \t# indented", False),
        ("0 3 * * * backup", True),
        ("\t0 3 * * * backup", True),
        ("A=b", True),
    ],
)
def test_blank_lines_and_comments_say_nothing(line: str, active: bool) -> None:
    assert is_active(line) is active


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("FOO=bar", "FOO", "bar"),
        ("  FOO  =  bar baz  ", "FOO", "bar baz"),
        ("FOO\t=\tbar", "FOO", "bar"),
        ("PATH=$HOME/bin:$PATH", "PATH", "$HOME/bin:$PATH"),  # nothing is substituted
        ("FOO=x # y", "FOO", "x # y"),  # no comments here
        ("FOO=' quoted # x '", "FOO", " quoted # x "),
        ("FOO=\" a 'b' \"", "FOO", " a 'b' "),
        ('MAILTO=""', "MAILTO", ""),
        ("MAILTO=''", "MAILTO", ""),
        ("MAILTO=", "MAILTO", ""),  # Debian's cron refuses it, cronie does not
        ('"Q N"=5', "Q N", "5"),
        ("'FOO' = 5", "FOO", "5"),
        ("FOO=a=b", "FOO", "a=b"),
        ("FOO=it's", "FOO", "it's"),
        ("FOO=\\$x\\", "FOO", "\\$x\\"),
    ],
)
def test_a_setting_is_a_name_and_a_value(line: str, name: str, value: str) -> None:
    assert read_setting(line) == (name, value)


@pytest.mark.parametrize(
    "line",
    ["0 3 * * * FOO=bar backup", "*/5 * * * * A=b c", "@daily A=b c", "@daily", "0 3 * * *", "=x", "A B=c"],
)
def test_an_entry_is_no_setting(line: str) -> None:
    assert read_setting(line) is None


@pytest.mark.parametrize("line", ['FOO="a"b', "FOO='a", "FOO = \"a'", "FOO='a' # x"])
def test_a_value_with_wrong_quotes_is_refused(line: str) -> None:
    with pytest.raises(BadLine, match="quotes"):
        read_setting(line)


@pytest.mark.parametrize(
    ("line", "schedule", "command"),
    [
        ("0 3 * * * backup", "0 3 * * *", "backup"),
        ("0 3 * * 1-5\tbackup  --all", "0 3 * * 1-5", "backup  --all"),
        (" \t0\t3 *  *\t* \t backup", "0 3 * * *", "backup"),
        ("0 3 * * * backup # no comment", "0 3 * * *", "backup # no comment"),
        ("5 4 * * sun x", "5 4 * * sun", "x"),
        ("0 0 * * 7 x", "0 0 * * 7", "x"),
        ("1-9/2,20 * * * * x", "1-9/2,20 * * * *", "x"),
        ("@daily x y", "@daily", "x y"),
        ("@weekly\tx", "@weekly", "x"),
        ("@every 5m x y", "@every 5m", "x y"),
        ("@reboot x", "@reboot", "x"),
        ("0 3 * * * A=b c", "0 3 * * *", "A=b c"),
        ("0 3 * * * echo a  ", "0 3 * * *", "echo a  "),
    ],
)
def test_an_entry_is_a_schedule_and_the_rest_of_the_line(line: str, schedule: str, command: str) -> None:
    entry = read_entry(line, has_user=False)
    assert (entry.schedule, entry.command, entry.user) == (schedule, command, "")


@pytest.mark.parametrize(
    ("line", "user", "command"),
    [
        ("17 * * * * root cd / && run-parts /etc/cron.hourly", "root", "cd / && run-parts /etc/cron.hourly"),
        ("17 * * * *\twww-data\t  x", "www-data", "x"),
        ("@daily _apt x", "_apt", "x"),
        ("@every 5m machine$ x", "machine$", "x"),
    ],
)
def test_a_system_crontab_names_a_user_before_the_command(line: str, user: str, command: str) -> None:
    entry = read_entry(line, has_user=True)
    assert (entry.user, entry.command) == (user, command)


@pytest.mark.parametrize("line", ["0 3 * * * /usr/bin/backup", "0 3 * * * $X y", "0 3 * * *", "0 3 * * * "])
def test_a_system_crontab_without_a_user_is_refused(line: str) -> None:
    with pytest.raises(BadLine, match="user's name before the command") as caught:
        read_entry(line, has_user=True)
    assert "backup" not in str(caught.value)


@pytest.mark.parametrize("line", ["0 3 * * *", "0 3 * * *  ", "@daily", "nonsense", "@every 5m"])
def test_an_entry_without_a_command_is_refused(line: str) -> None:
    with pytest.raises(BadLine, match="there is no command"):
        read_entry(line, has_user=False)


@pytest.mark.parametrize(
    "line",
    [
        "30 PASSWORD=hunter2 x y z w",
        "* * * * /bin/hunter2 x",
        "hunter2.sh a b c d e",
        "0 3 'hunter2' x y z",
        "$x=hunter2",
    ],
)
def test_what_has_no_time_is_refused_and_not_quoted(line: str) -> None:
    with pytest.raises(BadLine, match="a time of five fields") as caught:
        read_entry(line, has_user=False)
    assert "hunter2" not in str(caught.value)


def test_a_user_without_a_command_is_refused() -> None:
    with pytest.raises(BadLine, match="there is no command"):
        read_entry("0 3 * * * root", has_user=True)


def test_a_sixth_field_is_refused() -> None:
    with pytest.raises(BadLine, match="seconds are not supported"):
        read_entry("0 0 3 * * * backup", has_user=False)


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        (r"date +\%F", "date +%F", ""),
        ("cat%hello", "cat", "hello\n"),
        ("cat %one%%two", "cat ", "one\n\ntwo\n"),
        ("cat%one%", "cat", "one\n"),
        ("cat%", "cat", ""),
        ("cat%%", "cat", "\n"),
        (r"cat%one%%two\%three\x", "cat", "one\n\ntwo%three\\x\n"),
        (r"printf '[\%s]' 'a\\b'", r"printf '[%s]' 'a\b'", ""),
        (r"x \\%y", "x \\", "y\n"),
        (r"x \\\%y", r"x \%y", ""),
        (r"sed s/\./x/", r"sed s/\./x/", ""),
        ("x \\", "x \\", ""),
        (r"cat%\\%", "cat", "\\%\n"),
    ],
)
def test_a_percent_sign_begins_the_input_unless_it_is_escaped(text: str, command: str, stdin: str) -> None:
    entry = read_entry(f"0 3 * * * {text}", has_user=False)
    assert (entry.command, entry.stdin) == (command, stdin)


@pytest.mark.parametrize(
    ("text", "told"),
    [(r"a\\b", True), (r"\\%x", True), (r"a\%\b", False), (r"x\%\%", False), (r"a%\\", False)],
)
def test_a_backslash_that_is_taken_off_another_is_told(text: str, told: bool) -> None:
    remarks = read_entry(f"0 3 * * * {text}", has_user=False).remarks
    assert any("became one" in remark for remark in remarks) is told


def test_a_dash_before_the_minute_is_taken_off_and_told() -> None:
    entry = read_entry("-*/15 * * * * x", has_user=False)
    assert entry.schedule == "*/15 * * * *"
    assert "syslog" in entry.remarks[0]


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ("0 22-3 * * *", ["22-3"]),
        ("55-54,1-2 * * * *", ["55-54"]),
        ("0 0 * * fri-mon", ["fri-mon"]),
        ("0 0 * * FRI-SUN", ["fri-sun"]),
        ("0 0 * nov-feb 5-7", ["nov-feb"]),
        ("0-59/5 9-17 1-31 jan-dec mon-fri", []),
        ("0 0 L-3 * *", []),
        ("@daily", []),
        ("@every 5m", []),
        ("x-y 2 3 4 5", []),
    ],
)
def test_ranges_over_the_end_of_a_field_are_found(schedule: str, found: list[str]) -> None:
    assert backward_ranges(schedule) == found


@pytest.mark.parametrize(
    ("command", "has"), [("-q x", True), ("-ns x", True), ("x -q", False), ("-x", False), ("-qx", False)]
)
def test_flags_for_another_cron_are_known(command: str, has: bool) -> None:
    assert has_flags(command) is has


@given(st.text(alphabet=" \t0*/-,@=#%\\'\"aZ\r\x00\u2028\ud800é"))
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        if read_setting(line) is None:
            entry = read_entry(line, has_user=False)
            assert entry.schedule
    except BadLine:
        pass

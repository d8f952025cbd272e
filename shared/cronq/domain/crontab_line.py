"""One line of a crontab as Debian's cron 3.0pl1 reads it, by its crontab(5) and its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from cronq.domain.cron_field import FIELDS
from cronq.domain.errors import CronqError

_BLANKS = " \t"
_BLANK = re.compile(r"[ \t]+")
_QUOTED = r"""'[^']*'|"[^"]*\""""
# A name in quotes may hold blanks, but no equal sign.
_SETTING = re.compile(rf"""('[^'=]+'|"[^"=]+"|[^\s'"=][^\s=]*)\s*=\s*({_QUOTED}|[^'"\s].*|)""", re.DOTALL)
_LIKE_A_SETTING = re.compile(r"[A-Za-z_]\w*\s*=")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
_NO_TIME = re.compile(r"""[=$.:;&|<>'"\\`]|(?:^| )/|(?<!^)@""")
# OpenBSD's flags of a command.
_FLAGS = re.compile(r"-[nqs]+[ \t]")
_FIELD_COUNT = len(FIELDS)


class BadLine(CronqError):
    """A line that cannot be read; the text says why and never quotes a command."""


class Setting(NamedTuple):
    """`name = value`: in force for the lines after it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A command and when it runs. `user` and `stdin` are '' where there is none."""

    schedule: str
    command: str
    user: str = ""
    stdin: str = ""
    remarks: tuple[str, ...] = ()


def is_active(line: str) -> bool:
    """Whether it is neither blank nor a comment; there are none behind anything else."""
    text = line.lstrip(_BLANKS)
    return text != "" and not text.startswith("#")


def read_setting(line: str) -> Setting | None:
    """The environment setting of a line, None if it is an entry. Raises BadLine for one with wrong quotes.

    A value without quotes goes to the end of the line, its trailing blanks left out. An empty one
    without quotes is refused by Debian's cron and allowed by others.
    """
    text = line.strip()
    if match := _SETTING.fullmatch(text):
        return Setting(_unquoted(match[1]), _unquoted(match[2]))
    if _LIKE_A_SETTING.match(text):
        raise BadLine("the quotes of the value do not match; cron ignores the whole file then")
    return None


def read_entry(line: str, *, has_user: bool) -> Entry:
    """The entry of a line; raises BadLine. Whether its schedule is one is not looked at."""
    text = line.lstrip(_BLANKS)
    remarks = []
    if text.startswith("-"):
        # Of cronie and SUSE's cron, for root.
        text = text[1:]
        remarks.append("the - before it asks for no syslog entry: it is left out")
    schedule, rest = _schedule(text)
    if _NO_TIME.search(schedule):
        # It is not quoted: it may be a secret of a command that came too early.
        raise BadLine("a time of five fields, or one that begins with @, comes before the command")
    user, command = _user(rest) if has_user else ("", rest)
    if command.startswith("*"):
        raise BadLine("the command begins with *: is there a field too many? seconds are not supported")
    if not command:
        raise BadLine("there is no command")
    command, stdin, collapsed = _percent(command)
    if collapsed:
        remarks.append(r"each \\ became one \, as in Debian's cron; others keep both")
    return Entry(schedule, command, user, stdin, tuple(remarks))


def has_flags(command: str) -> bool:
    """Whether a command begins with flags for cron: OpenBSD's takes them off, Debian's runs them."""
    return _FLAGS.match(command) is not None


def backward_ranges(schedule: str) -> list[str]:
    """Its ranges over the end of their field, as 22-3: Debian's cron accepts them and never matches one."""
    found = []
    for field, text in zip(FIELDS, schedule.lower().split(), strict=False):
        for low, high in re.findall(r"(?:^|,)(\w+)-(\w+)", text):
            numbers = [
                field.names.index(end) + field.low if end in field.names else end for end in (low, high)
            ]
            if all(str(number).isdecimal() for number in numbers) and int(numbers[0]) > int(numbers[1]):
                found.append(f"{low}-{high}")
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') else text


def _schedule(text: str) -> tuple[str, str]:
    """(schedule, the rest of the line)."""
    if not text.startswith("@"):
        count = _FIELD_COUNT
    else:
        count = 2 if _BLANK.split(text, maxsplit=1)[0].lower() == "@every" else 1
    parts = _BLANK.split(text, maxsplit=count)
    return " ".join(parts[:count]), parts[count] if len(parts) > count else ""


def _user(text: str) -> tuple[str, str]:
    user, *rest = _BLANK.split(text, maxsplit=1)
    if not _USER.fullmatch(user):
        raise BadLine("a system crontab has a user's name before the command, and here is none")
    return user, rest[0] if rest else ""


def _percent(text: str) -> tuple[str, str, bool]:
    r"""(command, stdin, whether a \\ became \): do_command.c, child_process.

    In the command \% and \\ lose their first backslash; what follows the first other % is the input,
    where only \% does. cron ends it with a line end.
    """
    read = re.compile(r"(?:[^\\%]|\\.|\\$)*", re.DOTALL).match(text)
    end = read.end() if read else 0
    command, data = text[:end], text[end + 1 :]
    lines = re.sub(r"\\%|%", lambda match: "\n" if match[0] == "%" else "%", data)
    if lines and not lines.endswith("\n"):
        lines += "\n"
    collapsed = r"\\" in re.findall(r"\\.", command)
    return re.sub(r"\\([\\%])", r"\1", command), lines, collapsed

r"""A crontab becomes jobs, and a report that has a row for each line that is neither blank nor a comment.

Rules: crontab(5) of Debian's cron 3.0pl1. Beyond it `CRON_TZ`, as cronie has it, is the zone of the jobs
after it. A setting is in force for the lines after it; what a job has no field for is put in front of
its command where that comes to the same. What has no such form is listed for a person to decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cronq.domain import zone
from cronq.domain.crontab_env import PLAIN_SHELL, cannot_be_exported, not_exported, with_environment
from cronq.domain.crontab_line import (
    BadLine,
    Entry,
    Setting,
    backward_ranges,
    has_flags,
    is_active,
    read_entry,
    read_setting,
)
from cronq.domain.crontab_name import Names
from cronq.domain.errors import InvalidInput
from cronq.domain.job import read_job
from cronq.domain.schedule import parse
from cronq.domain.schedule_error import ScheduleError


class Result(StrEnum):
    """What became of a line."""

    IMPORTED = "imported"
    NEEDS_DECISION = "needs decision"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ImportedJob:
    """`user` and `stdin` are '' where there is none; `words` are its schedule's."""

    name: str
    schedule: str
    command: str
    words: str
    timezone: str | None = None
    user: str = ""
    stdin: str = ""

    def definition(self) -> dict[str, str]:
        """Its fields as a document has them."""
        known = {"name": self.name, "schedule": self.schedule, "command": self.command}
        others = {"timezone": self.timezone, "user": self.user, "stdin": self.stdin}
        return known | {name: value for name, value in others.items() if value}


@dataclass(frozen=True, slots=True)
class Row:
    """`line` counts from 1, `reason` may be ''. A setting has no job, nor has a line that is refused."""

    line: int
    result: Result
    reason: str = ""
    job: ImportedJob | None = None


@dataclass(frozen=True, slots=True)
class Crontab:
    """What was read, in the order of the file."""

    rows: tuple[Row, ...]

    def jobs(self, *results: Result) -> list[ImportedJob]:
        """Those whose lines came out so; without any result, all."""
        return [row.job for row in self.rows if row.job and (not results or row.result in results)]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to a person."""
        return all(row.result is Result.IMPORTED for row in self.rows)


def read_crontab(text: str, *, category: str, has_user: bool = False, timezone: str | None = None) -> Crontab:
    """Reads a whole crontab; with `has_user` its lines have a user column, as those of /etc/crontab.

    `timezone` is that of the jobs before any CRON_TZ. Never raises: what is wrong is in the report.
    """
    return Crontab(tuple(_Reader(category, timezone, has_user=has_user).rows(text)))


class _Reader:
    """Goes through a crontab with the settings that are in force."""

    def __init__(self, category: str, timezone: str | None, *, has_user: bool) -> None:
        self._category = category
        self._timezone = timezone
        self._has_user = has_user
        self._environment: dict[str, str] = {}
        self._names = Names()

    def rows(self, crontab: str) -> Iterator[Row]:
        for number, line in enumerate(crontab.split("\n"), start=1):
            # cron hands a CR at the end to the shell, which nobody can have meant.
            if is_active(text := line.rstrip("\r")):
                yield self._row(number, text)

    def _row(self, number: int, line: str) -> Row:
        try:
            setting = read_setting(line)
            if setting is None:
                return self._entry(number, read_entry(line, has_user=self._has_user))
        except BadLine as error:
            return Row(number, Result.REFUSED, str(error))
        return self._setting(number, setting)

    def _setting(self, number: int, setting: Setting) -> Row:
        if setting.name == "CRON_TZ":
            self._timezone = setting.value or None
        else:
            self._environment[setting.name] = setting.value
        result, words = _of_setting(setting)
        return Row(number, result, f"{setting.name}: {words}")

    def _entry(self, number: int, entry: Entry) -> Row:
        command = with_environment(entry.command, self._environment)
        fields = {"schedule": entry.schedule, "command": command, "timezone": self._timezone}
        try:
            read_job({"name": "job", **fields})
        except InvalidInput as error:
            return Row(number, Result.REFUSED, _told(error))
        name = self._names.name(entry.command)
        seed = f"{self._category}/{name}"
        words = parse(entry.schedule, timezone=self._timezone, seed=seed).describe()
        job = ImportedJob(name, entry.schedule, command, words, self._timezone, entry.user, entry.stdin)
        undecided = list(_decisions(entry, self._environment, has_user=self._has_user))
        result = Result.NEEDS_DECISION if undecided else Result.IMPORTED
        return Row(number, result, "; ".join([*undecided, *entry.remarks]), job)


def _told(error: InvalidInput) -> str:
    return "; ".join(f"{p.message}; {p.hint}" if p.hint else p.message for p in error.problems)


def _of_setting(setting: Setting) -> tuple[Result, str]:
    """(result, words) of a setting."""
    name, value = setting
    if name == "CRON_TZ":
        return _of_zone(value)
    if name in _SAID:
        return Result.IMPORTED, _SAID[name]
    if name == "MAILTO":
        return _of_mail(value)
    if name == "SHELL":
        return Result.IMPORTED, _of_shell(value)
    if reason := cannot_be_exported(name):
        return Result.NEEDS_DECISION, f"left out of the commands after it: {reason}"
    home = ", which starts there" if name == "HOME" else ""
    return Result.IMPORTED, f"exported in front of each command after it{home}"


_SAID = {
    "LOGNAME": "left out, as cron does: it is always the user",
    "MAILFROM": "left out: it is about mail",
    "CONTENT_TYPE": "left out: it is about mail",
    "CONTENT_TRANSFER_ENCODING": "left out: it is about mail",
    "TZ": "exported in front of each command after it; the zone of schedules is CRON_TZ",
}


def _of_zone(name: str) -> tuple[Result, str]:
    if not name:
        return Result.IMPORTED, "the jobs after it have none, so they go by UTC"
    try:
        zone.load(name)
    except ScheduleError as error:
        return Result.REFUSED, f"{error}; {error.hint}"
    return Result.IMPORTED, "the timezone of the jobs after it"


def _of_mail(address: str) -> tuple[Result, str]:
    if not address:
        return Result.IMPORTED, "no mail, as here"
    return Result.NEEDS_DECISION, (
        "this release sends no mail: each run keeps its output, and a failed one is on the failures page; "
        "let the command send what must be mailed, and take the line out"
    )


def _of_shell(path: str) -> str:
    if path == PLAIN_SHELL:
        return "as here"
    return "runs each command after it, by exec … -c"


def _decisions(entry: Entry, environment: Mapping[str, str], *, has_user: bool) -> Iterator[str]:
    """What only a person can decide about a job."""
    if entry.user:
        yield (
            f"user: cron runs it as {entry.user}, a job runs as its runner does; give it a routing_key that "
            f"only runners of {entry.user} serve, and leave user out"
        )
    if entry.stdin:
        yield (
            "stdin: a job has none in this release; write the command as { …; } <<'END', a new line, "
            "the lines of stdin and END, and leave stdin out"
        )
    if names := not_exported(environment):
        yield f"it ran with {', '.join(names)} set: set it in the command or on the runner if it matters"
    if ranges := backward_ranges(entry.schedule):
        yield f"Debian's cron never matches {', '.join(ranges)}; here it runs over the end of the field"
    if has_flags(entry.command):
        yield "the command begins with flags for OpenBSD's cron; take them off"
    if not has_user and entry.command.split(maxsplit=1)[0] == "root":
        yield "the command begins with root: if that is a user column, import with --system"

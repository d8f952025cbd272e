"""Whether the fields of a document's job that say when it is due make sense, alone and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cronq.domain.bounded import end_second, start_second
from cronq.domain.errors import Problem
from cronq.domain.job_fields import Path
from cronq.domain.schedule import ScheduleError, parse
from cronq.domain.strict_json import pointer

# What a schedule is parsed from.
_PARSED_FIELDS = frozenset({"schedule", "timezone", "dst", "start", "end"})
# A change of one of these moves the job's next occurrence; a change of any other field does not.
TIMING_FIELDS = _PARSED_FIELDS | {"calendar"}


def timing_problems(values: Mapping[str, Any], where: Mapping[str, Path]) -> list[Problem]:
    """What is wrong with them; `values` are the allowed ones, `where` has the path of each given one."""
    given = {name: values[name] for name in _PARSED_FIELDS if name in values}
    if "timezone" in where and "timezone" not in values:
        # It has its own problem: the others are judged as if it were a good one.
        given["timezone"] = "UTC"
    alone = [*_of_bounds(given, where), *_of_each(given, where)]
    return alone or _together(given, where)


def _of_bounds(given: Mapping[str, Any], where: Mapping[str, Path]) -> Iterator[Problem]:
    for name, read in (("start", start_second), ("end", end_second)):
        if given.get(name) is not None:
            try:
                read(given[name], given.get("timezone"))
            except ScheduleError as error:
                yield _problem(name, error, where[name])


def _of_each(given: Mapping[str, Any], where: Mapping[str, Path]) -> Iterator[Problem]:
    expressions = given.get("schedule", ())
    is_one = isinstance(expressions, str)
    for index, text in enumerate((expressions,) if is_one else expressions):
        try:
            parse(text, timezone=given.get("timezone"), dst=given.get("dst", "cron"))
        except ScheduleError as error:
            yield _problem("schedule", error, where["schedule"] if is_one else (*where["schedule"], index))


def _together(given: Mapping[str, Any], where: Mapping[str, Path]) -> list[Problem]:
    if "schedule" not in given:
        return []
    others = {name: value for name, value in given.items() if name != "schedule"}
    try:
        parse(given["schedule"], **others)
    except ScheduleError as error:
        name = "schedule" if error.code == "never_fires" else "end"
        return [_problem(name, error, where[name])]
    return []


def _problem(name: str, error: ScheduleError, at: Path) -> Problem:
    message = str(error).removeprefix(f"{name} ")
    return Problem(error.code, pointer(*at), f"{name}: {message}", error.hint)

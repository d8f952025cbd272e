"""Schedules: expressions and a zone become instants.

parse("30 2 * * *", timezone="Europe/Berlin").next_after(now)
parse(("H 3 * * MON-FRI", "@at 2026-12-24T18:00:00Z"), seed="shop/backup")
parse("R/2013-05-29T00:00:00/PT1M").describe()
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

from cronq.domain import cron, iso8601, once, zone
from cronq.domain.after_finish import AfterFinish
from cronq.domain.bounded import Bounded, bounded, end_second, start_second
from cronq.domain.cron_field import is_hashed
from cronq.domain.duration import parse_duration
from cronq.domain.recurrence import EPOCH, SECOND, Schedule
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.shifted import Shift, Shifted
from cronq.domain.union import Union

__all__ = [
    "DST_RULES",
    "Expressions",
    "Schedule",
    "ScheduleError",
    "every",
    "from_column",
    "needs_seed",
    "parse",
    "to_column",
]

DST_RULES = ("cron", "skip", "both")
LONGEST_TEXT = 1_000
# One schedule, or several whose occurrences are those of the job.
Expressions: TypeAlias = str | tuple[str, ...]
_EXAMPLE = "R/2026-01-01T00:00:00Z/PT1M"
_ISO_WITHOUT_R = re.compile(r"([0-9]{4}-?[0-9]{2}-?[0-9]{2}\S*/)?P[0-9T]\S*")


def parse(
    expressions: Expressions,
    *,
    timezone: str | None = None,
    dst: str = "cron",
    seed: str = "",
    start: str | None = None,
    end: str | None = None,
    shift: Shift | None = None,
) -> Schedule:
    """Reads cron expressions, @aliases, `@every`, `@at` and ISO 8601 repeating intervals.

    Without `timezone`, an IANA name, wall time is that of an interval's own offset, else UTC. `seed`
    decides what H stands for. `start` and `end` are the first and last instant at which anything may
    occur, RFC 3339 or local in `timezone`. A `shift` moves what is on no business day, at the wall time
    of `timezone`, else of its calendar; nothing of `@every … after finish`. Raises ScheduleError.
    """
    plain = _parse(expressions, timezone, dst, seed, start=start, end=end)
    return plain if shift is None or plain.waits_for_end else _moved(plain, shift, timezone)


@lru_cache(maxsize=1024)
def every(period: timedelta, anchor: datetime) -> Schedule:
    """The grid anchor + k * period of real time (k from 0), as a job's bare interval means it.

    The anchor is aware. Raises ScheduleError unless both are whole seconds, the period 1 s to 100 years.
    """
    return iso8601.every(period, anchor)


def needs_seed(expressions: Expressions) -> bool:
    """Whether any of them holds an H, so that its instants follow from a seed."""
    texts = (expressions,) if isinstance(expressions, str) else expressions
    return any(is_hashed(text) for text in texts)


def to_column(expressions: Expressions | None) -> str | None:
    """How they are stored: one as it is, several as a JSON list."""
    return json.dumps(expressions) if isinstance(expressions, tuple) else expressions


def from_column(text: str | None) -> Expressions | None:
    """What `to_column` stored, or a person wrote. A list that is none stays text, which `parse` refuses."""
    if text is None or not text.lstrip().startswith("["):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return tuple(found) if found and all(isinstance(each, str) for each in found) else text


@lru_cache(maxsize=16_384)
def _parse(
    expressions: Expressions, timezone: str | None, dst: str, seed: str, *, start: str | None, end: str | None
) -> Schedule:
    if dst not in DST_RULES:
        raise ScheduleError("invalid_dst", f"dst {dst[:40]!r} is unknown; allowed are {', '.join(DST_RULES)}")
    texts = (expressions,) if isinstance(expressions, str) else expressions
    parts = tuple(_one(text.strip(), timezone, dst, seed) for text in texts)
    if any(part.waits_for_end for part in parts) and (len(parts) > 1 or start or end):
        raise _invalid("@every … after finish stands alone", "leave out start, end and other schedules")
    whole = parts[0] if len(parts) == 1 else Union(", ".join(part.text for part in parts), parts)
    first = None if start is None else start_second(start, timezone)
    last = None if end is None else end_second(end, timezone)
    return bounded(whole, first, last)


def _moved(schedule: Schedule, shift: Shift, timezone: str | None) -> Schedule:
    """Its bounds hold for what is moved too; that some of it is left is no matter of the schedule's text."""
    home = shift.calendar.zone if timezone is None else zone.load(timezone)
    if isinstance(schedule, Bounded):
        moved = Shifted(schedule.text, schedule.inner, shift, home)
        return Bounded(schedule.text, moved, schedule.first, schedule.last)
    return Shifted(schedule.text, schedule, shift, home)


def _one(text: str, timezone: str | None, dst: str, seed: str) -> Schedule:
    _check_text(text)
    if text.startswith("R"):
        return iso8601.parse(text, timezone=timezone, dst=dst)
    keyword = text.split(maxsplit=1)[0].lower()
    if keyword == "@every":
        return _every(text)
    if keyword == "@at":
        return once.parse(text, timezone=timezone, dst=dst)
    return cron.parse(text, timezone=timezone, dst=dst, seed=seed)


def _every(text: str) -> Schedule:
    """Real time counted from 1970, so that neither a deploy nor a restart moves it."""
    words = text.split()[1:]
    is_after_finish = words[1:] == ["after", "finish"]
    if len(words) != 1 and not is_after_finish:
        hint = "write @every 90s, @every 10m, @every PT1H30M or @every 90s after finish"
        raise _invalid("@every needs one period after it", hint)
    try:
        period = parse_duration(words[0])
        if period < SECOND:
            raise _invalid(f"{words[0]} is too short", "at least 1s is needed")
        grid = iso8601.every(period, EPOCH, text)
        return AfterFinish(text, period) if is_after_finish else grid
    except ScheduleError as error:
        raise ScheduleError(
            "overflow" if error.code == "overflow" else "invalid_schedule",
            f"@every: {error.message}",
            error.hint,
        ) from error


def _check_text(text: str) -> None:
    if not text:
        raise _invalid("schedule is empty", f"write 30 2 * * * or {_EXAMPLE}")
    if len(text) > LONGEST_TEXT:
        raise _invalid(f"schedule is longer than {LONGEST_TEXT} characters")
    for position, character in enumerate(text, start=1):
        if not character.isascii():
            kind = "digit" if character.isdigit() else "character"
            raise _invalid(
                f"schedule: {character!r} at position {position} is not an ASCII {kind}", _typed(character)
            )
    if text.startswith("r"):
        raise _invalid(f"schedule {text[:60]!r} must begin with a capital R", f"as {_EXAMPLE}")
    if match := _ISO_WITHOUT_R.fullmatch(text):
        hint = f"write R/{text[:60]}" if match[1] else f"write @every {text[:60]}, or {_EXAMPLE}"
        raise _invalid(f"schedule {text[:60]!r} does not begin with R[n]/", hint)


def _typed(character: str) -> str:
    """A hint with the ASCII character that looks or means the same: of full width, or what editors make."""
    plain = unicodedata.normalize("NFKC", character)
    if character.isdecimal():
        plain = str(unicodedata.decimal(character))
    elif unicodedata.category(character) == "Pd" or character == "\N{MINUS SIGN}":
        plain = "-"
    elif character in "\N{ASTERISK OPERATOR}\N{LOW ASTERISK}":
        plain = "*"
    return f"write {'a plain space' if plain == ' ' else plain}" if plain.isascii() else ""


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

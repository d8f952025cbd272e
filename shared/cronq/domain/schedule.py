"""Schedules: an expression and a zone become instants.

parse("30 2 * * *", timezone="Europe/Berlin").next_after(now)
parse("R/2013-05-29T00:00:00/PT1M")
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

from cronq.domain import cron, iso8601
from cronq.domain.recurrence import Schedule
from cronq.domain.schedule_error import ScheduleError

__all__ = ["DST_RULES", "Schedule", "ScheduleError", "every", "parse", "warnings"]

DST_RULES = ("cron", "skip", "both")
LONGEST_TEXT = 1_000
_EXAMPLE = "R/2026-01-01T00:00:00Z/PT1M"
_ISO_WITHOUT_R = re.compile(r"([0-9]{4}-?[0-9]{2}-?[0-9]{2}\S*/)?P[0-9T]\S*")


def parse(text: str, *, timezone: str | None = None, dst: str = "cron") -> Schedule:
    """Reads a cron expression, an @alias or an ISO 8601 repeating interval; `timezone` is an IANA name.

    Without a timezone, wall time is that of the interval's own offset, else UTC. Raises ScheduleError.
    """
    return _parse(text, timezone, dst)


def every(period: timedelta, anchor: datetime) -> Schedule:
    """The grid anchor + k * period of real time (k from 0), as a job's bare interval means it.

    The anchor is aware. Raises ScheduleError unless both are whole seconds, the period 1 s to 100 years.
    """
    return iso8601.every(period, anchor)


def warnings(text: str, *, timezone: str | None = None, dst: str = "cron", now: datetime) -> list[str]:
    """What to tell the author of a valid schedule, one sentence each; raises as `parse` does."""
    return parse(text, timezone=timezone, dst=dst).remarks(now)


@lru_cache(maxsize=16_384)
def _parse(text: str, timezone: str | None, dst: str) -> Schedule:
    text = text.strip()
    _check_text(text)
    if dst not in DST_RULES:
        raise ScheduleError("invalid_dst", f"dst {dst[:40]!r} is unknown; allowed are {', '.join(DST_RULES)}")
    if text.startswith("R"):
        return iso8601.parse(text, timezone=timezone, dst=dst)
    return cron.parse(text, timezone=timezone, dst=dst)


def _check_text(text: str) -> None:
    if not text:
        raise _invalid("schedule is empty", f"write 30 2 * * * or {_EXAMPLE}")
    if len(text) > LONGEST_TEXT:
        raise _invalid(f"schedule is longer than {LONGEST_TEXT} characters")
    for position, character in enumerate(text, start=1):
        if not character.isascii():
            kind = "digit" if character.isdigit() else "character"
            raise _invalid(f"schedule: {character!r} at position {position} is not an ASCII {kind}")
    if text.startswith("r"):
        raise _invalid(f"schedule {text[:60]!r} must begin with a capital R", f"as {_EXAMPLE}")
    if match := _ISO_WITHOUT_R.fullmatch(text):
        hint = f"write R/{text[:60]}" if match[1] else f"as {_EXAMPLE}"
        raise _invalid(f"schedule {text[:60]!r} does not begin with R[n]/", hint)


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

"""The expression that has a job start at a minute of its own, where everybody else chose the same one."""

from __future__ import annotations

import re
from itertools import pairwise

from cronq.domain.cron import ALIASES
from cronq.domain.cron_field import FIELDS, is_hashed

_HOUR_MINUTES = 60
_NUMBER = re.compile(r"[0-9]{1,2}")
_STEP = re.compile(r"\*/([0-9]{1,2})")


def spread(text: str) -> str | None:
    """The same schedule with its minute by hash: `H * * * *` for `0 * * * *`, `H/15 …` for `*/15 …`.

    None where there is none: it has an H, is no cron expression, or its minutes are uneven. The DST rule
    keeps its meaning, so a list of minutes in fixed hours has none either.
    """
    parts = ALIASES.get(text.strip().lower(), text).split()
    if len(parts) != len(FIELDS) or is_hashed(text):
        return None
    minute = _minute(parts[0], is_wild=parts[1].startswith("*"))
    return None if minute is None else " ".join([minute, *parts[1:]])


def _minute(field: str, *, is_wild: bool) -> str | None:
    if _NUMBER.fullmatch(field):
        return "H"
    if match := _STEP.fullmatch(field):
        return _every(int(match[1]))
    numbers = field.split(",")
    if not is_wild or not all(_NUMBER.fullmatch(number) for number in numbers):
        return None
    minutes = sorted({int(number) for number in numbers})
    gaps = {b - a for a, b in pairwise([*minutes, minutes[0] + _HOUR_MINUTES])}
    return _every(gaps.pop()) if len(gaps) == 1 else None


def _every(minutes: int) -> str | None:
    """None where the hour is no multiple of it: the last stretch of each hour is shorter then."""
    if minutes < 2 or _HOUR_MINUTES % minutes:
        return None
    return "H" if minutes == _HOUR_MINUTES else f"H/{minutes}"

"""The small words of a schedule in plain English: lists, counts and lengths of time."""

from __future__ import annotations

from collections.abc import Sequence

from cronq.domain.duration import Period

_MONTHS = 12
_LENGTHS = {"hour": 3_600, "minute": 60}


def join(parts: Sequence[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def each(number: int, unit: str) -> str:
    """What follows `every`: `minute` for one, `5 minutes` for more."""
    return unit if number == 1 else f"{number} {unit}s"


def each_period(period: Period) -> str:
    """The same of a period: `month`, `90 seconds`, `1 year and 6 months`."""
    years, months = divmod(period.months, _MONTHS)
    units = {"year": years, "month": months, "day": period.days} | _clock_units(period.seconds)
    named = [(number, unit) for unit, number in units.items() if number]
    if len(named) == 1:
        return each(*named[0])
    return join([f"{number} {unit}{'s' if number > 1 else ''}" for number, unit in named])


def _clock_units(seconds: int) -> dict[str, int]:
    """One unit, the largest that comes out even."""
    for unit, length in _LENGTHS.items():
        if seconds % length == 0:
            return {unit: seconds // length}
    return {"second": seconds}

"""Durations: ISO 8601 periods of schedules, and the short forms of settings (90, 90s, 10m, 2h, 1d)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache

from cronq.domain.schedule_error import ScheduleError

DAY_S = 86_400
# The mean Gregorian month, 365.2425 days / 12.
MONTH_S = 2_629_746
LONGEST_S = 36_525 * DAY_S
LONGEST_TEXT = 60
_PRINTABLE = 10**20

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_FORMS = "write 90, 90s, 10m, 2h, 1d or PT1H30M"
# How people and other programs say it.
_SPOKEN_UNITS = _UNITS | {
    **dict.fromkeys(("sec", "second"), 1),
    **dict.fromkeys(("min", "minute"), 60),
    **dict.fromkeys(("hr", "hour"), 3_600),
    "day": DAY_S,
    **dict.fromkeys(("w", "wk", "week"), 7 * DAY_S),
}
_SPOKEN_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", re.ASCII)
_SPOKEN = re.compile(rf"(?:{_SPOKEN_PART.pattern}\s*)+", re.ASCII)
_SHORT = re.compile(r"([0-9]+)([smhd]?)")
_PART = re.compile(r"([0-9]+(?:[.,][0-9]+)?)([A-Z])")
_Unit = tuple[str, int]
_DATE_UNITS: dict[str, _Unit] = {"Y": ("months", 12), "M": ("months", 1), "W": ("days", 7), "D": ("days", 1)}
_TIME_UNITS: dict[str, _Unit] = {"H": ("seconds", 3_600), "M": ("seconds", 60), "S": ("seconds", 1)}


@dataclass(frozen=True)
class Period:
    """Calendar months and days, counted in wall time, and seconds, counted in real time."""

    months: int
    days: int
    seconds: int

    @property
    def mean_s(self) -> int:
        """Its average length in seconds over the Gregorian cycle."""
        return self.months * MONTH_S + self.days * DAY_S + self.seconds


def parse_duration(value: str | int) -> timedelta:
    """The duration of `90` (seconds), `90s`, `10m`, `2h`, `1d` or ISO 8601 without months or years.

    Zero is allowed. Raises ScheduleError `invalid_duration`, or `overflow` beyond 100 years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _invalid(f"duration {value!r} is neither a number of seconds nor a text")
    seconds = _text_seconds(value.strip()) if isinstance(value, str) else value
    # A number may be too long to print.
    shown = f" {value}" if isinstance(value, str) or abs(value) < _PRINTABLE else ""
    if seconds < 0:
        raise _invalid(f"duration{shown} is negative", "write a positive number of seconds")
    _check_length(seconds, shown)
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest form that `parse_duration` reads back: 90s, 10m, 2h, 1d; a part of a second is dropped."""
    seconds = int(duration.total_seconds())
    for unit in "dhm":
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


@lru_cache(maxsize=1024)
def parse_period(text: str) -> Period:
    """The period of an ISO 8601 duration such as P1M or PT90S.

    A fraction is allowed in the last part if it comes to whole seconds; that of a day or week is real
    time. Raises ScheduleError `invalid_duration`, or `overflow` beyond 100 years; zero is refused.
    """
    period = _read_period(text)
    if period.mean_s == 0:
        raise _invalid(f"duration {text[:60]} is zero; at least one second is needed")
    return period


def _text_seconds(text: str) -> int:
    if len(text) > LONGEST_TEXT:
        raise _invalid(f"duration {text[:20]}... is longer than {LONGEST_TEXT} characters")
    if short := _SHORT.fullmatch(text):
        return int(short[1]) * _UNITS[short[2] or "s"]
    if not text:
        raise _invalid("duration is empty", _FORMS)
    if not text.startswith(("P", "p", "-", "+")):
        raise _invalid(f"duration {text!r} is not understood", _nearest(text))
    period = _read_period(text)
    if period.months:
        raise _invalid(f"duration {text}: months and years have no fixed length", "count in days, as P30D")
    return period.days * DAY_S + period.seconds


def _nearest(text: str) -> str:
    """A hint with the right form of `1.5h`, `10 minutes`, `1h30m` or `2w`; else with all of them."""
    parts = _SPOKEN_PART.findall(text.lower())
    units = [_SPOKEN_UNITS.get(unit.rstrip("s") if len(unit) > len("ms") else unit) for _, unit in parts]
    if not parts or None in units or not _SPOKEN.fullmatch(text.lower()):
        return _FORMS
    seconds = sum(Fraction(number) * (unit or 0) for (number, _), unit in zip(parts, units, strict=True))
    if seconds.denominator != 1 or seconds > LONGEST_S:
        return _FORMS
    return f"write {format_duration(timedelta(seconds=int(seconds)))}"


def _read_period(text: str) -> Period:
    _check_shape(text)
    total = {"months": Fraction(0), "days": Fraction(0), "seconds": Fraction(0)}
    for kind, amount in _parts(text):
        total[kind] += amount
    days = total["days"] // 1
    seconds = total["seconds"] + (total["days"] - days) * DAY_S
    if seconds.denominator != 1:
        raise _invalid(f"duration {text[:60]}: fractions of a second are not supported")
    period = Period(int(total["months"]), days, int(seconds))
    _check_length(period.mean_s, f" {text[:60]}")
    return period


def _check_shape(text: str) -> None:
    shown = text[:60]
    if not text.isascii():
        raise _invalid(f"duration {shown!r}: only ASCII letters and digits are allowed")
    if text.startswith(("-", "+")) or "-" in text:
        bare = shown.lstrip("+-")
        hint = f"write {bare}" if bare and "-" not in bare else ""
        raise _invalid(f"duration {shown!r}: a sign is not allowed, durations are positive", hint)
    if text != text.upper() and text.upper().startswith("P"):
        raise _invalid(f"duration {shown!r}: lower case is not allowed", f"write {shown.upper()}")
    if not text.startswith("P"):
        raise _invalid(f"duration {shown!r} must begin with P", "as PT1M or P1D")
    if text == "P" or text.endswith("T"):
        raise _invalid(f"duration {shown!r} is empty after {text[-1]}", "as PT1M or P1D")


def _parts(text: str) -> list[tuple[str, Fraction]]:
    date, _, time = text[1:].partition("T")
    parts = _half(text, date, _DATE_UNITS) + _half(text, time, _TIME_UNITS)
    for number, _, _ in parts[:-1]:
        if not number.isdigit():
            raise _invalid(f"duration {text[:60]}: only the last part may have a fraction, not {number}")
    return [_amount(text, *part) for part in parts]


def _half(text: str, half: str, units: dict[str, _Unit]) -> list[tuple[str, str, int]]:
    """(number, kind, factor) of each part before or after the T."""
    matches = list(_PART.finditer(half))
    if "".join(match[0] for match in matches) != half:
        raise _invalid(f"duration {text[:60]!r} is not understood", _with_unit(half, units))
    before = ""
    for match in matches:
        _check_unit(text, match[2], "".join(units), before)
        before += match[2]
    return [(match[1], *units[match[2]]) for match in matches]


def _with_unit(half: str, units: dict[str, _Unit]) -> str:
    """A hint for a number that stands there without a unit."""
    if not half.isdecimal():
        return "as P1DT2H30M"
    t = "T" if units is _TIME_UNITS else ""
    return "write " + " or ".join(f"P{t}{half}{unit}" for unit in units)


def _check_unit(text: str, unit: str, units: str, before: str) -> None:
    if unit not in units:
        hint = "hours, minutes and seconds follow a T, as PT5S" if unit in _TIME_UNITS else ""
        if unit in _DATE_UNITS and unit not in units:
            hint = "years, months, weeks and days stand before the T, as P1D"
        raise _invalid(f"duration {text[:60]}: {unit} is not allowed there, only {', '.join(units)}", hint)
    if unit in before:
        raise _invalid(f"duration {text[:60]}: {unit} is repeated", "write each unit once, as P1Y6M")
    if before and units.index(unit) < units.index(before[-1]):
        raise _invalid(f"duration {text[:60]}: {unit} stands after {before[-1]}; the order is {units}")


def _amount(text: str, number: str, kind: str, factor: int) -> tuple[str, Fraction]:
    if kind == "months" and not number.isdigit():
        hint = "count in whole months or in days, as P15D"
        raise _invalid(f"duration {text[:60]}: fractions of months and years are not supported", hint)
    return kind, Fraction(number.replace(",", ".")) * factor


def _check_length(seconds: int, shown: str = "") -> None:
    if seconds > LONGEST_S:
        raise ScheduleError("overflow", f"duration{shown} is longer than 100 years")


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_duration", message, hint)

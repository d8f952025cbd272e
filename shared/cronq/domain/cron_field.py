"""The five fields of a cron expression and the numbers that each allows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cronq.domain.schedule_error import ScheduleError


@dataclass(frozen=True)
class Field:
    """`low` to `high` are the numbers allowed; `names` count from `low`, in any case."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        numbers = f"{self.low}-{self.high}"
        return f"{numbers} or {self.names[0]}-{self.names[-1]}" if self.names else numbers


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day-of-month", 1, 31)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = Field("month", 1, 12, MONTHS)
# 0 and 7 are both Sunday.
DAY_OF_WEEK = Field("day-of-week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)

_SHOWN = 40
# Forms of other crons, none of which may be taken for a number or a name.
_FOREIGN = (
    (re.compile(r".*#.*"), "# means the nth weekday of a month"),
    (re.compile(r"\?.*"), "? means any value"),
    (re.compile(r".*~.*"), "~ means a random value"),
    (re.compile(r"h([(/].*)?"), "H means a value by hash"),
    (re.compile(r"l|l-[0-9]+|[0-9]+l|l[0-9]|[a-z]{3}l|l[a-z]{3}"), "L means the last day"),
    (re.compile(r"lw|wl|[0-9]+w|w[0-9]*"), "W means the nearest working day"),
)


def parse_field(field: Field, text: str) -> frozenset[int]:
    """The numbers that a field's text selects; raises ScheduleError `invalid_schedule`."""
    return frozenset(number for item in text.split(",") for number in _item(field, item, text))


def _item(field: Field, item: str, text: str) -> range:
    if not item:
        raise _invalid(field, f"empty item in {_short(text)!r}")
    _refuse_foreign(field, item)
    span, slash, step = item.partition("/")
    numbers = _span(field, span)
    if not slash:
        return numbers
    if span != "*" and "-" not in span:
        raise _invalid(
            field, f"{_short(item)}: a step needs a range or *", _with_range(field, numbers[0], step)
        )
    return numbers[:: _step(field, step)]


def _with_range(field: Field, first: int, step: str) -> str:
    # Vixie's cron ignores the step here, others go on to the end of the field; Debian's refuses it.
    if first == field.high:
        return f"write {first}"
    return f"write {first}-{field.high}/{_short(step)} to go on from {first}, or {first} alone"


def _refuse_foreign(field: Field, item: str) -> None:
    for pattern, meaning in _FOREIGN:
        if pattern.fullmatch(item.lower()):
            hint = f"allowed are {field.allowed}, *, lists, ranges and steps"
            raise _invalid(field, f"{_short(item)} is not supported ({meaning})", hint)


def _span(field: Field, text: str) -> range:
    if text == "*":
        return range(field.low, field.high + 1)
    low, dash, high = text.partition("-")
    if not low:
        raise _invalid(field, f"{_short(text)} not in {field.allowed}")
    first = _number(field, low)
    last = _number(field, high) if dash else first
    if first > last:
        raise _invalid(
            field, f"range start {_short(low)} > end {_short(high)}", _unwrapped(field, first, last)
        )
    return range(first, last + 1)


def _unwrapped(field: Field, first: int, last: int) -> str:
    if field is DAY_OF_WEEK and last == 0:
        return f"Sunday may be 7: write {first}-7"
    begin = f"{first}-{field.high}" if first < field.high else f"{first}"
    end = f"{field.low}-{last}" if last > field.low else f"{last}"
    return f"ranges do not wrap around: write {begin},{end}"


def _number(field: Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not re.fullmatch(r"[0-9]+", text):
        raise _invalid(field, f"{_short(text)!r} is not a number or name in {field.allowed}")
    if not field.low <= int(text) <= field.high:
        raise _invalid(field, f"{_short(text)} not in {field.allowed}")
    return int(text)


def _step(field: Field, text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text) <= field.high:
        raise _invalid(field, f"step must be 1-{field.high}, got {_short(text)!r}")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _invalid(field: Field, message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", f"field {field.name}: {message}", hint)

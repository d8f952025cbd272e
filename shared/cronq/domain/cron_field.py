"""The five fields of a cron expression and what each selects.

Beyond Debian's cron: ranges that wrap around (FRI-MON, 22-3), `?` in the day fields, L, L-3, 15W and LW
in day-of-month, 5L and 5#2 in day-of-week, and H, a value by hash, in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from cronq.domain.schedule_error import ScheduleError


@dataclass(frozen=True)
class Field:
    """`low` to `high` are the numbers allowed; `names` count from `low`, in any case.

    `hash_high` is the last number that an H without a range may stand for.
    """

    name: str
    low: int
    high: int
    hash_high: int
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        numbers = f"{self.low}-{self.high}"
        return f"{numbers} or {self.names[0]}-{self.names[-1]}" if self.names else numbers


class Selection(NamedTuple):
    """What a field selects, `numbers` alone except in the day fields.

    `from_end` counts days back from the last, 0 being the last. `working` are the days whose nearest
    working day is meant, 0 standing for the last. `nth` are (weekday, which of the month), 0 being the last.
    """

    numbers: frozenset[int] = frozenset()
    from_end: frozenset[int] = frozenset()
    working: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()


# Of n values in a row, the index of the one that H stands for.
Pick: TypeAlias = Callable[[int], int]

MINUTE = Field("minute", 0, 59, 59)
HOUR = Field("hour", 0, 23, 23)
# An H or H/n keeps to days that every month has.
DAY_OF_MONTH = Field("day-of-month", 1, 31, 28)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = Field("month", 1, 12, 12, MONTHS)
# 0 and 7 are both Sunday.
DAY_OF_WEEK = Field("day-of-week", 0, 7, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)

_WEEK = 7
_LONGEST_MONTH = 31
_MOST_OF_ONE_WEEKDAY = 5
_SHOWN = 40
_HASH = re.compile(r"h(?:\(([^()]*)\))?(?:(/)(.*))?", re.IGNORECASE)
_HASHED = re.compile(r"(?:^|[\s,])h(?=[(/,\s]|$)", re.IGNORECASE)
_FROM_END = re.compile(r"l(?:-([0-9]{1,2}))?", re.IGNORECASE)
_WORKING = re.compile(r"(l|[0-9]{1,2})w", re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"([0-9]|[a-z]{3})l", re.IGNORECASE)
_NTH_WEEKDAY = re.compile(r"([0-9]|[a-z]{3})#([0-9]+)", re.IGNORECASE)
# Forms that have their place elsewhere, or in other crons: none may be taken for a number or a name.
_MISPLACED = (
    (re.compile(r".*#.*"), "# means the nth weekday of a month", "5#2 in day-of-week"),
    (re.compile(r"\?.*"), "? means any day", "? alone in day-of-month or day-of-week"),
    (re.compile(r".*~.*"), "~ means a random value", "{by_hash} for one by hash"),
    (re.compile(r"h.*"), "H means a value by hash", "H, H/15, H(0-29) or H(0-29)/10"),
    (
        re.compile(r"l|l-[0-9]+|[0-9]+l|l[0-9]|[a-z]{3}l|l[a-z]{3}"),
        "L means the last day",
        "L or L-3 in day-of-month, 5L in day-of-week",
    ),
    (re.compile(r"wl|[0-9l]+w|w[0-9]*"), "W means the nearest working day", "15W or LW in day-of-month"),
)


def parse_field(field: Field, text: str, pick: Pick) -> Selection:
    """What a field's text selects; `pick` decides for each H. Raises ScheduleError `invalid_schedule`."""
    if text == "?" and field in (DAY_OF_MONTH, DAY_OF_WEEK):
        text = "*"
    found = [_item(field, item, text, pick) for item in text.split(",")]
    if len(found) == 1:
        return found[0]
    return Selection(*(frozenset().union(*parts) for parts in zip(*found, strict=True)))


def is_hashed(text: str) -> bool:
    """Whether a field or a whole expression holds an H."""
    return _HASHED.search(text) is not None


def _item(field: Field, item: str, text: str, pick: Pick) -> Selection:
    if not item:
        full = [each for each in text.split(",") if each]
        hint = f"write {_short(','.join(full))}" if full else "write * for every one"
        raise _invalid(field, f"empty item in {_short(text)!r}", hint)
    return _special_day(field, item) or Selection(frozenset(_numbers(field, item, pick)))


def _numbers(field: Field, item: str, pick: Pick) -> Sequence[int]:
    if match := _HASH.fullmatch(item):
        return _hashed(field, match[1], match[3] if match[2] else None, pick)
    _refuse_misplaced(field, item)
    span, slash, step = item.partition("/")
    numbers = _span(field, span)
    if not slash:
        return numbers
    if span != "*" and "-" not in span:
        raise _invalid(
            field, f"{_short(item)}: a step needs a range or *", _with_range(field, numbers[0], step)
        )
    return numbers[:: _step(field, step)]


def _hashed(field: Field, span: str | None, step: str | None, pick: Pick) -> Sequence[int]:
    """One value of the span, or with a step one of the rows that lie so far apart."""
    if span is not None and not re.fullmatch(r"[^-]+-[^-]+", span):
        raise _invalid(field, f"H({_short(span)}) needs a range", f"write H({field.low}-{field.hash_high})")
    numbers = range(field.low, field.hash_high + 1) if span is None else _span(field, span)
    if field is DAY_OF_MONTH and numbers[0] > numbers[-1]:
        raise _invalid(field, f"H({_short(span or '')}) runs over the end of the month", "write H(1-28)")
    if step is None:
        return (numbers[pick(len(numbers))],)
    apart = _step(field, step)
    return numbers[pick(min(apart, len(numbers))) :: apart]


def _special_day(field: Field, item: str) -> Selection | None:
    if field is DAY_OF_MONTH:
        return _special_number(item)
    return _special_weekday(item) if field is DAY_OF_WEEK else None


def _special_number(item: str) -> Selection | None:
    if match := _FROM_END.fullmatch(item):
        back = int(match[1] or 0)
        if back >= _LONGEST_MONTH:
            raise _invalid(DAY_OF_MONTH, f"{item}: no month has so many days before its last", "L-1 to L-30")
        return Selection(from_end=frozenset({back}))
    if match := _WORKING.fullmatch(item):
        day = 0 if match[1] in "lL" else _number(DAY_OF_MONTH, match[1])
        return Selection(working=frozenset({day}))
    return None


def _special_weekday(item: str) -> Selection | None:
    if item in ("L", "l"):
        raise _invalid(DAY_OF_WEEK, "L needs a weekday", "write 5L for the month's last Friday")
    if match := _LAST_WEEKDAY.fullmatch(item):
        return Selection(nth=frozenset({(_number(DAY_OF_WEEK, match[1]) % _WEEK, 0)}))
    if match := _NTH_WEEKDAY.fullmatch(item):
        which = int(match[2][:_SHOWN])
        if not 1 <= which <= _MOST_OF_ONE_WEEKDAY:
            raise _invalid(DAY_OF_WEEK, f"{_short(item)}: a month has a weekday 1 to 5 times")
        return Selection(nth=frozenset({(_number(DAY_OF_WEEK, match[1]) % _WEEK, which)}))
    return None


def _with_range(field: Field, first: int, step: str) -> str:
    # Vixie's cron ignores the step here, others go on to the end of the field; Debian's refuses it.
    if first == field.high:
        return f"write {first}"
    return f"write {first}-{field.high}/{_short(step)} to go on from {first}, or {first} alone"


def _refuse_misplaced(field: Field, item: str) -> None:
    for pattern, meaning, place in _MISPLACED:
        if pattern.fullmatch(item.lower()):
            hint = f"write {place.format(by_hash=_by_hash(field, item))}"
            raise _invalid(field, f"{_short(item)} is not allowed here ({meaning})", hint)


def _by_hash(field: Field, item: str) -> str:
    """What is nearest to a random value of other crons, which is drawn when they read their file."""
    if not re.fullmatch(r"\w{0,3}~\w{0,3}(/[0-9]{1,2})?", item):
        return "H, or H(0-9)"
    span, slash, step = item.partition("/")
    low, _, high = span.partition("~")
    whole = f"{field.low}-{field.hash_high}"
    shown = f"{low or field.low}-{high or field.hash_high}"
    return ("H" if shown == whole else f"H({shown})") + slash + step


def _span(field: Field, text: str) -> range | list[int]:
    if text == "*":
        return range(field.low, field.high + 1)
    low, dash, high = text.partition("-")
    if not low:
        raise _invalid(field, f"{_short(text)} not in {field.allowed}")
    first = _number(field, low)
    last = _number(field, high) if dash else first
    if first == last + 1 and field is not DAY_OF_WEEK:
        # All of it: rather a mistake than a way around. Of weekdays, MON-SUN is usual.
        raise _invalid(field, f"range start {_short(low)} > end {_short(high)}", "write * for every one")
    return range(first, last + 1) if first <= last else _around(field, first, last)


def _around(field: Field, first: int, last: int) -> list[int]:
    """From `first` over the end of the field to `last`."""
    cycle = _WEEK if field is DAY_OF_WEEK else field.high - field.low + 1
    return [field.low + (first - field.low + step) % cycle for step in range((last - first) % cycle + 1)]


def _number(field: Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not re.fullmatch(r"[0-9]+", text):
        kind = "number or name" if field.names else "number"
        hint = f"write {text[:3].lower()}" if text[:3].lower() in field.names else ""
        raise _invalid(field, f"{_short(text)!r} is not a {kind} in {field.allowed}", hint)
    if not field.low <= int(text[:_SHOWN]) <= field.high:
        hint = "write 0 for midnight" if field is HOUR and text == "24" else ""
        raise _invalid(field, f"{_short(text)} not in {field.allowed}", hint)
    return int(text)


def _step(field: Field, text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text[:_SHOWN]) <= field.high:
        raise _invalid(field, f"step must be 1-{field.high}, got {_short(text)!r}", _step_hint(field, text))
    return int(text)


def _step_hint(field: Field, text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        return ""
    if int(text) == 0:
        return "write * for every one"
    apart = f", or @every {text}{field.name[0]}" if field in (MINUTE, HOUR) else ""
    return f"write {field.low} for the first alone{apart}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _invalid(field: Field, message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", f"field {field.name}: {message}", hint)

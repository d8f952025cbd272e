"""The days of L, W, # and wrapped ranges: against counting through a calendar, and against cronsim."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.schedule import parse

DAY = timedelta(days=1)


def days_of(expression: str, year: int, months: int = 12) -> list[str]:
    """Month and day of the occurrences from January on."""
    start = datetime(year, 1, 1, tzinfo=UTC) - DAY
    end = datetime(year + (months // 12), months % 12 + 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    return [f"{at:%m-%d}" for at in parse(expression).between(start, end) if at.year == year]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # 2027 begins on a Friday.
        ("L * *", ["01-31", "02-28", "03-31", "04-30"]),
        ("l * ?", ["01-31", "02-28", "03-31", "04-30"]),
        ("L-3 * *", ["01-28", "02-25", "03-28", "04-27"]),
        ("L-30 * *", ["01-01", "03-01"]),
        ("1,L-1 * *", ["01-01", "01-30", "02-01", "02-27", "03-01", "03-30", "04-01", "04-29"]),
        ("LW * *", ["01-29", "02-26", "03-31", "04-30"]),
        ("15W * *", ["01-15", "02-15", "03-15", "04-15"]),
        ("16W * *", ["01-15", "02-16", "03-16", "04-16"]),  # a Saturday in January
        ("17w * *", ["01-18", "02-17", "03-17", "04-16"]),  # a Sunday in January, a Saturday in April
        ("1W 5,8 *", []),
        ("31W * *", ["01-29", "03-31"]),  # a Sunday in January: never into the next month
        ("* * 5L", ["01-29", "02-26", "03-26", "04-30"]),
        ("? * FRIL", ["01-29", "02-26", "03-26", "04-30"]),
        ("* * 5#2", ["01-08", "02-12", "03-12", "04-09"]),
        ("* * fri#5", ["01-29", "04-30"]),
        ("* * 0#1,7#1", ["01-03", "02-07", "03-07", "04-04"]),
        ("* * mon#1,fril", ["01-04", "01-29", "02-01", "02-26", "03-01", "03-26", "04-05", "04-30"]),
        ("L * 5L", ["01-29", "01-31", "02-26", "02-28", "03-26", "03-31", "04-30"]),  # either
        ("*/28 * MONL", ["03-29"]),  # both: days 1 and 29
    ],
)
def test_the_first_months_of_2027(fields: str, expected: list[str]) -> None:
    assert days_of(f"0 0 {fields}", 2027, months=4) == expected


def test_the_first_working_day_is_never_in_the_month_before() -> None:
    # 1 May 2027 is a Saturday, 1 August a Sunday.
    assert days_of("0 0 1W 5,8 ?", 2027) == ["05-03", "08-02"]


NUMBERS = st.integers(1, 31)
WEEKDAYS = st.integers(0, 6)
SPECIAL_NUMBERS = st.one_of(
    NUMBERS.map(lambda n: f"{n}W"), st.just("LW"), st.just("L"), st.integers(1, 27).map(lambda n: f"L-{n}")
)
SPECIAL_WEEKDAYS = st.one_of(
    WEEKDAYS.map(lambda d: f"{d}L"), st.tuples(WEEKDAYS, st.integers(1, 5)).map(lambda p: f"{p[0]}#{p[1]}")
)
DAY_FIELDS = st.one_of(
    SPECIAL_NUMBERS.map(lambda item: (item, "*")),
    SPECIAL_WEEKDAYS.map(lambda item: ("?", item)),
    st.tuples(SPECIAL_NUMBERS, SPECIAL_WEEKDAYS),
)


@settings(max_examples=150, deadline=None)
@given(DAY_FIELDS, st.integers(1970, 2190))
def test_the_days_of_a_year_equal_those_found_by_counting(fields: tuple[str, str], year: int) -> None:
    number, weekday = fields
    found = days_of(f"0 0 {number} * {weekday}", year)
    assert found == [f"{day:%m-%d}" for day in _days(year) if _is_meant(number, weekday, day)]


def _days(year: int) -> Iterator[date]:
    for month in range(1, 13):
        yield from _month(year, month)


@cache
def _month(year: int, month: int) -> list[date]:
    return [date(year, month, number + 1) for number in range(monthrange(year, month)[1])]


def _is_meant(number: str, weekday: str, day: date) -> bool:
    if number == "?":
        return _is_weekday(weekday, day)
    return _is_number(number, day) or (weekday != "*" and _is_weekday(weekday, day))


def _is_number(item: str, day: date) -> bool:
    of_month = _month(day.year, day.month)
    if not item.endswith("W"):
        return day == of_month[-1] - int(item[2:] or 0) * DAY
    if item != "LW" and int(item[:-1]) > len(of_month):
        return False
    wanted = of_month[-1] if item == "LW" else of_month[int(item[:-1]) - 1]
    # A Saturday has Friday nearer and a Sunday Monday, unless the month ends there.
    working = [each for each in of_month if each.isoweekday() <= 5]
    return day == min(working, key=lambda each: abs(each - wanted))


def _is_weekday(item: str, day: date) -> bool:
    if day.isoweekday() % 7 != int(item[0]):
        return False
    same = [each for each in _month(day.year, day.month) if each.isoweekday() == day.isoweekday()]
    if item.endswith("L"):
        return day == same[-1]
    return same.index(day) + 1 == int(item[2:])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["L *", "LW *", "* 0L", "* 5L", "* 3#1", "* 6#5", "13 1#2", "L 2L", "1,L *"]),
    st.integers(0, 6_000_000_000),
)
def test_what_cronsim_knows_of_them_agrees(fields: str, second: int) -> None:
    number, weekday = fields.split()
    expression = f"30 4 {number} * {weekday}"
    instant = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    second_opinion = CronSim(expression, instant)
    for _ in range(6):
        following = parse(expression).next_after(instant)
        assert following == next(second_opinion)
        instant = following


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([(0, 0, 59), (1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 6)]),
    st.data(),
    st.integers(1, 7),
)
def test_a_wrapped_range_is_its_two_halves(
    field: tuple[int, int, int], data: st.DataObject, step: int
) -> None:
    index, low, high = field
    last = data.draw(st.integers(low, high - 2))
    first = data.draw(st.integers(last + 2, high))
    values = [*range(first, high + 1), *range(low, last + 1)][::step]
    parts = ["0", "0", "*", "*", "*"]
    wrapped = " ".join([*parts[:index], f"{first}-{last}/{step}", *parts[index + 1 :]])
    listed = " ".join([*parts[:index], ",".join(map(str, values)), *parts[index + 1 :]])
    start = datetime(2027, 1, 1, tzinfo=UTC)
    spans = [list(parse(text).between(start, start + 500 * DAY)) for text in (wrapped, listed)]
    assert spans[0] == spans[1] != []

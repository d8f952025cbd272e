"""Schedules that move to business days, against a model that looks at one day after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.calendar import BACKWARD, FORWARD, Calendar
from cronq.domain.calendar_document import read_calendar
from cronq.domain.day_rule import DAYS_OF_WEEK
from cronq.domain.schedule import DST_RULES, Schedule, parse
from cronq.domain.shifted import Shift

DAY = timedelta(days=1)
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu")
SCHEDULES = (
    "30 2 * * *",
    "0 0 * * *",
    "59 23 * * SUN,MON",
    "*/40 1,4 * * SAT",
    "0 12 25 12 *",
    "0 9 L * *",
    "@every 7h",
    "R3/2026-03-28T02:30:00Z/P1D",
    "@at 2026-10-25T01:30:00Z",
)
MARCH = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
DAYS = st.integers(0, 260)
CHRISTMAS = {"date": "12-25", "name": "Christmas"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moved(text: str, calendar: dict[str, Any], direction: int, **more: Any) -> Schedule:
    return parse(text, shift=Shift("days", read_calendar(calendar), direction), **more)


def following(schedule: Schedule, number: int, after: str) -> list[datetime]:
    return list(islice(schedule.between(utc(after), utc("2199-12-31")), number))


def shown(schedule: Schedule, number: int, after: str) -> list[str]:
    return [f"{each:%a %d %b %H:%M}" for each in following(schedule, number, after)]


# -- the model


def model_move(at: datetime, calendar: Calendar, zone: ZoneInfo, direction: int) -> datetime:
    """The first of the same wall times, day by day, that is on a business day; itself if there is none."""
    if calendar.is_business_day(at.astimezone(calendar.zone).date()):
        return at
    wall = at.astimezone(zone).replace(tzinfo=None)
    for distance in range(1, 368):
        there = (wall + direction * distance * DAY).replace(tzinfo=zone).astimezone(UTC)
        back = there.astimezone(zone).replace(tzinfo=None)
        if calendar.is_business_day(there.astimezone(calendar.zone).date()) and abs(there - at) < 367 * DAY:
            return there if back == wall + direction * distance * DAY else after_gap(there, zone)
    return at


def after_gap(at: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after a gap in which a wall time lies that Python reads by the offset before."""
    low, high = at - timedelta(hours=4), at + timedelta(hours=1)
    offset = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, high)
    return high.replace(microsecond=0)


def model(
    inner: Schedule, move: Callable[[datetime], datetime], within: tuple[datetime, datetime], reach: timedelta
) -> list[datetime]:
    """What `move` makes of everything that is no farther than `reach` from the asked time."""
    after, until = within
    moved_ones = {move(at) for at in inner.between(after - reach, until + reach)}
    return sorted(at for at in moved_ones if after < at <= until)


def days(first: date, last: date) -> Iterator[date]:
    return (first + DAY * number for number in range((last - first).days))


@st.composite
def calendars(draw: st.DrawFn, zones: tuple[str, ...]) -> dict[str, Any]:
    dates = st.dates(date(2026, 2, 1), date(2026, 12, 31)).map(date.isoformat)
    weekend = draw(st.lists(st.sampled_from(DAYS_OF_WEEK), unique=True, max_size=7))
    holidays = draw(st.lists(dates, max_size=30))
    row = draw(st.dates(date(2026, 3, 20), date(2026, 11, 1)))
    holidays += [day.isoformat() for day in days(row, row + DAY * draw(st.integers(0, 12)))]
    return {
        "timezone": draw(st.sampled_from(zones)),
        "weekend": weekend,
        "holidays": holidays,
        "workdays": draw(st.lists(dates, min_size=1, max_size=10)),
    }


@settings(max_examples=100, deadline=None)
@given(
    document=calendars(ZONES),
    text=st.sampled_from(SCHEDULES),
    dst=st.sampled_from(DST_RULES),
    direction=st.sampled_from((FORWARD, BACKWARD)),
    day=DAYS,
    length=st.integers(1, 40),
)
def test_what_is_moved_is_what_the_model_says(
    *, document: dict[str, Any], text: str, dst: str, direction: int, day: int, length: int
) -> None:
    calendar, zone = read_calendar(document), document["timezone"]
    after, until = MARCH + day * DAY, MARCH + (day + length) * DAY
    inner = parse(text, timezone=zone, dst=dst)
    schedule = parse(text, timezone=zone, dst=dst, shift=Shift("days", calendar, direction))

    found = list(schedule.between(after, until))

    move = partial(model_move, calendar=calendar, zone=ZoneInfo(zone), direction=direction)
    expected = model(inner, move, (after, until), (400 if len(document["weekend"]) > 4 else 100) * DAY)
    assert found == expected
    assert schedule.next_after(after) == (expected[0] if expected else schedule.next_after(until))


@settings(max_examples=60, deadline=None)
@given(
    document=calendars(ZONES),
    zone=st.sampled_from(ZONES),
    text=st.sampled_from(SCHEDULES[:6]),
    direction=st.sampled_from((FORWARD, BACKWARD)),
    day=DAYS,
)
def test_the_answer_does_not_depend_on_where_the_question_begins(
    document: dict[str, Any], zone: str, text: str, direction: int, day: int
) -> None:
    """Also where the schedule's zone is not the calendar's, so that their dates differ at some times."""
    after = MARCH + day * DAY
    schedule = moved(text, document, direction, timezone=zone)

    found = list(schedule.between(after, after + 30 * DAY))

    assert found == [at for at in schedule.between(after - 90 * DAY, after + 30 * DAY) if at > after]
    assert found == sorted(set(found))


# -- examples


def test_a_saturday_moves_to_monday_or_to_friday_at_the_same_wall_time() -> None:
    berlin = {"timezone": "Europe/Berlin"}
    next_one = moved("0 9 * * SAT", berlin, FORWARD, timezone="Europe/Berlin")
    assert shown(next_one, 2, "2026-03-27") == ["Mon 30 Mar 07:00", "Mon 06 Apr 07:00"]
    previous = moved("0 9 * * SUN", berlin, BACKWARD, timezone="Europe/Berlin")
    assert shown(previous, 2, "2026-03-27") == ["Fri 27 Mar 08:00", "Fri 03 Apr 07:00"]


def test_occurrences_that_meet_on_a_day_are_one() -> None:
    schedule = moved("0 9 * * *", {"holidays": [CHRISTMAS]}, FORWARD)
    assert shown(schedule, 4, "2026-12-23T12:00") == [
        "Thu 24 Dec 09:00", "Mon 28 Dec 09:00", "Tue 29 Dec 09:00", "Wed 30 Dec 09:00"
    ]  # fmt: skip


def test_one_that_moves_to_before_the_asked_instant_is_left_out() -> None:
    schedule = moved("0 9 * * SUN", {}, BACKWARD)
    assert schedule.next_after(utc("2026-11-20T09:00")) == utc("2026-11-27T09:00")
    assert schedule.next_after(utc("2026-11-20T08:59:59")) == utc("2026-11-20T09:00")


def test_one_that_was_due_before_the_asked_instant_and_moves_after_it_is_there() -> None:
    schedule = moved("@at 2026-11-21T09:00:00Z", {}, FORWARD)
    assert following(schedule, 9, "2026-11-22T00:00") == [utc("2026-11-23T09:00")]


@pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
def test_without_a_business_day_in_a_year_nothing_moves(direction: int) -> None:
    only_one = {"weekend": list(DAYS_OF_WEEK), "workdays": ["2020-01-01"]}
    schedule = moved("0 9 * * SAT", only_one, direction)
    assert shown(schedule, 2, "2026-11-20") == ["Sat 21 Nov 09:00", "Sat 28 Nov 09:00"]


def test_a_wall_time_that_the_day_does_not_have_comes_after_the_gap() -> None:
    document = {"timezone": "Europe/Berlin", "weekend": ["sat"]}
    schedule = moved("30 2 * * SAT", document, FORWARD, timezone="Europe/Berlin")
    assert following(schedule, 1, "2026-03-28") == [utc("2026-03-29T01:00")]


def test_without_a_timezone_the_calendars_wall_time_is_kept() -> None:
    schedule = moved("0 9 * * SAT", {"timezone": "Europe/Berlin"}, FORWARD)
    assert following(schedule, 1, "2026-03-27") == [utc("2026-03-30T08:00")]


def test_start_and_end_hold_for_what_is_moved() -> None:
    schedule = moved("0 9 * * SAT", {}, FORWARD, start="2026-11-21T00:00:00Z", end="2026-11-29T00:00:00Z")
    assert following(schedule, 9, "2026-11-01") == [utc("2026-11-23T09:00")]


def test_it_says_in_words_that_it_moves() -> None:
    schedule = moved("0 9 * * SAT", {}, BACKWARD)
    assert schedule.describe() == ("at 09:00 on Saturdays, UTC, moved to the previous business day of days")
    assert schedule.fixed_period() is None


@pytest.mark.parametrize("after", ["1970-01-01", "2199-12-28", "2199-12-31"])
@pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
def test_it_can_be_asked_at_the_ends_of_time(after: str, direction: int) -> None:
    schedule = moved("0 9 * * SAT", {"timezone": "Asia/Tokyo"}, direction)
    found = schedule.next_after(utc(after))
    assert found is None or found > utc(after)


def test_the_day_before_1970_can_be_asked_too() -> None:
    assert moved("0 9 * * *", {}, FORWARD).next_after(utc("1969-12-31")) == utc("1970-01-01T09:00")

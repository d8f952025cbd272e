"""Calendars: what their documents say, what is wrong with them, and which times they close."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dateutil.easter import easter as reference_easter
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.calendar_document import (
    MAX_BLACKOUTS,
    MAX_DAYS,
    parse_calendar,
    read_calendar,
    stored_calendar,
)  # fmt: skip
from cronq.domain.calendar_rule import CalendarUse, JobCalendar, Rule
from cronq.domain.day_rule import easter
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Refused, read_calendar_name

BERLIN = {"timezone": "Europe/Berlin"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def problems_of(value: object) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        read_calendar(value)
    return caught.value.problems


# -- days


def test_an_empty_document_closes_the_weekends_of_utc() -> None:
    calendar = read_calendar({})
    assert calendar.closed(utc("2026-11-20T23:59:59")) is None
    assert calendar.closed(utc("2026-11-21T00:00")) == "Saturday"
    assert calendar.closed(utc("2026-11-22T23:59:59")) == "Sunday"
    assert calendar.closed(utc("2026-11-23T00:00")) is None


def test_days_begin_in_the_calendars_zone() -> None:
    calendar = read_calendar(BERLIN)
    assert calendar.closed(utc("2026-11-20T22:59:59")) is None
    assert calendar.closed(utc("2026-11-20T23:00")) == "Saturday"


@pytest.mark.parametrize(
    ("listed", "closed", "open_day"),
    [
        ("2026-12-24", "2026-12-24", "2027-12-24"),
        ({"date": "2026-12-24"}, "2026-12-24", "2027-12-24"),
        ("12-25", "2029-12-25", "2029-12-24"),
        ("02-29", "2028-02-29", "2027-03-01"),
        ({"easter": 1}, "2026-04-06", "2026-04-07"),
        ({"easter": -2}, "2027-03-26", "2027-03-25"),
        ({"weekday": "mon", "nth": 1, "month": 9}, "2026-09-07", "2026-10-05"),
        ({"weekday": "mon", "nth": -1, "month": 5}, "2026-05-25", "2026-05-18"),
        ({"weekday": "fri", "nth": -1}, "2026-11-27", "2026-11-20"),
        ({"weekday": "thu", "nth": 5}, "2026-10-29", "2026-11-26"),
    ],
)
def test_a_holiday_is_a_date_a_date_of_every_year_or_a_rule(listed: Any, closed: str, open_day: str) -> None:
    calendar = read_calendar({"holidays": [listed], "weekend": []})
    assert calendar.closed_day(day(closed)) == "holiday"
    assert calendar.is_business_day(day(open_day))


def test_a_day_is_closed_by_its_holidays_name_and_the_first_one_listed_counts() -> None:
    christmas = {"date": "12-25", "name": "Christmas"}
    calendar = read_calendar({"holidays": [christmas, "2026-12-25"]})
    assert calendar.closed(utc("2026-12-25T12:00")) == "Christmas"


def test_a_workday_is_a_business_day_though_it_is_a_holiday_on_a_weekend() -> None:
    calendar = read_calendar({"holidays": ["2026-12-19"], "workdays": ["2026-12-19"]})
    assert calendar.is_business_day(day("2026-12-19"))
    assert not calendar.is_business_day(day("2026-12-20"))


def test_business_days_can_be_nothing_but_a_list() -> None:
    every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    calendar = read_calendar({"weekend": every_day, "workdays": ["2026-11-02", "2026-11-30"]})
    assert calendar.next_business_day(day("2026-11-03")) == day("2026-11-30")
    assert calendar.previous_business_day(day("2026-11-29")) == day("2026-11-02")
    assert calendar.next_business_day(day("2026-12-01")) is None
    assert calendar.previous_business_day(day("2026-11-01")) is None


def test_the_next_and_previous_business_day_of_one_is_itself() -> None:
    calendar = read_calendar({})
    assert calendar.next_business_day(day("2026-11-20")) == day("2026-11-20")
    assert calendar.previous_business_day(day("2026-11-20")) == day("2026-11-20")
    assert calendar.next_business_day(day("2026-11-21")) == day("2026-11-23")
    assert calendar.previous_business_day(day("2026-11-22")) == day("2026-11-20")


@given(st.integers(1970, 2199))
def test_easter_is_when_it_is(year: int) -> None:
    assert easter(year) == reference_easter(year)


# -- blackouts


def test_a_blackout_closes_from_its_first_second_to_before_its_end() -> None:
    freeze = {"from": "2026-12-24T18:00", "to": "2026-12-27T06:00", "name": "freeze"}
    calendar = read_calendar({"blackouts": [freeze], "weekend": []} | BERLIN)
    assert calendar.closed(utc("2026-12-24T16:59:59")) is None
    assert calendar.closed(utc("2026-12-24T17:00")) == "freeze"
    assert calendar.closed(utc("2026-12-27T04:59:59")) == "freeze"
    assert calendar.closed(utc("2026-12-27T05:00")) is None


def test_a_recurring_blackout_follows_its_schedule_in_the_calendars_zone() -> None:
    nightly = {"schedule": "0 22 * * FRI", "duration": "8h"}
    calendar = read_calendar({"blackouts": [nightly], "weekend": []} | BERLIN)
    assert calendar.closed(utc("2026-11-20T20:59:59")) is None
    assert calendar.closed(utc("2026-11-20T21:00")) == "blackout"
    assert calendar.closed(utc("2026-11-21T04:59:59")) == "blackout"
    assert calendar.closed(utc("2026-11-21T05:00")) is None


def test_a_workday_opens_no_blackout() -> None:
    freeze = {"from": "2026-12-19T00:00", "to": "2026-12-20T00:00"}
    calendar = read_calendar({"blackouts": [freeze], "workdays": ["2026-12-19"]})
    assert calendar.is_business_day(day("2026-12-19"))
    assert calendar.closed(utc("2026-12-19T12:00")) == "blackout"


@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8),
    minute=st.integers(-5, 90),
)
def test_overlapping_blackouts_close_what_any_of_them_closes(
    spans: list[tuple[int, int]], minute: int
) -> None:
    noon = utc("2026-11-20T12:00")
    at = [(noon + timedelta(minutes=a), noon + timedelta(minutes=a + length)) for a, length in spans]
    blackouts = [{"from": a.isoformat(), "to": b.isoformat()} for a, b in at]
    calendar = read_calendar({"blackouts": blackouts})

    instant = noon + timedelta(minutes=minute)

    assert (calendar.closed(instant) is not None) == any(a <= instant < b for a, b in at)


def test_a_blackout_ends_at_the_later_of_two_equal_wall_times() -> None:
    hour = {"from": "2026-10-25T02:30", "to": "2026-10-25T02:30"}
    calendar = read_calendar({"blackouts": [hour], "weekend": []} | BERLIN)
    assert calendar.closed(utc("2026-10-25T00:30")) == "blackout"
    assert calendar.closed(utc("2026-10-25T01:29:59")) == "blackout"
    assert calendar.closed(utc("2026-10-25T01:30")) is None


# -- rules of a job


def test_a_rule_says_what_becomes_of_an_occurrence() -> None:
    calendar = read_calendar({"holidays": [{"date": "12-25", "name": "Christmas"}]})
    christmas, eve = utc("2026-12-25T12:00"), utc("2026-12-24T12:00")
    for rule in (Rule.SKIP, Rule.NEXT, Rule.PREVIOUS):
        closing = JobCalendar(CalendarUse("de-holidays", rule), 1, calendar)
        assert closing.verdict(christmas) == "calendar de-holidays: Christmas"
        assert closing.verdict(eve) is None
    only = JobCalendar(CalendarUse("de-holidays", Rule.ONLY), 1, calendar)
    assert only.verdict(christmas) is None
    assert only.verdict(eve) == "calendar de-holidays: open"


# -- documents


def test_what_was_read_is_stored_and_read_back() -> None:
    document = b'{"weekend": ["fri"], "holidays": [{"name": "\xc3\xb6", "date": "01-01"}]}'
    calendar = parse_calendar(document)
    assert stored_calendar(calendar.text) == calendar
    assert stored_calendar(calendar.text).closed_day(day("2026-01-01")) == "ö"
    assert parse_calendar(b" " + document) == calendar
    assert parse_calendar(b"{}") != calendar


@pytest.mark.parametrize(
    ("document", "pointer", "said", "hint"),
    [
        ([], "", "a list must be an object with description, timezone", ""),
        ({"holiday": []}, "/holiday", "holiday: there is no such key", "holidays"),
        ({"timezone": "Berlin"}, "/timezone", "timezone: unknown time zone", "Europe/Berlin"),
        ({"weekend": "sat"}, "/weekend", "must be a list", ""),
        ({"weekend": ["Saturday"]}, "/weekend", "one of mon, tue", 'did you mean "sat"?'),
        ({"holidays": {}}, "/holidays", "an object must be a list of days", ""),
        ({"holidays": ["25.12."]}, "/holidays/0", '"25.12." is no date', "2026-12-25"),
        ({"holidays": ["2026-02-29"]}, "/holidays/0", "there is no such day", ""),
        ({"holidays": ["13-01"]}, "/holidays/0", "there is no such day", ""),
        ({"holidays": ["1969-12-31"]}, "/holidays/0", "only the years 1970 to 2199", ""),
        ({"holidays": [7]}, "/holidays/0", "7 is no date", ""),
        ({"holidays": ["01-01", {}]}, "/holidays/1", "one of date, easter and weekday", ""),
        ({"holidays": [{"date": "01-01", "easter": 1}]}, "/holidays/0", "only one", ""),
        ({"holidays": [{"date": "01-01", "nth": 1}]}, "/holidays/0/nth", "goes with weekday only", ""),
        ({"holidays": [{"easter": True}]}, "/holidays/0/easter", "must be a whole number", ""),
        ({"holidays": [{"easter": 81}]}, "/holidays/0/easter", "-80 to 80 is", ""),
        ({"holidays": [{"weekday": "mon"}]}, "/holidays/0", "nth: is missing", ""),
        ({"holidays": [{"weekday": "mon", "nth": 0}]}, "/holidays/0/nth", "1 to 5 or -1 is", ""),
        ({"holidays": [{"weekday": "mon", "nth": 1, "month": 13}]}, "/holidays/0/month", "1 to 12 is", ""),
        ({"holidays": [{"date": "01-01", "name": "\x1b"}]}, "/holidays/0/name", "only printable", ""),
        ({"blackouts": [{}]}, "/blackouts/0", "either from and to are needed", ""),
        ({"blackouts": [{"from": "2026-12-24T00:00"}]}, "/blackouts/0", "either from and to", ""),
        (
            {"blackouts": [{"schedule": "@daily", "duration": "1h", "from": "2026-12-24T00:00"}]},
            "/blackouts/0",
            "either from and to",
            "",
        ),
        (
            {"blackouts": [{"from": "2026-12-24T00:00", "to": "2026-12-23T00:00"}]},
            "/blackouts/0/to",
            "must be later",
            "",
        ),
        (
            {"blackouts": [{"from": "2026-12-24", "to": "2026-12-25T00:00"}]},
            "/blackouts/0/from",
            "has no time of day",
            "2026-12-24T00:00:00",
        ),
        (
            {"blackouts": [{"schedule": "0 22 * *", "duration": "8h"}]},
            "/blackouts/0/schedule",
            "needs 5 fields",
            "",
        ),
        (
            {"blackouts": [{"schedule": "@daily", "duration": "32d"}]},
            "/blackouts/0/duration",
            "1s to 31d is",
            "",
        ),
    ],
)
def test_a_wrong_document_is_told_where_and_why(document: object, pointer: str, said: str, hint: str) -> None:
    (problem,) = problems_of(document)
    assert problem.pointer == pointer
    assert said in problem.message
    assert hint in problem.hint
    assert problem.message.isprintable()


def test_every_problem_is_told_at_once() -> None:
    document = {
        "timezone": "nowhere",
        "holidays": ["01-01", "x", {"easter": "1", "names": ""}],
        "blackouts": [{"from": "x", "to": "y"}],
    }
    assert [problem.pointer for problem in problems_of(document)] == [
        "/timezone", "/holidays/1", "/holidays/2/easter", "/holidays/2/names",
        "/blackouts/0/from", "/blackouts/0/to",
    ]  # fmt: skip


def test_a_week_without_a_business_day_is_refused() -> None:
    (problem,) = problems_of({"weekend": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]})
    assert (problem.pointer, problem.code) == ("/weekend", "invalid_value")
    assert "no business day" in problem.message


def test_a_calendar_has_limits() -> None:
    (problem,) = problems_of({"holidays": ["01-01"] * (MAX_DAYS + 1)})
    assert (problem.code, problem.pointer) == ("too_many", "/holidays")
    hour = {"from": "2026-12-24T00:00", "to": "2026-12-24T01:00"}
    (problem,) = problems_of({"blackouts": [hour] * (MAX_BLACKOUTS + 1)})
    assert (problem.code, problem.pointer) == ("too_many", "/blackouts")
    (problem,) = problems_of({"blackouts": [{"schedule": "@daily", "duration": "1h"}] * 51})
    assert (problem.code, problem.pointer) == ("too_many", "/blackouts")


@pytest.mark.parametrize("name", ["de-holidays", "DE", "a.b_c", "7"])
def test_a_name_is_letters_digits_and_a_few_signs(name: str) -> None:
    assert read_calendar_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "ä", "a" * 65, None, 7])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(Refused):
        read_calendar_name(name)


def test_the_readmes_calendar_is_one() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    [example] = re.findall(r"```json\n(\{\n    \"timezone\".*?)```", readme, re.DOTALL)
    calendar = parse_calendar(example.encode())
    assert calendar.closed(utc("2026-09-07T12:00")) == "Labour Day"

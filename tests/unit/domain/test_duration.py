"""Durations of settings and job fields."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.schedule import ScheduleError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90),
        (0, 0),
        ("90", 90),
        ("0", 0),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7_200),
        ("1d", 86_400),
        (" 5m ", 300),
        ("PT90S", 90),
        ("PT1H30M", 5_400),
        ("PT1.5H", 5_400),
        ("PT0,5M", 30),
        ("P1D", 86_400),
        ("P2W", 1_209_600),
        ("P1DT1S", 86_401),
        ("PT0S", 0),
        ("P36525D", 36_525 * 86_400),
    ],
)
def test_a_duration_is_read(value: str | int, seconds: int) -> None:
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "duration is empty"),
        ("abc", "duration 'abc' is not understood"),
        ("1.5h", "duration '1.5h' is not understood"),
        ("1h30m", "duration '1h30m' is not understood"),
        ("10M", "duration '10M' is not understood"),
        ("\u0663", "duration '\u0663' is not understood"),
        ("-5", "a sign is not allowed"),
        (-5, "duration -5 is negative"),
        ("-PT5S", "a sign is not allowed"),
        ("P1M", "months and years have no fixed length"),
        ("P1Y", "months and years have no fixed length"),
        ("P", "is empty after P"),
        ("P5S", "S is not allowed there"),
        ("pt5m", "lower case is not allowed"),
        ("PT0.1S", "fractions of a second are not supported"),
        ("9" * 5_000, "is longer than 60 characters"),
        (True, "True is neither a number of seconds nor a text"),
        (1.5, "1.5 is neither a number of seconds nor a text"),
        (None, "None is neither a number of seconds nor a text"),
    ],
)
def test_a_wrong_duration_is_refused(value: str | int, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_duration(value)
    assert caught.value.code == "invalid_duration"
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["36526d", 10**100, "9" * 60, "P999999999W"])
def test_more_than_a_century_overflows(value: str | int) -> None:
    with pytest.raises(ScheduleError, match="longer than 100 years") as caught:
        parse_duration(value)
    assert caught.value.code == "overflow"


def test_a_number_too_long_to_print_overflows_as_well() -> None:
    with pytest.raises(ScheduleError, match="longer than 100 years"):
        parse_duration(10**10_000)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=10), "10m"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=2), "2h"),
        (timedelta(days=14), "14d"),
        (timedelta(seconds=1.5), "1s"),
    ],
)
def test_a_duration_is_written_in_its_largest_whole_unit(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.integers(0, 36_525 * 86_400))
def test_what_is_written_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration

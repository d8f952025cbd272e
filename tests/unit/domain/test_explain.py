"""What is said of a schedule beyond its words, and that it is true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.explain import notes, zone_of
from cronq.domain.schedule import parse

NOW = datetime(2026, 11, 28, tzinfo=UTC)
FORWARD = datetime(2027, 3, 28, 1, tzinfo=UTC)
BACK = datetime(2027, 10, 31, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def told(expression: str, timezone: str | None = None, dst: str = "cron") -> list[str]:
    return notes(parse(expression, timezone=timezone, dst=dst), NOW)


@pytest.mark.parametrize(
    "expression",
    [
        "0 3 * * *",
        "*/15 */6 * * 1-5",
        "0 0 1,15 * *",
        "0 0 L * *",
        "*/1 * * * *",
        "0 0 * * */7",
        "@every 90s",
        "0 0 1-28 * *",
    ],
)
def test_of_a_schedule_without_surprises_nothing_is_said(expression: str) -> None:
    assert told(expression) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            "*/7 * * * *",
            "minute */7 starts again with each hour: 4 minutes after 56, not 7; @every 7m does not",
        ),
        (
            "*/59 * * * *",
            "minute */59 starts again with each hour: 1 minute after 59, not 59; @every 59m does not",
        ),
        ("0 */5 * * *", "hour */5 starts again with each day: 4 hours after 20, not 5; @every 5h does not"),
        ("0 0 1 */5 *", "month */5 starts again with each year: 2 months after 11, not 5"),
        ("0 0 * * */2", "day-of-week */2 starts again with each week: 1 day after 6, not 2"),
        (
            "0 0 */2 * *",
            "day-of-month */2 starts again on the 1st of each month, however long the one before was",
        ),
    ],
)
def test_uneven_steps_are_told(expression: str, said: str) -> None:
    assert told(expression) == [said]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            "0 0 1,15 * 5",
            "day-of-month and day-of-week are both restricted: it occurs on days that match either",
        ),
        (
            "0 0 */2 * 1",
            "one of day-of-month and day-of-week begins with *: it occurs on days that match both",
        ),
        ("0 0 31 * *", "no day 31 in February, April, June, September and November: nothing occurs in them"),
        ("0 0 30 1-3 *", "no day 30 in February: nothing occurs in it; L is the last day of any month"),
        (
            "0 0 29 2 *",
            "no day 29 in February: nothing occurs in it, but in leap years; L is the last day of any month",
        ),
    ],
)
def test_what_becomes_of_its_days_is_told(expression: str, said: str) -> None:
    assert said in "\n".join(told(expression))


FORWARD_WORDS = "on 2027-03-28 clocks go forward from 02:00 to 03:00, "
BACK_WORDS = "on 2027-10-31 clocks go back from 03:00 to 02:00, "


@pytest.mark.parametrize(
    ("expression", "dst", "forward", "back"),
    [
        (
            "30 2 * * *",
            "cron",
            "02:30 does not exist: it occurs once, at 03:00, by the dst rule cron",
            "02:30 comes twice: it occurs the first time, by the dst rule cron",
        ),
        (
            "30 2 * * *",
            "skip",
            "02:30 does not exist: left out, by the dst rule skip",
            "02:30 comes twice: it occurs the first time, by the dst rule skip",
        ),
        (
            "15,30 2 * * *",
            "both",
            "02:15 and 02:30 do not exist: it occurs once, at 03:00, by the dst rule both",
            "02:15 and 02:30 come twice: it occurs both times, by the dst rule both",
        ),
        (
            "*/10 2 * * *",
            "cron",
            "02:00, 02:10 and 02:20 … do not exist: left out, whatever the dst rule",
            "02:00, 02:10 and 02:20 … come twice: it occurs both times, whatever the dst rule",
        ),
        (
            "R/2026-01-01T02:30:00/P1D",
            "cron",
            "02:30 does not exist: it occurs once, at 03:00, by the dst rule cron",
            "02:30 comes twice: it occurs the first time, by the dst rule cron",
        ),
    ],
)
def test_the_next_changes_of_the_clock_are_told(expression: str, dst: str, forward: str, back: str) -> None:
    assert told(expression, "Europe/Berlin", dst) == [FORWARD_WORDS + forward, BACK_WORDS + back]


@pytest.mark.parametrize("dst", ["cron", "skip", "both"])
@pytest.mark.parametrize(
    "expression",
    ["30 2 * * *", "5,30 1-2 * * *", "30 */2 * * *", "*/59 2 * * *", "R/2026-01-01T02:30:00/P1D"],
)
def test_what_is_told_of_a_clock_is_what_occurs(expression: str, dst: str) -> None:
    schedule = parse(expression, timezone="Europe/Berlin", dst=dst)
    forward, back = notes(schedule, NOW)[-2:]

    in_gap = [*schedule.between(FORWARD - SECOND, FORWARD + HOUR - SECOND)]
    repeated = [*schedule.between(BACK - HOUR - SECOND, BACK + HOUR - SECOND)]

    assert ("occurs once, at 03:00" in forward) == (in_gap == [FORWARD])
    assert ("left out" in forward) == (not in_gap)
    times = len({each.astimezone(zone_of(schedule)).replace(tzinfo=None, fold=0) for each in repeated})
    assert ("both times" in back) == (len(repeated) == 2 * times)
    assert ("the first time" in back) == (len(repeated) == times)


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("30 4 * * *", "Europe/Berlin"),
        ("30 2 * * 1-5", "Europe/Berlin"),  # clocks change on Sundays
        ("30 2 * * *", "Asia/Tokyo"),
        ("30 2 * * *", None),
        ("*/15 * * * *", "Europe/Berlin"),
        ("30 * * * *", "Europe/Berlin"),
        ("R/2026-01-01T02:30:00/PT1H", "Europe/Berlin"),
        ("R2/2026-01-01T02:30:00/P1D", "Europe/Berlin"),
        ("R/2099-01-01T02:30:00/P1D", "Europe/Berlin"),
    ],
)
def test_a_change_of_the_clock_that_meets_nothing_is_not_told(expression: str, timezone: str | None) -> None:
    assert not [each for each in told(expression, timezone) if "clocks" in each]


def test_a_day_that_a_zone_leaves_out_is_caught_up_by_no_rule() -> None:
    schedule = parse("0 12 * * *", timezone="Pacific/Apia")
    [said] = [each for each in notes(schedule, datetime(2011, 12, 1, tzinfo=UTC)) if "2011-12-30" in each]
    assert "12:00 does not exist: left out, whatever the dst rule" in said


def test_nothing_is_told_beyond_the_last_year() -> None:
    assert notes(parse("30 2 * * *", timezone="Europe/Berlin"), datetime(2199, 12, 31, tzinfo=UTC)) == []


@given(
    st.sampled_from(["*/7 2 * * *", "5 2 */2 * *", "0-30/7 * 31 * 1-5", "H H * * *", "0 */5 LW */5 5#2"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe"]),
    st.integers(0, 229 * 365).map(lambda day: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)),
)
def test_at_any_time_it_can_be_told(expression: str, timezone: str, now: datetime) -> None:
    schedule = parse(expression, timezone=timezone)
    assert all(each.isprintable() for each in notes(schedule, now))

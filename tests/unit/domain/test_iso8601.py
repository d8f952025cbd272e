"""ISO 8601 repeating intervals: golden tables, and properties against counting from the anchor."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.schedule import Schedule, ScheduleError, every, parse

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(schedule: Schedule, number: int) -> list[datetime]:
    return list(islice(schedule.between(ALWAYS, datetime(2199, 12, 31, tzinfo=UTC)), number))


def test_the_ancestors_example_keeps_its_grid() -> None:
    schedule = parse("R/2013-05-29T00:00:00/PT1M")
    assert schedule.next_after(utc("2026-11-20 12:34:56")) == utc("2026-11-20 12:35:00")
    assert schedule.next_after(utc("2026-11-20 12:35:00")) == utc("2026-11-20 12:36:00")
    assert schedule.next_after(datetime(2026, 11, 20, 12, 34, 59, 999999, UTC)) == utc("2026-11-20 12:35:00")
    assert schedule.fixed_period() == timedelta(minutes=1)
    assert schedule.text == "R/2013-05-29T00:00:00/PT1M"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "R/2026-01-31T00:00:00Z/P1M",
            ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"],
        ),
        (
            "R/2024-02-29T06:00:00Z/P1Y",
            [f"{y}-02-{29 if y == 2028 else 28} 06:00" for y in range(2025, 2029)],
        ),
        ("R/2026-08-31T00:00:00Z/P6M", ["2026-08-31", "2027-02-28", "2027-08-31", "2028-02-29"]),
        ("R/2026-01-31T00:00:00Z/P1M1D", ["2026-01-31", "2026-03-01", "2026-04-02", "2026-05-03"]),
        ("R/2026-01-01T00:00:00Z/P1W", ["2026-01-01", "2026-01-08", "2026-01-15"]),
        ("R/2026-01-01T00:00:00Z/P1W2D", ["2026-01-01", "2026-01-10", "2026-01-19"]),
        ("R/2026-01-01T00:00:00Z/P1DT12H", ["2026-01-01", "2026-01-02 12:00", "2026-01-04"]),
        ("R/2026-01-01T00:00:00Z/PT1H30M", ["2026-01-01 00:00", "2026-01-01 01:30"]),
        ("R/2026-01-01T00:00:00Z/PT0.5H", ["2026-01-01 00:00", "2026-01-01 00:30"]),
        ("R/2026-01-01T00:00:00Z/P1.5D", ["2026-01-01", "2026-01-02 12:00", "2026-01-04"]),
        ("R/20260101T0030/PT1H", ["2026-01-01 00:30", "2026-01-01 01:30"]),
        ("R/2026-01-01T00:30+05:30/PT1H", ["2025-12-31 19:00", "2025-12-31 20:00"]),
        ("R/2026-01-01T00:00-0230/P1D", ["2026-01-01 02:30", "2026-01-02 02:30"]),
        ("R/2026-01-01/P1D", ["2026-01-01", "2026-01-02"]),
        ("R/2026-01-01T00:00Z/2026-01-01T00:05Z", ["2026-01-01 00:00", "2026-01-01 00:05"]),
        ("R3/2026-01-31T00:00:00Z/P1M", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("R1/2026-01-31T00:00:00Z/PT1S", ["2026-01-31"]),
    ],
)
def test_occurrences_are_counted_from_the_anchor(text: str, expected: list[str]) -> None:
    start = 1 if "P1Y" in text else 0
    assert first(parse(text), len(expected) + start)[start:] == [utc(each) for each in expected]


def test_a_repeat_count_ends_the_schedule_for_good() -> None:
    schedule = parse("R5/2026-01-01T00:00:00Z/PT1M")
    assert len(first(schedule, 10)) == 5
    assert schedule.next_after(utc("2026-01-01 00:03:59")) == utc("2026-01-01 00:04:00")
    assert schedule.next_after(utc("2026-01-01 00:04:00")) is None
    assert (
        len(list(parse("R1000000/2026-01-01T00:00:00Z/PT1S").between(ALWAYS, utc("2027-01-01")))) == 1_000_000
    )


def test_a_start_in_the_future_is_the_first_occurrence() -> None:
    now = utc("2026-11-20 12:00")
    assert parse("R/2027-01-01T09:00:00Z/PT1H").next_after(now) == utc("2027-01-01 09:00")
    assert parse("R/2027-01-31T09:00:00Z/P1M").next_after(now) == utc("2027-01-31 09:00")


# Europe/Berlin 2026: 02:00 becomes 03:00 on 29 March, 03:00 becomes 02:00 on 25 October.
@pytest.mark.parametrize(
    ("text", "dst", "expected"),
    [
        ("R/2026-03-28T12:00:00/P1D", "cron", ["2026-03-28 11:00", "2026-03-29 10:00", "2026-03-30 10:00"]),
        ("R/2026-03-28T12:00:00/PT24H", "cron", ["2026-03-28 11:00", "2026-03-29 11:00", "2026-03-30 11:00"]),
        ("R/2026-03-28T11:00:00Z/P1D", "cron", ["2026-03-28 11:00", "2026-03-29 10:00", "2026-03-30 10:00"]),
        (
            "R/2026-03-28T12:00:00/P1DT1H",
            "cron",
            ["2026-03-28 11:00", "2026-03-29 11:00", "2026-03-30 12:00"],
        ),
        ("R/2026-03-28T02:30:00/P1D", "cron", ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]),
        ("R/2026-03-28T02:30:00/P1D", "skip", ["2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30"]),
        ("R3/2026-03-28T02:30:00/P1D", "skip", ["2026-03-28 01:30", "2026-03-30 00:30"]),
        ("R/2026-10-24T02:30:00/P1D", "cron", ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]),
        ("R/2026-10-24T02:30:00/P1D", "both", ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-25 01:30"]),
        ("R/2026-10-25T02:30:00+01:00/P1D", "cron", ["2026-10-25 01:30", "2026-10-26 01:30"]),
        ("R/2026-03-29T02:30:00/P1D", "cron", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("R/2026-03-29T02:30:00/PT1H", "cron", ["2026-03-29 01:00", "2026-03-29 02:00"]),
        ("R/2026-01-29T02:30:00/P1M", "cron", ["2026-01-29 01:30", "2026-02-28 01:30", "2026-03-29 01:00"]),
    ],
)
def test_days_follow_the_wall_clock_and_hours_real_time(text: str, dst: str, expected: list[str]) -> None:
    schedule = parse(text, timezone="Europe/Berlin", dst=dst)
    assert first(schedule, 3)[: len(expected)] == [utc(each) for each in expected]


def test_a_day_that_a_zone_left_out_is_left_out() -> None:
    schedule = parse("R/2011-12-29T12:00:00/P1D", timezone="Pacific/Apia")
    assert first(schedule, 2) == [utc("2011-12-29 22:00"), utc("2011-12-30 22:00")]
    assert schedule.next_after(utc("2011-12-30 22:00")) == utc("2011-12-31 22:00")


@pytest.mark.parametrize(
    ("start", "zone", "dst"),
    [("2026-03-29T02:30:00", "Europe/Berlin", "skip"), ("2011-12-30T12:00:00", "Pacific/Apia", "cron")],
)
def test_a_start_that_its_rule_leaves_out_is_refused(start: str, zone: str, dst: str) -> None:
    with pytest.raises(ScheduleError, match="does not exist in"):
        parse(f"R/{start}/P1D", timezone=zone, dst=dst)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("R/2026-01-01T00:00:00Z/PT90S", None, timedelta(seconds=90)),
        ("R/2026-01-01T00:00:00/PT1H", "Europe/Berlin", timedelta(hours=1)),
        ("R/2026-01-01T00:00:00Z/P1W", None, timedelta(days=7)),
        ("R/2026-01-01T00:00:00+02:00/P1DT1H", None, timedelta(hours=25)),
        ("R/2026-01-01T00:00:00/P1D", "Etc/GMT+5", timedelta(days=1)),
        ("R/2026-01-01T00:00:00/P1D", "Europe/Berlin", None),
        ("R/2026-01-01T00:00:00Z/P1M", None, None),
        ("R/2026-01-01T00:00:00Z/P1Y", None, None),
    ],
)
def test_a_fixed_period_is_one_that_never_varies(
    text: str, zone: str | None, expected: timedelta | None
) -> None:
    assert parse(text, timezone=zone).fixed_period() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("R0/2026-01-01T00:00:00Z/PT1M", "repeat count must be 1-1000000 or empty, got 0"),
        ("R-1/2026-01-01T00:00:00Z/PT1M", "repeat count must be 1-1000000 or empty, got -1"),
        ("R1e3/2026-01-01T00:00:00Z/PT1M", "repeat count must be 1-1000000 or empty, got 1e3"),
        ("R1000001/2026-01-01T00:00:00Z/PT1M", "repeat count must be 1-1000000 or empty"),
        ("R" + "9" * 900 + "/2026-01-01T00:00:00Z/PT1M", "repeat count must be 1-1000000 or empty"),
        ("R/PT1M", "has 3 parts between slashes, got 2"),
        ("R//PT1M", "start is empty"),
        ("R5/PT1M/", "end '' is not a date and time"),
        ("R5/PT1M/PT1M", "end 'PT1M' is not a date and time"),
        ("R/PT0S/2026-01-01T00:00:00Z", "period PT0S is zero"),
        ("R/P1D/2026-02-30", "end 2026-02-30: February 2026 has no day 30"),
        ("r/2026-01-01T00:00:00Z/PT1M", "must begin with a capital R"),
        ("2026-01-01T00:00:00Z/PT1M", "does not begin with R[n]/"),
        ("R/2026-02-30T00:00:00Z/PT1M", "February 2026 has no day 30"),
        ("R/2026-13-01T00:00:00Z/PT1M", "month 13 not in 1-12"),
        ("R/2026-01-01T24:00:00Z/PT1M", "hour 24 not in 0-23"),
        ("R/2026-01-01T23:59:60Z/PT1M", "second 60 not in 0-59"),
        ("R/0001-01-01T00:00:00Z/PT1M", "year 1 not in 1970-2199"),
        ("R/9999-01-01T00:00:00Z/PT1M", "year 9999 not in 1970-2199"),
        ("R/2026-01-01T00:00:00+25:00/PT1M", "offset +25:00 not in -14:00 to +14:00"),
        ("R/2026-W01-1T00:00:00Z/PT1M", "week dates are not supported"),
        ("R/2026-01-01T00:00:00.5Z/PT1M", "fractions of a second are not supported"),
        ("R/2026-01-01 00:00:00Z/PT1M", "needs a capital T and Z"),
        ("R/now/PT1M", "start 'now' is not a date and time"),
        ("R/2026-01-01T00:00:00Z/", "period '' must begin with P"),
        ("R/2026-01-01T00:00:00Z/P", "period 'P' is empty after P"),
        ("R/2026-01-01T00:00:00Z/P1DT", "period 'P1DT' is empty after T"),
        ("R/2026-01-01T00:00:00Z/PT0S", "period PT0S is zero"),
        ("R/2026-01-01T00:00:00Z/-P1D", "a sign is not allowed"),
        ("R/2026-01-01T00:00:00Z/P1DT-1H", "a sign is not allowed"),
        ("R/2026-01-01T00:00:00Z/P5S", "period P5S: S is not allowed there"),
        ("R/2026-01-01T00:00:00Z/p1d", "lower case is not allowed"),
        ("R/2026-01-01T00:00:00Z/P1Y1Y", "Y is repeated"),
        ("R/2026-01-01T00:00:00Z/P1D1M", "M stands after D"),
        ("R/2026-01-01T00:00:00Z/P0.5M", "fractions of months and years are not supported"),
        ("R/2026-01-01T00:00:00Z/PT1.5H3M", "only the last part may have a fraction, not 1.5"),
        ("R/2026-01-01T00:00:00Z/PT0.5S", "fractions of a second are not supported"),
        ("R/2026-01-01T00:00:00Z/P\u0661D", "'\u0661' at position 25 is not an ASCII digit"),
        ("R/2026-01-01T00:00:00Z/2026-01-01T00:00:00Z", "is not after the start"),
        (
            "R/2026-01-01T00:00:00Z/2026-02-30T00:00:00Z",
            "end 2026-02-30T00:00:00Z: February 2026 has no day 30",
        ),
    ],
)
def test_a_wrong_interval_is_refused_naming_the_part(text: str, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(text)
    assert caught.value.code == "invalid_schedule"
    assert message in str(caught.value)


@pytest.mark.parametrize("period", ["P99999999999D", "P101Y", "P1201M", "PT" + "9" * 900 + "S", "P36526D"])
def test_a_period_beyond_a_century_overflows(period: str) -> None:
    with pytest.raises(ScheduleError, match="longer than 100 years") as caught:
        parse(f"R/2026-01-01T00:00:00Z/{period}")
    assert caught.value.code == "overflow"


def test_the_last_years_are_reached_and_not_passed() -> None:
    assert parse("R/1970-01-01T00:00:00Z/P100Y").next_after(utc("2069-12-31")) == utc("2070-01-01")
    assert parse("R/1970-01-01T00:00:00Z/P100Y").next_after(utc("2170-01-01")) is None
    assert parse("R/1970-01-01T00:00:00Z/PT1S").next_after(utc("2199-12-31 23:59:58")) == utc(
        "2199-12-31 23:59:59"
    )
    assert parse("R/1970-01-01T00:00:00Z/PT1S").next_after(utc("2199-12-31 23:59:59")) is None
    berlin = parse("R/2199-11-30T23:30:00/P1M", timezone="Europe/Berlin")
    assert first(berlin, 5) == [utc("2199-11-30 22:30"), utc("2199-12-30 22:30")]
    beyond = parse("R/2199-12-01T00:00:00/P20DT265H", timezone="Europe/Berlin")
    assert first(beyond, 5) == [utc("2199-11-30 23:00")]
    assert beyond.next_after(utc("2199-11-30 23:00")) is None


def test_a_bare_interval_is_a_grid_from_its_anchor() -> None:
    schedule = every(timedelta(hours=1), utc("2026-01-01 00:10"))
    assert schedule.next_after(utc("2025-06-01")) == utc("2026-01-01 00:10")
    assert schedule.next_after(utc("2026-01-01 00:10")) == utc("2026-01-01 01:10")
    assert schedule.fixed_period() == timedelta(hours=1)
    assert schedule.text == "R/2026-01-01T00:10:00Z/PT3600S"
    assert first(parse(schedule.text), 3) == first(schedule, 3)


@pytest.mark.parametrize(
    "period", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=1.5), timedelta(milliseconds=1)]
)
def test_a_bare_interval_must_be_positive_whole_seconds(period: timedelta) -> None:
    with pytest.raises(ScheduleError, match="must be a positive number of whole seconds"):
        every(period, ALWAYS)


def test_a_bare_interval_needs_an_aware_anchor() -> None:
    with pytest.raises(ValueError, match="must be timezone-aware"):
        every(timedelta(hours=1), ALWAYS.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("R3/PT1H/2026-01-01T12:00:00Z", None, ["2026-01-01 10:00", "2026-01-01 11:00", "2026-01-01 12:00"]),
        ("R1/PT1H/2026-01-01T12:00:00Z", None, ["2026-01-01 12:00"]),
        (
            "R4/P1M/2026-05-31",
            None,
            ["2026-02-28 00:00", "2026-03-31 00:00", "2026-04-30 00:00", "2026-05-31 00:00"],
        ),
        ("R3/P1Y/2024-02-29T06:00Z", None, ["2022-02-28 06:00", "2023-02-28 06:00", "2024-02-29 06:00"]),
        ("R2/P1D/2026-03-29T12:00", "Europe/Berlin", ["2026-03-28 11:00", "2026-03-29 10:00"]),
        ("R2/PT24H/2026-03-29T12:00", "Europe/Berlin", ["2026-03-28 10:00", "2026-03-29 10:00"]),
        ("R/P40Y/2025-06-01T00:00:00Z", None, ["1985-06-01 00:00", "2025-06-01 00:00"]),
        ("R/PT200000H/2026-01-01T00:00:00Z", None, ["1980-05-15 08:00", "2003-03-09 16:00", "2026-01-01"]),
    ],
)
def test_a_period_and_an_end_count_back_from_the_end(
    text: str, zone: str | None, expected: list[str]
) -> None:
    schedule = parse(text, timezone=zone)
    assert first(schedule, 10) == [utc(each) for each in expected]
    assert schedule.next_after(utc(expected[-1])) is None


def test_an_endless_way_back_begins_in_1970() -> None:
    schedule = parse("R/P1D/2026-01-01T06:00:00Z")
    assert schedule.next_after(datetime(1, 1, 1, tzinfo=UTC)) == utc("1970-01-01 06:00")
    assert schedule.next_after(utc("2025-12-31 06:00")) == utc("2026-01-01 06:00")
    assert schedule.remarks(utc("2026-11-20")) == ["exhausted: its last occurrence was 2026-01-01T06:00:00Z"]


def test_an_end_without_a_zone_is_told_as_such() -> None:
    assert parse("R3/PT1H/2099-01-01T12:00:00").remarks(ALWAYS) == [
        "end 2099-01-01T12:00:00 has no offset and is read as UTC; give it one, or name a timezone"
    ]


ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
YEAR_S = 31_556_952
INSTANTS = st.integers(42 * YEAR_S, 60 * YEAR_S).map(lambda second: ALWAYS + second * SECOND)
STARTS = st.integers(43 * YEAR_S, 57 * YEAR_S).map(
    lambda second: (ALWAYS + second * SECOND).replace(tzinfo=None)
)


@settings(max_examples=100, deadline=None)
@given(start=STARTS, after=INSTANTS, seconds=st.integers(1, 40 * 86_400))
def test_real_time_periods_are_plain_arithmetic(start: datetime, after: datetime, seconds: int) -> None:
    anchor = start.replace(tzinfo=UTC)
    found = parse(f"R/{start.isoformat()}/PT{seconds}S").next_after(after)
    assert found is not None
    assert found > after
    assert (found - anchor) % timedelta(seconds=seconds) == timedelta(0)
    assert found == anchor or found - timedelta(seconds=seconds) <= after


@settings(max_examples=150, deadline=None)
@given(
    start=STARTS,
    zone=ZONES,
    period=st.tuples(st.integers(0, 14), st.integers(0, 40), st.integers(0, 30)),
    skipped=st.integers(0, 60),
)
def test_calendar_periods_equal_counting_every_point(
    start: datetime, zone: str, period: tuple[int, int, int], skipped: int
) -> None:
    months, days, hours = period
    days = days or (0 if months else 1)
    schedule = parse(f"R/{start.isoformat()}/P{months}M{days}DT{hours}H", timezone=zone)
    points = [_point(start, zone, months * k, days * k, hours * k) for k in range(skipped + 3)]
    assert points == sorted(set(points))
    for before, following in zip(points[skipped:], points[skipped + 1 :], strict=False):
        assert schedule.next_after(before) == following
        assert schedule.next_after(following - SECOND) == following
    assert schedule.next_after(points[0] - SECOND) == points[0]


def _point(start: datetime, zone: str, months: int, days: int, hours: int) -> datetime:
    """The cron rule by another way: wall time with fold 0, moved out of a gap by trying seconds."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    wall = start.replace(year=year, month=month + 1, day=day) + timedelta(days=days)
    while not _exists(wall, zone):
        wall = wall.replace(second=0) + timedelta(minutes=1)
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + timedelta(hours=hours)


def _exists(wall: datetime, zone: str) -> bool:
    there = wall.replace(tzinfo=ZoneInfo(zone))
    return there.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall

"""@every, @at, several schedules of one job, and its start and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.schedule import Schedule, ScheduleError, from_column, parse, to_column

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FOR_EVER = datetime(2199, 12, 31, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(schedule: Schedule, number: int, after: datetime = NOON) -> list[datetime]:
    return list(islice(schedule.between(after, FOR_EVER), number))


def refused(text: str, **more: Any) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        parse(text, **more)
    return caught.value


# -- @every


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@every 90s", ["2026-11-20 12:01:30", "2026-11-20 12:03:00"]),
        ("@every 90", ["2026-11-20 12:01:30", "2026-11-20 12:03:00"]),
        ("@EVERY  10m ", ["2026-11-20 12:10:00", "2026-11-20 12:20:00"]),
        ("@every 1s", ["2026-11-20 12:00:01", "2026-11-20 12:00:02"]),
        ("@every 7h", ["2026-11-20 18:00:00", "2026-11-21 01:00:00"]),
        ("@every PT1H30M", ["2026-11-20 13:30:00", "2026-11-20 15:00:00"]),
        ("@every 1d", ["2026-11-21 00:00:00", "2026-11-22 00:00:00"]),
    ],
)
def test_every_is_a_grid_of_real_time_from_1970(text: str, expected: list[str]) -> None:
    schedule = parse(text, timezone="Europe/Berlin")
    assert following(schedule, 2) == [utc(each) for each in expected]
    period = schedule.fixed_period()
    assert period == utc(expected[1]) - utc(expected[0])
    assert (utc(expected[0]) - EPOCH) % period == timedelta(0)
    assert schedule.text == text.strip()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**7), st.integers(0, 5 * 10**9))
def test_every_does_not_depend_on_when_it_is_asked(period_s: int, second: int) -> None:
    after = EPOCH + timedelta(seconds=second)
    found = parse(f"@every {period_s}s").next_after(after)
    assert found is not None
    assert found - timedelta(seconds=period_s) <= after < found
    assert (found - EPOCH) % timedelta(seconds=period_s) == timedelta(0)


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("@every", "invalid_schedule", "@every needs one period", "write @every 90s"),
        ("@every 5 m", "invalid_schedule", "@every needs one period", "write @every 90s"),
        ("@every 0s", "invalid_schedule", "@every: 0s is too short", "at least 1s"),
        ("@every -5s", "invalid_schedule", "@every: duration '-5s'", ""),
        ("@every 1.5h", "invalid_schedule", "@every: duration '1.5h' is not understood", "write 90m"),
        ("@every 1h30m", "invalid_schedule", "@every: duration '1h30m' is not understood", "write 90m"),
        ("@every P1M", "invalid_schedule", "months and years have no fixed length", "P30D"),
        ("@every 40000d", "overflow", "longer than 100 years", ""),
        ("@every 0s after finish", "invalid_schedule", "0s is too short", "at least 1s"),
        ("@every 90s after start", "invalid_schedule", "@every needs one period", "@every 90s after finish"),
    ],
)
def test_a_wrong_every_is_refused(text: str, code: str, message: str, hint: str) -> None:
    error = refused(text)
    assert error.code == code
    assert message in str(error)
    assert hint in error.hint


# -- @at


@pytest.mark.parametrize(
    ("text", "zone", "dst", "expected"),
    [
        ("@at 2026-12-24T18:00:00Z", None, "cron", ["2026-12-24 18:00"]),
        ("@at 2026-12-24T18:00+01:00", None, "cron", ["2026-12-24 17:00"]),
        ("@at 2026-12-24T18:00:30", "Europe/Berlin", "cron", ["2026-12-24 17:00:30"]),
        ("@AT 20261224T180000Z", "Europe/Berlin", "cron", ["2026-12-24 18:00"]),
        ("@at 2027-03-28T02:30:00", "Europe/Berlin", "cron", ["2027-03-28 01:00"]),  # in the gap
        ("@at 2027-10-31T02:30:00", "Europe/Berlin", "cron", ["2027-10-31 00:30"]),  # in the repeated hour
        ("@at 2027-10-31T02:30:00", "Europe/Berlin", "both", ["2027-10-31 00:30", "2027-10-31 01:30"]),
        ("@at 2027-10-31T02:30:00+01:00", "Europe/Berlin", "both", ["2027-10-31 01:30"]),
    ],
)
def test_at_is_one_instant(text: str, zone: str | None, dst: str, expected: list[str]) -> None:
    schedule = parse(text, timezone=zone, dst=dst)
    assert following(schedule, 9) == [utc(each) for each in expected]
    assert schedule.next_after(utc(expected[0]) - SECOND) == utc(expected[0])
    assert schedule.next_after(utc(expected[-1])) is None
    assert schedule.fixed_period() is None


def test_an_instant_that_has_passed_is_told() -> None:
    schedule = parse("@at 2026-11-20T12:00:00Z")
    assert schedule.remarks(NOON - SECOND) == []
    assert schedule.remarks(NOON) == ["exhausted: its only occurrence was 2026-11-20T12:00:00Z"]


@pytest.mark.parametrize(
    ("text", "zone", "dst", "message", "hint"),
    [
        ("@at", None, "cron", "@at needs one instant", "write @at 2026-12-24T18:00:00Z"),
        ("@at 2026-12-24 18:00", None, "cron", "@at needs one instant", "2026-12-24T18:00:00Z"),
        ("@at 2026-12-24T18:00:00", None, "cron", "instant 2026-12-24T18:00:00 has no offset", "timezone"),
        ("@at 2026-12-24", "UTC", "cron", "instant 2026-12-24 has no time of day", "2026-12-24T00:00:00"),
        ("@at 2026-02-30T00:00:00Z", None, "cron", "February 2026 has no day 30", ""),
        ("@at 2200-01-01T00:00:00Z", None, "cron", "year 2200 not in 1970-2199", ""),
        ("@at noon", None, "cron", "instant 'noon' is not a date and time", "2026-01-31T00:00:00Z"),
        ("@at 2027-03-28T02:30:00", "Europe/Berlin", "skip", "does not exist in Europe/Berlin", ""),
        ("@at 2011-12-30T12:00:00", "Pacific/Apia", "cron", "does not exist in Pacific/Apia", ""),
    ],
)
def test_a_wrong_at_is_refused(text: str, zone: str | None, dst: str, message: str, hint: str) -> None:
    error = refused(text, timezone=zone, dst=dst)
    assert error.code == "invalid_schedule"
    assert message in str(error)
    assert hint in error.hint


# -- several


def test_several_schedules_are_their_union_and_a_shared_instant_is_one() -> None:
    schedule = parse(("0 12 * * *", "@every 8h", "@at 2026-11-21T12:00:00Z"), timezone="UTC")
    assert following(schedule, 6) == [
        utc("2026-11-20 16:00"),
        *(utc(f"2026-11-21 {hour}:00") for hour in ("00", "08", "12", "16")),
        utc("2026-11-22 00:00"),
    ]
    assert schedule.next_after(utc("2026-11-21 08:00")) == utc("2026-11-21 12:00")
    assert schedule.fixed_period() is None


def test_a_union_is_a_value_of_its_parts() -> None:
    assert parse(("@daily", "@hourly")) == parse(("@daily", "@hourly"))
    assert parse(("@daily", "@hourly")) != parse(("@daily", "@weekly"))
    assert parse(("@daily",)) == parse("@daily")


def test_a_union_ends_with_its_last_part() -> None:
    schedule = parse(("@at 2026-11-20T13:00:00Z", "R2/2026-11-20T13:00:00Z/P1D"))
    assert following(schedule, 9) == [utc("2026-11-20 13:00"), utc("2026-11-21 13:00")]


def test_remarks_of_a_union_name_the_part() -> None:
    remarks = parse(("@daily", "@at 2020-01-01T00:00:00Z")).remarks(NOON)
    assert remarks == [
        "schedule @at 2020-01-01T00:00:00Z: exhausted: its only occurrence was 2020-01-01T00:00:00Z"
    ]


PARTS = st.sampled_from(
    ["*/7 * * * *", "0 2 * * *", "30 2 * * 0", "@every 61m", "R/2026-10-24T02:30:00/P1D", "@hourly"]
)
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(PARTS, min_size=2, max_size=4), st.sampled_from(["cron", "skip", "both"]), st.integers(0, 3000)
)
def test_a_union_holds_what_its_parts_hold(texts: list[str], dst: str, lead: int) -> None:
    start = AUTUMN - timedelta(minutes=lead)
    span = (start, start + timedelta(days=2))
    parts = [parse(text, timezone="Europe/Berlin", dst=dst) for text in texts]
    expected = sorted({at for part in parts for at in part.between(*span)})
    whole = parse(tuple(texts), timezone="Europe/Berlin", dst=dst)
    assert list(whole.between(*span)) == expected
    assert [whole.next_after(at) for at in expected[:20]] == [*expected, whole.next_after(span[1])][1:21]


@pytest.mark.parametrize("expressions", ["0 3 * * *", ("@daily", "H 3 * * *"), None])
def test_expressions_survive_their_column(expressions: str | tuple[str, ...] | None) -> None:
    assert from_column(to_column(expressions)) == expressions


@pytest.mark.parametrize("text", ["[", "[]", "[1]", '["@daily", 2]', '{"a": 1}', "[daily]"])
def test_a_column_that_holds_no_list_is_refused_as_a_schedule(text: str) -> None:
    found = from_column(text)
    assert found == text
    assert refused(text).code == "invalid_schedule"


# -- start and end


def test_what_lies_outside_of_start_and_end_does_not_exist() -> None:
    schedule = parse("0 * * * *", start="2026-11-20T14:00:00Z", end="2026-11-20T16:00:00Z")
    assert following(schedule, 9) == [utc(f"2026-11-20 {hour}:00") for hour in (14, 15, 16)]
    assert following(schedule, 9, utc("1970-01-01")) == following(schedule, 9)
    assert schedule.next_after(utc("2026-11-20 16:00")) is None
    assert schedule.fixed_period() == timedelta(hours=1)


def test_bounds_between_occurrences_leave_those_inside() -> None:
    schedule = parse("0 * * * *", start="2026-11-20T14:00:01Z", end="2026-11-20T16:59:59Z")
    assert following(schedule, 9) == [utc("2026-11-20 15:00"), utc("2026-11-20 16:00")]


def test_local_bounds_are_in_the_timezone() -> None:
    schedule = parse(
        "0 0 * * *", timezone="Europe/Berlin", start="2026-11-22T00:00:00", end="2026-11-23T00:00:00"
    )
    assert following(schedule, 9) == [utc("2026-11-21 23:00"), utc("2026-11-22 23:00")]


def test_an_end_in_repeated_time_is_the_later_one_and_a_start_the_earlier() -> None:
    bounds: dict[str, Any] = {"start": "2026-10-25T02:30:00", "end": "2026-10-25T02:30:00"}
    schedule = parse("*/30 * * * *", timezone="Europe/Berlin", **bounds)
    assert following(schedule, 9, utc("2026-10-01")) == [
        utc("2026-10-25 00:30"), utc("2026-10-25 01:00"), utc("2026-10-25 01:30")
    ]  # fmt: skip


def test_bounds_hold_for_every_part_of_a_union() -> None:
    schedule = parse(("@hourly", "@at 2026-11-20T12:30:00Z"), end="2026-11-20T13:00:00Z")
    assert following(schedule, 9) == [utc("2026-11-20 12:30"), utc("2026-11-20 13:00")]


def test_a_count_begins_at_the_anchor_not_at_the_start() -> None:
    schedule = parse("R3/2026-11-20T12:00:00Z/PT1H", start="2026-11-20T14:00:00Z")
    assert following(schedule, 9) == [utc("2026-11-20 14:00")]


def test_an_end_that_has_passed_is_told() -> None:
    schedule = parse("@hourly", end="2026-11-20T12:00:00Z")
    assert schedule.remarks(NOON - SECOND) == []
    assert schedule.remarks(NOON) == ["exhausted: its end was 2026-11-20T12:00:00Z"]


@pytest.mark.parametrize(
    ("expressions", "start", "end", "code"),
    [
        ("@daily", "2026-11-20T00:00:01Z", "2026-11-20T23:59:59Z", "never_fires"),
        ("@at 2026-11-20T12:00:00Z", "2026-11-20T12:00:01Z", None, "never_fires"),
        ("R3/2026-11-20T12:00:00Z/PT1H", "2026-11-20T14:00:01Z", None, "never_fires"),
        (("@daily", "@monthly"), "2026-11-20T00:00:01Z", "2026-11-20T23:59:59Z", "never_fires"),
        ("@daily", "2026-11-21T00:00:00Z", "2026-11-20T00:00:00Z", "invalid_schedule"),
    ],
)
def test_bounds_that_leave_nothing_are_refused(
    expressions: str | tuple[str, ...], start: str, end: str | None, code: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(expressions, start=start, end=end)
    assert caught.value.code == code


def test_bounds_at_the_very_instant_leave_it() -> None:
    instant = "2026-11-20T12:00:00Z"
    assert following(parse(f"@at {instant}", start=instant, end=instant), 9, EPOCH) == [NOON]

"""Cron expressions: golden tables of what they mean and of what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from cronq.domain.schedule import Schedule, ScheduleError, parse

FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(schedule: Schedule, after: datetime, number: int) -> list[datetime]:
    return list(islice(schedule.between(after, after + timedelta(days=366 * 50)), number))


def wall_times(expression: str, zone: str, day: str, *, dst: str = "cron") -> list[str]:
    """The occurrences of one local date as they stand on the clock, with the offset in hours."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    found = parse(expression, timezone=zone, dst=dst).between(
        midnight.astimezone(UTC) - timedelta(seconds=1),
        (midnight + timedelta(days=1)).astimezone(UTC) - timedelta(seconds=1),
    )
    local = [instant.astimezone(ZoneInfo(zone)) for instant in found]
    return [f"{at:%H:%M}{(at.utcoffset() or timedelta(0)) / timedelta(hours=1):+g}" for at in local]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["2026-11-20 12:01", "2026-11-20 12:02"]),
        ("0 * * * *", ["2026-11-20 13:00", "2026-11-20 14:00"]),
        ("*/20 * * * *", ["2026-11-20 12:20", "2026-11-20 12:40"]),
        ("10-59/20 * * * *", ["2026-11-20 12:10", "2026-11-20 12:30"]),
        ("0-10/30 * * * *", ["2026-11-20 13:00", "2026-11-20 14:00"]),
        ("5,1,1 12 * * *", ["2026-11-20 12:01", "2026-11-20 12:05"]),
        ("00 09-17/04 * * *", ["2026-11-20 13:00", "2026-11-20 17:00"]),
        ("30 2 * * *", ["2026-11-21 02:30", "2026-11-22 02:30"]),
        ("0 0 * * 7", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("0 0 * * 5-7", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("0 0 * * Mon-FRI", ["2026-11-23 00:00", "2026-11-24 00:00"]),
        ("0 0 * * FRI-MON", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("0 0 * * 6-0", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("0 0 * * 7-1", ["2026-11-22 00:00", "2026-11-23 00:00"]),
        ("0 0 * * 7-0", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("0 0 * * 7-3/3", ["2026-11-22 00:00", "2026-11-25 00:00"]),
        ("0 22-3 * * *", ["2026-11-20 22:00", "2026-11-20 23:00"]),
        ("0 22-3/2 * * *", ["2026-11-20 22:00", "2026-11-21 00:00"]),
        ("50-10/20 * * * *", ["2026-11-20 12:10", "2026-11-20 12:50"]),
        ("0 0 1 nov-feb *", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("0 0 30-2/2 * *", ["2026-11-30 00:00", "2026-12-01 00:00"]),
        ("0 0 * * mon-sun", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("0 0 ? * 1", ["2026-11-23 00:00", "2026-11-30 00:00"]),
        ("0 0 1 * ?", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("0 0 ? * ?", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("0 0 1 jan,Jul *", ["2027-01-01 00:00", "2027-07-01 00:00"]),
        ("0 0 31 * *", ["2026-12-31 00:00", "2027-01-31 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 12 20 11 *", ["2027-11-20 12:00", "2028-11-20 12:00"]),
        ("  0\t12   20 11  * ", ["2027-11-20 12:00", "2028-11-20 12:00"]),
        ("@hourly", ["2026-11-20 13:00", "2026-11-20 14:00"]),
        ("@daily", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("@midnight", ["2026-11-21 00:00", "2026-11-22 00:00"]),
        ("@weekly", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("@monthly", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@annually", ["2027-01-01 00:00", "2028-01-01 00:00"]),
    ],
)
def test_an_expression_in_utc_occurs_at(expression: str, expected: list[str]) -> None:
    assert following(parse(expression), FRIDAY_NOON, 2) == [utc(text) for text in expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 13 * 5", ["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-13"]),  # either
        ("0 0 * * 5", ["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-18"]),
        ("0 0 13 * *", ["2026-12-13", "2027-01-13", "2027-02-13", "2027-03-13"]),
        ("0 0 */10 * 1", ["2026-12-21", "2027-01-11", "2027-02-01", "2027-03-01"]),  # both
        ("0 0 13 * */5", ["2026-12-13", "2027-06-13", "2027-08-13", "2028-02-13"]),  # both; 0 and 5
        ("0 0 1-31 * 5", ["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"]),  # either: every day
    ],
)
def test_day_of_month_and_weekday_combine_as_in_debians_cron(expression: str, expected: list[str]) -> None:
    assert following(parse(expression), FRIDAY_NOON, 4) == [utc(text) for text in expected]


# Europe/Berlin 2026: 02:00 becomes 03:00 on 29 March, 03:00 becomes 02:00 on 25 October.
@pytest.mark.parametrize(
    ("expression", "dst", "spring", "autumn"),
    [
        ("30 2 * * *", "cron", ["03:00+2"], ["02:30+2"]),
        ("30 2 * * *", "skip", [], ["02:30+2"]),
        ("30 2 * * *", "both", ["03:00+2"], ["02:30+2", "02:30+1"]),
        ("0,30 2 * * *", "cron", ["03:00+2"], ["02:00+2", "02:30+2"]),
        ("15 1-3 * * *", "cron", ["01:15+1", "03:00+2", "03:15+2"], ["01:15+2", "02:15+2", "03:15+1"]),
        ("0 2,3 * * *", "cron", ["03:00+2"], ["02:00+2", "03:00+1"]),
        ("0 2,3 * * *", "skip", ["03:00+2"], ["02:00+2", "03:00+1"]),
        ("0 3 * * *", "cron", ["03:00+2"], ["03:00+1"]),
        ("59 1 * * *", "cron", ["01:59+1"], ["01:59+2"]),
        ("*/30 2 * * *", "cron", [], ["02:00+2", "02:30+2", "02:00+1", "02:30+1"]),
        ("*/30 2 * * *", "skip", [], ["02:00+2", "02:30+2", "02:00+1", "02:30+1"]),
        ("*/30 2 * * *", "both", [], ["02:00+2", "02:30+2", "02:00+1", "02:30+1"]),
        (
            "30 */2 * * *",
            "cron",
            [f"{hour:02}:30+{1 if hour < 2 else 2}" for hour in range(0, 24, 2) if hour != 2],
            ["00:30+2", "02:30+2", "02:30+1", *(f"{hour:02}:30+1" for hour in range(4, 24, 2))],
        ),
    ],
)
def test_clock_changes_in_berlin(expression: str, dst: str, spring: list[str], autumn: list[str]) -> None:
    assert wall_times(expression, "Europe/Berlin", "2026-03-29", dst=dst) == spring
    assert wall_times(expression, "Europe/Berlin", "2026-10-25", dst=dst) == autumn


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["02:30+11"]),  # half an hour
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["01:45+11"]),
        ("0 13 * * *", "Australia/Lord_Howe", "2026-10-04", ["13:00+11"]),
        ("30 1 * * *", "Antarctica/Troll", "2026-03-29", ["03:00+2"]),  # two hours
        ("30 1 * * *", "Antarctica/Troll", "2026-10-25", ["01:30+2"]),
        ("30 0 * * *", "America/Sao_Paulo", "2018-11-04", ["01:00-2"]),  # midnight is in the gap
        ("30 23 * * *", "America/Sao_Paulo", "2018-02-17", ["23:30-2"]),  # before midnight, twice
        ("0 0 * * *", "America/St_Johns", "2010-11-07", ["00:00-2.5"]),  # 00:01 becomes 23:01
        ("* 0 * * *", "America/St_Johns", "2010-11-07", [f"00:{m:02}-3.5" for m in range(60)]),
        ("0 12 * * *", "Pacific/Apia", "2011-12-30", []),  # a day that never was
        ("0 12 * * *", "Pacific/Apia", "2011-12-31", ["12:00+14"]),
        ("0 20 * * *", "Antarctica/Vostok", "1994-01-31", ["20:00+7", "20:00+0"]),  # back by seven hours
        ("0 12 * * *", "America/Recife", "2000-10-10", ["12:00-2"]),  # summer time of one week
        ("30 3 * * *", "Antarctica/Casey", "2020-10-04", ["03:30+11"]),
        ("30 2 * * *", "Antarctica/Casey", "2020-10-04", []),  # three hours: a correction
    ],
)
def test_other_clock_changes_under_the_cron_rule(
    expression: str, zone: str, day: str, expected: list[str]
) -> None:
    found = wall_times(expression, zone, day)
    assert found[-60:] == expected


def test_minutes_on_both_sides_of_a_change_that_crosses_midnight_ascend() -> None:
    # St. John's went from 00:01 back to 23:01 of the day before.
    start = datetime(2010, 11, 7, 2, 0, tzinfo=UTC)
    found = list(parse("* * * * *", timezone="America/St_Johns").between(start, start + timedelta(hours=3)))
    assert found == [start + timedelta(minutes=minute) for minute in range(1, 181)]


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("* * * * *", None, timedelta(minutes=1)),
        ("*/5 * * * *", "UTC", timedelta(minutes=5)),
        ("7 * * * *", None, timedelta(hours=1)),
        ("30 2 * * *", "Etc/GMT-2", timedelta(days=1)),
        ("0 0 1-31 * 5", None, timedelta(days=1)),
        ("0 0 * * 1", None, timedelta(days=7)),
        ("*/7 * * * *", None, None),
        ("0 0 * * 1,3", None, None),
        ("0 0 1 * *", None, None),
        ("0 0 * 1 *", None, None),
        ("30 2 * * *", "Europe/Berlin", None),
    ],
)
def test_a_fixed_period_is_one_that_never_varies(
    expression: str, zone: str | None, expected: timedelta | None
) -> None:
    assert parse(expression, timezone=zone).fixed_period() == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("60 * * * *", "field minute: 60 not in 0-59"),
        ("-1 * * * *", "field minute: -1 not in 0-59"),
        ("0 24 * * *", "field hour: 24 not in 0-23"),
        ("0 0 0 * *", "field day-of-month: 0 not in 1-31"),
        ("0 0 * 13 *", "field month: 13 not in 1-12 or jan-dec"),
        ("0 0 * * 8", "field day-of-week: 8 not in 0-7 or sun-sat"),
        ("1-0 * * * *", "field minute: range start 1 > end 0"),
        ("0 0 * feb-jan *", "field month: range start feb > end jan"),
        ("*/0 * * * *", "field minute: step must be 1-59, got '0'"),
        ("*/70 * * * *", "field minute: step must be 1-59, got '70'"),
        ("0-59/61 * * * *", "field minute: step must be 1-59, got '61'"),
        ("*/x * * * *", "field minute: step must be 1-59, got 'x'"),
        ("59/15 * * * *", "field minute: 59/15: a step needs a range or *"),
        ("1,,2 * * * *", "field minute: empty item in '1,,2'"),
        ("*5 * * * *", "field minute: '*5' is not a number in 0-59"),
        ("0 0 * january *", "field month: 'january' is not a number or name in 1-12 or jan-dec"),
        ("* * * *", "needs 5 fields, got 4"),
        ("* * * * * *", "needs 5 fields, got 6; seconds are not supported"),
        ("\uff11 * * * *", "'\uff11' at position 1 is not an ASCII digit"),
        ("0 L * * *", "field hour: L is not allowed here (L means the last day)"),
        ("0 0 * * L", "field day-of-week: L needs a weekday"),
        ("0 0 * * L5", "field day-of-week: L5 is not allowed here (L means the last day)"),
        ("0 0 5L * *", "field day-of-month: 5L is not allowed here (L means the last day)"),
        ("0 0 L-31 * *", "field day-of-month: L-31: no month has so many days before its last"),
        ("0 0 * * 15W", "field day-of-week: 15W is not allowed here (W means the nearest working day)"),
        ("0 0 W15 * *", "field day-of-month: W15 is not allowed here"),
        ("0 0 32W * *", "field day-of-month: 32 not in 1-31"),
        ("0 0 0W * *", "field day-of-month: 0 not in 1-31"),
        ("0 0 1#2 * *", "field day-of-month: 1#2 is not allowed here (# means the nth weekday of a month)"),
        ("0 0 * * 1#6", "field day-of-week: 1#6: a month has a weekday 1 to 5 times"),
        ("0 0 * * 1#0", "field day-of-week: 1#0: a month has a weekday 1 to 5 times"),
        ("0 0 * * 8#1", "field day-of-week: 8 not in 0-7 or sun-sat"),
        ("? * * * *", "field minute: ? is not allowed here (? means any day)"),
        ("0 0 ?,1 * *", "field day-of-month: ? is not allowed here"),
        ("0 0 ?/2 * *", "field day-of-month: ?/2 is not allowed here"),
        ("0~9 * * * *", "field minute: 0~9 is not allowed here (~ means a random value)"),
        ("@evry 5m", "@evry 5m is not supported; the names are @hourly"),
        ("@daily 3", "@daily 3 is not supported; the names are @hourly"),
        ("@reboot", "@reboot is refused: hosts come and go, and none of them owns a job"),
        ("* * * * " + "9" * 900, "field day-of-week: " + "9" * 40 + "... not in 0-7 or sun-sat"),
        ("", "schedule is empty"),
        ("1," * 600, "schedule is longer than 1000 characters"),
    ],
)
def test_a_wrong_expression_is_refused_by_name_value_and_range(expression: str, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(expression)
    assert caught.value.code == "invalid_schedule"
    assert message in str(caught.value)
    assert str(caught.value) == caught.value.message


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("5/15 * * * *", "write 5-59/15 to go on from 5, or 5 alone"),
        ("59/15 * * * *", "write 59"),
        ("@dayly", "did you mean @daily?"),
        ("@evry 5m", "did you mean @every?"),
        (
            "@reboot",
            "start it from the service manager of each host, as a systemd unit or cron's own @reboot",
        ),
        ("0 0 * * L", "write 5L for the month's last Friday"),
        ("0 0 W15 * *", "write 15W or LW in day-of-month"),
        ("0~9 * * * *", "write H(0-9) for one by hash"),
        ("~ * * * *", "write H for one by hash"),
        ("0~59/10 * * * *", "write H/10 for one by hash"),
        ("0 ~6 * * *", "write H(0-6) for one by hash"),
        ("0~1~2 * * * *", "write H, or H(0-9) for one by hash"),
    ],
)
def test_a_refusal_names_the_nearest_right_form(expression: str, hint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(expression)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 31 2 *", "February has no day 31"),
        ("0 0 30 2 *", "February has no day 30"),
        ("0 0 31 2,4-6/2 *", "February, April, June have no day 31"),
        ("0 0 31 2 */3", "February has no day 31"),
        ("0 0 31 2 ?", "February has no day 31"),
        ("0 0 L-30 2,4 *", "February, April have no day L-30"),
        ("0 0 31W 6 ?", "June has no day 31W"),
    ],
)
def test_an_expression_that_can_never_fire_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(expression)
    assert caught.value.code == "never_fires"
    assert reason in str(caught.value)


def test_a_day_that_no_month_has_may_still_fire_by_its_weekday() -> None:
    assert following(parse("0 0 31 2 1"), FRIDAY_NOON, 1) == [utc("2027-02-01")]


def test_nothing_occurs_before_1970_or_after_2199() -> None:
    minutely = parse("* * * * *", timezone="Europe/Berlin")
    assert minutely.next_after(datetime(1, 1, 1, tzinfo=UTC)) == utc("1970-01-01")
    assert minutely.next_after(utc("2199-12-31T23:58:59")) == utc("2199-12-31T23:59")
    assert minutely.next_after(utc("2199-12-31T23:59")) is None
    assert minutely.next_after(datetime(9999, 12, 31, tzinfo=UTC)) is None

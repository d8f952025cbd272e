"""Remarks on occurrences: what a change of the clocks does to each, under each rule and in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain import timeline
from cronq.domain.preview import Outlook, Planned
from cronq.domain.recurrence import epoch_second
from cronq.domain.schedule import Expressions, parse
from tests.unit.domain.test_cron_debian import FIXED, MINUTE, _Wall
from tests.unit.domain.test_cron_zones import changes

END = datetime(2200, 1, 1, tzinfo=UTC)


def seen(expression: Expressions, place: str | None, after: str, *, dst: str = "cron") -> list[Planned]:
    """The first four after a wall time."""
    schedule = parse(expression, timezone=place, dst=dst)
    begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(place or "UTC")).astimezone(UTC)
    return list(islice(Outlook.of(schedule, place, dst).seen(schedule.between(begin, END), begin), 4))


def told(expression: Expressions, place: str | None, after: str, *, dst: str = "cron") -> list[str]:
    """As `day hour:minute remark`."""
    return [
        f"{one.local:%d %H:%M} {one.remark or ''}".strip() for one in seen(expression, place, after, dst=dst)
    ]


# Zone, the wall time from which on one looks, rule and expression; then what is told of the first four.
GOLDEN = [
    ("Europe/Berlin 2027-03-27T12:00 cron | 30 2 * * *",
     "28 03:00 02:30 does not exist on this day", "29 02:30", "30 02:30", "31 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 both | 30 2 * * *",
     "28 03:00 02:30 does not exist on this day", "29 02:30", "30 02:30", "31 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 skip | 30 2 * * *",
     "29 02:30 2027-03-28 02:30 does not exist and is left out", "30 02:30", "31 02:30", "01 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 cron | 0,30 2 * * *",
     "28 03:00 02:00 and 02:30 do not exist on this day", "29 02:00", "29 02:30", "30 02:00"),
    ("Europe/Berlin 2027-03-27T12:00 cron | 0-59 2 * * *",
     "28 03:00 02:00 to 02:59 do not exist on this day", "29 02:00", "29 02:01", "29 02:02"),
    ("Europe/Berlin 2027-03-27T12:00 skip | 0-59 2 * * *",
     "29 02:00 2027-03-28 02:00 to 02:59 do not exist and are left out", "29 02:01", "29 02:02", "29 02:03"),
    ("Europe/Berlin 2027-03-27T12:00 cron | */30 2 * * *",
     "29 02:00 clocks went forward by an hour on 2027-03-28", "29 02:30", "30 02:00", "30 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 cron | 0 3 * * *",
     "28 03:00 clocks went forward by an hour on 2027-03-28", "29 03:00", "30 03:00", "31 03:00"),
    ("Europe/Berlin 2027-03-28T00:30 cron | 0 * * * *",
     "28 01:00", "28 03:00 clocks went forward by an hour on 2027-03-28", "28 04:00", "28 05:00"),
    ("Europe/Berlin 2027-10-30T12:00 cron | 30 2 * * *",
     "31 02:30 first of a repeated hour", "01 02:30 clocks went back by an hour on 2027-10-31", "02 02:30",
     "03 02:30"),
    ("Europe/Berlin 2027-10-30T12:00 both | 30 2 * * *",
     "31 02:30 first of a repeated hour", "31 02:30 second of a repeated hour", "01 02:30", "02 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 cron | R/2027-01-01T02:30:00/P1D",
     "28 03:00 02:30 does not exist on this day", "29 02:30", "30 02:30", "31 02:30"),
    ("Europe/Berlin 2027-03-27T12:00 skip | R/2027-01-01T02:30:00/P1D",
     "29 02:30 2027-03-28 02:30 does not exist and is left out", "30 02:30", "31 02:30", "01 02:30"),
    ("Europe/Berlin 2027-10-31T02:00 cron | R/2027-01-01T00:00:00/PT1H",
     "31 02:00 second of a repeated hour", "31 03:00", "31 04:00", "31 05:00"),
    ("Europe/Berlin 2027-03-27T12:00 cron | @at 2027-03-28T02:30:00",
     "28 03:00 02:30 does not exist on this day"),
    ("Europe/Berlin 2027-10-30T12:00 both | @at 2027-10-31T02:30:00",
     "31 02:30 first of a repeated hour", "31 02:30 second of a repeated hour"),
    ("Europe/London 2027-03-27T12:00 cron | 30 1 * * *",
     "28 02:00 01:30 does not exist on this day", "29 01:30", "30 01:30", "31 01:30"),
    ("Europe/London 2027-10-30T12:00 cron | 30 1 * * *",
     "31 01:30 first of a repeated hour", "01 01:30 clocks went back by an hour on 2027-10-31", "02 01:30",
     "03 01:30"),
    ("America/New_York 2027-03-13T12:00 cron | 30 2 * * *",
     "14 03:00 02:30 does not exist on this day", "15 02:30", "16 02:30", "17 02:30"),
    ("America/New_York 2027-11-06T12:00 both | 30 1 * * *",
     "07 01:30 first of a repeated hour", "07 01:30 second of a repeated hour", "08 01:30", "09 01:30"),
    ("Australia/Lord_Howe 2027-10-02T12:00 cron | 15 2 * * *",
     "03 02:30 02:15 does not exist on this day", "04 02:15", "05 02:15", "06 02:15"),
    ("Australia/Lord_Howe 2027-04-03T12:00 both | 45 1 * * *",
     "04 01:45 first of a repeated 30 minutes", "04 01:45 second of a repeated 30 minutes", "05 01:45",
     "06 01:45"),
    ("Antarctica/Troll 2027-03-27T12:00 cron | 30 1,2 * * *",
     "28 03:00 01:30 and 02:30 do not exist on this day", "29 01:30", "29 02:30", "30 01:30"),
    ("Antarctica/Troll 2027-10-30T12:00 cron | 30 2 * * *",
     "31 02:30 first of a repeated 2 hours", "01 02:30 clocks went back by 2 hours on 2027-10-31", "02 02:30",
     "03 02:30"),
    ("Pacific/Apia 2011-12-28T23:00 cron | 0 12 * * *",
     "29 12:00", "31 12:00 2011-12-30 12:00 does not exist and is left out", "01 12:00", "02 12:00"),
    # Sao Paulo has no midnight on 4 November 2018.
    ("America/Sao_Paulo 2018-11-03T12:00 cron | 0 0 * * *",
     "04 01:00 00:00 does not exist on this day", "05 00:00", "06 00:00", "07 00:00"),
]  # fmt: skip


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row[0])
def test_an_occurrence_is_remarked_on_as_the_table_says(row: tuple[str, ...]) -> None:
    where, expression = row[0].split(" | ")
    place, after, dst = where.split()
    assert told(expression, place, after, dst=dst) == list(row[1:])


@pytest.mark.parametrize(("place", "expression"), [(None, "30 2 * * *"), ("Asia/Tokyo", "30 2 * * *"),
                                                   ("Europe/Berlin", "0 12 1 7 *")])  # fmt: skip
def test_without_a_change_there_is_nothing_to_say(place: str | None, expression: str) -> None:
    assert [one.remark for one in seen(expression, place, "2027-07-01T00:00")] == [None] * 4


def test_each_schedule_of_several_is_looked_at() -> None:
    both = ("30 2 * * *", "*/30 1 * * *")
    assert told(both, "Europe/Berlin", "2027-03-28T00:45")[2] == "28 03:00 02:30 does not exist on this day"


def test_what_lies_before_a_jobs_start_was_never_left_out() -> None:
    schedule = parse("30 2 * * *", timezone="Europe/Berlin", dst="skip", start="2027-05-01T00:00:00Z")
    begin = datetime(2027, 1, 1, tzinfo=UTC)
    first, *_ = Outlook.of(schedule, "Europe/Berlin", "skip").seen(schedule.between(begin, END), begin)
    assert first.remark == "clocks went forward by an hour on 2027-03-28"


def test_several_sources_are_told_together() -> None:
    """As one of calendars will be."""
    place = ZoneInfo("Europe/Berlin")
    noon = datetime(2027, 3, 28, 12, tzinfo=UTC)
    outlook = Outlook(
        place, (lambda at, since: None, lambda at, since: "a holiday", lambda at, since: f"{at:%a}")
    )
    [planned] = outlook.seen([noon], noon - timedelta(days=1))
    assert planned == Planned(noon, noon.astimezone(place), "a holiday; Sun")


@settings(max_examples=80, deadline=None)
@given(
    expression=FIXED,
    where=changes(),
    lead=st.integers(1, 1500),
    dst=st.sampled_from(["cron", "skip", "both"]),
)
def test_what_fires_at_a_time_that_was_not_asked_for_says_why(
    expression: str, where: tuple[str, datetime], lead: int, dst: str
) -> None:
    """In every zone: without a remark on a gap, the wall clock shows one of the expression's own times."""
    name, change = where
    schedule, wall = parse(expression, timezone=name, dst=dst), _Wall(expression)
    begin, end = change - lead * MINUTE, change + 1500 * MINUTE
    for planned in Outlook.of(schedule, name, dst).seen(schedule.between(begin, end), begin):
        caught_up = "not exist" in (planned.remark or "") and "left out" not in (planned.remark or "")
        assert caught_up or wall.matches(planned.local.replace(tzinfo=None))
        assert not caught_up or dst != "skip"


@settings(max_examples=80, deadline=None)
@given(expression=FIXED, where=changes(), lead=st.integers(1, 1500))
def test_both_readings_of_a_repeated_time_are_told_apart(
    expression: str, where: tuple[str, datetime], lead: int
) -> None:
    name, change = where
    schedule = parse(expression, timezone=name, dst="both")
    begin, end = change - lead * MINUTE, change + 1500 * MINUTE
    found = list(Outlook.of(schedule, name, "both").seen(schedule.between(begin, end), begin))
    shown = [one.local.replace(tzinfo=None) for one in found]
    for planned in found:
        if shown.count(planned.local.replace(tzinfo=None, fold=0)) > 1:
            which = "second" if planned.local.fold else "first"
            assert f"{which} of a repeated" in (planned.remark or "")


@settings(max_examples=60, deadline=None)
@given(where=changes(), lead=st.integers(1, 10_000), lag=st.integers(0, 10_000))
def test_jumps_are_the_changes_of_a_zones_offset(where: tuple[str, datetime], lead: int, lag: int) -> None:
    name, change = where
    place, second = ZoneInfo(name), epoch_second(change)
    found = list(timeline.changes(place, second - lead * 60, second + lag * 60))
    assert second in [jump.at for jump in found]
    for jump in found:
        assert timeline.offset_at(place, jump.at - 1) == jump.before != jump.after
        assert timeline.offset_at(place, jump.at) == jump.after

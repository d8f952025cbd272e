"""Cron under the three DST rules: golden tables of six zones, and Debian's loop at every zone's changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cronq.domain import zone
from cronq.domain.schedule import ScheduleError, parse
from tests.unit.domain.test_cron_debian import ANY, FIXED, MINUTE, _Wall, debian_loop

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

# Zone, local date and expression, then what fires that day under each rule, as the wall clock shows it
# and with its offset in hours. One entry stands for all three rules.
GOLDEN = [
    # Berlin 2027: 02:00 becomes 03:00 on 28 March, 03:00 becomes 02:00 on 31 October.
    ("Europe/Berlin 2027-03-28 | 30 2 * * *", "03:00+2", "", "03:00+2"),
    ("Europe/Berlin 2027-03-28 | 0 2 * * *", "03:00+2", "", "03:00+2"),
    ("Europe/Berlin 2027-03-28 | 0 3 * * *", "03:00+2"),
    ("Europe/Berlin 2027-03-28 | 59 1 * * *", "01:59+1"),
    ("Europe/Berlin 2027-03-28 | 0,30 1-2 * * *",
     "01:00+1 01:30+1 03:00+2", "01:00+1 01:30+1", "01:00+1 01:30+1 03:00+2"),
    ("Europe/Berlin 2027-03-28 | */30 1-3 * * *", "01:00+1 01:30+1 03:00+2 03:30+2"),
    ("Europe/Berlin 2027-10-31 | 30 2 * * *", "02:30+2", "02:30+2", "02:30+2 02:30+1"),
    ("Europe/Berlin 2027-10-31 | 0 3 * * *", "03:00+1"),
    ("Europe/Berlin 2027-10-31 | */30 2 * * *", "02:00+2 02:30+2 02:00+1 02:30+1"),
    # London 2027: 01:00 becomes 02:00 on 28 March, 02:00 becomes 01:00 on 31 October.
    ("Europe/London 2027-03-28 | 30 1 * * *", "02:00+1", "", "02:00+1"),
    ("Europe/London 2027-03-28 | 0 2 * * *", "02:00+1"),
    ("Europe/London 2027-03-28 | */30 1 * * *", ""),
    ("Europe/London 2027-10-31 | 30 1 * * *", "01:30+1", "01:30+1", "01:30+1 01:30+0"),
    ("Europe/London 2027-10-31 | 0 2 * * *", "02:00+0"),
    ("Europe/London 2027-10-31 | */30 1 * * *", "01:00+1 01:30+1 01:00+0 01:30+0"),
    # New York 2027: 02:00 becomes 03:00 on 14 March, 02:00 becomes 01:00 on 7 November.
    ("America/New_York 2027-03-14 | 30 2 * * *", "03:00-4", "", "03:00-4"),
    ("America/New_York 2027-03-14 | 0,30 2 * * *", "03:00-4", "", "03:00-4"),
    ("America/New_York 2027-11-07 | 30 1 * * *", "01:30-4", "01:30-4", "01:30-4 01:30-5"),
    ("America/New_York 2027-11-07 | 0 2 * * *", "02:00-5"),
    ("America/New_York 2027-11-07 | */45 1-2 * * *", "01:00-4 01:45-4 01:00-5 01:45-5 02:00-5 02:45-5"),
    # Lord Howe: half an hour. 02:00 becomes 02:30 on 3 October 2027, 02:00 becomes 01:30 on 4 April.
    ("Australia/Lord_Howe 2027-10-03 | 15 2 * * *", "02:30+11", "", "02:30+11"),
    ("Australia/Lord_Howe 2027-10-03 | 30 2 * * *", "02:30+11"),
    ("Australia/Lord_Howe 2027-10-03 | */15 2 * * *", "02:30+11 02:45+11"),
    ("Australia/Lord_Howe 2027-04-04 | 45 1 * * *", "01:45+11", "01:45+11", "01:45+11 01:45+10.5"),
    ("Australia/Lord_Howe 2027-04-04 | 15 1 * * *", "01:15+11"),
    # Troll: two hours. 01:00 becomes 03:00 on 28 March 2027, 03:00 becomes 01:00 on 31 October.
    ("Antarctica/Troll 2027-03-28 | 30 1,2 * * *", "03:00+2", "", "03:00+2"),
    ("Antarctica/Troll 2027-10-31 | 30 2 * * *", "02:30+2", "02:30+2", "02:30+2 02:30+0"),
    ("Antarctica/Troll 2027-10-31 | 0 1-3 * * *",
     "01:00+2 02:00+2 03:00+0", "01:00+2 02:00+2 03:00+0", "01:00+2 02:00+2 01:00+0 02:00+0 03:00+0"),
    # Apia has no 30 December 2011: from the 29th, UTC-10, to the 31st, UTC+14.
    ("Pacific/Apia 2011-12-29 | 0 12 * * *", "12:00-10"),
    ("Pacific/Apia 2011-12-31 | 0 12 * * *", "12:00+14"),
    ("Pacific/Apia 2011-12-31 | 0 0 31 * *", "00:00+14"),
    ("Pacific/Apia 2011-12-31 | 0 0 30 * *", ""),
]  # fmt: skip
RULES = ("cron", "skip", "both")


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row[0])
def test_fault_43_a_day_of_change_fires_as_the_table_says(row: tuple[str, ...]) -> None:
    where, expression = row[0].split(" | ")
    place, day = where.split()
    found = tuple(_of_day(expression, place, day, rule) for rule in RULES)
    assert found == (row[1:] if len(row) > 2 else row[1:] * len(RULES))


def _of_day(expression: str, place: str, day: str, rule: str) -> str:
    there = ZoneInfo(place)
    midnight = datetime.fromisoformat(day).replace(tzinfo=there).astimezone(UTC)
    fired = parse(expression, timezone=place, dst=rule).between(midnight - DAY, midnight + 2 * DAY)
    local = [at.astimezone(there) for at in fired]
    return " ".join(f"{at:%H:%M}{_offset(at, there) / HOUR:+g}" for at in local if f"{at:%Y-%m-%d}" == day)


def test_apias_missing_day_has_no_occurrence_at_all() -> None:
    span = (datetime(2011, 12, 30, 9, 59, 59, tzinfo=UTC), datetime(2011, 12, 30, 10, 59, tzinfo=UTC))
    for rule in ("cron", "skip", "both"):
        found = list(parse("0 * 30 12 *", timezone="Pacific/Apia", dst=rule).between(*span))
        assert found == []
        hourly = list(parse("0 * * * *", timezone="Pacific/Apia", dst=rule).between(*span))
        assert hourly == [datetime(2011, 12, 30, 10, 0, tzinfo=UTC)]


# -- every zone's changes


FIRST, LAST = 1970, 2036


@cache
def _years(name: str) -> list[int]:
    """The years in which its offset is another at the start, in the middle or at the end."""
    there, half = ZoneInfo(name), 182 * DAY
    new_years = {year: datetime(year, 1, 1, tzinfo=UTC) for year in range(FIRST, LAST)}
    looks = {year: {_offset(at + part * half, there) for part in range(3)} for year, at in new_years.items()}
    return [year for year, offsets in looks.items() if len(offsets) > 1]


def _changes(name: str, year: int) -> Iterator[datetime]:
    """The first second after each change of a zone's offset, found by looking every day."""
    there, new_year = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
    for number in range(366):
        low, high = number * 86_400, (number + 1) * 86_400
        after = _offset(new_year + high * SECOND, there)
        if _offset(new_year + low * SECOND, there) == after:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            is_after = _offset(new_year + middle * SECOND, there) == after
            low, high = (low, middle) if is_after else (middle, high)
        yield new_year + high * SECOND


def _offset(at: datetime, there: ZoneInfo) -> timedelta:
    return at.astimezone(there).utcoffset() or timedelta(0)


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and one of its changes; those by odd seconds, before 1973, are left out."""
    name = draw(st.sampled_from(sorted(zone.known_names())))
    assume(_years(name))
    found = [at for at in _changes(name, draw(st.sampled_from(_years(name)))) if _is_minutes(name, at)]
    assume(found)
    return name, draw(st.sampled_from(found))


def _is_minutes(name: str, at: datetime) -> bool:
    there = ZoneInfo(name)
    return at.second == 0 and all(
        not _offset(each, there) % MINUTE for each in (at - 5 * DAY, at - MINUTE, at, at + 5 * DAY)
    )


@settings(max_examples=80, deadline=None)
@given(expression=ANY, where=changes(), lead=st.integers(1, 1500))
def test_debians_loop_agrees_at_a_change_of_any_zone(
    expression: str, where: tuple[str, datetime], lead: int
) -> None:
    name, change = where
    start, minutes = change - lead * MINUTE, lead + 1600
    expected = list(debian_loop(expression, name, start, minutes))
    assert list(parse(expression, timezone=name).between(start, start + minutes * MINUTE)) == expected


@settings(max_examples=80, deadline=None)
@given(
    expression=FIXED,
    where=changes(),
    lead=st.integers(1, 1500),
    dst=st.sampled_from(["cron", "skip", "both"]),
)
def test_the_rules_differ_only_in_gaps_and_repeated_time(
    expression: str, where: tuple[str, datetime], lead: int, dst: str
) -> None:
    """Away from the change every rule fires as the wall clock says; only `both` has a wall time twice."""
    name, change = where
    there = ZoneInfo(name)
    span = (change - lead * MINUTE, change + 1500 * MINUTE)
    found = list(parse(expression, timezone=name, dst=dst).between(*span))
    assert found == sorted(set(found))
    if dst != "both":
        shown = [at.astimezone(there).replace(tzinfo=None) for at in found]
        assert len(set(shown)) == len(shown) or _is_correction(name, change)
    reach = abs(_offset(change, there) - _offset(change - MINUTE, there)) + MINUTE
    wall = _Wall(expression)
    minutes = (span[0] + number * MINUTE for number in range(1, lead + 1501))
    expected = [at for at in minutes if wall.matches(at.astimezone(there).replace(tzinfo=None))]
    assert [at for at in found if abs(at - change) > reach] == [
        at for at in expected if abs(at - change) > reach
    ]


def _is_correction(name: str, change: datetime) -> bool:
    there = ZoneInfo(name)
    return abs(_offset(change, there) - _offset(change - MINUTE, there)) >= 3 * HOUR


@settings(max_examples=60, deadline=None)
@given(expression=FIXED, where=changes(), lead=st.integers(200, 3000))
def test_cronsim_agrees_about_fixed_times_at_a_change_of_any_zone(
    expression: str, where: tuple[str, datetime], lead: int
) -> None:
    name, change = where
    # It knows no corrections of the clock.
    assume(not _is_correction(name, change))
    instant = change - lead * MINUTE
    schedule = parse(expression, timezone=name)
    second_opinion = CronSim(expression, instant.astimezone(ZoneInfo(name)))
    for _ in range(8):
        expected = next(second_opinion).astimezone(UTC)
        assert schedule.next_after(instant) == expected
        instant = expected


@settings(max_examples=80, deadline=None)
@given(
    where=changes(),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    lead=st.integers(2, 60),
    dst=st.sampled_from(RULES),
)
def test_a_daily_interval_agrees_with_the_daily_cron_at_a_change_of_any_zone(
    where: tuple[str, datetime], minute: int, hour: int, lead: int, dst: str
) -> None:
    """Two evaluations that share no more than the table of a zone's offsets."""
    name, change = where
    start = f"{change - lead * DAY:%Y-%m-%d}T{hour:02}:{minute:02}:00"
    span = (change - (lead - 1) * DAY, change + 40 * DAY)
    try:
        interval = parse(f"R/{start}/P1D", timezone=name, dst=dst)
    except ScheduleError:
        assume(False)  # its start does not exist
        raise
    daily = parse(f"{minute} {hour} * * *", timezone=name, dst=dst)
    assert list(interval.between(*span)) == list(daily.between(*span))

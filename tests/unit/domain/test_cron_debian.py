"""Cron expressions against cronsim's reading, and against Debian's main loop replayed by the minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.schedule import parse

MINUTE = timedelta(minutes=1)
CHANGES = {
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Europe/London": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "Australia/Lord_Howe": ["2026-10-03T15:30", "2026-04-04T15:00"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2018-02-18T02:00"],
    "America/St_Johns": ["2010-03-14T03:31", "2010-11-07T02:31"],
    "Africa/Casablanca": ["2026-03-22T02:00", "2026-02-15T02:00"],
    "Antarctica/Casey": ["2020-10-03T16:01", "2023-03-08T16:00"],
    "Antarctica/Vostok": ["1994-01-31T17:00", "1994-11-01T00:00"],
    "Pacific/Apia": ["2011-12-30T10:00"],
}
CRONSIM_ZONES = ["Europe/Berlin", "Europe/London", "America/New_York", "Australia/Lord_Howe"]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    single = st.integers(low, high).map(str)
    pair = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)
    ranged = pair.map(lambda ends: f"{ends[0]}-{ends[1]}")
    stepped = st.tuples(ranged, st.integers(1, high)).map(lambda both: f"{both[0]}/{both[1]}")
    return st.lists(single | ranged | stepped, min_size=1, max_size=3).map(",".join)


def starred(high: int) -> st.SearchStrategy[str]:
    return st.just("*") | st.integers(1, high).map(lambda step: f"*/{step}")


def fields(minute: st.SearchStrategy[str], hour: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    day = st.just("*") | numbers(1, 28)
    weekday = st.just("*") | numbers(0, 7)
    return st.tuples(minute, hour, day, st.just("*"), weekday).map(" ".join)


NEAR_CHANGE = st.just("1") | st.just("2") | st.just("0-4") | st.just("1,2,23") | numbers(0, 23)
FIXED = fields(numbers(0, 59), NEAR_CHANGE)
ANY = fields(numbers(0, 59) | starred(59), NEAR_CHANGE | starred(23))


def near_changes(zones: list[str]) -> st.SearchStrategy[tuple[str, datetime]]:
    choices = [
        (zone, datetime.fromisoformat(at).replace(tzinfo=UTC)) for zone in zones for at in CHANGES[zone]
    ]
    return st.sampled_from(choices)


def debian_loop(expression: str, zone: str, start: datetime, minutes: int) -> Iterator[datetime]:
    """Replays main() of Debian's cron.c: virtual time is what has been run, the clock is what is shown."""
    wall = _Wall(expression)
    virtual = _shown(start, zone)
    for step in range(1, minutes + 1):
        instant = start + step * MINUTE
        shown = _shown(instant, zone)
        ahead = (shown - virtual) // MINUTE
        if ahead > 180 or ahead <= -180:
            fires, virtual = wall.matches(shown), shown
        elif ahead > 0:
            missed = (virtual + minute * MINUTE for minute in range(1, ahead + 1))
            fires = wall.matches(shown) if wall.is_wild else any(wall.matches(each) for each in missed)
            virtual = shown
        else:
            fires = wall.is_wild and wall.matches(shown)
        if fires:
            yield instant


class _Wall:
    def __init__(self, expression: str) -> None:
        parts = expression.split()
        self.is_wild = parts[0].startswith("*") or parts[1].startswith("*")
        self.needs_both = parts[2].startswith("*") or parts[4].startswith("*")
        ranges = [range(60), range(24), range(1, 32), range(1, 13), range(8)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = (
            {number for item in part.split(",") for number in self._item(item, allowed)}
            for part, allowed in zip(parts, ranges, strict=True)
        )

    @staticmethod
    def _item(item: str, allowed: range) -> range:
        span, _, step = item.partition("/")
        if span == "*":
            return allowed[:: int(step or 1)]
        low, _, high = span.partition("-")
        return range(int(low), int(high or low) + 1, int(step or 1))

    def matches(self, shown: datetime) -> bool:
        if shown.minute not in self.minutes or shown.hour not in self.hours or shown.month not in self.months:
            return False
        by_number = shown.day in self.days
        by_weekday = bool({shown.isoweekday(), shown.isoweekday() % 7} & self.weekdays)
        return (by_number and by_weekday) if self.needs_both else (by_number or by_weekday)


def _shown(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@settings(max_examples=120, deadline=None)
@given(expression=ANY, where=near_changes(sorted(CHANGES)), lead=st.integers(1, 1500))
def test_the_cron_rule_fires_when_debians_loop_does(
    expression: str, where: tuple[str, datetime], lead: int
) -> None:
    zone, change = where
    start, minutes = change - lead * MINUTE, lead + 1600
    expected = list(debian_loop(expression, zone, start, minutes))
    assert list(parse(expression, timezone=zone).between(start, start + minutes * MINUTE)) == expected


def agree_with_cronsim(expression: str, zone: str, instant: datetime) -> None:
    schedule = parse(expression, timezone=zone)
    second_opinion = CronSim(expression, instant.astimezone(ZoneInfo(zone)))
    for _ in range(8):
        expected = next(second_opinion).astimezone(UTC)
        assert schedule.next_after(instant) == expected
        instant = expected


@settings(max_examples=120, deadline=None)
@given(expression=FIXED, where=near_changes(CRONSIM_ZONES), lead=st.integers(200, 3000))
def test_fixed_times_agree_with_cronsim(expression: str, where: tuple[str, datetime], lead: int) -> None:
    zone, change = where
    agree_with_cronsim(expression, zone, change - lead * MINUTE)


# Not Lord Howe: cronsim walks wildcards by whole hours and comes out half an hour off after its change.
@settings(max_examples=80, deadline=None)
@given(expression=ANY, where=near_changes(CRONSIM_ZONES[:3]), lead=st.integers(200, 3000))
def test_wildcards_agree_with_cronsim(expression: str, where: tuple[str, datetime], lead: int) -> None:
    zone, change = where
    agree_with_cronsim(expression, zone, change - lead * MINUTE)


@settings(max_examples=100, deadline=None)
@given(
    expression=ANY,
    where=near_changes(sorted(CHANGES)),
    lead=st.integers(1, 1500),
    dst=st.sampled_from(["cron", "skip", "both"]),
)
def test_occurrences_ascend_and_next_after_walks_the_same_ones(
    expression: str, where: tuple[str, datetime], lead: int, dst: str
) -> None:
    zone, change = where
    schedule = parse(expression, timezone=zone, dst=dst)
    found = list(schedule.between(change - lead * MINUTE, change + 1500 * MINUTE))
    assert found == sorted(set(found))
    steps = [change - lead * MINUTE, *found][:40]
    assert [schedule.next_after(step) for step in steps[:-1]] == steps[1:]


@settings(max_examples=100, deadline=None)
@given(expression=FIXED, where=near_changes(sorted(CHANGES)), lead=st.integers(1, 1500))
def test_skip_leaves_out_and_both_adds_to_what_cron_fires(
    expression: str, where: tuple[str, datetime], lead: int
) -> None:
    zone, change = where
    span = (change - lead * MINUTE, change + 1500 * MINUTE)
    skip, cron, both = (
        set(parse(expression, timezone=zone, dst=dst).between(*span)) for dst in ("skip", "cron", "both")
    )
    assert skip <= cron <= both
    wall = _Wall(expression)
    assert all(wall.matches(_shown(instant, zone)) for instant in skip)
    real = {instant for instant in _minutes(*span) if wall.matches(_shown(instant, zone))}
    assert skip <= real <= both
    assert both - real <= cron - skip


def _minutes(after: datetime, until: datetime) -> Iterator[datetime]:
    while after < until:
        after += MINUTE
        yield after

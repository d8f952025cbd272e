"""Time zone names and how zones lie on real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain import timeline, zone
from cronq.domain.recurrence import at
from cronq.domain.schedule import ScheduleError, parse


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PST", "did you mean America/Los_Angeles?"),
        ("cest", "did you mean Europe/Berlin?"),
        ("UTC+2", "did you mean Etc/GMT-2 (Etc names have the sign reversed)?"),
        ("GMT-03:00", "did you mean Etc/GMT+3 (Etc names have the sign reversed)?"),
        ("UTC+0", "did you mean UTC?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("new york", "did you mean America/New_York?"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Mars/Phobos", "use a name of the IANA database, as Europe/Berlin"),
        ("+05:30", "use a name of the IANA database, as Europe/Berlin"),
        ("localtime", "use a name of the IANA database, as Europe/Berlin"),
        ("../../etc/passwd", "use a name of the IANA database, as Europe/Berlin"),
        ("/etc/localtime", "use a name of the IANA database, as Europe/Berlin"),
        ("x" * 10_000, "use a name of the IANA database, as Europe/Berlin"),
        ("", "name one, as Europe/Berlin, or leave it out"),
    ],
)
def test_an_unknown_zone_is_refused_with_what_was_probably_meant(name: str, hint: str) -> None:
    with pytest.raises(ScheduleError, match="time zone") as caught:
        parse("* * * * *", timezone=name)
    assert caught.value.code == "unknown_zone"
    assert caught.value.hint == hint
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "UTC", "Etc/GMT-2", "America/Argentina/Buenos_Aires", "EST5EDT"]
)
def test_a_name_of_the_database_is_a_zone(name: str) -> None:
    assert zone.load(name) == ZoneInfo(name)


def test_only_zones_without_any_change_are_fixed() -> None:
    assert zone.is_fixed(UTC)
    assert zone.is_fixed(zone.load("Etc/GMT-2"))
    assert not zone.is_fixed(zone.load("Europe/Berlin"))


def test_changes_of_the_clock_come_one_by_one() -> None:
    berlin = zone.load("Europe/Berlin")
    spring, autumn = 1_774_746_000, 1_792_890_000  # 2026-03-29T01:00Z, 2026-10-25T01:00Z
    assert [*timeline.changes(berlin, spring - 1, autumn)] == [
        (spring, 3_600, 7_200),
        (autumn, 7_200, 3_600),
    ]
    assert [*timeline.changes(berlin, spring, autumn - 1)] == []
    assert [*timeline.changes(UTC, 0, autumn)] == []


def test_only_a_wide_change_of_the_clock_is_a_correction() -> None:
    [apia] = timeline.changes(zone.load("Pacific/Apia"), 1_325_000_000, 1_326_000_000)
    assert apia.is_correction
    assert not timeline.Change(0, 3_600, 7_200).is_correction


SECONDS = st.integers(0, 200 * 365 * 86_400)
NAMES = st.sampled_from(["Europe/Berlin", "America/Recife", "Asia/Gaza", "Africa/Casablanca", "Pacific/Apia"])


@settings(max_examples=100, deadline=None)
@given(second=SECONDS, name=NAMES)
def test_every_instant_stands_for_the_wall_second_that_its_zone_shows(second: int, name: str) -> None:
    there = zone.load(name)
    shown = at(second).astimezone(there).replace(tzinfo=UTC)
    wall = (shown - at(0)) // timedelta(seconds=1)
    assert second in timeline.instants(there, "real", wall)


@pytest.mark.parametrize(
    ("rule", "gap", "repeated"),
    [
        ("real", [], ["00:30", "01:30"]),
        ("cron", ["01:00"], ["00:30"]),
        ("skip", [], ["00:30"]),
        ("both", ["01:00"], ["00:30", "01:30"]),
    ],
)
def test_a_rule_decides_about_gaps_and_repeated_time(rule: str, gap: list[str], repeated: list[str]) -> None:
    assert _utc_times(rule, datetime(2026, 3, 29, 2, 30, tzinfo=UTC)) == gap
    assert _utc_times(rule, datetime(2026, 10, 25, 2, 30, tzinfo=UTC)) == repeated


def _utc_times(rule: str, shown: datetime) -> list[str]:
    wall = (shown - at(0)) // timedelta(seconds=1)
    return [f"{at(second):%H:%M}" for second in timeline.instants(zone.load("Europe/Berlin"), rule, wall)]

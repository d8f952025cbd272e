"""The public face of schedules: values, spans, warnings and DST rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cronq.domain.schedule import ScheduleError, parse

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_schedule_is_a_value() -> None:
    once, again = parse("30 2 * * *", timezone="Europe/Berlin"), parse("30 2 * * *", timezone="Europe/Berlin")
    assert once == again
    assert len({once, again, parse("30 2 * * *"), parse("30 2 * * *", dst="skip")}) == 3
    assert hash(parse("R/2026-01-01T00:00:00Z/P1M")) == hash(parse("R/2026-01-01T00:00:00Z/P1M"))


def test_surrounding_space_is_dropped_and_the_text_kept() -> None:
    assert parse(" @daily\n").text == "@daily"
    assert parse("\tR/2026-01-01T00:00:00Z/PT1M ").text == "R/2026-01-01T00:00:00Z/PT1M"


@pytest.mark.parametrize("text", ["* * * * *", "R/2026-01-01T00:00:00Z/PT1M", "R/2026-01-01T00:00:00/P1D"])
def test_a_span_excludes_its_begin_and_includes_its_end(text: str) -> None:
    schedule = parse(text, timezone="Europe/Berlin")
    first = schedule.next_after(NOW)
    assert first is not None
    second = schedule.next_after(first)
    assert second is not None
    assert list(schedule.between(first, second)) == [second]
    assert list(schedule.between(first, second - timedelta(microseconds=1))) == []
    assert list(schedule.between(second, first)) == []


def test_instants_of_any_zone_and_fraction_are_taken_and_utc_is_given() -> None:
    tokyo = timezone(timedelta(hours=9))
    found = parse("* * * * *").next_after(datetime(2026, 11, 20, 21, 0, 59, 999_999, tokyo))
    assert found == NOW + MINUTE
    assert found is not None
    assert found.tzinfo is UTC


def test_a_naive_instant_is_a_mistake_of_the_caller() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="must be timezone-aware"):
        parse("* * * * *").next_after(naive)
    with pytest.raises(ValueError, match="must be timezone-aware"):
        parse("* * * * *").between(NOW, naive)


def test_an_unknown_dst_rule_is_refused_with_those_allowed() -> None:
    with pytest.raises(ScheduleError, match="dst 'maybe' is unknown; allowed are cron, skip, both") as caught:
        parse("* * * * *", dst="maybe")
    assert caught.value.code == "invalid_dst"


def test_between_is_lazy() -> None:
    endless = parse("R/1970-01-01T00:00:00Z/PT1S").between(NOW, datetime(2199, 1, 1, tzinfo=UTC))
    assert next(endless) == NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("* * * * *", None, []),
        ("R/2026-01-01T00:00:00Z/PT1M", None, []),
        ("R/2026-01-01T00:00:00/PT1M", "Europe/Berlin", []),
        (
            "R/2026-01-01T00:00:00/PT1M",
            None,
            ["start 2026-01-01T00:00:00 has no offset and is read as UTC; give it one, or name a timezone"],
        ),
        (
            "R/2026-01-01T00:00:00Z/P1M",
            None,
            ["months and years follow the calendar; before CronQ 1.0 a month was 30 days and a year 365"],
        ),
        ("R/2026-01-01T00:00:00Z/PT5S", None, ["every 5 s: a run may not have ended when the next is due"]),
        ("R5/2026-01-01T00:00:00Z/P1D", None, ["exhausted: its last occurrence was 2026-01-05T00:00:00Z"]),
        ("R5/2026-11-16T12:00:00Z/P1D", None, ["exhausted: its last occurrence was 2026-11-20T12:00:00Z"]),
        ("R6/2026-11-16T12:00:00Z/P1D", None, []),
        (
            "R2/2026-03-28T02:30:00/P1D",
            "Europe/Berlin",
            ["exhausted: its last occurrence was 2026-03-29T01:00:00Z"],
        ),
        (
            "0 0 13 * 5",
            None,
            ["day-of-month and day-of-week are both restricted: it occurs on days that match either"],
        ),
        ("0 0 */2 * 5", None, []),
    ],
)
def test_remarks_say_what_a_valid_schedule_may_not_mean(
    text: str, zone: str | None, expected: list[str]
) -> None:
    assert parse(text, timezone=zone).remarks(NOW) == expected


def test_a_point_left_out_at_the_end_does_not_hide_the_last_occurrence() -> None:
    text = "R2/2026-03-28T02:30:00/P1D"
    found = parse(text, timezone="Europe/Berlin", dst="skip").remarks(NOW)
    assert found == ["exhausted: its last occurrence was 2026-03-28T01:30:00Z"]

"""Schedules that mean the same have the same key, and only those."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.schedule import Schedule, parse

BEGIN = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


def made(text: str) -> Schedule:
    """`expression; expression | zone | dst | start`, the rest as it is by default."""
    texts, zone, dst, start, *_ = [*(part.strip() for part in text.split("|")), "", "", ""]
    expressions = tuple(each.strip() for each in texts.split(";"))
    return parse(
        expressions[0] if len(expressions) == 1 else expressions,
        timezone=zone or None,
        dst=dst or "cron",
        start=start or None,
    )


SAME = [
    ("@daily", "0 0 * * *"),
    ("*/30 * * * *", "0,30 * * * *"),
    ("0 3 * * MON-FRI", "0 3 * * 1-5"),
    ("* * * * * | Europe/Berlin | skip", "* * * * * | Europe/Berlin | both"),  # real time, whatever the rule
    ("R/2013-05-29T00:00:00Z/PT1M", "R/2020-01-01T00:00:00Z/PT1M"),
    ("@every 1h", "R/2020-01-01T00:00:00Z/PT1H"),
    ("@daily; @hourly", "@hourly; 0 0 * * *"),
    ("@daily | | | 2026-01-01T00:00:00Z", "0 0 * * * | | | 2026-01-01T00:00:00Z"),
]
DIFFERENT = [
    ("0 3 * * *", "0 3 * * * | Europe/Berlin"),
    ("0 3 * * * | Europe/Berlin", "0 3 * * * | Europe/Berlin | skip"),
    ("0 3 1 * *", "0 3 2 * *"),
    ("0 3 1 * 1", "0 3 1 * ?"),
    ("R/2013-05-29T00:00:00Z/PT1M", "R/2013-05-29T00:00:30Z/PT1M"),
    ("R/2026-11-20T00:00:00Z/PT1H", "R9/2026-11-20T00:00:00Z/PT1H"),
    ("R9/2026-11-20T00:00:00Z/PT1H", "R9/2026-11-21T00:00:00Z/PT1H"),
    ("@daily", "@daily | | | 2027-01-01T00:00:00Z"),
    ("@daily; @hourly", "@daily; 30 * * * *"),
    ("@at 2027-01-01T00:00:00Z", "@at 2027-01-02T00:00:00Z"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_schedules_that_mean_the_same_share_their_key(one: str, other: str) -> None:
    first, second = made(one), made(other)
    assert first.occurrence_key() == second.occurrence_key()
    span = (BEGIN, BEGIN + timedelta(days=400))
    assert list(first.between(*span))[:2000] == list(second.between(*span))[:2000]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_schedules_that_differ_have_keys_that_differ(one: str, other: str) -> None:
    assert made(one).occurrence_key() != made(other).occurrence_key()


def test_an_h_is_the_minute_that_it_stands_for() -> None:
    hashed = parse("H * * * *", seed="shop/backup")
    first = hashed.next_after(BEGIN)
    assert first is not None
    assert hashed.occurrence_key() == parse(f"{first.minute} * * * *").occurrence_key()
    assert hashed.occurrence_key() != parse(f"{(first.minute + 1) % 60} * * * *").occurrence_key()

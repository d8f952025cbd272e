from __future__ import annotations

import pytest

from cronq.domain.cron import Cron
from cronq.domain.schedule import parse
from cronq.domain.spread import spread

APART = [
    ("0 * * * *", "H * * * *"),
    ("30 2 * * 1-5", "H 2 * * 1-5"),
    ("@hourly", "H * * * *"),
    (" @Daily ", "H 0 * * *"),
    ("*/15 * * * *", "H/15 * * * *"),
    ("*/15 2 * * *", "H/15 2 * * *"),
    ("0,30 * * * *", "H/30 * * * *"),
    ("45,0,15,30 */2 * * *", "H/15 */2 * * *"),
]
AS_IT_IS = [
    "",
    "* * * * *",
    "*/1 * * * *",
    "H * * * *",
    "0 H * * *",
    "*/7 * * * *",  # the last stretch of an hour is shorter
    "0,30 2 * * *",  # by the clock; H/30 would go by real time
    "0,20 * * * *",
    "0-30 * * * *",
    "@every 1h",
    "@at 2027-01-01T00:00:00Z",
    "R/2026-01-01T00:00:00Z/PT1H",
    "no schedule",
]


@pytest.mark.parametrize(("text", "expected"), APART)
def test_a_fixed_minute_becomes_an_h(text: str, expected: str) -> None:
    assert spread(text) == expected


@pytest.mark.parametrize("text", AS_IT_IS)
def test_what_cannot_be_spread_stays(text: str) -> None:
    assert spread(text) is None


@pytest.mark.parametrize("text", [text for text, _ in APART])
def test_nothing_but_the_minute_changes(text: str) -> None:
    before, after = parse(text), parse(spread(text) or "", seed="shop/backup")
    assert isinstance(before, Cron)
    assert isinstance(after, Cron)
    assert (after.days, after.is_wild, len(after.times)) == (before.days, before.is_wild, len(before.times))
    assert [at // 3600 for at in after.times] == [at // 3600 for at in before.times]

"""Schedules in plain English."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cronq.domain.schedule import ScheduleError, parse

BERLIN: dict[str, Any] = {"timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("5-59/15 * * * *", "every 15 minutes from 00:05"),
        ("*/7 * * * *", "at :00, :07, :14, :21, :28, :35, :42, :49 and :56 of every hour"),
        ("1-59 * * * *", "59 times in every hour"),
        ("@hourly", "every hour at :00"),
        ("30 */2 * * *", "every 2 hours from 00:30"),
        ("0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00 every day"),
        ("0 3 * * 1-5", "at 03:00 on weekdays"),
        ("0 3 * * 6,7", "at 03:00 on weekends"),
        ("0 3 * * FRI-MON", "at 03:00 on Mondays, Fridays, Saturdays and Sundays"),
        ("30 2,14 * * *", "at 02:30 and 14:30 every day"),
        ("*/20 9-17 * * *", "every 20 minutes from 09:00 to 17:40"),
        ("0 9-17 * * 1-5", "every hour from 09:00 to 17:00 on weekdays"),
        ("0,20,40 9,14 * * *", "at :00, :20 and :40 of the hours 9 and 14 every day"),
        ("0 0 1 * *", "at 00:00 on the 1st of the month"),
        ("0 0 1,2,3,11,22 * *", "at 00:00 on the 1st to 3rd, the 11th and the 22nd of the month"),
        ("0 0 1 1,7 *", "at 00:00 on the 1st of January and July"),
        ("0 0 * 12 *", "at 00:00 every day in December"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        ("0 0 L-3 * *", "at 00:00 on the 4th last day of the month"),
        ("0 0 LW * *", "at 00:00 on the last working day of the month"),
        ("0 0 15W * ?", "at 00:00 on the working day nearest to the 15th of the month"),
        ("0 9 * * 5#2", "at 09:00 on the second Friday of the month"),
        ("0 9 * 3 MONL", "at 09:00 on the last Monday in March"),
        ("0 9 13 * 5", "at 09:00 on the 13th of the month or on Fridays"),
        ("0 9 13 6 5", "at 09:00 on the 13th of June or on Fridays in June"),
        (
            "0 9 */10 * 1",
            "at 09:00 on the 1st, the 11th, the 21st and the 31st of the month, if among Mondays",
        ),
        ("0 9 1-31 * 1", "at 09:00 every day"),
    ],
)
def test_a_cron_expression_in_words(expression: str, words: str) -> None:
    assert parse(expression, **BERLIN).describe() == f"{words}, Europe/Berlin"


@pytest.mark.parametrize(
    ("expressions", "more", "words"),
    [
        ("@daily", {}, "at 00:00 every day, UTC"),
        ("@every 90s", BERLIN, "every 90 seconds"),
        ("@every 1h", {}, "every hour"),
        ("@every 1d", {}, "every 24 hours"),
        ("@at 2026-12-24T18:00:00", BERLIN, "once at 2026-12-24 18:00, Europe/Berlin"),
        ("@at 2026-12-24T18:00:05+02:00", {}, "once at 2026-12-24 18:00:05, UTC+02:00"),
        ("R/2026-01-31T00:00:00/P1M", BERLIN, "every month from 2026-01-31 00:00, Europe/Berlin"),
        (
            "R5/2026-01-31T00:00:00Z/P1Y6M",
            {},
            "every 1 year and 6 months from 2026-01-31 00:00, UTC, 5 times",
        ),
        ("R1/2026-01-31T00:00:00Z/P1D", {}, "once at 2026-01-31 00:00, UTC"),
        ("R3/P2D/2026-01-31T00:00:00Z", {}, "every 2 days until 2026-01-31 00:00, UTC, the last 3 times"),
        ("R/PT90S/2026-01-31T00:00:00Z", {}, "every 90 seconds until 2026-01-31 00:00, UTC"),
        (("@daily", "@every 5m"), {}, "at 00:00 every day, UTC; and every 5 minutes"),
        (
            "@daily",
            {"start": "2026-06-01T00:00:00Z", "end": "2026-06-30T00:00:00Z"},
            "at 00:00 every day, UTC, not before 2026-06-01T00:00:00Z, not after 2026-06-30T00:00:00Z",
        ),
    ],
)
def test_other_schedules_in_words(
    expressions: str | tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    assert parse(expressions, **more).describe() == words


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/7", "1,5,9", "H", "50-10", "H(0-29)/10", "59"]),
    st.sampled_from(["*", "3", "*/5", "22-3", "H/4", "0,12", "9-17"]),
    st.sampled_from(["*", "?", "1", "*/9", "L", "LW", "15W,L-2", "1-7,20", "H"]),
    st.sampled_from(["*", "2", "nov-feb", "*/3", "H"]),
    st.sampled_from(["*", "?", "0", "fri-mon", "5L,1", "2#1,3#5", "*/2", "1-5"]),
)


@settings(max_examples=200, deadline=None)
@given(FIELDS)
def test_whatever_is_valid_has_words(parts: tuple[str, ...]) -> None:
    text = " ".join(parts)
    assume(not _never_fires(text))
    words = parse(text, seed="a/b").describe()
    assert words.endswith(", UTC")
    assert words.isprintable()
    assert "  " not in words


def _never_fires(text: str) -> bool:
    try:
        parse(text, seed="a/b")
    except ScheduleError as error:
        return error.code == "never_fires"
    return False

"""Wrong schedules, zones and durations: each error names the value, what is allowed and what is nearest.

Every case is tried alone, as `cronq next` reads it, and as a field of a job in a document.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cronq.domain.duration import parse_duration
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job import read_job
from cronq.domain.schedule import ScheduleError, parse

NOW = datetime(2026, 11, 28, tzinfo=UTC)
MINIMAL = {"name": "a", "schedule": "@daily", "command": "true"}
FIELDS = "minute hour day-of-month month day-of-week, as 30 2 * * 1-5"


def put(field: str, value: object) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        read_job({**MINIMAL, field: value})
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("60 * * * *", "field minute: 60 not in 0-59", ""),
        ("0 24 * * *", "field hour: 24 not in 0-23", "write 0 for midnight"),
        ("0 0 32 * *", "field day-of-month: 32 not in 1-31", ""),
        ("0 0 * 0 *", "field month: 0 not in 1-12 or jan-dec", ""),
        ("0 0 * * 8", "field day-of-week: 8 not in 0-7 or sun-sat", ""),
        ("* * * *", "needs 5 fields, got 4", FIELDS),
        ("0 0 3 * * *", "needs 5 fields, got 6; seconds are not supported", "write 0 3 * * *"),
        ("15 0 3 * * *", "needs 5 fields, got 6; seconds are not supported", FIELDS),
        ("0 3 1 1 * 2027", "needs 5 fields, got 6; years are not supported", "write 0 3 1 1 *"),
        ("0 0 3 1 1 * 2027", "needs 5 fields, got 7; seconds and years are not supported", FIELDS),
        ("every 5 minutes", "needs 5 fields, got 3", "write @every 5m"),
        ("every hour", "needs 5 fields, got 2", "write @every 1h"),
        ("90s", "needs 5 fields, got 1", "write @every 90s"),
        ("Daily", "needs 5 fields, got 1", "write @daily"),
        ("noon", "needs 5 fields, got 1", FIELDS),
        ("m", "needs 5 fields, got 1", FIELDS),
        (
            "CRON_TZ=Europe/Berlin 0 3 * * *",
            "CRON_TZ=Europe/Berlin is no part of a schedule",
            "a zone is named by timezone, apart from it",
        ),
        ("1-0 * * * *", "range start 1 > end 0", "write * for every one"),
        ("*/0 * * * *", "step must be 1-59, got '0'", "write * for every one"),
        ("*/70 * * * *", "step must be 1-59, got '70'", "write 0 for the first alone, or @every 70m"),
        ("0-59/61 * * * *", "step must be 1-59, got '61'", "write 0 for the first alone, or @every 61m"),
        ("0 */24 * * *", "step must be 1-23, got '24'", "write 0 for the first alone, or @every 24h"),
        ("0 0 */32 * *", "step must be 1-31, got '32'", "write 1 for the first alone"),
        ("*/x * * * *", "step must be 1-59, got 'x'", ""),
        ("-1 * * * *", "field minute: -1 not in 0-59", ""),
        ("1.5 * * * *", "field minute: '1.5' is not a number in 0-59", ""),
        ("0 0 * January *", "'January' is not a number or name in 1-12 or jan-dec", "write jan"),
        ("0 0 * * mon-Friday", "'Friday' is not a number or name in 0-7 or sun-sat", "write fri"),
        ("1,,2 * * * *", "field minute: empty item in '1,,2'", "write 1,2"),
        (", * * * *", "field minute: empty item in ','", "write * for every one"),
        ("１ * * * *", "'１' at position 1 is not an ASCII digit", "write 1"),
        ("\u0663 * * * *", "at position 1 is not an ASCII digit", "write 3"),
        ("1–5 * * * *", "'–' at position 2 is not an ASCII character", "write -"),
        ("\u2212 * * * *", "at position 1 is not an ASCII character", "write -"),
        ("＊ * * * *", "at position 1 is not an ASCII character", "write *"),
        ("0 3 * * \u65e5", "at position 9 is not an ASCII character", ""),
        ("@weekley", "@weekley is not supported; the names are @hourly", "did you mean @weekly?"),
        ("PT5M", "'PT5M' does not begin with R[n]/", "write @every PT5M, or R/2026-01-01T00:00:00Z/PT1M"),
    ],
)  # fmt: skip
def test_a_wrong_expression(text: str, said: str, hint: str) -> None:
    check_schedule(text, "invalid_schedule", said, hint)


@pytest.mark.parametrize(
    ("text", "said"), [("0 0 31 2 *", "February has no day 31"), ("0 0 30 2 *", "February has no day 30")]
)
def test_an_expression_that_never_fires(text: str, said: str) -> None:
    check_schedule(text, "never_fires", said, "write L for the last day of each month")


@pytest.mark.parametrize(
    ("period", "said", "hint"),
    [
        ("P", "period 'P' is empty after P", "as PT1M or P1D"),
        ("PT", "period 'PT' is empty after T", "as PT1M or P1D"),
        ("P0D", "period P0D is zero; at least one second is needed", ""),
        ("PT0S", "period PT0S is zero; at least one second is needed", ""),
        ("-P1D", "a sign is not allowed, durations are positive", "write P1D"),
        ("P-1D", "a sign is not allowed, durations are positive", ""),
        ("P1S", "S is not allowed there, only Y, M, W, D", "hours, minutes and seconds follow a T, as PT5S"),
        (
            "PT1D",
            "D is not allowed there, only H, M, S",
            "years, months, weeks and days stand before the T, as P1D",
        ),
        ("p1d", "lower case is not allowed", "write P1D"),
        ("P1Y1Y", "Y is repeated", "write each unit once, as P1Y6M"),
        (
            "P0.5M",
            "fractions of months and years are not supported",
            "count in whole months or in days, as P15D",
        ),
        ("P5", "period 'P5' is not understood", "write P5Y or P5M or P5W or P5D"),
        ("PT5", "period 'PT5' is not understood", "write PT5H or PT5M or PT5S"),
        ("PT1H5", "period 'PT1H5' is not understood", "as P1DT2H30M"),
    ],
)
def test_a_wrong_period(period: str, said: str, hint: str) -> None:
    check_schedule(f"R/2026-01-01T00:00:00Z/{period}", "invalid_schedule", said, hint)


def test_a_period_of_centuries() -> None:
    check_schedule(
        "R/2026-01-01T00:00:00Z/P99999999999D",
        "overflow",
        "period P99999999999D is longer than 100 years",
        "",
    )


@pytest.mark.parametrize(
    ("repeat", "hint"),
    [
        ("0", "set enabled to false to switch it off"),
        ("-1", "write R/ for no limit"),
        ("1e3", "write R/ for no limit"),
        ("99999999999999", "write R/ for no limit"),
    ],
)
def test_a_wrong_repeat_count(repeat: str, hint: str) -> None:
    said = f"repeat count must be 1-1000000 or empty, got {repeat}"
    check_schedule(f"R{repeat}/2026-01-01T00:00:00Z/P1D", "invalid_schedule", said, hint)


@pytest.mark.parametrize(
    ("start", "said", "hint"),
    [
        ("2026-02-30T00:00:00Z", "February 2026 has no day 30", "its last is 2026-02-28"),
        ("2026-02-00T00:00:00Z", "February 2026 has no day 0", "the first is 01"),
        ("2026-13-01T00:00:00Z", "month 13 not in 1-12", ""),
        ("2026-01-01T24:00:00Z", "hour 24 not in 0-23", "midnight is 00:00 of the next day"),
        ("2026-12-31T23:59:60Z", "second 60 not in 0-59", "a leap second has no place here: use :59"),
        ("0001-01-01T00:00:00Z", "year 1 not in 1970-2199", ""),
        ("9999-01-01T00:00:00Z", "year 9999 not in 1970-2199", ""),
        ("2026-01-01T00:00:00+25:00", "offset +25:00 not in -14:00 to +14:00", ""),
        ("2026-W01-1T00:00:00Z", "week dates are not supported", "write the date as 2026-01-31"),
        ("2026-01-01t00:00:00z", "needs a capital T and Z", "write 2026-01-01T00:00:00Z"),
        ("tomorrow", "'tomorrow' is not a date and time", "write 2026-01-31T00:00:00Z"),
    ],
)
def test_a_wrong_start(start: str, said: str, hint: str) -> None:
    check_schedule(f"R/{start}/P1D", "invalid_schedule", said, hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("R/PT5M", "write @every PT5M, or a start: R/2026-01-01T00:00:00Z/PT1M"),
        ("R/P1D", "write R[n]/start/period, as R/2026-01-01T00:00:00Z/PT1M"),
        ("R1/2/3/4", "write R[n]/start/period, as R/2026-01-01T00:00:00Z/PT1M"),
    ],
)
def test_a_wrong_number_of_parts(text: str, hint: str) -> None:
    check_schedule(text, "invalid_schedule", "3 parts between slashes", hint)


def check_schedule(text: str, code: str, said: str, hint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.hint) == (code, hint)
    assert said in caught.value.message

    problem = put("schedule", text)
    assert (problem.code, problem.pointer, problem.hint) == (code, "/schedule", hint)
    assert problem.message.startswith("schedule: ")
    assert said in problem.message


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("R/2026-01-01T00:00:00/P1D", "start 2026-01-01T00:00:00 has no offset and is read as UTC"),
        ("R/2026-01-01T00:00:00Z/PT1S", "every 1 s: a run may not have ended when the next is due"),
        ("R5/2020-01-01T00:00:00Z/P1D", "exhausted: its last occurrence was 2020-01-05T00:00:00Z"),
    ],
)
def test_what_is_allowed_but_probably_not_meant_is_remarked(text: str, remark: str) -> None:
    for found in (parse(text).remarks(NOW), read_job({**MINIMAL, "schedule": text}).warnings(NOW)):
        assert any(each.startswith(remark) for each in found)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("PST", "unknown time zone 'PST'", "did you mean America/Los_Angeles?"),
        ("UTC+2", "unknown time zone 'UTC+2'", "did you mean Etc/GMT-2 (Etc names have the sign reversed)?"),
        ("europe/berlin", "unknown time zone 'europe/berlin'", "did you mean Europe/Berlin?"),
        ("Z", "unknown time zone 'Z'", "did you mean UTC?"),
        ("", "time zone is empty", "name one, as Europe/Berlin, or leave it out"),
        (
            "../../etc/passwd",
            "unknown time zone '../../etc/passwd'",
            "use a name of the IANA database, as Europe/Berlin",
        ),
    ],
)
def test_a_wrong_zone(name: str, said: str, hint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse("@daily", timezone=name)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("unknown_zone", said, hint)

    problem = put("timezone", name)
    assert (problem.code, problem.pointer, problem.hint) == ("unknown_zone", "/timezone", hint)
    assert problem.message == f"timezone: {said}"


FORMS = "write 90, 90s, 10m, 2h, 1d or PT1H30M"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1.5h", "write 90m"),
        ("1h30m", "write 90m"),
        ("1h 30min", "write 90m"),
        ("10 minutes", "write 10m"),
        ("5M", "write 5m"),
        ("90S", "write 90s"),
        ("2 weeks", "write 14d"),
        ("1w", "write 7d"),
        ("0.5s", FORMS),
        ("5ms", FORMS),
        ("5 x", FORMS),
        ("x5m", FORMS),
        ("1_000", FORMS),
        ("1e3", FORMS),
        ("abc", FORMS),
        ("99999999999 weeks", FORMS),
        ("\u0663s", FORMS),
    ],
)
def test_a_wrong_duration_and_what_was_probably_meant(text: str, hint: str) -> None:
    said = f"duration {text!r} is not understood"
    with pytest.raises(ScheduleError) as caught:
        parse_duration(text)
    assert (caught.value.message, caught.value.hint) == (said, hint)

    problem = put("timeout", text)
    assert (problem.code, problem.pointer, problem.hint) == ("invalid_duration", "/timeout", hint)
    assert problem.message == f"timeout: {said}"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "duration is empty", FORMS),
        ("-5s", "duration '-5s': a sign is not allowed, durations are positive", "write 5s"),
        ("P1M", "duration P1M: months and years have no fixed length", "count in days, as P30D"),
        ("99999999999999d", "duration 99999999999999d is longer than 100 years", ""),
    ],
)
def test_a_duration_that_cannot_be(text: str, said: str, hint: str) -> None:
    problem = put("timeout", text)
    assert (problem.message, problem.hint) == (f"timeout: {said}", hint)

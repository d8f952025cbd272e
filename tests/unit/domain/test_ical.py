"""iCalendar files become calendars' documents, or an error that names the line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.calendar_document import read_calendar
from cronq.domain.errors import InvalidInput
from cronq.domain.ical import MAX_RULES, Imported, read_ical

YEAR = 2026
BLACKOUT = ("DTSTART:20261224T180000Z", "DTEND:20261225T060000Z")


def event(*lines: str) -> tuple[str, ...]:
    return ("BEGIN:VEVENT", *lines, "END:VEVENT")


def file_of(*lines: str, end: str = "\r\n") -> bytes:
    return end.join(["BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR", ""]).encode()


def imported(*lines: str, timezone: str | None = None) -> Imported:
    found = read_ical(file_of(*lines), year=YEAR, timezone=timezone)
    read_calendar(found.document)
    return found


def holidays(*lines: str) -> list[str]:
    listed: Any = imported(*event(*lines)).document.get("holidays", [])
    return [each["date"] for each in listed]


def blackouts(*lines: str) -> list[tuple[str, str]]:
    listed: Any = imported(*event(*lines)).document.get("blackouts", [])
    return [(each["from"], each["to"]) for each in listed]


def refused(body: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_ical(body, year=YEAR)
    (problem,) = caught.value.problems
    return problem.message


# -- days


def test_an_all_day_event_is_a_holiday_with_its_name() -> None:
    found = imported(*event("SUMMARY:Christmas\\, the first day", "DTSTART;VALUE=DATE:20261225"))
    assert found.document == {"holidays": [{"date": "2026-12-25", "name": "Christmas, the first day"}]}
    assert found.warnings == ()


def test_an_event_of_several_days_is_each_of_them_and_its_end_is_none() -> None:
    assert holidays("DTSTART:20261224", "DTEND:20261227") == ["2026-12-24", "2026-12-25", "2026-12-26"]
    assert holidays("DTSTART:20261224", "DURATION:P2D") == ["2026-12-24", "2026-12-25"]


def test_a_day_of_every_year_has_no_end() -> None:
    found = imported(*event("SUMMARY:New Year", "DTSTART:20200101", "RRULE:FREQ=YEARLY;WKST=MO"))
    assert found.document == {"holidays": [{"date": "01-01", "name": "New Year"}]}
    assert found.warnings == ()


def test_another_endless_rule_is_expanded_to_a_horizon_that_is_told() -> None:
    rule = "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"
    found = imported(*event("SUMMARY:Thanksgiving", "DTSTART:20201126", rule))
    listed: Any = found.document["holidays"]
    assert [each["date"] for each in listed][:3] == ["2025-11-27", "2026-11-26", "2027-11-25"]
    assert len(listed) == 12
    assert found.warnings == (
        "1 event repeats without end: expanded until 2036, import the file again by then",
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("RRULE:FREQ=YEARLY;COUNT=2", ["2025-03-01", "2026-03-01"]),
        ("RRULE:FREQ=YEARLY;INTERVAL=2;COUNT=2", ["2025-03-01", "2027-03-01"]),
        ("RRULE:FREQ=DAILY;UNTIL=20250303", ["2025-03-01", "2025-03-02", "2025-03-03"]),
        ("RRULE:FREQ=WEEKLY;BYDAY=SA,SU;COUNT=3", ["2025-03-01", "2025-03-02", "2025-03-08"]),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=2", ["2025-03-31", "2025-04-30"]),
        ("RRULE:FREQ=DAILY;COUNT=3;UNTIL=99991231", ["2025-03-01", "2025-03-02", "2025-03-03"]),
        ("RRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1", []),
    ],
)
def test_rules_repeat_an_event(rule: str, expected: list[str]) -> None:
    assert holidays("DTSTART:20250301", rule) == expected


def test_single_days_are_added_and_left_out() -> None:
    listed = holidays(
        "DTSTART:20260301", "RRULE:FREQ=DAILY;COUNT=4", "EXDATE:20260302,20260303", "RDATE:20260401"
    )
    assert listed == ["2026-03-01", "2026-03-04", "2026-04-01"]


def test_what_is_over_for_a_year_is_left_out() -> None:
    assert holidays("DTSTART:20241225") == []
    assert holidays("DTSTART:20250101") == ["2025-01-01"]


def test_a_cancelled_event_is_left_out_and_one_that_is_replaced_too() -> None:
    assert holidays("DTSTART:20261225", "STATUS:CANCELLED") == []
    found = imported(
        *event("UID:a", "DTSTART:20260301", "RRULE:FREQ=DAILY;COUNT=3"),
        *event("UID:a", "RECURRENCE-ID:20260302", "DTSTART:20260305"),
        *event("UID:a", "RECURRENCE-ID:20260303", "DTSTART:20260303", "STATUS:CANCELLED"),
    )
    listed: Any = found.document["holidays"]
    assert [each["date"] for each in listed] == ["2026-03-01", "2026-03-05"]


# -- times


def test_an_event_with_times_is_a_blackout() -> None:
    assert blackouts(*BLACKOUT) == [("2026-12-24T18:00:00Z", "2026-12-25T06:00:00Z")]
    assert blackouts("DTSTART:20261224T180000Z", "DURATION:PT12H") == blackouts(*BLACKOUT)


def test_times_of_a_zone_keep_their_wall_time_when_they_repeat() -> None:
    found = blackouts(
        "DTSTART;TZID=Europe/Berlin:20261023T220000",
        'DTEND;TZID="Europe/Berlin":20261024T000000',
        "RRULE:FREQ=WEEKLY;COUNT=2",
    )
    assert found == [
        ("2026-10-23T20:00:00Z", "2026-10-23T22:00:00Z"),
        ("2026-10-30T21:00:00Z", "2026-10-30T23:00:00Z"),
    ]


def test_the_end_of_a_rule_is_compared_in_the_events_zone() -> None:
    found = blackouts(
        "DTSTART;TZID=Asia/Tokyo:20260301T080000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260301T230000Z"
    )
    assert len(found) == 2


def test_times_without_a_zone_are_the_calendars() -> None:
    lines = event("DTSTART:20261224T180000", "DURATION:PT1H")
    expected = [{"from": "2026-12-24T18:00:00", "to": "2026-12-24T19:00:00", "name": ""}]
    assert imported(*lines, timezone="Europe/Berlin").document == {
        "timezone": "Europe/Berlin",
        "blackouts": expected,
    }
    named = imported("X-WR-TIMEZONE:Europe/Paris", "X-WR-CALNAME:Freezes", *lines).document
    assert (named["timezone"], named["description"]) == ("Europe/Paris", "Freezes")
    assert named["blackouts"] == expected


# -- the file


def test_lines_are_unfolded_and_other_components_passed_over() -> None:
    lines = (
        "BEGIN:VTIMEZONE", "TZID:X", "BEGIN:STANDARD", "DTSTART:19700101T000000", "END:STANDARD",
        "END:VTIMEZONE", "BEGIN:VTODO", "DTSTART:nonsense", "END:VTODO",
        "BEGIN:VEVENT", "SUMM", " ARY:Chr", "\tistmas", "DTSTART;X-A=\"a:b\";VALUE=DATE:20261225",
        "BEGIN:VALARM", "TRIGGER:-PT15M", "END:VALARM", "END:VEVENT",
    )  # fmt: skip
    expected = {"holidays": [{"date": "2026-12-25", "name": "Christmas"}]}
    for end in ("\r\n", "\n", "\r"):
        assert read_ical(file_of(*lines, end=end), year=YEAR).document == expected
    assert read_ical(b"\xef\xbb\xbf" + file_of(*lines), year=YEAR).document == expected


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("nonsense",), 'line 3: "nonsense" is no iCalendar property'),
        ((" ", "=x"), 'line 4: "=x" is no iCalendar property'),
        (("BEGIN:VEVENT",), 'line 4: END: "VCALENDAR" ends what did not begin; expected END:VEVENT'),
        (event("SUMMARY:x"), "line 3: the event has no DTSTART"),
        (event("DTSTART:2026-12-25"), 'line 4: DTSTART: "2026-12-25" is neither a date'),
        (event("DTSTART:20260230"), "line 4: DTSTART: \"20260230\": there is no such day"),
        (event("DTSTART:18991231"), "line 4: DTSTART: \"18991231\": the year must be 1900 or later"),
        (event("DTSTART:20261225", "DTEND:20261225"), "line 5: DTEND: the event must take more than no time"),
        (event("DTSTART:20261225", "DTEND:20271231"), "line 5: DTEND: the event must take"),
        (event("DTSTART:20261225", "DTEND:20261225T180000"), "line 5: DTEND: must be a date if"),
        (event("DTSTART:20261225T180000"), "line 3: the event has neither DTEND nor DURATION"),
        (event("DTSTART:20261225", "DURATION:1h"), "line 5: DURATION: duration"),
        (event("DTSTART:20261225", "DURATION:P1M"), "line 5: DURATION: \"P1M\": months and years"),
        (event("DTSTART;TZID=Berlin:20261225T180000"), "line 4: DTSTART: TZID: unknown time zone"),
        (event("DTSTART:20261225", "RRULE:FREQ=HOURLY"), 'line 5: RRULE: FREQ "HOURLY": one of DAILY'),
        (event("DTSTART:20261225", "RRULE:DAILY"), 'line 5: RRULE: "DAILY" is no part of a rule'),
        (event("DTSTART:20261225", "RRULE:FREQ=DAILY;INTERVAL=0"), 'line 5: RRULE: INTERVAL "0" must be'),
        (event("DTSTART:20261225", "RRULE:FREQ=YEARLY;BYDAY=XX"), "line 5: RRULE: \"FREQ=YEARLY;BYDAY=XX\""),
        (event("DTSTART:20261225", "RRULE:FREQ=YEARLY;UNTIL=x"), 'line 5: RRULE: "X" is neither a date'),
        (event("DTSTART:20261225", "RRULE:FREQ=DAILY;BYHOUR=3"), "line 5: RRULE: BYHOUR is not supported"),
        (event("DTSTART:20261225", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261225"), "line 5: RECURRENCE-ID"),
        (("X-WR-TIMEZONE:Berlin",), "line 3: X-WR-TIMEZONE: unknown time zone"),
        (event("DTSTART:20260101", "RRULE:FREQ=DAILY"), "line 3: more than 2,000 days with this event"),
        (event("DTSTART:20260101", "RRULE:FREQ=YEARLY") * (MAX_RULES + 1), "RRULE: more than 200 events"),
    ],
)  # fmt: skip
def test_an_error_names_the_line(lines: tuple[str, ...], said: str) -> None:
    message = refused(file_of(*lines))
    assert said in message
    assert message.startswith("line ")


def test_what_is_no_icalendar_file_is_refused() -> None:
    assert refused(b"") == "line 1: an iCalendar file begins with BEGIN:VCALENDAR"
    assert refused(b'{"weekend": []}').startswith("line 1: ")
    assert "has no END" in refused(b"BEGIN:VCALENDAR\n")
    assert refused(b"BEGIN:VCALENDAR\nSUMMARY:\xff\n").startswith("line 2: the byte 0xff is not UTF-8")
    assert "at most 1,048,576" in refused(b"x" * (1024 * 1024 + 1))


LINES = st.sampled_from(
    [
        "BEGIN:VEVENT", "END:VEVENT", "DTSTART:20261225", "DTSTART:20261225T180000Z", "DTEND:20261226",
        "DURATION:PT8H", "RRULE:FREQ=YEARLY", "RRULE:FREQ=WEEKLY;COUNT=3;BYDAY=MO", "EXDATE:20261225",
        "SUMMARY:a", " b", "RDATE:20261226,x", "UID:1", "RECURRENCE-ID:20261225", "BEGIN:VALARM", ":", ";",
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES | st.text(max_size=20), max_size=12))
def test_any_file_is_a_valid_calendar_or_refused_with_a_line(lines: list[str]) -> None:
    messages, document = outcome(file_of(*lines))
    read_calendar(document)
    assert [message for message in messages if not message.startswith("line ")] == []


def outcome(body: bytes) -> tuple[list[str], dict[str, object]]:
    """What is wrong with a file, or the document that it becomes."""
    try:
        return [], read_ical(body, year=YEAR).document
    except InvalidInput as error:
        return [problem.message for problem in error.problems], {}

"""What people may write about pauses and skips."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.errors import InvalidInput
from cronq.domain.occurrence import Occurrence
from cronq.domain.pause import Skip, Wanted, read_pause, read_skip, skip_next
from cronq.domain.run import Kind, Trigger

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("given", "until"),
    [
        ({}, None),
        ({"until": None, "for": None}, None),
        ({"until": "2026-11-21T13:00:00Z"}, NOW + 60 * MINUTE),
        ({"until": "2026-11-21t14:00:00.5+01:00"}, NOW + timedelta(hours=1, milliseconds=500)),
        ({"until": "2036-11-20T12:00:00Z"}, datetime(2036, 11, 20, 12, tzinfo=UTC)),
        ({"for": "2h"}, NOW + 120 * MINUTE),
        ({"for": 90}, NOW + timedelta(seconds=90)),
        ({"for": "PT1H30M"}, NOW + 90 * MINUTE),
    ],
)
def test_a_pause_lasts_until_an_instant_for_a_time_or_without_end(
    given: dict[str, object], until: datetime | None
) -> None:
    assert read_pause({"reason": " disk full ", **given}, NOW) == Wanted("disk full", until)


@pytest.mark.parametrize(
    ("given", "pointer", "said"),
    [
        ({"until": "2026-11-21T12:00:00Z"}, "/until", "is over"),
        ({"until": "2036-12-24T12:00:00Z"}, "/until", "is too far away"),
        ({"until": "9999-12-31T23:59:59-23:59"}, "/until", "is not allowed"),
        ({"until": "2026-11-21T13:00:00"}, "/until", "is not allowed"),
        ({"until": "tomorrow"}, "/until", "is not allowed"),
        ({"until": 7}, "/until", "7 is not allowed"),
        ({"until": "2026-11-21T13:00:00Z", "for": "2h"}, "/for", "until and for are both given"),
        ({"for": "0"}, "/for", "is not allowed"),
        ({"for": "4000d"}, "/for", "is not allowed"),
        ({"for": "99999999999d"}, "/for", "longer than 100 years"),
        ({"for": "soon"}, "/for", "not understood"),
        ({"for": True}, "/for", "true is not allowed"),
        ({"reason": 7}, "/reason", "must be text"),
        ({"reason": "x" * 256}, "/reason", "at most 255"),
        ({"reason": "a\nb"}, "/reason", "only printable"),
        ({"untill": "2h"}, "/untill", "no such field"),
    ],
)
def test_a_wrong_pause_is_told_with_its_field_and_what_is_allowed(
    given: dict[str, object], pointer: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_pause(given, NOW)

    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert said in problem.message


def test_a_snooze_needs_its_end() -> None:
    with pytest.raises(InvalidInput, match="a snooze needs one of them"):
        read_pause({"reason": "later"}, NOW, must_end=True)
    assert read_pause({"for": "2h"}, NOW, must_end=True).until == NOW + 120 * MINUTE


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_pause({"until": 1, "reason": 2, "foo": 3}, NOW)

    assert [p.pointer for p in caught.value.problems] == ["/foo", "/reason", "/until"]


@pytest.mark.parametrize("value", [[], "x", 7, None])
def test_only_an_object_says_anything(value: object) -> None:
    with pytest.raises(InvalidInput, match="an object with"):
        read_pause(value, NOW)


def test_a_skip_has_a_count() -> None:
    assert read_skip({"count": 0}) == (0, "")
    assert read_skip({"count": 1_000, "reason": "holiday"}) == (1_000, "holiday")


@pytest.mark.parametrize("count", [-1, 1_001, "2", 1.0, True])
def test_a_wrong_count_is_told(count: object) -> None:
    with pytest.raises(InvalidInput, match=r"/count: count: .* is not allowed; 0 \(none\) to 1,000 is"):
        read_skip({"count": count})


def test_a_missing_count_is_told() -> None:
    with pytest.raises(InvalidInput, match="count: is missing"):
        read_skip({})


def slot(minute: int, missed: str | None = None, skipped: str | None = None) -> Occurrence:
    return Occurrence(Kind.SLOT, NOW + minute * MINUTE, Trigger.SCHEDULE, missed, skipped)


def test_only_what_would_run_is_skipped_the_earliest_first() -> None:
    wish = Occurrence(Kind.REQUEST, NOW, Trigger.MANUAL)
    due = [wish, slot(3), slot(0, missed="misfire"), slot(1, skipped="calendar"), slot(2), slot(4)]

    kept, count = skip_next(due, Skip(2, "holiday", "ana", NOW))

    assert count == 2
    assert [o.skipped for o in kept] == [
        None, "skip next: ana: holiday", None, "calendar", "skip next: ana: holiday", None,
    ]  # fmt: skip
    assert skip_next(due, Skip(9, "", "", NOW))[1] == 3


def test_the_reason_of_a_run_fits_its_column() -> None:
    assert len(Skip(1, "x" * 255, "y" * 255, NOW).text) == 255

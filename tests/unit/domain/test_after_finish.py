from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from cronq.domain.after_finish import AfterFinish
from cronq.domain.schedule import ScheduleError, parse

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def read(text: str = "@every 90s after finish") -> AfterFinish:
    schedule = parse(text)
    assert isinstance(schedule, AfterFinish)
    return schedule


def test_its_first_occurrence_is_a_period_after_it_begins() -> None:
    assert read().next_after(NOON) == NOON + 90 * SECOND


def test_what_comes_after_that_nobody_knows() -> None:
    assert list(islice(read().between(NOON, NOON + timedelta(days=1)), 3)) == []
    assert read().waits_for_end
    assert not parse("@every 90s").waits_for_end


@pytest.mark.parametrize(
    ("end", "then"),
    [
        (NOON, NOON + 90 * SECOND),
        (NOON + timedelta(microseconds=1), NOON + 91 * SECOND),
        (NOON - timedelta(microseconds=1), NOON + 90 * SECOND),
    ],
)
def test_it_is_a_whole_second_and_never_early(end: datetime, then: datetime) -> None:
    assert read().after_end(end) == then


def test_it_is_told_in_words() -> None:
    assert read("@every 10m after finish").describe() == "10m after the end of the run before"


@pytest.mark.parametrize("more", [{"start": "2026-01-01T00:00:00Z"}, {"end": "2027-01-01T00:00:00Z"}])
def test_it_has_no_bounds(more: dict[str, str]) -> None:
    with pytest.raises(ScheduleError, match="stands alone"):
        parse("@every 90s after finish", start=more.get("start"), end=more.get("end"))


def test_nor_stands_it_in_a_list() -> None:
    with pytest.raises(ScheduleError, match="stands alone"):
        parse(("@every 90s after finish", "@daily"))

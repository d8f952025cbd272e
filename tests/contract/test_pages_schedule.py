"""What the pages say of schedules of every kind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cronq import store
from tests.browser.visitor import Visitor, text_of
from tests.factories import Clock


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def test_a_jobs_page_has_its_schedule_as_written_and_in_words(visitor: Visitor) -> None:
    job_id = visitor.samples.job(schedule="0 3 * * 1-5", timezone="Europe/Berlin")

    text = text_of(visitor.read(f"/job/{job_id}"))

    assert "0 3 * * 1-5 Europe/Berlin at 03:00 on weekdays, Europe/Berlin" in text


def test_several_schedules_are_shown_together(visitor: Visitor) -> None:
    job_id = visitor.samples.job(schedule=("@daily", "@at 2099-12-24T18:00:00Z"))

    text = text_of(visitor.read(f"/job/{job_id}"))

    assert "@daily; @at 2099-12-24T18:00:00Z" in text
    assert "at 00:00 every day, UTC; and once at 2099-12-24 18:00, UTC" in text
    assert "@daily; @at 2099-12-24T18:00:00Z" in text_of(visitor.read("/"))


def test_an_h_is_shown_as_the_time_that_it_stands_for(visitor: Visitor) -> None:
    job_id = visitor.samples.job("backup", category="shop", schedule="H H * * *")

    assert "at 07:23 every day, UTC" in text_of(visitor.read(f"/job/{job_id}"))


def test_bounds_are_part_of_the_words(visitor: Visitor) -> None:
    job_id = visitor.samples.job(schedule="@hourly", end="2099-01-01T00:00:00Z")

    assert "every hour at :00, UTC, not after 2099-01-01T00:00:00Z" in text_of(visitor.read(f"/job/{job_id}"))


@pytest.mark.parametrize(
    ("dst", "now", "expected"),
    [
        (
            "cron",
            datetime(2027, 3, 27, 12, tzinfo=UTC),
            "Sun 2027-03-28 03:00 +02:00 ⚠ 02:30 does not exist on this day Sun 2027-03-28 01:00",
        ),
        (
            "skip",
            datetime(2027, 3, 27, 12, tzinfo=UTC),
            "Mon 2027-03-29 02:30 +02:00 ⚠ 2027-03-28 02:30 does not exist and is left out",
        ),
        (
            "both",
            datetime(2027, 10, 31, 0, 45, tzinfo=UTC),
            "Sun 2027-10-31 02:30 +01:00 ⚠ second of a repeated hour Sun 2027-10-31 01:30",
        ),
    ],
)
def test_the_next_ten_are_shown_with_what_the_clocks_do_to_them(
    visitor: Visitor, clock: Clock, dst: str, now: datetime, expected: str
) -> None:
    clock.now = now
    job_id = visitor.samples.job(schedule="30 2 * * *", timezone="Europe/Berlin", dst=dst)

    text = text_of(visitor.read(f"/job/{job_id}"))

    assert expected in text
    assert text.count("⚠") == 1 + 1  # and the notice on who may write
    assert text.count("2:30 +0") + text.count("3:00 +0") == 10


def test_without_a_zone_there_is_one_column_of_instants(visitor: Visitor, clock: Clock) -> None:
    clock.now = datetime(2027, 3, 27, 12, tzinfo=UTC)
    job_id = visitor.samples.job(schedule="30 2 * * *")

    text = text_of(visitor.read(f"/job/{job_id}"))

    assert "Due UTC in 14h Sun 2027-03-28 02:30 in 1d Mon 2027-03-29 02:30" in text

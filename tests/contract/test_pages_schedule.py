"""What the pages say of schedules of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from cronq import store
from tests.browser.visitor import Visitor, text_of


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

"""The load to come: starts and lives of each minute, against a count of every second, and what is cut."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain import forecast as forecasts
from cronq.domain.forecast import UNKNOWN_S, Due, Forecast, QueueLoad, Window, _rounded_up, forecast
from cronq.domain.schedule import parse

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = Window(NOON, NOON + timedelta(days=1))
HOUR = Window(NOON, NOON + 60 * MINUTE)


def due(
    expression: str, *, name: str = "cat/job", queue: str = "default", lasts_s: float | None = 30.0
) -> Due:
    """A job that was made a second before noon."""
    schedule = parse(expression, seed=name)
    next_run = schedule.next_after(NOON - timedelta(seconds=1))
    assert next_run is not None
    return Due(name, queue, next_run, schedule, expression, lasts_s)


def load(found: Forecast, queue: str = "default") -> QueueLoad:
    return next(load for load in found.queues if load.queue == queue)


def test_an_hourly_job_starts_in_the_first_minute_of_each_hour() -> None:
    found = load(forecast([due("@hourly")], DAY))

    assert [minute for minute, starts in enumerate(found.starts) if starts] == list(range(0, 24 * 60, 60))
    assert found.alive == found.starts  # half a minute each


def test_a_run_lives_from_its_start_until_what_it_lasts_is_over() -> None:
    found = load(forecast([due("10 * * * *", lasts_s=150.0)], HOUR))

    assert [minute for minute, alive in enumerate(found.alive) if alive] == [10, 11, 12]


def test_one_that_ends_as_the_next_begins_is_not_alive_beside_it() -> None:
    found = load(forecast([due("* * * * *", lasts_s=60.0)], HOUR))

    assert set(found.alive) == {1}


def test_runs_that_outlast_their_period_pile_up() -> None:
    found = load(forecast([due("*/10 * * * *", lasts_s=1500.0)], HOUR))

    assert [found.alive[minute] for minute in (0, 10, 20, 54, 59)] == [1, 2, 3, 3, 2]


def test_queues_are_apart() -> None:
    found = forecast([due("* * * * *"), due("* * * * *", queue="slow"), due("0 * * * *", queue="slow")], HOUR)

    assert [load.queue for load in found.queues] == ["default", "slow"]
    assert (sum(load(found).starts), sum(load(found, "slow").starts)) == (60, 61)


def test_a_job_without_a_schedule_runs_once() -> None:
    found = load(forecast([Due("cat/job", "default", NOON + 7 * MINUTE, lasts_s=1.0)], HOUR))

    assert [minute for minute, starts in enumerate(found.starts) if starts] == [7]


def test_next_run_counts_also_where_the_schedule_would_not_have_it() -> None:
    moved = Due("cat/job", "default", NOON + 7 * MINUTE, parse("30 * * * *"), lasts_s=1.0)

    assert [minute for minute, n in enumerate(load(forecast([moved], HOUR)).starts) if n] == [7, 30]


def test_the_end_of_the_window_is_not_in_it() -> None:
    assert sum(load(forecast([due("0 13 * * *"), due("59 12 * * *")], HOUR)).starts) == 1


def test_a_job_that_never_ran_lasts_as_long_as_the_middle_one_of_the_others() -> None:
    lasting = [due("0 * * * *", lasts_s=seconds) for seconds in (10.0, 200.0, 9000.0)]
    found = forecast([*lasting, due("30 * * * *", lasts_s=None)], HOUR)

    assert (found.unknown, found.assumed_s) == (1, 200.0)
    assert load(found).alive[30:35] == [2, 2, 2, 2, 1]


def test_where_none_ever_ran_a_few_seconds_are_assumed() -> None:
    assert forecast([due("@hourly", lasts_s=None)], HOUR).assumed_s == UNKNOWN_S


def test_without_jobs_there_is_no_load() -> None:
    assert (forecast([], DAY).queues, forecast([], DAY).counted) == ([], 0)


def test_jobs_beyond_the_limit_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "MOST_STEPS", 10_000)
    small, large = due("@hourly"), due("R/2026-01-01T00:00:00Z/PT5S", name="cat/large")

    found = forecast([small, large, due("30 * * * *", name="cat/late")], DAY)

    assert (found.counted, found.cut) == (1, 2)
    assert load(found).starts == load(forecast([small], DAY)).starts


def test_jobs_with_the_same_occurrences_cost_as_much_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "MOST_STEPS", 5 * 1440)
    alike = [due("* * * * *", name=f"cat/{number}") for number in range(1_000)]

    found = forecast(alike, DAY)

    assert (found.counted, found.cut, sum(load(found).starts)) == (1_000, 0, 1_440_000)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 1), (0.2, 1), (1.0, 1), (1.1, 2), (99.0, 99), (99.5, 100), (101.0, 110), (990.0, 990),
     (991.0, 1000), (5_001.0, 5_100), (86_400.0, 87_000)],
)  # fmt: skip
def test_what_a_run_lasts_is_rounded_up_by_a_tenth_at_most(seconds: float, expected: int) -> None:
    assert _rounded_up(seconds) == expected


EXPRESSIONS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "5 * * * *",
        "@hourly",
        "H * * * *",
        "@every 45s",
        "R/2026-01-01T00:00:20Z/PT3M",
    ]
)
LASTING = st.none() | st.floats(0.1, 99.0) | st.sampled_from([120.0, 600.0])
JOBS = st.lists(st.tuples(EXPRESSIONS, LASTING, st.sampled_from(["a", "b"]), st.integers(0, 5)), max_size=6)


@settings(max_examples=30, deadline=None)
@given(jobs=JOBS)
def test_every_minute_is_as_a_count_by_the_second_has_it(
    jobs: list[tuple[str, float | None, str, int]],
) -> None:
    listed = [due(text, name=f"a/{seed}", queue=queue, lasts_s=lasts) for text, lasts, queue, seed in jobs]

    found = forecast(listed, HOUR)

    for queue in found.queues:
        lives = [
            (
                int((at - NOON).total_seconds()),
                _rounded_up(found.assumed_s if job.lasts_s is None else job.lasts_s),
            )
            for job in listed
            if job.queue == queue.queue and job.schedule is not None
            for at in job.schedule.between(NOON - timedelta(seconds=1), HOUR.until - timedelta(seconds=1))
        ]
        starts = Counter(second // 60 for second, _ in lives)
        alive = Counter(second for begin, lasts in lives for second in range(begin, begin + lasts))
        assert queue.starts == [starts[minute] for minute in range(60)]
        assert queue.alive == [max(alive[minute * 60 + s] for s in range(60)) for minute in range(60)]

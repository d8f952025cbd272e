"""Times with more runs than slots, and herds: who is in them, and how they would start apart."""

from __future__ import annotations

from cronq.domain.crowd import HERD_LEAST, Advice, Overload, herds, overloads
from cronq.domain.forecast import Due, QueueLoad, forecast
from tests.unit.domain.test_forecast import DAY, HOUR, due, load


def busy(*jobs: Due) -> QueueLoad:
    return load(forecast(jobs, DAY))


def several(count: int, expression: str, name: str = "job", queue: str = "default") -> list[Due]:
    return [due(expression, name=f"cat/{name}{number}", queue=queue) for number in range(count)]


def test_minutes_with_more_runs_than_slots_are_told_as_spans() -> None:
    jobs = [
        due("0-4 12 * * *", lasts_s=90.0),
        due("30 12 * * *", lasts_s=1.0),
        due("30 12 * * *", lasts_s=1.0),
    ]

    found = overloads(load(forecast(jobs, HOUR)), 1)

    assert found == [Overload(1, 5, 2), Overload(30, 31, 2)]


def test_as_many_runs_as_slots_are_no_overload() -> None:
    assert overloads(busy(*several(3, "@hourly")), 3) == []


def test_a_herd_is_told_with_its_jobs_and_how_they_would_start_apart() -> None:
    [herd] = herds(busy(*several(21, "0 * * * *"), *several(59, "H * * * *", "apart")))

    assert herd.minutes == list(range(0, 24 * 60, 60))
    assert herd.starts == len(herd.jobs) >= 21
    assert herd.advice == [Advice("H * * * *", [f"cat/job{number}" for number in range(21)])]


def test_the_usual_is_the_mean_of_all_minutes() -> None:
    [herd] = herds(busy(*several(24, "0 12 * * *")))

    assert herd.usual == 24 / 1440


def test_a_few_jobs_are_no_herd() -> None:
    assert herds(busy(*several(HERD_LEAST - 1, "@hourly"))) == []
    assert len(herds(busy(*several(HERD_LEAST, "@hourly")))) == 1


def test_where_every_minute_is_full_none_is_a_herd() -> None:
    assert herds(busy(*several(500, "* * * * *"))) == []


def test_advice_is_by_expression_the_most_jobs_first() -> None:
    jobs = [*several(4, "0 * * * *"), *several(9, "0 12 * * *", "noon"), *several(3, "@every 1h", "even")]

    first, *_ = herds(busy(*jobs))

    assert first.starts == 16
    assert [(advice.schedule, len(advice.jobs)) for advice in first.advice] == [
        ("H 12 * * *", 9),
        ("H * * * *", 4),
    ]


def test_one_job_alone_gets_no_advice() -> None:
    jobs = [*several(1, "0 12 * * *"), *several(12, "@every 1h", "even")]

    assert [herd.advice for herd in herds(busy(*jobs))] == [[], []]


def test_minutes_in_which_other_jobs_start_too_are_alike_if_those_cannot_be_moved() -> None:
    jobs = [*several(12, "0 * * * *"), *several(2, "@every 2h", "even")]

    [herd] = herds(busy(*jobs))

    assert (len(herd.minutes), herd.starts) == (24, 14)


def test_only_jobs_of_the_queue_are_named() -> None:
    found = forecast([*several(12, "0 * * * *"), *several(12, "0 * * * *", "slow", "slow")], DAY)

    [herd] = herds(load(found, "slow"))

    assert [advice.jobs for advice in herd.advice] == [[f"cat/slow{number}" for number in range(12)]]
    assert len(herd.jobs) == 12


def test_the_largest_herd_comes_first() -> None:
    found = herds(busy(*several(11, "0 3 * * *"), *several(30, "0 5 * * *", "more")))

    assert [herd.starts for herd in found] == [30, 11]

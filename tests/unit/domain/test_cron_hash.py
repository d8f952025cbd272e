"""H: a value by the hash of a seed, steady, within its range, and spread evenly over many jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.cron import Cron
from cronq.domain.schedule import ScheduleError, needs_seed, parse

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
EVE = NEW_YEAR - timedelta(seconds=1)
SEEDS = [f"shop/job-{number}" for number in range(3_000)]


def first(expression: str, seed: str) -> datetime:
    found = parse(expression, seed=seed).next_after(EVE)
    assert found is not None
    return found


def following(expression: str, seed: str, number: int) -> list[datetime]:
    return list(islice(parse(expression, seed=seed).between(EVE, NEW_YEAR + timedelta(days=400)), number))


def is_even(values: Sequence[int], of: range) -> bool:
    """Each value within five standard deviations of its share, as all but one in a million draws are."""
    counts = Counter(values)
    share = len(values) / len(of)
    slack = 5 * (share * (1 - 1 / len(of))) ** 0.5
    return set(counts) <= set(of) and all(abs(counts[value] - share) <= slack for value in of)


def test_an_h_is_the_same_for_a_seed_for_ever() -> None:
    """If one of these moves, every job that has an H moves with the release."""
    assert f"{first('H H * * *', 'shop/backup'):%H:%M}" == "07:23"
    assert f"{first('H H(1-4) * * *', 'shop/backup'):%H:%M}" == "04:23"
    assert f"{first('H H H * *', 'shop/backup'):%d %H:%M}" == "02 07:23"
    assert f"{first('H H * * H', 'shop/backup'):%a %H:%M}" == "Thu 07:23"
    assert f"{first('H/15 * * * *', 'shop/backup'):%M}" == "08"


@pytest.mark.parametrize(
    ("expression", "part", "of"),
    [
        ("H 0 1 1 *", "%M", range(60)),
        ("H(10-19) 0 1 1 *", "%M", range(10, 20)),
        ("0 H 1 1 *", "%H", range(24)),
        ("0 H(0-6) 1 1 *", "%H", range(7)),
        ("0 0 H 1 *", "%d", range(1, 29)),
        ("0 0 H(1-31) 1 *", "%d", range(1, 32)),
        ("0 0 1 H *", "%m", range(1, 13)),
        ("0 0 * * H", "%w", range(7)),
        ("0 0 * * H(MON-FRI)", "%w", range(1, 6)),
        ("H/15 * * * *", "%M", range(15)),
        ("H(0-29)/10 * * * *", "%M", range(10)),
        ("0 H/6 * * *", "%H", range(6)),
    ],
)
def test_many_jobs_spread_evenly(expression: str, part: str, of: range) -> None:
    assert is_even([int(first(expression, seed).strftime(part)) for seed in SEEDS], of)


def test_minute_and_hour_are_drawn_apart() -> None:
    drawn = [first("H H 1 1 *", seed) for seed in SEEDS]
    # 3,000 draws of the 1,440 minutes of a day leave about an eighth of them empty.
    assert len({(at.hour, at.minute) for at in drawn}) > 1_200
    assert is_even([(at.hour * 60 + at.minute) // 15 for at in drawn], range(96))


def test_a_range_over_midnight_is_drawn_from_as_a_whole() -> None:
    hours = [first("0 H(22-3) * * *", seed).hour for seed in SEEDS]
    assert is_even([(hour + 2) % 24 for hour in hours], range(6))


@pytest.mark.parametrize(
    ("expression", "apart", "a_day"),
    [("H/15 * * * *", 15, 96), ("H/30 * * * *", 30, 48), ("H H/6 * * *", 360, 4), ("H * * * *", 60, 24)],
)
def test_a_step_keeps_its_distance(expression: str, apart: int, a_day: int) -> None:
    for seed in SEEDS[:50]:
        found = following(expression, seed, 2 * a_day)
        gaps = {later - earlier for earlier, later in pairwise(found)}
        assert gaps == {timedelta(minutes=apart)}
        assert parse(expression, seed=seed).fixed_period() == timedelta(minutes=apart)


def test_a_range_with_a_step_stays_in_its_range() -> None:
    for seed in SEEDS[:50]:
        minutes = [at.minute for at in following("H(0-29)/10 * * * *", seed, 3)]
        assert max(minutes) <= 29
        assert {minutes[1] - minutes[0], minutes[2] - minutes[1]} == {10}


def test_a_step_longer_than_its_range_is_one_value_of_it() -> None:
    minutes = [first("H(0-9)/30 * * * *", seed).minute for seed in SEEDS]
    assert is_even(minutes, range(10))


@pytest.mark.parametrize("expression", ["H/15 * * * *", "15 H/6 * * *"])
def test_a_stepped_h_follows_real_time_as_a_star_does(expression: str) -> None:
    schedule = parse(expression, timezone="Europe/Berlin", seed="a/b")
    assert isinstance(schedule, Cron)
    assert schedule.is_wild


@pytest.mark.parametrize("expression", ["H 2 * * *", "H(0-29)/10 2 * * *", "0 H(1-4) * * *"])
def test_any_other_h_is_a_fixed_time(expression: str) -> None:
    schedule = parse(expression, timezone="Europe/Berlin", seed="a/b")
    assert isinstance(schedule, Cron)
    assert not schedule.is_wild


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("H 3 * * *", True),
        ("0 h * * *", True),
        ("0 3 * * H(1-5)", True),
        ("0,H/7 3 * * *", True),
        ("0 3 * mar THU", False),
        ("@hourly", False),
        ("R/2026-01-01T00:00:00Z/PT1H", False),
        (("@hourly", "H 3 * * *"), True),
        (("@hourly", "0 3 * * *"), False),
    ],
)
def test_only_an_h_needs_a_seed(expression: str | tuple[str, ...], expected: bool) -> None:
    assert needs_seed(expression) is expected
    moved = {parse(expression, seed=seed) == parse(expression, seed="x/y") for seed in SEEDS[:3]}
    assert moved == {not expected}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("H(5) * * * *", "field minute: H(5) needs a range"),
        ("H() * * * *", "field minute: H() needs a range"),
        ("H(1-2-3) * * * *", "field minute: H(1-2-3) needs a range"),
        ("H(5-70) * * * *", "field minute: 70 not in 0-59"),
        ("H/0 * * * *", "field minute: step must be 1-59, got '0'"),
        ("H/ * * * *", "field minute: step must be 1-59, got ''"),
        ("H(0-5 * * * *", "field minute: H(0-5 is not allowed here (H means a value by hash)"),
        ("H5 * * * *", "field minute: H5 is not allowed here (H means a value by hash)"),
        ("H-5 * * * *", "field minute: H-5 is not allowed here"),
        ("0 0 H(28-3) * *", "field day-of-month: H(28-3) runs over the end of the month"),
        ("0 0 1 H,H *", "field month: only one H is allowed"),
    ],
)
def test_a_wrong_h_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(expression, seed="a/b")
    assert caught.value.code == "invalid_schedule"
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    ["0 0 H(29-31) 2 *", "0 0 30 H *", "0 0 31 H(1-4) *", "0 0 H(1-31) 2 *", "0 0 31 H/11 *", "0 0 L-30 H ?"],
)
def test_an_h_that_may_mean_never_is_refused_for_every_seed(expression: str) -> None:
    for seed in SEEDS[:40]:
        with pytest.raises(ScheduleError) as caught:
            parse(expression, seed=seed)
        assert (caught.value.code, caught.value.hint) == ("never_fires", "H may stand for any of its values")


DAY_ITEMS = st.one_of(
    st.integers(1, 31).map(str),
    st.just("H"),
    st.tuples(st.integers(1, 31), st.integers(1, 31)).map(sorted).map(lambda ends: f"H({ends[0]}-{ends[1]})"),
    st.integers(1, 31).map(lambda step: f"H/{step}"),
    st.sampled_from(["L", "LW", "31W", "L-29"]),
)
MONTH_FIELDS = st.one_of(
    st.sampled_from(["2", "4,6", "H", "H(2-2)", "H(2-4)", "H(6-2)", "H/5", "H/11", "2,H(4-6)", "*"])
)
DAY_LISTS = st.lists(DAY_ITEMS, min_size=1, max_size=3).map(",".join)


@settings(max_examples=150, deadline=None)
@given(DAY_LISTS, MONTH_FIELDS, st.lists(st.integers(0, 10**6), min_size=8, max_size=8))
def test_whether_it_is_valid_never_depends_on_the_seed(days: str, months: str, seeds: list[int]) -> None:
    expression = f"0 0 {days} {months} *"
    verdicts: set[str] = set()
    for seed in seeds:
        try:
            assert parse(expression, seed=str(seed)).next_after(EVE) is not None
            verdicts.add("valid")
        except ScheduleError as error:
            verdicts.add(error.code)
    assert len(verdicts) == 1

"""What a due job gives rise to: nothing due is left without a row, and nothing gets two."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.occurrence import (
    MOST_INSTANTS,
    MOST_MISSED_ROWS,
    DueJob,
    Expansion,
    Occurrence,
    expand,
)
from cronq.domain.run import Kind, Trigger
from cronq.domain.schedule import parse

NOW = datetime(2026, 11, 21, 12, 0, 30, 500_000, tzinfo=UTC)
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
EACH_MINUTE = "* * * * *"


def a_job(
    schedule: str | None = EACH_MINUTE,
    next_run: datetime | None = NOON,
    *,
    interval: timedelta | None = None,
    run_now: bool = False,
) -> DueJob:
    return DueJob(schedule, None, "cron", interval, next_run, run_now)


def released(expansion: Expansion) -> list[Occurrence]:
    return [o for o in expansion.occurrences if not o.missed]


def missed(expansion: Expansion) -> list[Occurrence]:
    return [o for o in expansion.occurrences if o.missed]


def slots(expansion: Expansion) -> list[Occurrence]:
    return [o for o in expansion.occurrences if o.kind is Kind.SLOT]


def steps(job: DueJob, now: datetime) -> Iterator[Expansion]:
    """As injectors do it, one step after the other until the job is not due any more."""
    while job.next_run is not None and job.next_run < now:
        expansion = expand(job, now)
        yield expansion
        job = replace(job, next_run=expansion.next_run, run_now=False)


def test_a_job_on_time_has_one_run_and_its_next_instant() -> None:
    [occurrence] = expand(a_job(), NOW).occurrences

    assert occurrence == Occurrence(Kind.SLOT, NOON, Trigger.SCHEDULE)
    assert expand(a_job(), NOW).next_run == NOON + MINUTE


@pytest.mark.parametrize("next_run", [None, NOW, NOW + SECOND])
def test_a_job_that_is_not_due_has_none_and_keeps_its_next_run(next_run: datetime | None) -> None:
    assert expand(a_job(next_run=next_run), NOW) == Expansion((), next_run)


def test_of_several_instants_the_latest_runs_and_each_earlier_one_is_missed() -> None:
    expansion = expand(a_job(next_run=NOON - 3 * MINUTE), NOW)

    assert [o.scheduled_for for o in missed(expansion)] == [NOON - k * MINUTE for k in (3, 2, 1)]
    assert {o.missed for o in missed(expansion)} == {"misfire"}
    assert released(expansion) == [Occurrence(Kind.SLOT, NOON, Trigger.CATCH_UP)]
    assert expansion.next_run == NOON + MINUTE


@pytest.mark.parametrize("count", [MOST_MISSED_ROWS, MOST_MISSED_ROWS + 1, 5_000])
def test_more_than_a_hundred_missed_share_a_row_that_says_from_when_to_when_and_how_many(count: int) -> None:
    expansion = expand(a_job(next_run=NOON - count * MINUTE), NOW)

    assert sum(o.count or 1 for o in missed(expansion)) == count
    assert len(released(expansion)) == 1
    if count > MOST_MISSED_ROWS:
        [summary] = missed(expansion)
        assert (summary.scheduled_for, summary.last_scheduled_for) == (NOON - count * MINUTE, NOON - MINUTE)


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, MOST_INSTANTS + 1])
def test_what_does_not_fit_into_one_step_goes_on_in_the_next_without_losing_any(extra: int) -> None:
    count = MOST_INSTANTS + extra
    first = NOON - (count - 1) * SECOND
    now = NOON + timedelta(milliseconds=500)
    done = list(steps(a_job(None, first, interval=SECOND), now))

    assert sum(o.count or 1 for each in done for o in each.occurrences) == count
    assert [o.scheduled_for for each in done for o in released(each)] == [NOON]
    ends = [(o.scheduled_for, o.last_scheduled_for or o.scheduled_for) for e in done for o in e.occurrences]
    assert ends[0][0] == first
    assert all(after[0] - before[1] == SECOND for before, after in pairwise(ends))
    assert done[-1].next_run == NOON + SECOND


def test_a_next_run_written_by_hand_is_honoured_once() -> None:
    by_hand = NOON - 17 * SECOND
    expansion = expand(a_job("0 3 * * *", by_hand), NOW)

    assert released(expansion) == [Occurrence(Kind.SLOT, by_hand, Trigger.SCHEDULE)]
    assert expansion.next_run == datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def test_a_bare_interval_goes_on_in_whole_intervals_from_its_next_run() -> None:
    expansion = expand(a_job(None, NOON - 25 * SECOND, interval=timedelta(seconds=20)), NOW)

    assert [o.scheduled_for for o in expansion.occurrences] == [
        NOON - 25 * SECOND,
        NOON - 5 * SECOND,
        NOON + 15 * SECOND,
    ]
    assert expansion.next_run == NOON + 35 * SECOND


def test_the_schedule_wins_over_the_interval() -> None:
    assert expand(a_job(interval=SECOND), NOW).next_run == NOON + MINUTE


@pytest.mark.parametrize("interval", [None, timedelta(0)])
def test_without_schedule_and_interval_it_runs_once(interval: timedelta | None) -> None:
    expansion = expand(a_job(None, interval=interval), NOW)

    assert (len(released(expansion)), expansion.next_run) == (1, None)


def test_run_now_is_a_request_of_its_own_and_leaves_the_next_run_alone() -> None:
    expansion = expand(a_job(next_run=NOW + MINUTE, run_now=True), NOW)

    assert expansion.occurrences == (Occurrence(Kind.REQUEST, NOW.replace(microsecond=0), Trigger.MANUAL),)
    assert expansion.next_run == NOW + MINUTE


def test_run_now_and_a_due_instant_are_two_runs() -> None:
    expansion = expand(a_job(run_now=True), NOW)

    assert [(o.kind, o.trigger) for o in released(expansion)] == [
        (Kind.REQUEST, Trigger.MANUAL),
        (Kind.SLOT, Trigger.SCHEDULE),
    ]


def test_run_now_of_a_job_that_has_no_next_run_does_not_repeat_itself() -> None:
    assert expand(a_job(None, None, run_now=True), NOW).next_run is None


@pytest.mark.parametrize(
    ("schedule", "interval"), [("* * * *", None), ("", None), (None, -SECOND), (None, timedelta(days=50_000))]
)
def test_a_schedule_that_is_none_is_told_and_its_due_instant_has_a_row(
    schedule: str | None, interval: timedelta | None
) -> None:
    expansion = expand(a_job(schedule, interval=interval), NOW)

    [row] = expansion.occurrences
    assert expansion.problem
    assert row.scheduled_for == NOON
    assert (row.missed or "").startswith("the schedule is not valid: ")
    assert len(row.missed or "") <= 255
    assert expansion.next_run is None


def test_a_bad_schedule_does_not_keep_run_now_from_running() -> None:
    assert [o.kind for o in released(expand(a_job("nonsense", run_now=True), NOW))] == [Kind.REQUEST]


def test_the_last_of_a_limited_schedule_leaves_no_next_run() -> None:
    expansion = expand(a_job("R3/2026-11-21T11:58:00Z/PT1M", NOON - 2 * MINUTE), NOW)

    assert [o.scheduled_for for o in expansion.occurrences] == [NOON - 2 * MINUTE, NOON - MINUTE, NOON]
    assert expansion.next_run is None


SCHEDULES = st.sampled_from(
    [EACH_MINUTE, "*/7 * * * *", "30 2 * * *", "R/2026-11-01T00:00:11Z/PT13S", "R/2026-10-31T00:00:00Z/PT61M"]
)


# Seconds, up to some three days; the schedule of 13 s then takes more than two steps.
OUTAGES = st.sampled_from([0, 1, 59, 1_313, 86_399, 130_001, 269_000]).flatmap(
    lambda s: st.integers(s, s + 300)
)


@settings(max_examples=60, deadline=None)
@given(SCHEDULES, st.integers(0, 20_000), OUTAGES, st.booleans())
def test_every_instant_is_accounted_for_exactly_once(
    text: str, started_s: int, outage_s: int, by_hand: bool
) -> None:
    """Whatever the outage: the rows of all steps are the instants of the schedule, in order, no more."""
    schedule = parse(text)
    started = NOW + timedelta(seconds=started_s)
    first = started.replace(microsecond=0) if by_hand else schedule.next_after(started)
    assert first is not None
    now = max(first, started) + timedelta(seconds=outage_s, milliseconds=1)

    done = list(steps(a_job(text, first), now))

    expected = [first, *schedule.between(first, now)]
    found: list[datetime] = []
    for each in slots(Expansion(tuple(o for e in done for o in e.occurrences), None)):
        last = each.last_scheduled_for or each.scheduled_for
        covered = expected[bisect_left(expected, each.scheduled_for) : bisect_right(expected, last)]
        assert len(covered) == (each.count or 1)
        found += covered
    assert found == expected
    assert [o.scheduled_for for e in done for o in released(e)] == [expected[-1]]
    assert done[-1].next_run == schedule.next_after(now)

"""What becomes of occurrences that nobody took up in time: each rule, with limits and deadlines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.misfire import ON_TIME, Misfire, Misfires
from cronq.domain.occurrence import (
    MOST_INSTANTS,
    MOST_MISSED_ROWS,
    DueJob,
    Expansion,
    Occurrence,
    expand,
    expand_all,
)
from cronq.domain.run import Trigger
from cronq.domain.schedule import parse

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NOW = NOON + timedelta(milliseconds=500)
EACH_MINUTE = "* * * * *"
ALL, SKIP, LATEST = Misfires(Misfire.ALL), Misfires(Misfire.SKIP), Misfires()


def a_job(rule: Misfires, late: timedelta, schedule: str | None = EACH_MINUTE, **fields: object) -> DueJob:
    """One that nobody looked at since so long before noon."""
    return replace(DueJob(schedule, None, "cron", None, NOON - late, False, misfires=rule), **fields)  # type: ignore[arg-type]  # the fields of DueJob


def told(expansion: Expansion) -> list[tuple[datetime, str]]:
    """Each row: its instant, and why it is missed or else its trigger."""
    return [(o.scheduled_for, o.missed or str(o.trigger)) for o in expansion.occurrences]


def test_all_runs_each_and_says_that_they_are_caught_up() -> None:
    assert told(expand(a_job(ALL, 3 * MINUTE), NOW)) == [
        (NOON - 3 * MINUTE, "catch-up"),
        (NOON - 2 * MINUTE, "catch-up"),
        (NOON - MINUTE, "catch-up"),
        (NOON, "schedule"),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 1_000])
def test_all_runs_no_more_than_its_limit_and_those_are_the_newest(limit: int) -> None:
    done = told(expand(a_job(replace(ALL, limit=limit), 4 * MINUTE), NOW))

    assert [at for at, why in done if why != "misfire"] == [NOON - k * MINUTE for k in range(5)][:limit][::-1]
    assert len(done) == 5


def test_skip_runs_none_that_is_late() -> None:
    later = NOON + ON_TIME + SECOND
    done = expand(a_job(SKIP, 2 * HOUR, "0 * * * *"), later)

    assert told(done) == [(NOON - k * HOUR, "misfire") for k in (2, 1, 0)]
    assert done.next_run == NOON + HOUR


@pytest.mark.parametrize(("late", "runs"), [(ON_TIME, True), (ON_TIME + timedelta(microseconds=1), False)])
def test_skip_runs_what_is_a_minute_late_at_most(late: timedelta, runs: bool) -> None:
    [(_, why)] = told(expand(a_job(SKIP, timedelta(0), "0 * * * *"), NOON + late))

    assert why == ("schedule" if runs else "misfire")


def test_skip_runs_the_newest_after_an_outage_if_that_one_is_on_time() -> None:
    assert told(expand(a_job(SKIP, MINUTE), NOW)) == [(NOON - MINUTE, "misfire"), (NOON, "catch-up")]


@pytest.mark.parametrize("rule", [LATEST, SKIP, ALL])
def test_what_is_past_its_start_deadline_never_runs_whatever_the_rule(rule: Misfires) -> None:
    strict = replace(rule, start_deadline=30 * SECOND)

    [(at, why)] = told(expand(a_job(strict, timedelta(0)), NOON + 31 * SECOND))
    assert (at, why) == (NOON, "deadline")
    [(_, why)] = told(expand(a_job(strict, timedelta(0)), NOON + 30 * SECOND))
    assert why == "schedule"


def test_of_all_that_were_missed_those_within_the_deadline_run() -> None:
    rule = replace(ALL, start_deadline=90 * SECOND)

    assert told(expand(a_job(rule, 3 * MINUTE), NOW)) == [
        (NOON - 3 * MINUTE, "deadline"),
        (NOON - 2 * MINUTE, "deadline"),
        (NOON - MINUTE, "catch-up"),
        (NOON, "schedule"),
    ]


def test_more_than_a_hundred_past_their_deadline_share_a_row_that_says_so() -> None:
    rule = replace(ALL, limit=500, start_deadline=90 * SECOND)
    found = expand(a_job(rule, 300 * MINUTE), NOW).occurrences

    summary = found[0]
    assert (summary.missed, summary.count) == ("deadline", 299)
    assert (summary.scheduled_for, summary.last_scheduled_for) == (NOON - 300 * MINUTE, NOON - 2 * MINUTE)
    assert [o.scheduled_for for o in found[1:]] == [NOON - MINUTE, NOON]


def test_beyond_the_limit_it_is_a_misfire_and_within_it_the_deadline() -> None:
    rule = replace(ALL, limit=300, start_deadline=90 * SECOND)
    beyond, within, *kept = expand(a_job(rule, 600 * MINUTE), NOW).occurrences

    assert (beyond.missed, beyond.count, within.missed, within.count) == ("misfire", 301, "deadline", 298)
    assert [o.missed for o in kept] == [None, None]


def test_an_hour_that_comes_twice_is_caught_up_as_its_rule_says() -> None:
    """Berlin, 2026-10-25: 02:30 is at 00:30 and 01:30 UTC."""
    due = a_job(ALL, timedelta(0), "30 2 * * *", timezone="Europe/Berlin")
    first = datetime(2026, 10, 24, 0, 30, tzinfo=UTC)
    now = datetime(2026, 10, 26, 12, 0, 0, 1, tzinfo=UTC)

    once = told(expand(replace(due, next_run=first), now))
    both = told(expand(replace(due, next_run=first, dst="both"), now))

    assert [at.isoformat()[8:16] for at, _ in both] == ["24T00:30", "25T00:30", "25T01:30", "26T01:30"]
    assert [at.isoformat()[8:16] for at, _ in once] == ["24T00:30", "25T00:30", "26T01:30"]
    assert {why for _, why in [*once, *both]} == {"catch-up"}


def test_a_next_run_written_by_hand_is_one_of_those_that_are_caught_up() -> None:
    by_hand = 17 * SECOND + 2 * HOUR

    assert [at for at, _ in told(expand(a_job(ALL, by_hand, "0 * * * *"), NOW))] == [
        NOON - by_hand,
        NOON - 2 * HOUR,
        NOON - HOUR,
        NOON,
    ]


@pytest.mark.parametrize("rule", [LATEST, SKIP, replace(ALL, limit=1), ALL, replace(ALL, limit=1_000)])
@pytest.mark.parametrize("count", [MOST_INSTANTS, MOST_INSTANTS + 1, 2 * MOST_INSTANTS + 7])
def test_more_than_a_step_looks_at_keeps_as_many_as_the_rule_wants(rule: Misfires, count: int) -> None:
    job = a_job(rule, (count - 1) * SECOND, None, interval=SECOND)
    found = list(expand_all(job, NOW))

    assert sum(o.count or 1 for o in found) == count
    assert [o.scheduled_for for o in found if not o.missed] == [
        NOON - k * SECOND for k in reversed(range(min(rule.kept, count)))
    ]


def steps(job: DueJob, now: datetime) -> Iterator[Expansion]:
    """As injectors do it, one step after the other until the job is not due any more."""
    while job.next_run is not None and job.next_run < now:
        expansion = expand(job, now)
        yield expansion
        job = replace(job, next_run=expansion.next_run, run_now=False)


def instants_of(found: Sequence[Occurrence], expected: Sequence[datetime]) -> Iterator[datetime]:
    """What the rows stand for; each that stands for many must stand for as many as it counts."""
    for each in found:
        last = each.last_scheduled_for or each.scheduled_for
        covered = expected[bisect_left(expected, each.scheduled_for) : bisect_right(expected, last)]
        assert len(covered) == (each.count or 1)
        yield from covered


RULES = st.builds(
    Misfires,
    st.sampled_from(list(Misfire)),
    st.sampled_from([1, 2, 99, 100, 101, 250, 1_000]),
    st.none() | st.sampled_from([1, 59, 60, 61, 3_600, 90_000]).map(lambda s: timedelta(seconds=s)),
)
SCHEDULES = st.sampled_from(
    [
        (EACH_MINUTE, None, "cron"),
        ("*/7 * * * *", "Europe/Berlin", "both"),
        ("30 2 * * *", "Europe/Berlin", "skip"),
        ("R/2026-10-24T00:00:11Z/PT13S", None, "cron"),
        ("R500/2026-10-24T00:00:00Z/PT61S", None, "cron"),
    ]
)
# Days, over a clock change; the schedule of 13 s then takes several steps.
GAPS = st.sampled_from([0, 1, 59, 61, 1_313, 86_399, 200_001]).flatmap(lambda s: st.integers(s, s + 300))
CHANGE = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)


@settings(max_examples=150, deadline=None)
@given(SCHEDULES, RULES, st.integers(0, 50_000), st.lists(GAPS, min_size=1, max_size=3), st.booleans())
def test_each_instant_has_exactly_one_row_whatever_the_rule_and_the_gaps(
    schedule: tuple[str, str | None, str], rule: Misfires, started_s: int, gaps: list[int], by_hand: bool
) -> None:
    text, zone, dst = schedule
    started = CHANGE + timedelta(seconds=started_s)
    parsed = parse(text, timezone=zone, dst=dst)
    first = started if by_hand else parsed.next_after(started)
    now = started + timedelta(milliseconds=1)
    job = DueJob(text, zone, dst, None, first, False, misfires=rule)
    found: list[Occurrence] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        done = list(steps(job, now))
        rows = [o for each in done for o in each.occurrences]
        found += rows
        kept = [o for o in rows if not o.missed]
        assert len(kept) <= rule.kept
        assert all(rule.refuses(o.scheduled_for, now) is None for o in kept)
        assert sum(1 for o in rows if o.missed) <= 2 * MOST_MISSED_ROWS + len(done)
        job = replace(job, next_run=done[-1].next_run) if done else job

    expected = [] if first is None or first >= now else [first, *parsed.between(first, now)]
    assert list(instants_of(found, expected)) == expected
    assert {o.trigger for o in found} <= {Trigger.SCHEDULE, Trigger.CATCH_UP}

"""What a due job gives rise to where a calendar closes some of its instants."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.calendar_document import read_calendar
from cronq.domain.calendar_rule import CalendarUse, JobCalendar, Rule
from cronq.domain.misfire import Misfire, Misfires
from cronq.domain.occurrence import MOST_ROWS, DueJob, Expansion, Occurrence, expand
from cronq.domain.run import Trigger
from cronq.domain.schedule import parse

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
NOW = NOON + timedelta(milliseconds=500)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# Twenty minutes of each hour are closed.
HOURLY = {"weekend": ["sat"], "blackouts": [{"schedule": "0 * * * *", "duration": "20m", "name": "break"}]}


def by(document: dict[str, object], rule: Rule = Rule.SKIP) -> JobCalendar:
    return JobCalendar(CalendarUse("days", rule), 1, read_calendar(document))


def a_job(
    next_run: datetime = NOON,
    schedule: str = "* * * * *",
    calendar: JobCalendar | None = None,
    misfires: Misfires | None = None,
) -> DueJob:
    calendar = calendar or by(HOURLY)
    made = DueJob(schedule, None, "cron", None, next_run, run_now=False, calendar=calendar)
    return replace(made, misfires=misfires) if misfires else made


def words(expansion: Expansion) -> list[str]:
    return [o.missed or o.skipped or str(o.trigger) for o in expansion.occurrences]


def test_a_closed_occurrence_is_skipped_and_the_next_one_is_what_follows() -> None:
    expansion = expand(a_job(), NOW)
    assert expansion.occurrences == (
        replace(expansion.occurrences[0], missed=None, skipped="calendar days: break"),
    )
    assert expansion.next_run == NOON + MINUTE


def test_one_on_time_after_closed_ones_is_no_catch_up() -> None:
    now = NOW + 20 * MINUTE
    expansion = expand(a_job(NOON + 18 * MINUTE), now)
    assert words(expansion) == ["calendar days: break"] * 2 + [Trigger.SCHEDULE]


def test_the_latest_open_one_is_caught_up_though_later_ones_are_closed() -> None:
    expansion = expand(a_job(NOON - 2 * MINUTE), NOW)
    assert words(expansion) == ["misfire", Trigger.CATCH_UP, "calendar days: break"]


def test_all_that_a_rule_lets_run_are_open() -> None:
    all_of_them = Misfires(Misfire.ALL, limit=3)
    expansion = expand(a_job(NOON - 4 * MINUTE, misfires=all_of_them), NOW)
    assert words(expansion) == ["misfire", *[Trigger.CATCH_UP] * 3, "calendar days: break"]


def test_a_request_is_no_matter_of_the_calendar() -> None:
    [wanted, skipped] = expand(replace(a_job(), run_now=True), NOW).occurrences
    assert (wanted.trigger, wanted.skipped) == (Trigger.MANUAL, None)
    assert skipped.skipped


def test_a_moved_job_is_due_where_it_moved() -> None:
    saturday = NOON + DAY
    calendar = by({}, Rule.NEXT)
    expansion = expand(a_job(NOON, "0 12 * * *", calendar), NOW)
    assert words(expansion) == [Trigger.SCHEDULE]
    assert expansion.next_run == saturday + 2 * DAY


def test_many_for_one_reason_share_a_row() -> None:
    calendar = by({})
    [row] = expand(a_job(NOON + DAY, calendar=calendar), NOW + DAY + 200 * MINUTE).occurrences
    assert (row.skipped, row.count) == ("calendar days: Saturday", 201)
    assert row.last_scheduled_for == NOON + DAY + 200 * MINUTE


def test_where_reasons_change_all_the_time_they_are_not_told_apart() -> None:
    now = NOW + 6_000 * MINUTE
    expansion = expand(a_job(NOON, calendar=by({**HOURLY, "weekend": []})), now)
    assert len(expansion.occurrences) < MOST_ROWS
    assert {o.missed for o in expansion.occurrences if o.count} == {"misfire"}
    assert sum(o.count or 1 for o in expansion.occurrences) == 6_001


def runs(expansion: Expansion) -> list[Occurrence]:
    return [o for o in expansion.occurrences if not (o.missed or o.skipped)]


@settings(max_examples=60, deadline=None)
@given(
    minutes=st.integers(0, 9_000),
    rule=st.sampled_from(list(Rule)),
    document=st.sampled_from([HOURLY, {}, {"weekend": ["fri", "sun"]}]),
    misfires=st.sampled_from([Misfires(), Misfires(Misfire.SKIP), Misfires(Misfire.ALL, limit=7)]),
)
def test_every_instant_is_accounted_for_exactly_once(
    minutes: int, rule: Rule, document: dict[str, object], misfires: Misfires
) -> None:
    calendar = by(document, rule)
    schedule = parse("*/3 * * * *", shift=calendar.shift())
    first = schedule.next_after(NOON)
    assert first is not None
    now = max(NOON + minutes * MINUTE, first) + timedelta(milliseconds=1)
    expected = [first, *schedule.between(first, now)]

    expansion = expand(a_job(first, "*/3 * * * *", calendar, misfires), now)

    found: list[datetime] = []
    for each in expansion.occurrences:
        last = each.last_scheduled_for or each.scheduled_for
        covered = expected[bisect_left(expected, each.scheduled_for) : bisect_right(expected, last)]
        assert len(covered) == (each.count or 1)
        found += covered
    assert found == expected
    is_open = [at for at in expected if calendar.verdict(at) is None]
    assert {o.scheduled_for for o in runs(expansion)} <= set(is_open[-misfires.kept :])
    if misfires.rule is not Misfire.SKIP:
        assert len(runs(expansion)) == min(len(is_open), misfires.kept)


@pytest.mark.parametrize("rule", [Rule.NEXT, Rule.PREVIOUS])
def test_what_is_moved_stays_accounted_for_over_steps(rule: Rule) -> None:
    calendar = by({}, rule)
    schedule = parse("0 */5 * * *", shift=calendar.shift())
    at = schedule.next_after(NOON)
    seen: list[datetime] = []
    while at is not None and at < NOON + 20 * DAY:
        expansion = expand(a_job(at, "0 */5 * * *", calendar), at + timedelta(milliseconds=1))
        seen += [o.scheduled_for for o in expansion.occurrences]
        at = expansion.next_run
    assert seen == list(schedule.between(NOON, NOON + 20 * DAY - timedelta(seconds=1)))

"""The audit: never a finding where all went as the rules say, always one where a row is lost or moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cronq.domain import audit
from cronq.domain.audit import MOST_NAMED, MOST_OCCURRENCES, Finding, Promise, Report, Revision, Row, Window
from cronq.domain.errors import InvalidInput
from cronq.domain.occurrence import DueJob, Expansion, Occurrence, expand, expand_all
from cronq.domain.run import Kind
from cronq.domain.schedule import Expressions, parse

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EACH_MINUTE = "* * * * *"
JOB = 7


def revision(
    number: int = 1,
    at: datetime = NOON,
    schedule: Expressions | None = EACH_MINUTE,
    *,
    by_hand: bool = False,
    is_on: bool = True,
    **more: Any,
) -> Revision:
    return Revision(number=number, at=at, schedule=schedule, by_hand=by_hand, is_on=is_on, **more)


def by_hand(number: int, at: datetime, schedule: Expressions | None = EACH_MINUTE, **more: Any) -> Revision:
    return revision(number, at, schedule, by_hand=True, **more)


def rows_at(*instants: datetime, number: int = 1) -> list[Row]:
    return [Row(f"run {at}", at, number) for at in instants]


def minutes(*numbers: int) -> list[datetime]:
    return [NOON + k * MINUTE for k in numbers]


def look(
    revisions: list[Revision],
    rows: list[Row],
    *,
    since: datetime = NOON - DAY,
    until: datetime = NOON + 5 * MINUTE,
) -> Report:
    """An audit long after `until`."""
    window = Window(since, until, until + HOUR)
    report = Report()
    touching = [r for r in rows if r.scheduled_for < until and (r.last or r.scheduled_for) >= since]
    report.add(JOB, Promise.of(revisions, window, MOST_OCCURRENCES), touching, window)
    return report


def expected(revisions: list[Revision], **window: datetime) -> list[datetime]:
    return [hole.scheduled_for for hole in look(revisions, [], **window).holes]


# -- what is expected


def test_a_job_owes_its_schedule_from_its_first_revision_on() -> None:
    assert expected([revision()]) == minutes(1, 2, 3, 4)


def test_the_window_has_its_beginning_and_not_its_end() -> None:
    assert expected([revision()], since=NOON + 2 * MINUTE, until=NOON + 4 * MINUTE) == minutes(2, 3)
    fraction = timedelta(microseconds=1)
    assert expected(
        [revision()], since=NOON + 2 * MINUTE + fraction, until=NOON + 4 * MINUTE + fraction
    ) == minutes(3, 4)
    assert expected([revision()], since=NOON + HOUR, until=NOON) == []


@pytest.mark.parametrize("off", [{"is_on": False}, {"is_on": False, "by_hand": True, "next_run": NOON}])
def test_nothing_is_owed_while_a_job_is_off(off: dict[str, Any]) -> None:
    gone = revision(2, NOON + 2 * MINUTE, replaced_run=NOON + 2 * MINUTE, **off)
    back = revision(3, NOON + 3 * MINUTE)

    assert expected([revision(), gone, back]) == minutes(1, 4)


def test_what_is_due_at_the_edit_that_takes_a_job_away_is_owed() -> None:
    """The injector was behind; the edit itself accounts for it."""
    removed = revision(2, NOON + 3 * MINUTE + SECOND, is_on=False, replaced_run=NOON + 2 * MINUTE)

    assert expected([revision(), removed]) == minutes(1, 2, 3)


def test_another_schedule_holds_from_the_edit_on() -> None:
    edited = revision(2, NOON + 90 * SECOND, "*/3 * * * *", replaced_run=NOON + 2 * MINUTE)

    assert expected([revision(), edited]) == minutes(1, 3)


def test_what_was_due_already_belongs_to_the_schedule_before() -> None:
    edited = revision(2, NOON + 150 * SECOND, "*/4 * * * *", replaced_run=NOON + MINUTE)

    assert expected([revision(), edited]) == minutes(1, 2, 4)


def test_another_command_changes_nothing() -> None:
    edits = [revision(k + 2, NOON + k * MINUTE, replaced_run=NOON + k * MINUTE) for k in range(1, 4)]

    assert expected([revision(), *edits]) == minutes(1, 2, 3, 4)


def test_a_bare_interval_counts_from_its_next_run() -> None:
    alone = by_hand(1, NOON, None, interval=100 * SECOND, next_run=NOON + 7 * SECOND)

    assert expected([alone]) == [NOON + (7 + k * 100) * SECOND for k in range(3)]


@pytest.mark.parametrize(
    ("schedule", "interval"),
    [(None, None), (None, timedelta(0)), (None, -SECOND), ("every tuesday", None), ("", MINUTE)],
)
def test_what_is_no_schedule_is_owed_once(schedule: str | None, interval: timedelta | None) -> None:
    assert expected([by_hand(1, NOON, schedule, interval=interval, next_run=NOON)]) == [NOON]


def test_what_somebody_skipped_or_stopped_by_hand_is_not_owed() -> None:
    moved = by_hand(2, NOON + 4 * MINUTE, next_run=NOON + 3 * MINUTE + SECOND, replaced_run=NOON + 2 * MINUTE)
    stopped = by_hand(3, NOON + HOUR, next_run=None, replaced_run=NOON + 4 * MINUTE)

    assert expected([revision(), moved, stopped]) == [NOON + MINUTE, NOON + 181 * SECOND]


def test_a_next_run_by_hand_in_the_past_is_owed_too() -> None:
    moved = by_hand(2, NOON + MINUTE, next_run=NOON - 17 * SECOND, replaced_run=NOON + MINUTE)

    assert expected([revision(), moved]) == [NOON - 17 * SECOND, NOON, *minutes(1, 2, 3, 4)]


def test_several_schedules_in_bounds_and_by_a_seed_are_owed_together() -> None:
    both = revision(schedule=("*/2 * * * *", "*/3 * * * *"), start="2026-11-21T12:02:00Z")
    ended = revision(end="2026-11-21T12:02:00Z")
    seeds = {tuple(expected([revision(schedule="H * * * *", seed=s)], until=NOON + HOUR)) for s in "abcdefgh"}

    assert expected([both], until=NOON + 8 * MINUTE) == minutes(2, 3, 4, 6)
    assert expected([ended]) == minutes(1, 2)
    assert len(seeds) > 1


def test_repeats_that_run_out_are_all_that_is_owed() -> None:
    three = revision(schedule="R3/2026-11-21T11:59:00Z/PT1M")

    assert expected([three]) == minutes(1)
    assert expected([three, revision(2, NOON + 2 * MINUTE, three.schedule)]) == minutes(1)


def test_the_last_revisions_are_enough_for_what_came_after_them() -> None:
    changes = [revision(k, NOON + k * MINUTE, replaced_run=NOON + k * MINUTE) for k in range(2, 5)]

    assert expected([revision(), *changes], since=NOON + 4 * MINUTE) == minutes(4)
    assert expected(changes[1:], since=NOON + 4 * MINUTE) == minutes(4)


# -- what is found


def test_all_rows_in_place_are_no_finding() -> None:
    report = look([revision()], rows_at(*minutes(1, 2, 3, 4)))

    assert (report.expected, report.found, report.is_clean()) == (4, 4, True)


def test_a_missing_row_is_a_hole() -> None:
    report = look([revision()], rows_at(*minutes(1, 2, 4)))

    assert (report.expected, report.found) == (4, 3)
    assert (report.holes, report.doubles, report.unexpected) == ([Finding(JOB, NOON + 3 * MINUTE)], [], [])


def test_a_row_that_was_moved_leaves_a_hole_and_is_unexpected() -> None:
    report = look([revision()], rows_at(*minutes(1, 2, 4), NOON + 3 * MINUTE + SECOND))

    assert [f.scheduled_for for f in report.holes] == minutes(3)
    assert [f.scheduled_for for f in report.unexpected] == [NOON + 3 * MINUTE + SECOND]


def test_two_rows_for_one_occurrence_are_a_double() -> None:
    twice = [*rows_at(*minutes(1, 2, 3, 4)), Row("again", NOON + 2 * MINUTE, 1)]

    assert look([revision()], twice).doubles == [
        Finding(JOB, NOON + 2 * MINUTE, (f"run {NOON + 2 * MINUTE}", "again"))
    ]


def test_a_row_for_many_accounts_for_all_between_its_ends() -> None:
    many = Row("many", NOON + MINUTE, 1, NOON + 3 * MINUTE, 3)

    assert look([revision()], [many, *rows_at(*minutes(4))]).is_clean()
    assert look([revision()], [many], since=NOON + 2 * MINUTE, until=NOON + 3 * MINUTE).is_clean()


def test_a_single_row_within_a_row_for_many_is_a_double() -> None:
    many = Row("many", NOON + MINUTE, 1, NOON + 3 * MINUTE, 3)
    report = look([revision()], [many, *rows_at(*minutes(2, 4))])

    assert [(f.scheduled_for, f.run_ids[0]) for f in report.doubles] == [(NOON + 2 * MINUTE, "many")]
    assert (report.holes, report.unexpected) == ([], [])


def test_a_row_for_many_that_counts_too_few_leaves_the_others_holes() -> None:
    report = look([revision()], [Row("few", NOON + MINUTE, 1, NOON + 4 * MINUTE, 2)])

    assert [f.scheduled_for for f in report.holes] == minutes(3, 4)
    assert [f.run_ids for f in report.unexpected] == [("few",)]


@pytest.mark.parametrize(
    "wrong",
    [
        Row("many", NOON + MINUTE, 1, NOON + 4 * MINUTE, 5),
        Row("many", NOON + MINUTE - SECOND, 1, NOON + 4 * MINUTE, 4),
        Row("many", NOON + MINUTE, 1, NOON + 4 * MINUTE + SECOND, 4),
        Row("many", NOON + MINUTE, 1, NOON + 4 * MINUTE, 0),
        Row("many", NOON + MINUTE + SECOND, 1, NOON + MINUTE + 2 * SECOND, 0),
    ],
)
def test_a_row_for_many_that_is_wrong_about_them_is_unexpected(wrong: Row) -> None:
    assert [f.run_ids for f in look([revision()], [wrong]).unexpected] == [("many",)]


def test_a_row_of_an_edit_that_came_after_the_revisions_were_read_is_passed_over() -> None:
    rows = [*rows_at(*minutes(1, 2, 3, 4)), *rows_at(NOON + SECOND, number=2)]

    assert look([revision()], rows).is_clean()


def test_an_occurrence_of_the_last_seconds_may_still_be_without_its_row() -> None:
    now = NOON + 2 * MINUTE
    for later, holes in ((audit.GRACE, 0), (audit.GRACE + SECOND, 1)):
        window = Window.of(NOON, None, now + later)
        report = Report()
        report.add(JOB, Promise.of([revision()], window, 10), rows_at(*minutes(1)), window)
        assert (len(report.holes), report.expected - report.found) == (holes, holes)


def test_what_is_not_due_yet_is_not_looked_at() -> None:
    assert Window.of(NOON, NOON + DAY, NOON + HOUR).until == NOON + HOUR
    assert Window.of(NOON, NOON + MINUTE, NOON + HOUR).until == NOON + MINUTE


# -- bounds


def test_too_many_occurrences_are_refused_with_the_limit_and_what_to_do() -> None:
    window = Window(NOON, NOON + 10 * DAY, NOON)
    each_second = revision(schedule="R/2026-11-21T00:00:00Z/PT1S")

    with pytest.raises(InvalidInput, match="200,000") as refused:
        Promise.of([each_second], window, MOST_OCCURRENCES)

    assert "narrow since and until" in refused.value.problems[0].hint


def test_no_more_than_a_thousand_of_a_kind_are_named_and_the_others_counted() -> None:
    report = look([revision()], [], until=NOON + (MOST_NAMED + 21) * MINUTE)

    assert (len(report.holes), report.not_named, report.expected) == (MOST_NAMED, 20, MOST_NAMED + 20)


# -- whatever happens


SCHEDULES = [
    EACH_MINUTE,
    "*/7 * * * *",
    "30 2 * * *",
    "R/2026-11-01T00:00:11Z/PT13S",
    "R40/2026-11-21T12:00:00Z/PT61S",
    "17 */5 * * 6",
]
INTERVALS = [None, timedelta(0), 45 * SECOND, timedelta(seconds=3_601), -SECOND]
SCHEDULE = st.sampled_from(SCHEDULES)


@dataclass
class Life:
    """One job under the real `expand`, edited as the store edits jobs; `now` is not a whole second."""

    now: datetime = NOON + timedelta(milliseconds=500)
    schedule: str | None = None
    interval: timedelta | None = None
    is_on: bool = False
    next_run: datetime | None = None
    revisions: list[Revision] = field(default_factory=list)
    rows: dict[datetime, Row] = field(default_factory=dict)
    ids: count[int] = field(default_factory=count)
    planned: datetime | None = None
    seen: tuple[object, ...] = ()

    def step(self) -> None:
        """What an injector does, until nothing is due."""
        while self.is_on and self.next_run is not None and self.next_run < self.now:
            self._see()
            self._keep(expand(self._due_job(), self.now))

    def _keep(self, expansion: Expansion) -> None:
        self._write(expansion.occurrences)
        self.next_run = self.planned = expansion.next_run

    def put(self, schedule: str, *, is_on: bool) -> None:
        self._see()
        before = self.revisions[-1] if self.revisions else None
        was_on, stood_at = self.is_on, self.next_run
        is_due = stood_at is not None and stood_at < self.now
        is_new, is_moved = is_on and not was_on, schedule != self.schedule
        if was_on and (is_moved or not is_on):
            self._write(list(expand_all(self._due_job(), self.now)))
        if is_new or is_moved or (is_due and not is_on):
            self.next_run = parse(schedule).next_after(self.now)
        self.schedule, self.interval, self.is_on, self.planned = schedule, None, is_on, self.next_run
        self._revise(by_hand=False, replaced=stood_at if before else None)

    def write(self, **columns: object) -> None:
        """With SQL: nothing but the columns changes."""
        for name, value in columns.items():
            setattr(self, name, value)

    def audited(self) -> tuple[list[Revision], list[Row]]:
        """What an audit finds at this moment."""
        seen = replace(self, revisions=list(self.revisions))
        seen._see()
        return seen.revisions, list(self.rows.values())

    def _see(self) -> None:
        if self._columns() != self.seen or self.next_run != self.planned:
            self._revise(by_hand=True, replaced=self.planned)

    def _revise(self, *, by_hand: bool, replaced: datetime | None) -> None:
        self.revisions.append(
            Revision(
                number=len(self.revisions) + 1,
                at=self.now,
                by_hand=by_hand,
                is_on=self.is_on,
                schedule=self.schedule,
                interval=self.interval,
                next_run=self.next_run,
                replaced_run=replaced,
            )
        )
        self.seen, self.planned = self._columns(), self.next_run

    def _columns(self) -> tuple[object, ...]:
        return self.schedule, self.interval, self.is_on

    def _due_job(self) -> DueJob:
        return DueJob(self.schedule, None, "cron", self.interval, self.next_run, run_now=False)

    def _write(self, occurrences: tuple[Occurrence, ...] | list[Occurrence]) -> None:
        for each in occurrences:
            if each.kind is Kind.SLOT:
                at, last = each.scheduled_for, each.last_scheduled_for
                row = Row(f"{next(self.ids)}", at, len(self.revisions), last, each.count)
                self.rows.setdefault(at, row)


Deed = Callable[[Life], None]


def _put(schedule: str, is_on: bool) -> Deed:
    return lambda life: life.put(schedule, is_on=is_on)


def _postpone(seconds: int) -> Deed:
    def deed(life: Life) -> None:
        if life.next_run is not None:
            life.write(next_run=life.next_run + seconds * SECOND)

    return deed


def _again(seconds: int) -> Deed:
    """Back over what has a row each, which stay as they are: where they share one, there are doubles then."""

    def deed(life: Life) -> None:
        life.step()
        at = life.next_run and life.next_run - seconds * SECOND
        if at and all(row.last is None or at > row.last for row in life.rows.values()):
            life.write(next_run=at)
            life.step()

    return deed


def _write(**columns: object) -> Deed:
    return lambda life: life.write(**columns)


DEEDS = st.one_of(
    st.builds(_put, SCHEDULE, st.booleans()),
    st.builds(_put, st.just(EACH_MINUTE), st.just(True)),
    st.builds(_postpone, st.integers(1, 4_000)),
    st.builds(_again, st.integers(1, 1_000)),
    st.builds(lambda s: _write(schedule=s), st.sampled_from([*SCHEDULES, "nonsense", None])),
    st.builds(lambda i: _write(schedule=None, interval=i), st.sampled_from(INTERVALS)),
    st.builds(lambda on: _write(is_on=on), st.booleans()),
    st.just(_write(next_run=None)),
    st.just(Life.step),
    st.just(Life.step),
)
PASSING = st.sampled_from([0, 1, 30, 61, 600, 9_000, 90_000]).flatmap(lambda s: st.integers(s, s + 60))
LIVES = st.lists(st.tuples(PASSING, DEEDS), min_size=1, max_size=12)
SETTINGS = settings(max_examples=60, deadline=None)


def lived(schedule: str, deeds: list[tuple[int, Deed]]) -> Life:
    """Ends with an injector that has nothing left to do."""
    life = Life()
    life.put(schedule, is_on=True)
    for seconds, deed in deeds:
        life.now += seconds * SECOND
        deed(life)
    life.step()
    return life


def audited(life: Life, rows: list[Row] | None = None, since: datetime = NOON - DAY) -> Report:
    revisions, found = life.audited()
    return look(revisions, found if rows is None else rows, since=since, until=life.now)


@SETTINGS
@given(SCHEDULE, LIVES, st.integers(-1_000, 200_000))
def test_what_went_by_the_rules_has_no_finding_in_any_window(
    schedule: str, deeds: list[tuple[int, Deed]], since_s: int
) -> None:
    life = lived(schedule, deeds)

    whole = audited(life)
    assert (whole.holes, whole.doubles, whole.unexpected) == ([], [], [])
    assert whole.found == sum(row.missed_count or 1 for row in life.rows.values())
    assert audited(life, since=NOON + since_s * SECOND).is_clean()


@SETTINGS
@given(SCHEDULE, LIVES, st.data())
def test_any_row_that_is_taken_away_is_named(
    schedule: str, deeds: list[tuple[int, Deed]], data: st.DataObject
) -> None:
    life = lived(schedule, deeds)
    lost = a_row(life, data)

    report = audited(life, [row for row in rows_of(life) if row is not lost])

    assert report.holes[0] == Finding(JOB, lost.scheduled_for)
    assert report.expected - report.found == (lost.missed_count or 1)
    assert (report.doubles, report.unexpected) == ([], [])


@SETTINGS
@given(SCHEDULE, LIVES, st.data(), st.sampled_from([-61, -60, -2, -1, 1, 2, 31, 60, 86_400]))
def test_any_row_that_is_moved_is_named(
    schedule: str, deeds: list[tuple[int, Deed]], data: st.DataObject, by_s: int
) -> None:
    """For one occurrence: its own is a hole then, whatever is where it went. For many: it is wrong itself."""
    life = lived(schedule, deeds)
    moved = a_row(life, data)
    others = [row for row in rows_of(life) if row is not moved]

    report = audited(life, [*others, moved._replace(scheduled_for=moved.scheduled_for + by_s * SECOND)])

    if moved.missed_count is None:
        assert report.holes == [Finding(JOB, moved.scheduled_for)]
    else:
        # Out of the window, it leaves what it stood for behind.
        found = [f.run_ids for f in report.unexpected] or report.holes[0].scheduled_for
        assert found in ([(moved.run_id,)], moved.scheduled_for)


@SETTINGS
@given(SCHEDULE, LIVES, st.data())
def test_any_occurrence_that_has_a_second_row_is_named(
    schedule: str, deeds: list[tuple[int, Deed]], data: st.DataObject
) -> None:
    life = lived(schedule, deeds)
    one = a_row(life, data)
    at = data.draw(st.sampled_from([one.scheduled_for, one.last or one.scheduled_for]))

    report = audited(life, [*rows_of(life), Row("second", at, one.revision)])

    assert report.doubles == [Finding(JOB, at, (one.run_id, "second"))]
    assert (report.holes, report.unexpected) == ([], [])


@pytest.mark.parametrize("later", [SECOND, MINUTE, DAY])
def test_an_injector_that_moves_next_run_too_far_is_found_out(later: timedelta) -> None:
    life = Life()
    life.put(EACH_MINUTE, is_on=True)
    life.now += MINUTE
    whole = expand(life._due_job(), life.now)
    assert whole.next_run is not None
    life._keep(replace(whole, next_run=whole.next_run + later))
    life.now += DAY + MINUTE
    life.step()

    assert not audited(life).is_clean()


def rows_of(life: Life) -> list[Row]:
    return life.audited()[1]


def a_row(life: Life, data: st.DataObject) -> Row:
    assume(life.rows)
    return data.draw(st.sampled_from(rows_of(life)))

"""The audit: which occurrences a job's revisions promise, and whether each has exactly one row of the ledger.

A second opinion: it shares the schedule values with the injector, and nothing of how that expands jobs.
What is expected follows from the revisions alone. Each that is on (enabled, not removed) owes a series:

- One by hand begins at the `next_run` that somebody wrote or left; its schedule, or else its bare
  interval counted from there, goes on after it. Neither of them, or one that cannot be read: once.
- A PUT that adds a job, switches it on or changes when it is due begins after its instant; it goes on
  where the revision before stood if it changes other things only.
- The series ends where the next revision found the job standing (`replaced_run`). All before that has
  rows by then. Where the next revision begins anew or is off, what is due at its instant belongs to
  it too: a PUT that removes or disables a job, or changes when it is due, settles that.
- Nothing is owed before the first revision's series, nor while a job is off. What somebody skips or
  stops by writing `next_run` with SQL is not owed, because the next revision tells where it stood.

Requests (run now) and their rows are no part of this. Instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from cronq.domain.calendar_rule import JobCalendar
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.recurrence import SECOND
from cronq.domain.schedule import Expressions, Schedule, ScheduleError, every, parse
from cronq.domain.timing import TIMING_FIELDS

# An injector that is at work has this long from the instant on; later, an occurrence without a row is a hole.
GRACE = timedelta(seconds=5)
# In one audit: ten seconds of work or so, most of it reading rows, and 100 MB.
MOST_OCCURRENCES = 200_000
# Of each kind; further ones are counted.
MOST_NAMED = 1_000
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A job as it was from one edit to the next; `at` is the edit's instant, or when we saw it.

    `interval` counts only without `schedule`. `replaced_run` is where the revision before stood: its
    first occurrence that had no row yet.
    """

    number: int
    at: datetime
    by_hand: bool
    is_on: bool
    schedule: Expressions | None
    timezone: str | None = None
    dst: str = "cron"
    seed: str = ""
    start: str | None = None
    end: str | None = None
    calendar: JobCalendar | None = None
    interval: timedelta | None = None
    next_run: datetime | None = None
    replaced_run: datetime | None = None

    @property
    def stood_at(self) -> datetime | None:
        """Where a PUT that changes nothing of when it is due goes on."""
        return self.replaced_run or self.next_run

    def continues(self, before: Revision | None) -> bool:
        """Whether it takes up the series of the revision before where that stood."""
        if self.by_hand:
            return True
        if before is None or not before.is_on or not self.is_on:
            return False
        return self.timing == before.timing

    def first(self, before: Revision | None) -> datetime | None:
        """Where its series begins, None: it has none."""
        if not self.is_on:
            return None
        if self.by_hand:
            return self.next_run
        if self.continues(before):
            return self.stood_at
        schedule = self.rule(self.at)
        return schedule.next_after(self.at) if schedule else None

    def rule(self, first: datetime) -> Schedule | None:
        """What goes on after the first of the series; None: nothing does."""
        try:
            if self.schedule is not None:
                return parse(
                    self.schedule,
                    timezone=self.timezone,
                    dst=self.dst,
                    seed=self.seed,
                    start=self.start,
                    end=self.end,
                    shift=self.calendar.shift() if self.calendar else None,
                )
            return every(self.interval, first) if self.interval else None
        except ScheduleError:
            return None

    @property
    def timing(self) -> tuple[object, ...]:
        """Of an edit, a change of one of these moves the job, and of the calendar that it moves by."""
        plain = (getattr(self, name) for name in sorted(TIMING_FIELDS - {"calendar"}))
        return (*plain, self.calendar.timing if self.calendar else None)


class Row(NamedTuple):
    """A slot's row of the ledger; one with a `missed_count` stands for so many occurrences, up to `last`."""

    run_id: str
    scheduled_for: datetime
    revision: int | None = None
    last: datetime | None = None
    missed_count: int | None = None


@dataclass(frozen=True)
class Window:
    """Occurrences in [since, until) are looked at; from `grace_from` on one may still be without its row."""

    since: datetime
    until: datetime
    grace_from: datetime

    @classmethod
    def of(cls, since: datetime, until: datetime | None, now: datetime) -> Window:
        """What is not due yet is left out: `until` is the database's `now` at most, and by default."""
        return cls(since, min(until or now, now), now - GRACE)


@dataclass(frozen=True)
class Finding:
    """One thing wrong: an occurrence with its rows (`run_ids`), none of them for a hole."""

    job_id: int
    scheduled_for: datetime
    run_ids: tuple[str, ...] = ()


@dataclass
class Report:
    """What an audit found: `expected` == `found` + the number of holes.

    A double is an occurrence that several rows stand for. An unexpected row stands for what was no
    occurrence; or one for many does not stand for exactly those from its first to its last.
    """

    expected: int = 0
    found: int = 0
    holes: list[Finding] = field(default_factory=list)
    doubles: list[Finding] = field(default_factory=list)
    unexpected: list[Finding] = field(default_factory=list)
    not_named: int = 0

    def is_clean(self) -> bool:
        return not (self.holes or self.doubles or self.unexpected)

    def add(self, job_id: int, promise: Promise, rows: Iterable[Row], window: Window) -> None:
        """Hold one job's rows that touch the window against what its revisions promise for it."""
        owed: dict[datetime, tuple[str, ...]] = dict.fromkeys(promise.instants, ())
        unexpected = [row for row in rows if not promise.account(row, owed)]
        holes = [at for at, run_ids in owed.items() if not run_ids and at < window.grace_from]
        doubled = [(at, run_ids) for at, run_ids in owed.items() if len(run_ids) > 1]
        found = sum(1 for run_ids in owed.values() if run_ids)
        self.found += found
        self.expected += found + len(holes)
        self._name(self.holes, [Finding(job_id, at) for at in holes])
        self._name(self.doubles, [Finding(job_id, at, run_ids) for at, run_ids in doubled])
        self._name(self.unexpected, [Finding(job_id, r.scheduled_for, (r.run_id,)) for r in unexpected])

    def _name(self, named: list[Finding], more: list[Finding]) -> None:
        room = MOST_NAMED - len(named)
        named += more[:room]
        self.not_named += max(len(more) - room, 0)


@dataclass(frozen=True)
class _Series:
    """What one revision owes: `first` and what `rule` has after it, before `end` (None: without end)."""

    revision: int
    first: datetime
    rule: Schedule | None
    end: datetime | None

    def between(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Its occurrences in [since, until), ascending."""
        until = until if self.end is None else min(until, self.end)
        if since <= self.first < until:
            yield self.first
        if self.rule is None or until <= self.first:
            return
        after = self.first if since <= self.first else max(self.first, _second_before(since))
        yield from self.rule.between(after, _second_before(until))


@dataclass(frozen=True)
class Promise:
    """A job's series, and their occurrences in a window, ascending; two series may share some."""

    every_series: tuple[_Series, ...]
    last_revision: int
    instants: tuple[datetime, ...]
    open_revisions: frozenset[int] = frozenset()  # whose instants follow from the ends of their runs

    @classmethod
    def of(cls, revisions: Sequence[Revision], window: Window, room: int) -> Promise:
        """From the revisions in order, the job's first one on or only the last ones.

        In the latter case nothing of the first of them may be in the window: it only tells what the
        second took over. Raises InvalidInput when there are more than `room` occurrences.
        """
        every_series = tuple(_series(revisions))
        instants: set[datetime] = set()
        for series in every_series:
            instants.update(islice(series.between(window.since, window.until), room + 1))
            if len(instants) > room:
                raise InvalidInput([_too_many(window)])
        last_revision = revisions[-1].number if revisions else 0
        rules = {revision.number: revision.rule(revision.at) for revision in revisions}
        open_ = frozenset(number for number, rule in rules.items() if rule is not None and rule.waits_for_end)
        return cls(every_series, last_revision, tuple(sorted(instants)), open_)

    def account(self, row: Row, owed: dict[datetime, tuple[str, ...]]) -> bool:
        """Note a row at each occurrence that it stands for; whether it stands for just what it says.

        A row of a revision that came after those we know is passed over.
        """
        if (row.revision or 0) > self.last_revision:
            return True
        if row.missed_count is None:
            is_open = row.revision in self.open_revisions
            claimed, is_right = [row.scheduled_for], is_open or row.scheduled_for in owed
        else:
            claimed, is_right = self._claimed(row, row.missed_count)
        for at in claimed:
            if at in owed:
                owed[at] += (row.run_id,)
        return is_right

    def _claimed(self, row: Row, count: int) -> tuple[list[datetime], bool]:
        """The occurrences of its revision from its first instant to its last, as many as it counts."""
        last = row.last or row.scheduled_for
        known = [s for s in self.every_series if s.revision == row.revision] or self.every_series
        found: set[datetime] = set()
        for series in known:
            found.update(islice(series.between(row.scheduled_for, last + MICROSECOND), MOST_OCCURRENCES))
        between = sorted(found)
        is_right = len(between) == count > 0 and (between[0], between[-1]) == (row.scheduled_for, last)
        return between[:count], is_right


def _series(revisions: Sequence[Revision]) -> Iterator[_Series]:
    for before, revision, after in zip((None, *revisions), revisions, (*revisions[1:], None), strict=False):
        is_known = before is not None or revision.number == 1
        first = revision.first(before) if is_known else None
        if first is not None:
            yield _Series(revision.number, first, revision.rule(first), _end(revision, after))


def _end(revision: Revision, after: Revision | None) -> datetime | None:
    if after is None:
        return None
    if after.continues(revision):
        # Where it stood nowhere, all that it owed has its rows, whatever a person made of it then.
        return after.replaced_run or after.at
    return max(after.replaced_run or after.at, after.at)


def _second_before(instant: datetime) -> datetime:
    """The last whole second before an instant."""
    floor = instant.replace(microsecond=0)
    return floor if floor < instant else floor - SECOND


def _too_many(window: Window) -> Problem:
    message = (
        f"more than {MOST_OCCURRENCES:,} occurrences from {window.since.isoformat()}"
        f" to {window.until.isoformat()}, the most that one audit looks at"
    )
    return Problem("too_many", "", message, "narrow since and until, or name a category or a job")

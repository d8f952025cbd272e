"""The audit on whatever a job may go through: edits, removals, SQL, outages and orders about them, mixed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cronq import store
from cronq.domain.audit import Report, Window
from cronq.domain.errors import InvalidInput
from cronq.domain.gate import Limit
from cronq.domain.missed import ORDERED, Action, Order, Which
from cronq.injector.expand import adopt_unseen_once, expand_once
from cronq.store import audits, missed_orders
from cronq.store.audits import Scope as AuditScope
from cronq.store.missed import Scope
from tests.factories import HOUR, NOON, SECOND, Clock, by_hand, definition, execute, put, runs_of, wipe

Deed = Callable[[store.Store, Clock], None]

SCHEDULES = [
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "R/2026-11-01T00:00:11Z/PT13S",
    "R40/2026-11-21T12:00:00Z/PT61S",
]


def work(db: store.Store, _: Clock) -> None:
    """An injector that is at work until nothing is due."""
    adopt_unseen_once(db)
    while expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND).jobs:
        pass


def _put(*definitions: dict[str, object]) -> Deed:
    return lambda db, clock: void(put(db, *definitions, now=clock.now))


def void(_: object) -> None:
    """For a deed, whose result nobody wants."""


def _sql(change: str) -> Deed:
    return lambda db, _: execute(db, f"UPDATE jobs SET {change}")


def _order(action: Action, which: Which, since_s: int, length_s: int) -> Deed:
    """Of the outage board, about a part of what was missed."""

    def deed(db: store.Store, clock: Clock) -> None:
        work(db, clock)
        since = clock.now.replace(microsecond=0) - since_s * SECOND
        scope = Scope(since=since, until=since + length_s * SECOND, standings=ORDERED)
        to = clock.now + HOUR if action is Action.SHIFT else None
        order = Order(action=action, actor="ann", which=which, to=to)
        with suppress(InvalidInput):  # more than one order lets out
            db.transact(lambda tx: missed_orders.carry_out(tx, order, scope, clock.now, Limit()))

    return deed


def _move(seconds: int) -> Deed:
    """Not back to where a row stands for many: what runs again there is a double, and told as one."""

    def deed(db: store.Store, clock: Clock) -> None:
        if seconds < 0:
            work(db, clock)
        at = clock.now.replace(microsecond=0) + seconds * SECOND
        if all(at > (r["last_scheduled_for"] or NOON - HOUR) for r in runs_of(db)):
            execute(db, "UPDATE jobs SET next_run = :at", at=by_hand(at))
        if seconds < 0:
            work(db, clock)

    return deed


DEEDS = st.one_of(
    st.builds(
        lambda s, on, rule: _put(definition(schedule=s, enabled=on, misfire=rule, misfire_limit=150)),
        st.sampled_from(SCHEDULES),
        st.booleans(),
        st.sampled_from(["latest", "skip", "all"]),
    ),
    st.builds(
        _order,
        st.sampled_from(list(Action)),
        st.sampled_from(list(Which)),
        st.sampled_from([700, 9_000, 90_000, 10**6]),
        st.sampled_from([60, 1_800, 10**6]),
    ),
    st.builds(lambda name: _put(definition(command=name)), st.sampled_from(["a", "b"])),
    st.sampled_from([_put(), _put(definition()), _put(definition(), definition("other"))]),
    st.builds(_move, st.integers(-1_000, 4_000)),
    st.sampled_from(
        [
            _sql("schedule = '*/5 * * * *'"),
            _sql("schedule = 'nonsense'"),
            _sql("schedule = NULL, `interval` = '1970-01-01 00:00:45'"),
            _sql("schedule = NULL, `interval` = NULL"),
            _sql("enabled = 1 - enabled"),
            _sql("next_run = NULL"),
            _sql("run_now = 1"),
            _sql("removed_at = '2026-11-21 12:00:00'"),
            _sql("removed_at = NULL"),
            work,
            work,
            work,
        ]
    ),
)
PASSING = st.sampled_from([0, 1, 30, 61, 600, 9_000, 90_000]).flatmap(lambda s: st.integers(s, s + 60))


def audited(db: store.Store, clock: Clock, since_s: int = -3_600) -> Report:
    return audits.audit(db, Window.of(NOON + since_s * SECOND, None, clock.now), AuditScope())


# Shrinking what is this slow takes minutes.
PHASES = [phase for phase in Phase if phase is not Phase.shrink]


@settings(
    max_examples=40,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(PASSING, DEEDS), min_size=1, max_size=10), st.integers(-100, 100_000))
def test_whatever_happens_by_the_rules_has_no_finding(
    db: store.Store, clock: Clock, deeds: list[tuple[int, Deed]], since_s: int
) -> None:
    wipe(db)
    clock.now = NOON + timedelta(milliseconds=500)
    put(db, definition(), now=clock.now)
    for seconds, deed in deeds:
        clock.tick(seconds * SECOND)
        deed(db, clock)
    work(db, clock)

    report = audited(db, clock)

    slots = [r for r in runs_of(db) if r["kind"] == "slot"]
    assert (report.holes, report.doubles, report.unexpected) == ([], [], [])
    assert report.expected == report.found == sum(r["missed_count"] or 1 for r in slots)
    assert audited(db, clock, since_s).is_clean()
    if slots:
        lost = slots[since_s % len(slots)]
        execute(db, "DELETE FROM runs WHERE run_id = :id", id=lost["run_id"])
        clock.tick(HOUR)
        found = audits.audit(db, Window(NOON - HOUR, clock.now - HOUR, clock.now - HOUR), AuditScope())
        assert found.holes[0].scheduled_for == lost["scheduled_for"]

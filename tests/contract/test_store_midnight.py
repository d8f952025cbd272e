"""A thousand jobs due at one instant, through limits: in order, never too many at once, none forgotten."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.event import EventType
from cronq.domain.gate import Limit
from cronq.domain.run import State
from cronq.injector.expand import expand_once
from cronq.injector.release import forget_once, release_once, set_free_once
from cronq.store import limits, runs
from cronq.store.claims import Granted
from tests.factories import Clock, ask_all, claim, definition, put, runs_of, said, select, tell

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
CAP, LOCKED_AT_ONCE = 40, 15


@pytest.fixture(autouse=True)
def after_midnight(clock: Clock) -> Clock:
    clock.now = MIDNIGHT - timedelta(hours=1)
    return clock


def fill(db: store.Store, clock: Clock) -> None:
    """600 jobs of one category, half of which share a lock, and 400 of another."""
    jobs = [definition(f"a {n}", schedule="@daily", locks=["db"] if n % 2 else []) for n in range(600)]
    put(db, *jobs, category="a", now=clock.now)
    jobs = [definition(f"b {n}", schedule="@daily", priority=n % 3) for n in range(400)]
    put(db, *jobs, category="b", now=clock.now)
    [a] = select(db, "SELECT id FROM categories WHERE name = 'a'")
    with db.begin() as tx:
        limits.set_limit(tx, f"category:{a['id']}", Limit(CAP), "ana", clock.now)
        limits.set_limit(tx, "lock:db", Limit(LOCKED_AT_ONCE), "ana", clock.now)


def inject(db: store.Store) -> None:
    """One step of an injector."""
    expand_once(db, locked_by="i", window=300, publish_lease=timedelta(seconds=2))
    set_free_once(db, catch_up_rate=100)
    release_once(db, 300)


def let_out(db: store.Store) -> list[dict[str, Any]]:
    with db.read() as tx:
        return runs.listed(tx, states=[State.QUEUED], limit=1_000)


def test_a_thousand_jobs_due_at_midnight_drain_through_their_limits(db: store.Store, clock: Clock) -> None:
    fill(db, clock)
    locked = {
        r["id"] for r in select(db, "SELECT id FROM jobs WHERE name LIKE 'a %' AND definition IS NOT NULL")
    }
    of_a = {r["id"] for r in select(db, "SELECT id FROM jobs WHERE name LIKE 'a %'")}
    clock.now = MIDNIGHT + timedelta(seconds=1)
    done: list[str] = []
    steps = 0
    while len(done) < 1_000:
        steps += 1
        assert steps < 100, f"{len(done)} of 1,000 have run, and nothing moves any more"
        inject(db)
        going = let_out(db)
        at_once = Counter((r["job_id"] in of_a, r["job_id"] in locked) for r in going)
        assert at_once[True, True] + at_once[True, False] <= CAP
        assert at_once[True, True] <= LOCKED_AT_ONCE
        clock.tick()
        answers = ask_all(db, [claim(r["run_id"]) for r in going], now=clock.now)
        assert all(isinstance(answer, Granted) for _, answer in answers)
        tell(db, *(said(EventType.STARTING, r["run_id"], at=clock.now) for r in going), now=clock.now)
        ends = (said(EventType.FINISHED, r["run_id"], return_code=0, at=clock.now) for r in going)
        tell(db, *ends, now=clock.now)
        done += [r["run_id"] for r in going]

    found = runs_of(db)
    assert Counter(r["state"] for r in found) == {State.SUCCEEDED: 1_000}
    assert {r["scheduled_for"] for r in found} == {MIDNIGHT}
    started = [
        r for r in sorted(found, key=lambda r: (r["claimed_at"], r["priority"])) if r["job_id"] not in of_a
    ]
    assert [r["priority"] for r in started] == sorted(r["priority"] for r in started)
    assert select(db, "SELECT * FROM parked") == []
    while forget_once(db):
        pass
    assert select(db, "SELECT * FROM holds") == []

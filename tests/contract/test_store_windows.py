"""Maintenance windows: what they hold, and that it goes on when they end."""

from __future__ import annotations

from typing import Any

import pytest

from cronq import store
from cronq.domain.errors import InvalidInput, NotFound
from cronq.domain.run import State, Trigger
from cronq.domain.window import read_window
from cronq.injector.expand import expand_once
from cronq.injector.release import release_once, set_free_once
from cronq.store import requests, windows
from cronq.store.requests import Wish
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    definition,
    execute,
    job_named,
    put,
    runs_of,
    select,
)

ALL = {"scope": "all", "from": "2026-11-21T12:00:00Z", "to": "2026-11-21T13:00:00Z"}
EACH_NOON = {"scope": "queue:slow", "schedule": "0 12 * * *", "duration": "1h"}


@pytest.fixture(autouse=True)
def before_noon(clock: Clock) -> Clock:
    clock.now = NOON - MINUTE
    return clock


def put_window(db: store.Store, document: dict[str, Any], name: str = "move") -> bool:
    window = read_window(document)
    return db.transact(lambda tx: windows.put(tx, name, window, "ann", store.now(tx)))


def step(db: store.Store) -> None:
    """An injector's steps until nothing moves: what a window held passes the gate of what is late."""
    expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND)
    for _ in range(4):
        set_free_once(db, catch_up_rate=1_000)
        release_once(db, 2_000)


def at_noon(db: store.Store, clock: Clock, *definitions: dict[str, object]) -> None:
    """The jobs, hourly, as an injector has expanded them a second after noon."""
    put(db, *(definition(schedule="0 12 * * *") | each for each in definitions), now=clock.now)
    clock.now = NOON + SECOND
    step(db)


def states(db: store.Store) -> list[str]:
    return [run["state"] for run in runs_of(db)]


def gates(db: store.Store) -> list[str]:
    return [row["gate"] for row in select(db, "SELECT gate FROM parked ORDER BY run_id")]


def test_what_a_window_holds_waits_and_goes_on_when_it_ends(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL)
    at_noon(db, clock, {})
    assert (states(db), gates(db)) == ([State.SCHEDULED], ["window:move"])

    clock.now = NOON + HOUR - SECOND
    step(db)
    assert states(db) == [State.SCHEDULED]

    clock.now = NOON + HOUR
    step(db)
    assert (states(db), gates(db)) == ([State.QUEUED], [])


def test_before_its_start_a_window_holds_nothing(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL | {"from": "2026-11-21T12:00:02Z"})
    at_noon(db, clock, {})

    assert states(db) == [State.QUEUED]


def test_a_window_of_a_queue_holds_that_queue_only(db: store.Store, clock: Clock) -> None:
    put_window(db, EACH_NOON)
    at_noon(db, clock, {}, {"name": "slow", "routing_key": "slow"})

    assert {r["routing_key"]: r["state"] for r in runs_of(db)} == {
        "default": State.QUEUED,
        "slow": State.SCHEDULED,
    }


def test_a_window_of_a_category_holds_that_category_only(db: store.Store, clock: Clock) -> None:
    put(db, definition("other", schedule="@hourly"), category="shop", now=clock.now)
    put_window(db, ALL | {"scope": "category:shop"})
    at_noon(db, clock, {})

    held = [r for r in runs_of(db) if r["state"] == State.SCHEDULED]
    assert [r["job_id"] for r in held] == [job_named(db, "other").id]
    assert len(runs_of(db)) == 2


def test_what_a_person_orders_in_a_window_waits_too(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL)
    at_noon(db, clock, {"schedule": "@yearly"})
    wish = Wish(job_named(db).id, Trigger.API, "ana")
    db.transact(lambda tx: requests.request_run(tx, wish, clock.now))

    step(db)

    assert (states(db), gates(db)) == ([State.SCHEDULED], ["window:move"])


def test_what_a_dropped_window_held_goes_on(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL)
    at_noon(db, clock, {})

    db.transact(lambda tx: windows.drop(tx, "move"))
    step(db)

    assert states(db) == [State.QUEUED]
    with pytest.raises(NotFound):
        db.transact(lambda tx: windows.drop(tx, "move"))


def test_after_one_of_two_windows_the_other_holds(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL, "a")
    put_window(db, ALL | {"to": "2026-11-21T14:00:00Z"}, "b")
    at_noon(db, clock, {})

    clock.now = NOON + HOUR + SECOND
    step(db)
    assert {r["state"] for r in runs_of(db)} == {State.SCHEDULED}
    assert set(gates(db)) == {"window:b"}

    clock.now = NOON + 2 * HOUR + SECOND
    step(db)
    assert State.QUEUED in states(db)


def test_the_same_window_again_changes_nothing_and_another_replaces_it(db: store.Store) -> None:
    assert put_window(db, ALL)
    assert not put_window(db, ALL)
    assert put_window(db, EACH_NOON)

    with db.read() as tx:
        [row] = windows.listed(tx)
    assert (row["subject"], row["actor"]) == ("queue:slow", "ann")


def test_a_window_of_an_unknown_category_is_refused(db: store.Store) -> None:
    put(db, category="shop")

    with pytest.raises(InvalidInput) as caught:
        put_window(db, ALL | {"scope": "category:shops"})

    [problem] = caught.value.problems
    assert (problem.pointer, problem.hint) == ("/scope", 'did you mean "shop"?')


def test_a_window_that_somebody_broke_with_sql_holds_nothing(db: store.Store, clock: Clock) -> None:
    put_window(db, ALL)
    execute(db, "UPDATE windows SET document = '{'")
    at_noon(db, clock, {})

    assert states(db) == [State.QUEUED]

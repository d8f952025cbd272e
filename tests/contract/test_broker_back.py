"""A broker that was away may have lost its messages: what waits on it is published again at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from cronq import bus, store
from cronq.bus import Bus
from cronq.injector.service import Injector
from tests.factories import (
    MINUTE,
    NOON,
    SECOND,
    Clock,
    ask,
    claim,
    insert_job,
    make_settings,
    run_of,
    runs_of,
)


class Flaky:
    """A bus that says when it is back."""

    def __init__(self, inner: Bus) -> None:
        self.inner = inner
        self.come_back: Callable[[], None] = lambda: None

    def on_reconnect(self, call: Callable[[], None]) -> None:
        self.come_back = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    made = Flaky(bus.open(f"memory:{secrets.token_hex(8)}", name="test"))
    yield made
    made.inner.close()


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def make_injector(db: store.Store, flaky: Flaky, **environ: str) -> Injector:
    return Injector(make_settings(**environ), db, cast(Bus, flaky), "host.1")


def waiting(flaky: Flaky) -> int:
    stats = flaky.inner.stats("cronq_jobs")
    return stats.ready if stats else 0


def test_what_nobody_has_claimed_is_published_again_once(db: store.Store, flaky: Flaky, clock: Clock) -> None:
    injector = make_injector(db, flaky)
    insert_job(db, next_run=NOON)
    injector.step()
    clock.tick(SECOND)

    flaky.come_back()
    injector.step()
    injector.step()

    [run] = runs_of(db)
    assert (waiting(flaky), run["publishes"]) == (2, 2)
    assert run["publish_at"] == clock.now + 2 * MINUTE


def test_a_claimed_run_is_not(db: store.Store, flaky: Flaky, clock: Clock) -> None:
    injector = make_injector(db, flaky)
    insert_job(db, next_run=NOON)
    injector.step()
    [run] = runs_of(db)
    ask(db, claim(run["run_id"]), now=clock.now)

    flaky.come_back()
    injector.step()

    assert waiting(flaky) == 1
    assert run_of(db, run["run_id"])["publish_at"] is None


def test_nor_is_one_that_a_runner_of_the_ancestor_may_have_taken(
    db: store.Store, flaky: Flaky, clock: Clock
) -> None:
    injector = make_injector(db, flaky, CRONQ_PLAIN_QUEUES="cronq_jobs")
    insert_job(db, next_run=NOON)
    injector.step()

    flaky.come_back()
    injector.step()

    assert waiting(flaky) == 1

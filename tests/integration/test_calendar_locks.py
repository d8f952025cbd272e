"""Categories and their calendars edited at once: no job is left with a calendar that is not in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cronq.domain.calendar_document import read_calendar
from cronq.injector.expand import expand_once
from cronq.store import Store, calendar_edits, calendars, migrate, now, open_store
from tests.factories import SECOND, definition, job_named, put, select

pytestmark = pytest.mark.integration

ROUNDS = 12


@pytest.fixture
def db(store_url: str) -> Iterator[Store]:
    """A migrated store, of each kind in turn."""
    made = open_store(store_url)
    migrate.upgrade(made)
    yield made
    made.close()


def change(db: Store, number: int) -> None:
    calendar = read_calendar({"description": f"the {number}th"})
    db.transact(lambda tx: calendar_edits.put(tx, "days", calendar, "ann", now(tx)))


def together(*works: Callable[[], None]) -> None:
    """Each on a thread of its own, until all have ended; raises what one of them does."""
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result(timeout=100)


def test_edits_at_once_leave_each_job_with_the_calendar_that_is_in_force(db: Store) -> None:
    change(db, 0)

    def edit_category(name: str) -> None:
        for number in range(ROUNDS):
            jobs = [
                definition(f"{name} {n}", command=f"echo {number}", calendar={"name": "days", "rule": "next"})
                for n in range(1 + number % 3)
            ]
            with db.read() as tx:
                at = now(tx)
            put(db, *jobs, category=name, now=at, allow_removals=10)

    def edit_calendar() -> None:
        for number in range(1, ROUNDS):
            change(db, number)

    def expand() -> None:
        for _ in range(ROUNDS):
            expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND)

    together(lambda: edit_category("a"), lambda: edit_category("b"), edit_calendar, expand)

    with db.read() as tx:
        row = calendars.by_name(tx, "days")
    assert row is not None
    assert row["revision"] == ROUNDS
    names = [each["name"] for each in select(db, "SELECT name FROM jobs WHERE removed_at IS NULL")]
    assert sorted(names) == ["a 0", "a 1", "a 2", "b 0", "b 1", "b 2"]
    for name in names:
        job = job_named(db, name)
        assert job.calendar_revision == ROUNDS
        assert not job.is_changed_by_hand()

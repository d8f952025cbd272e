"""A category's limit by its document, next to one that a person sets."""

from __future__ import annotations

from cronq import store
from cronq.domain import gate
from cronq.domain.gate import Limit
from cronq.store import categories, limits
from tests.factories import MINUTE, NOON, definition, execute, put, select

LIMIT = {"concurrency": 5}


def limit_of(db: store.Store, category: str = "cat") -> limits.Set | None:
    with db.read() as tx:
        row = categories.by_name(tx, category)
        return None if row is None else limits.of_gate(tx, gate.of_category(row["id"]))


def set_by_hand(db: store.Store, capacity: int | None) -> bool:
    with db.read() as tx:
        row = categories.by_name(tx, "cat")
    assert row is not None
    name = gate.of_category(row["id"])
    return db.transact(lambda tx: limits.set_limit(tx, name, Limit(capacity), "ana", NOON))


def test_a_document_sets_the_limit_with_its_jobs(db: store.Store) -> None:
    done = put(db, definition(), limits=LIMIT)

    assert (done.changed, done.plan.limits) == (True, {"concurrency": (None, 5)})
    found = limit_of(db)
    assert found is not None
    assert (found.limit, found.actor, found.origin, found.at) == (Limit(5), "ci", "put", NOON)


def test_the_same_limit_again_changes_nothing(db: store.Store) -> None:
    first = put(db, definition(), limits=LIMIT)

    again = put(db, definition(), limits=LIMIT, now=NOON + MINUTE)

    assert (again.changed, again.revision) == (False, first.revision)
    found = limit_of(db)
    assert found is not None
    assert found.at == NOON


def test_another_limit_alone_is_a_change(db: store.Store) -> None:
    first = put(db, definition(), limits=LIMIT)

    done = put(db, definition(), limits={"concurrency": 7})

    assert (done.changed, done.revision) == (True, first.revision + 1)
    assert (done.plan.updated, done.plan.limits) == ({}, {"concurrency": (5, 7)})
    assert [r["revision"] for r in select(db, "SELECT revision FROM job_revisions")] == [1]


def test_a_dry_run_tells_and_keeps_the_limit(db: store.Store) -> None:
    put(db, definition(), limits=LIMIT)

    done = put(db, definition(), limits={"concurrency": 7}, dry_run=True)

    assert (done.changed, done.plan.limits) == (True, {"concurrency": (5, 7)})
    assert limit_of(db).limit == Limit(5)  # type: ignore[union-attr]  # it is there


def test_a_document_that_is_silent_takes_back_what_a_document_set(db: store.Store) -> None:
    put(db, definition(), limits=LIMIT)

    done = put(db, definition())

    assert (done.changed, done.plan.limits) == (True, {"concurrency": (5, None)})
    assert limit_of(db) is None
    assert put(db, definition()).changed is False


def test_a_document_that_is_silent_leaves_what_a_person_set(db: store.Store) -> None:
    put(db, definition())
    assert set_by_hand(db, 3)

    done = put(db, definition("other"))

    assert (done.changed, done.plan.limits) == (True, {})
    found = limit_of(db)
    assert found is not None
    assert (found.limit, found.actor, found.origin) == (Limit(3), "ana", "api")


def test_a_document_that_speaks_wins_and_null_is_no_limit(db: store.Store) -> None:
    put(db, definition(), limits=LIMIT)
    set_by_hand(db, 3)

    back = put(db, definition(), limits=LIMIT)
    assert back.plan.limits == {"concurrency": (3, 5)}
    set_by_hand(db, 3)
    gone = put(db, definition(), limits={"concurrency": None})

    assert gone.plan.limits == {"concurrency": (3, None)}
    assert limit_of(db) is None


def test_a_document_that_says_the_same_as_a_person_takes_the_limit_over(db: store.Store) -> None:
    put(db, definition())
    set_by_hand(db, 5)

    assert put(db, definition(), limits=LIMIT).changed is False
    assert limit_of(db).origin == "put"  # type: ignore[union-attr]  # it is there
    assert put(db, definition()).plan.limits == {"concurrency": (5, None)}


def test_the_same_limit_by_the_same_way_keeps_its_rate_and_author(db: store.Store) -> None:
    limit = Limit(None, 10, MINUTE)

    def set_it(actor: str) -> bool:
        return db.transact(lambda tx: limits.set_limit(tx, "queue:gpu", limit, actor, NOON))

    assert set_it("ana")
    execute(db, "UPDATE gates SET next_at = '2026-11-21 12:30:00'")

    assert not set_it("bob")

    [row] = select(db, "SELECT actor, next_at FROM gates")
    assert row["actor"] == "ana"
    assert row["next_at"] is not None


def test_a_limit_that_is_not_there_can_not_be_dropped(db: store.Store) -> None:
    assert not db.transact(lambda tx: limits.set_limit(tx, "queue:gpu", Limit(), "ana", NOON))

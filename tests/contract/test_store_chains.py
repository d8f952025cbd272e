"""The edges that a PUT writes: by name, over categories, and never a circle."""

from __future__ import annotations

import threading

import pytest

from cronq import store
from cronq.domain.errors import InvalidInput
from cronq.domain.run import State
from cronq.store import chains
from tests.factories import MINUTE, NOON, definition, execute, insert_run, job_named, put, select


def follower(name: str, after: object, **fields: object) -> dict[str, object]:
    return {"name": name, "command": "true", "after": after, **fields}


def edges(db: store.Store) -> list[tuple[str, str, str, int]]:
    found = select(db, "SELECT * FROM chains ORDER BY job_id, position")
    return [(e["upstream_category"], e["upstream_name"], e["outcome"], e["joined"]) for e in found]


def upstream_ids(db: store.Store, name: str) -> list[int | None]:
    with db.read() as tx:
        return [edge.upstream_id for edge in chains.edges_to(tx, [job_named(db, name).id])]


def test_a_put_writes_the_edges_of_its_jobs(db: store.Store) -> None:
    put(
        db,
        definition("a"),
        follower("b", [{"job": "a", "on": "failure"}]),
        follower("c", {"all": ["a", "cat/b"]}),
    )

    assert edges(db) == [("cat", "a", "failure", 0), ("cat", "a", "success", 1), ("cat", "b", "success", 1)]
    assert upstream_ids(db, "c") == [job_named(db, "a").id, job_named(db, "b").id]


def test_a_job_with_after_is_never_due(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))

    found = job_named(db, "b")
    assert (found.next_run, found.spec.schedule, found.is_changed_by_hand()) == (None, None, False)
    assert found.spec.after is not None


def test_another_after_replaces_the_edges_and_a_removed_job_has_none(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", "a"), follower("c", "b"))
    put(db, definition("a"), definition("x"), follower("b", "x"))

    assert edges(db) == [("cat", "x", "success", 0)]


def test_a_job_that_gets_a_schedule_in_place_of_its_after_is_due_again(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    put(db, definition("a"), definition("b"))

    assert edges(db) == []
    assert job_named(db, "b").next_run == NOON + MINUTE


def test_a_put_of_the_same_changes_nothing(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    assert not put(db, definition("a"), follower("b", "a")).changed


def test_a_dry_run_writes_no_edge(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"), dry_run=True)
    assert edges(db) == []


# -- other categories


def test_a_job_of_another_category_binds_when_it_appears(db: store.Store) -> None:
    done = put(db, follower("b", "billing/close"))
    assert upstream_ids(db, "b") == [None]
    assert done.warnings == (
        'job "b": there is no job "billing/close" to come after, until somebody makes it',
    )

    put(db, definition("close"), category="billing")

    assert upstream_ids(db, "b") == [job_named(db, "close").id]
    assert put(db, follower("b", "billing/close")).warnings == ()


def test_the_warning_names_the_nearest_job(db: store.Store) -> None:
    put(db, definition("close"), category="billing")
    [warning] = put(db, follower("b", "billing/clsoe")).warnings
    assert warning.endswith('did you mean "billing/close"?')


def test_who_removes_a_job_that_another_category_comes_after_is_told(db: store.Store) -> None:
    put(db, definition("close"), definition("open"), category="billing")
    put(db, follower("b", "billing/close"))

    done = put(db, definition("open"), category="billing")

    assert done.warnings == ('job "close" is removed, and "cat/b" comes after it',)
    put(db, definition("open"), definition("close"), category="billing")
    assert upstream_ids(db, "b") == [job_named(db, "close").id]


def test_a_circle_over_categories_is_refused_and_nothing_is_written(db: store.Store) -> None:
    put(db, follower("a", "two/b"), category="one")

    with pytest.raises(InvalidInput) as refused:
        put(db, definition("c"), follower("b", "one/a"), category="two")

    [problem] = refused.value.problems
    assert (problem.code, problem.pointer) == ("cycle", "/jobs/1/after")
    assert '"two/b → one/a → two/b"' in problem.message
    assert select(db, "SELECT name FROM jobs ORDER BY id") == [{"name": "a"}]
    with pytest.raises(InvalidInput):
        put(db, follower("b", "one/a"), category="two", dry_run=True)


def test_a_circle_can_be_turned_round_in_one_put(db: store.Store) -> None:
    put(db, definition("x"), follower("a", "x"), follower("b", "a"))
    put(db, definition("x"), follower("a", "b"), follower("b", "x"))

    assert {(e[1]) for e in edges(db)} == {"b", "x"}


@pytest.mark.servers
def test_two_puts_at_once_cannot_make_a_circle_together(mariadb_db: store.Store) -> None:
    """Each sees no fault in the other's absence; the second to write does."""
    ready = threading.Barrier(2, timeout=20)
    refused: list[InvalidInput] = []

    def write(category: str, after: str) -> None:
        ready.wait()
        try:
            put(mariadb_db, follower("a", after), category=category)
        except InvalidInput as error:
            refused.append(error)

    for turn in range(5):
        one, two = f"one{turn}", f"two{turn}"
        threads = [
            threading.Thread(target=write, args=(one, f"{two}/a")),
            threading.Thread(target=write, args=(two, f"{one}/a")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(refused) == turn + 1
    assert len(edges(mariadb_db)) == 5


# -- runs that are followed


def followed_runs(db: store.Store) -> list[str]:
    return [row["run_id"] for row in select(db, "SELECT run_id FROM followed ORDER BY run_id")]


def test_runs_of_an_upstream_are_followed_from_their_making_and_no_others(db: store.Store) -> None:
    put(db, definition("a"), definition("x"), follower("b", "a"))

    made = insert_run(db, job_named(db, "a").id)
    insert_run(db, job_named(db, "x").id)

    assert followed_runs(db) == [made]


def test_an_occurrence_that_had_its_row_already_is_not_followed_twice(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    made, again = (insert_run(db, job_named(db, "a").id) for _ in range(2))
    assert followed_runs(db) == [made] != [again]


def test_what_is_under_way_of_a_new_upstream_is_followed_too(db: store.Store) -> None:
    put(db, definition("a"))
    a = job_named(db, "a").id
    states = (State.QUEUED, State.RUNNING)
    open_runs = [insert_run(db, a, state, at=NOON + n * MINUTE) for n, state in enumerate(states)]
    insert_run(db, a, State.SUCCEEDED, at=NOON + 5 * MINUTE)

    put(db, definition("a"), follower("b", "a"))

    assert followed_runs(db) == sorted(open_runs)


def test_a_word_that_somebody_wrote_by_hand_is_no_edge(db: store.Store) -> None:
    put(db, definition("a"), follower("b", "a"))
    execute(db, "UPDATE chains SET outcome = 'maybe'")
    with db.read() as tx:
        assert chains.edges_from(tx, [job_named(db, "a").id]) == []

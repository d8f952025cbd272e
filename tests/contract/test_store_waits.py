"""What waiting runs wait for, with their place; who uses a limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from cronq import store
from cronq.domain.gate import Limit, Park
from cronq.domain.ids import turn
from cronq.domain.run import State
from cronq.domain.waiting import Wait
from cronq.store import limits, line, runs, uses, waits
from cronq.store.uses import Use
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    claimed_run,
    definition,
    execute,
    insert_run,
    job_named,
    let_out,
    put,
    run_of,
    running_run,
)


@pytest.fixture
def job_id(db: store.Store) -> int:
    put(db, definition(locks=["db-main"]))
    return job_named(db).id


def wait_of(db: store.Store, run_id: str) -> Wait:
    with db.read() as tx:
        found = waits.of_run(tx, run_of(db, run_id))
    assert found is not None
    return found


def in_line(db: store.Store, job_id: int, count: int, **columns: object) -> list[str]:
    """Runs that stand in line, each a second after the one before."""
    made = NOON - HOUR
    return [
        insert_run(db, job_id, State.SCHEDULED, at=made + n * SECOND, **columns)  # type: ignore[arg-type]  # columns of runs
        for n in range(count)
    ]


def decide(db: store.Store) -> int:
    return db.transact(let_out)


def park(db: store.Store, run_ids: Sequence[str], gate: str, priority: int = 0) -> None:
    with db.begin() as tx:
        line.park(tx, [((priority, turn(run_id), run_id), Park(gate)) for run_id in run_ids], NOON)


def set_limit(db: store.Store, gate: str, limit: Limit) -> None:
    db.transact(lambda tx: limits.set_limit(tx, gate, limit, "ana", NOON))


def test_a_run_at_a_lock_knows_its_place_and_who_holds_it(db: store.Store, job_id: int) -> None:
    first, second, third = in_line(db, job_id, 3)
    assert decide(db) == 1

    found = wait_of(db, third)

    assert found == Wait("lock db-main (1 at once)", "lock:db-main", 2, 2, (first,), NOON)
    assert wait_of(db, second).position == 1


def test_places_at_a_gate_are_by_priority_then_age(db: store.Store, job_id: int) -> None:
    old, young, urgent, gone = in_line(db, job_id, 4)
    park(db, [old, young, gone], "lock:db-main")
    park(db, [urgent], "lock:db-main", priority=-1)
    db.transact(lambda tx: runs.request_cancel(tx, gone, "ana", NOON))

    places = {run_id: wait_of(db, run_id) for run_id in (urgent, old, young)}

    assert [(w.position, w.of) for w in places.values()] == [(1, 3), (2, 3), (3, 3)]


def test_a_run_of_a_job_that_queues_names_the_run_in_the_way(db: store.Store) -> None:
    put(db, definition(overlap="queue(2)"))
    job_id = job_named(db).id
    running = running_run(db, job_id)
    [waiting] = in_line(db, job_id, 1)
    decide(db)

    found = wait_of(db, waiting)

    assert (found.what, found.held_by) == ("another run of its job (overlap queue(2))", (running,))
    assert (found.gate, found.position) == (f"job:{job_id}", 1)


def test_a_run_of_a_full_category_names_it(db: store.Store) -> None:
    put(db, definition(), category="billing", limits={"concurrency": 1})
    job = job_named(db)
    first, second = in_line(db, job.id, 2, category_id=job.category_id)
    decide(db)

    found = wait_of(db, second)

    assert (found.what, found.held_by) == ("category billing (1 at once)", (first,))


def test_a_run_at_a_pause_tells_who_paused_it_and_why(db: store.Store, job_id: int) -> None:
    [run_id] = in_line(db, job_id, 1)
    execute(
        db,
        "INSERT INTO pauses (subject, since, until, reason, actor)"
        " VALUES ('queue:default', '2026-11-21 11:00:00', '2026-11-21 13:00:00', 'broken disk', 'ana')",
    )
    decide(db)

    found = wait_of(db, run_id)

    assert found.what == (
        "queue default, paused by ana since 2026-11-21T11:00:00Z until 2026-11-21T13:00:00Z: broken disk"
    )
    assert (found.gate, found.until) == ("pause:queue:default", NOON + HOUR)


def test_places_in_line_are_those_by_which_the_injector_goes(db: store.Store) -> None:
    put(db, definition("a"), category="many")
    put(db, definition("b"), category="few")
    many, few = job_named(db, "a"), job_named(db, "b")
    first, second, third = in_line(db, many.id, 3, category_id=many.category_id)
    [other] = in_line(db, few.id, 1, category_id=few.category_id)

    places = {run_id: wait_of(db, run_id).position for run_id in (first, second, third, other)}

    # Categories take turns: the only one of `few` waits for no more than one of `many`.
    assert sorted(places.values()) == [1, 2, 3, 4]  # type: ignore[type-var]  # none is None
    assert places[other] in (1, 2)
    assert (places[second], places[third]) == (3, 4)
    found = wait_of(db, third)
    assert (found.what, found.gate, found.of) == ("its turn in the line of key default", None, 4)
    assert found.since == NOON - HOUR + 2 * SECOND


def test_a_long_line_is_not_counted_to_its_end(
    db: store.Store, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "MOST_IN_LINE", 2)
    *_, last = in_line(db, job_id, 3)

    found = wait_of(db, last)

    assert (found.position, found.of) == (None, 2)


def test_a_run_that_nobody_claims_waits_for_a_runner(db: store.Store, job_id: int) -> None:
    first = insert_run(db, job_id, at=NOON, published_at=NOON, key="gpu")
    second = insert_run(db, job_id, at=NOON + SECOND, reason="no_queue", key="gpu")

    assert wait_of(db, first) == Wait("a runner of key gpu", None, 1, 2, (), NOON)
    assert wait_of(db, second).what == "a runner of key gpu: no queue takes that key"
    assert wait_of(db, second).position == 2


def test_a_run_whose_time_is_to_come_says_when(db: store.Store, job_id: int) -> None:
    later = NOON + timedelta(minutes=5)
    retry = insert_run(db, job_id, State.SCHEDULED, release_at=later, retries=1, attempt=2)
    late = insert_run(db, job_id, State.SCHEDULED, at=NOON + SECOND, release_at=later)

    assert wait_of(db, retry) == Wait("its time: attempt 2 at 2026-11-21T12:05:00Z", until=later)
    assert wait_of(db, late).what == "its time: 2026-11-21T12:05:00Z, by jitter"


def test_a_run_that_goes_or_went_waits_for_nothing(db: store.Store, job_id: int) -> None:
    found = [running_run(db, job_id), insert_run(db, job_id, State.SKIPPED)]

    with db.read() as tx:
        assert [waits.of_run(tx, run_of(db, run_id)) for run_id in found] == [None, None]
        assert waits.in_short(tx, [run_of(db, run_id) for run_id in found]) == {}


def test_many_are_told_in_short(db: store.Store, job_id: int) -> None:
    parked, standing = in_line(db, job_id, 2)
    queued = insert_run(db, job_id, published_at=NOON)
    park(db, [parked], "lock:db-main")

    with db.read() as tx:
        told = waits.in_short(tx, [run_of(db, run_id) for run_id in (parked, standing, queued)])

    assert told == {
        parked: "lock db-main (1 at once)",
        standing: "its turn in the line of key default",
        queued: "a runner of key default",
    }


# -- who uses a limit


def test_a_limit_tells_its_use_its_holders_and_who_waits(db: store.Store) -> None:
    put(db, definition(locks=["api:2"]))
    job_id = job_named(db).id
    set_limit(db, "lock:api", Limit(4))
    first, second, third = in_line(db, job_id, 3)
    decide(db)

    with db.read() as tx:
        assert uses.uses(tx, ["lock:api"]) == {"lock:api": Use(4, (first, second), 1)}
        assert uses.locks_in_use(tx) == ["lock:api"]
    db.transact(lambda tx: runs.request_cancel(tx, first, "ana", NOON))
    db.transact(lambda tx: runs.request_cancel(tx, third, "ana", NOON))
    with db.read() as tx:
        assert uses.uses(tx, ["lock:api"]) == {"lock:api": Use(2, (second,), 0)}


def test_a_queue_counts_those_that_wait_for_its_rate_too(db: store.Store, job_id: int) -> None:
    at_rate, at_gate, elsewhere = in_line(db, job_id, 3)
    park(db, [at_rate], "rate:queue:default")
    park(db, [at_gate], "queue:default")
    park(db, [elsewhere], "lock:db-main")

    with db.read() as tx:
        assert uses.uses(tx, ["queue:default"])["queue:default"].waiting == 2
        assert uses.parked_by_key(tx)["default"][0] == 3


def test_what_runs_on_a_host_takes_its_room(db: store.Store, job_id: int) -> None:
    claimed = claimed_run(db, job_id)
    insert_run(db, job_id, State.SUCCEEDED, at=NOON + MINUTE, host="host")

    with db.read() as tx:
        assert uses.uses(tx, ["host:host", "host:other"]) == {
            "host:host": Use(1, (claimed,), 0),
            "host:other": Use(),
        }

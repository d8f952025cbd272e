"""Questions and answers get lost like all messages: they are asked again, and a boot answers first."""

from __future__ import annotations

import secrets

import pytest

from cronq import bus, store
from cronq.bus.messages import Order, decode_reply
from cronq.bus.topology import runner_queue
from cronq.injector.watch import Watch
from cronq.store import facts, leases
from tests.factories import (
    LEASE,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    Clock,
    boot,
    claimed_run,
    heartbeat,
    insert_job,
    run_of,
    running_run,
)

EXPIRED = NOON + LEASE + SECOND


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def test_a_question_is_repeated_until_its_time_is_over(db: store.Store, job_id: int, clock: Clock) -> None:
    url = f"memory:{secrets.token_hex(8)}"
    runner, injector = bus.open(url, name="runner"), bus.open(url, name="injector")
    runner.declare([runner_queue(OURS.instance)])
    with db.begin() as tx:
        leases.beat(tx, [heartbeat()], NOON, NOON + LEASE)
    made = running_run(db, job_id)
    watch = Watch(db, injector, name="host.1", lease=LEASE)
    clock.now = EXPIRED

    for _ in range(3):
        with db.begin() as tx:
            facts.put(tx, facts.CANARY, "host.1", clock.now)
        watch.reap()
        clock.tick(2 * SECOND)

    asked = runner.consume([runner_queue(OURS.instance).name], 10).take(10, 0)
    assert [decode_reply(delivery.body) for delivery in asked] == [Order("report", made, 1, "host.1")] * 3
    assert run_of(db, made)["asked_at"] == EXPIRED
    runner.close()
    injector.close()


@pytest.mark.parametrize("make", [claimed_run, running_run])
def test_a_booting_runner_is_asked_at_once_for_ends_that_it_knows(
    db: store.Store, job_id: int, make: type, clock: Clock
) -> None:
    """It told them before, and they were lost with the broker's data or with the process."""
    made = make(db, job_id)

    with db.begin() as tx:
        leases.boot(tx, boot(NEXT, known=[(made, 1)]), clock.now, clock.now + LEASE)
        questions = leases.ask_expired(tx, clock.now + SECOND, clock.now + MINUTE, 10)

    assert [question.run_id for question in questions] == [made]


def test_a_boot_answers_a_question_that_was_lost_with_the_process(
    db: store.Store, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    with db.begin() as tx:
        leases.beat(tx, [heartbeat()], NOON, NOON + LEASE)
        leases.ask_expired(tx, EXPIRED, EXPIRED + 30 * SECOND, 10)
        leases.boot(tx, boot(NEXT, known=[(made, 1)]), EXPIRED + 29 * SECOND, EXPIRED + MINUTE)

        assert leases.lose_unanswered(tx, EXPIRED + 40 * SECOND, 10).lost == []


def test_a_boot_that_comes_late_says_nothing_of_a_later_process(
    db: store.Store, job_id: int, clock: Clock
) -> None:
    """A results process that was frozen may hold it, while others grant what the next process claims."""
    claimed_run(db, job_id, NEXT)

    with db.begin() as tx:
        settled = leases.boot(tx, boot(OURS), clock.now, clock.now + LEASE)

    assert settled.not_started == ()

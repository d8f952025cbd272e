"""Steps of an injector on a bus: what is due gets to its queue, again until claimed, and says why if not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from cronq import bus, store
from cronq.bus import Bus, Confirm, Consumer, Delivery, Message, Queue
from cronq.bus.messages import decode_job
from cronq.bus.topology import job_queue
from cronq.domain.errors import Unavailable
from cronq.domain.run import State
from cronq.injector.publish import UNROUTABLE_AGAIN
from cronq.injector.release import release_once
from cronq.injector.service import PUBLISH_LEASE, Injector
from cronq.store import facts
from cronq.store.doorbells import MAX_REPUBLISH
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    ask,
    claim,
    execute,
    insert_job,
    insert_run,
    make_settings,
    open_alerts,
    run_of,
    runs_of,
    states_of,
)

REPUBLISH = MINUTE


class Broker:
    """The bus of these tests, and what stands in its queues."""

    def __init__(self) -> None:
        self.url = f"memory:{secrets.token_hex(8)}"
        self.bus = bus.open(self.url, name="test")
        self.consumers: dict[str, Consumer] = {}

    def declare(self, *keys: str) -> None:
        """As a runner does that consumes these keys."""
        self.bus.declare([job_queue(key) for key in keys])

    def take(self, queue: str = "cronq_jobs") -> list[Delivery]:
        """Take and ack all that is in a queue."""
        if queue not in self.consumers:
            self.consumers[queue] = self.bus.consume([queue], 10_000)
        taken = self.consumers[queue].take(10_000, 0)
        for delivery in taken:
            delivery.ack()
        return taken

    def run_ids(self, queue: str = "cronq_jobs") -> list[str]:
        return [decode_job(d.body).run_id for d in self.take(queue)]


class Moody:
    """A bus whose publishing has the verdict that a test gives it."""

    def __init__(self, inner: Bus) -> None:
        self.inner = inner
        self.verdict: Confirm | None = None
        self.connected = True
        self.declares = True
        self.sent: list[Message] = []

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        verdicts = self.inner.publish(messages, timeout_s)
        self.sent += messages
        return verdicts if self.verdict is None else [self.verdict] * len(messages)

    def is_connected(self) -> bool:
        return self.connected

    def declare(self, queues: Sequence[Queue]) -> None:
        if not self.declares:
            raise Unavailable("made up")
        self.inner.declare(queues)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.bus.close()


@pytest.fixture
def moody(broker: Broker) -> Moody:
    return Moody(bus.open(broker.url, name="injector"))


def make_injector(db: store.Store, moody: Moody, **changes: Any) -> Injector:
    settings = replace(make_settings(), republish_s=REPUBLISH.total_seconds(), **changes)
    return Injector(settings, db, cast(Bus, moody), "host.1")


@pytest.fixture
def injector(db: store.Store, moody: Moody) -> Injector:
    return make_injector(db, moody)


# -- to the queue


def test_a_due_job_is_in_its_queue_after_one_step(
    db: store.Store, injector: Injector, broker: Broker
) -> None:
    job_id = insert_job(db, name="nightly", command="echo hi", schedule="* * * * *", next_run=NOON)

    assert injector.step()

    [delivery] = broker.take()
    [run] = runs_of(db)
    sent = json.loads(delivery.body)
    assert (sent["run_id"], sent["job_id"], sent["cmd"], sent["name"]) == (
        run["run_id"],
        job_id,
        "echo hi",
        "nightly",
    )
    assert (sent["attempt"], delivery.key) == (1, "default")
    assert (run["published_at"], run["publishes"]) == (run["queued_at"], 1)
    assert not injector.step()


def test_each_routing_key_leads_to_its_queue(db: store.Store, injector: Injector, broker: Broker) -> None:
    broker.declare("slow")
    for key in ("default", "slow", "cronq_jobs"):
        insert_job(db, routing_key=key, next_run=NOON)

    injector.step()

    assert (len(broker.run_ids()), len(broker.run_ids("cronq_jobs.slow"))) == (2, 1)


def test_messages_are_persistent_and_expire_when_the_next_copy_is_sent(
    db: store.Store, injector: Injector, moody: Moody, clock: Clock
) -> None:
    insert_job(db, next_run=NOON)
    injector.step()
    clock.tick(REPUBLISH)
    injector.step()

    jobs_sent = [m for m in moody.sent if m.key == "default"]
    assert [(m.persistent, m.expiration_ms) for m in jobs_sent] == [(True, 60_000), (True, 120_000)]


# -- again until it is claimed


def test_what_nobody_claims_comes_again_at_doubling_intervals_up_to_ten_minutes(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    insert_job(db, next_run=NOON)
    injector.step()
    [made] = broker.run_ids()

    for wait in (1, 2, 4, 8, 10, 10):
        clock.tick(wait * MINUTE - SECOND)
        injector.step()
        assert broker.run_ids() == []
        clock.tick(SECOND)
        injector.step()
        assert broker.run_ids() == [made]
    assert run_of(db, made)["published_at"] == NOON + timedelta(milliseconds=500)
    assert MAX_REPUBLISH == 10 * MINUTE


def test_a_claimed_run_does_not_come_again(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    insert_job(db, next_run=NOON)
    injector.step()
    [made] = broker.run_ids()
    ask(db, claim(made), now=clock.now)

    clock.tick(HOUR)
    injector.step()

    assert broker.run_ids() == []


def test_a_broker_that_lost_everything_costs_only_time(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    for _ in range(3):
        insert_job(db, next_run=NOON)
    injector.step()
    lost = broker.run_ids()

    clock.tick(REPUBLISH)
    injector.step()

    assert sorted(broker.run_ids()) == sorted(lost)


def test_without_a_verdict_it_comes_again_after_the_lease(
    db: store.Store, injector: Injector, broker: Broker, moody: Moody, clock: Clock
) -> None:
    insert_job(db, next_run=NOON)
    moody.verdict = Confirm.UNKNOWN

    for _ in range(3):
        injector.step()
        assert len(broker.run_ids()) == 1
        injector.step()
        assert broker.run_ids() == []
        clock.tick(PUBLISH_LEASE)
    [run] = runs_of(db)
    assert (run["publishes"], run["published_at"], run["reason"]) == (0, None, None)

    moody.verdict = None
    injector.step()
    assert (len(broker.run_ids()), runs_of(db)[0]["publishes"]) == (1, 1)


def test_what_a_crashed_injector_had_leased_is_published_by_another(
    db: store.Store, injector: Injector, broker: Broker, moody: Moody, clock: Clock
) -> None:
    """It committed and died before it could publish."""
    insert_job(db, next_run=NOON)
    moody.connected = False
    injector.step()
    other = make_injector(db, Moody(bus.open(broker.url, name="other")))

    other.step()
    assert broker.run_ids() == []
    clock.tick(PUBLISH_LEASE)
    other.step()
    assert len(broker.run_ids()) == 1


def test_while_the_broker_is_away_occurrences_get_their_rows(
    db: store.Store, injector: Injector, broker: Broker, moody: Moody, clock: Clock
) -> None:
    insert_job(db, schedule="* * * * *", next_run=NOON)
    moody.connected = False
    for _ in range(5):
        injector.step()
        clock.tick(MINUTE)
    assert states_of(db) == ["missed"] * 4 + ["queued"]

    moody.connected = True
    execute(db, "UPDATE jobs SET enabled = 0")
    injector.step()
    assert broker.run_ids() == [runs_of(db)[-1]["run_id"]]


def test_a_broker_that_comes_up_later_is_declared_then(
    db: store.Store, injector: Injector, broker: Broker, moody: Moody, clock: Clock
) -> None:
    insert_job(db, next_run=NOON)
    moody.declares = False
    injector.step()
    moody.declares = True
    assert runs_of(db)[0]["reason"] == "no_queue"

    clock.tick(UNROUTABLE_AGAIN)
    injector.step()
    assert len(broker.run_ids()) == 1


def test_a_plain_queue_gets_each_run_once_and_for_ever(
    db: store.Store, moody: Moody, broker: Broker, clock: Clock
) -> None:
    injector = make_injector(db, moody, plain_queues=("cronq_jobs",))
    broker.declare("slow")
    insert_job(db, next_run=NOON)
    insert_job(db, next_run=NOON, routing_key="slow")
    injector.step()
    assert [m.expiration_ms for m in moody.sent if m.key in ("default", "slow")] == [None, 60_000]
    broker.take()
    broker.take("cronq_jobs.slow")

    clock.tick(timedelta(days=1))
    injector.step()

    assert (broker.run_ids(), len(broker.run_ids("cronq_jobs.slow"))) == ([], 1)


# -- no queue


def test_a_key_without_a_queue_is_told_and_tried_until_it_has_one(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    job_id = insert_job(db, next_run=NOON, routing_key="gpu")
    insert_job(db, next_run=NOON)

    injector.step()
    [run] = runs_of(db, job_id)
    assert (run["state"], run["reason"], run["publishes"]) == ("queued", "no_queue", 0)
    assert ("no_queue", "gpu") in open_alerts(db)
    assert len(broker.run_ids()) == 1

    clock.tick(UNROUTABLE_AGAIN)
    injector.step()
    assert runs_of(db, job_id)[0]["reason"] == "no_queue"

    broker.declare("gpu")
    clock.tick(UNROUTABLE_AGAIN)
    injector.step()
    assert broker.run_ids("cronq_jobs.gpu") == [run["run_id"]]
    assert runs_of(db, job_id)[0]["reason"] is None
    assert ("no_queue", "gpu") not in open_alerts(db)


def test_another_injector_takes_the_alert_back(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    insert_job(db, next_run=NOON, routing_key="gpu")
    injector.step()
    broker.declare("gpu")
    clock.tick(UNROUTABLE_AGAIN)

    make_injector(db, Moody(bus.open(broker.url, name="restarted"))).step()

    assert ("no_queue", "gpu") not in open_alerts(db)


def test_an_alert_whose_runs_are_gone_is_over(db: store.Store, injector: Injector, clock: Clock) -> None:
    insert_job(db, next_run=NOON, routing_key="gpu")
    injector.step()
    execute(db, "UPDATE runs SET state = 'cancelled', publish_at = NULL")

    injector._watch.measure_queues(injector._watch.waiting_keys)

    assert ("no_queue", "gpu") not in open_alerts(db)


# -- the window


def test_no_more_than_a_window_is_let_out_and_the_rest_follows_by_priority_then_age(
    db: store.Store, moody: Moody, broker: Broker, clock: Clock
) -> None:
    injector = make_injector(db, moody, window=2)
    job_id = insert_job(db)
    waiting = [
        insert_run(db, job_id, State.SCHEDULED, at=NOON - (9 - k) * SECOND, priority=p)
        for k, p in enumerate((5, 0, 0, -1))
    ]

    injector.step()
    first = broker.run_ids()
    injector.step()
    assert (first, broker.run_ids()) == ([waiting[3], waiting[1]], [])

    for done in first:
        ask(db, claim(done), now=clock.now)
    injector.step()
    assert broker.run_ids() == [waiting[2], waiting[0]]


def test_a_claim_makes_room_for_the_next(db: store.Store, moody: Moody, broker: Broker, clock: Clock) -> None:
    injector = make_injector(db, moody, window=1)
    for k in range(4):
        insert_job(db, next_run=NOON - (4 - k) * SECOND)
    order = []
    for _ in range(4):
        injector.step()
        [made] = broker.run_ids()
        order.append(made)
        ask(db, claim(made), now=clock.now)

    injector.step()
    assert broker.run_ids() == []
    assert sorted(order) == sorted(r["run_id"] for r in runs_of(db))


def test_a_cancelled_run_that_still_waits_is_never_published(
    db: store.Store, moody: Moody, broker: Broker, clock: Clock
) -> None:
    injector = make_injector(db, moody, window=1)
    first, second = insert_job(db, next_run=NOON - SECOND), insert_job(db, next_run=NOON)
    injector.step()
    execute(db, "UPDATE runs SET state = 'cancelled' WHERE job_id = :id AND state = 'scheduled'", id=second)
    for made in broker.run_ids():
        ask(db, claim(made), now=clock.now)

    injector.step()

    assert (broker.run_ids(), states_of(db, first)) == ([], ["claimed"])


def test_release_does_nothing_while_nobody_waits(db: store.Store) -> None:
    insert_run(db, insert_job(db))

    assert release_once(db, 10) == 0


# -- the rest of a step


def test_a_step_tells_that_it_was_made(db: store.Store, injector: Injector, clock: Clock) -> None:
    injector.step()

    with db.read() as tx:
        assert facts.get(tx, facts.INJECTOR) == ("host.1", clock.now)
    assert injector.is_ready() == {"broker": None, "database": None, "epoch": None}


def test_before_the_first_step_it_is_not_ready(injector: Injector, moody: Moody) -> None:
    moody.connected = False

    found = injector.is_ready()
    assert found["broker"]
    assert found["database"]


def test_a_store_that_is_away_is_told_to_the_loop(
    db: store.Store, injector: Injector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(tx: store.Tx) -> None:
        raise Unavailable("made up")

    monkeypatch.setattr(store, "now", away)

    with pytest.raises(Unavailable, match="made up"):
        injector.step()


def test_two_injectors_make_one_run_of_each_occurrence(
    db: store.Store, injector: Injector, broker: Broker, clock: Clock
) -> None:
    other = make_injector(db, Moody(bus.open(broker.url, name="other")))
    for _ in range(20):
        insert_job(db, schedule="* * * * *", next_run=NOON)

    for _ in range(3):
        injector.step()
        other.step()
        clock.tick(MINUTE)

    assert len(runs_of(db)) == 60
    assert len({(r["job_id"], r["scheduled_for"]) for r in runs_of(db)}) == 60

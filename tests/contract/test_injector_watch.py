"""The injector's watch: silent runners, cancelled runs, a stale pipeline, queues that nobody consumes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cronq import bus, store
from cronq.bus import Bus, Consumer
from cronq.bus.messages import Order, decode_events, decode_reply
from cronq.bus.topology import job_queue, runner_queue, shared_queues
from cronq.domain.event import Canary, EventType
from cronq.domain.run import State
from cronq.injector.watch import LATE_AFTER, SILENT, STALE_AFTER, Watch
from cronq.store import alerts, facts, leases, runs
from tests.factories import (
    HOUR,
    LEASE,
    MINUTE,
    NOON,
    OURS,
    SECOND,
    Clock,
    claimed_run,
    heartbeat,
    insert_job,
    insert_run,
    open_alerts,
    run_of,
    running_run,
    said,
    tell,
)


@pytest.fixture
def url() -> str:
    return f"memory:{secrets.token_hex(8)}"


@pytest.fixture
def a_bus(url: str) -> Iterator[Bus]:
    opened = bus.open(url, name="injector")
    opened.declare(shared_queues())
    yield opened
    opened.close()


@pytest.fixture
def watch(db: store.Store, a_bus: Bus, clock: Clock) -> Watch:
    return Watch(db, a_bus, name="host.1", lease=LEASE)


@pytest.fixture
def control(db: store.Store, url: str, clock: Clock) -> Iterator[Consumer]:
    """The queue of OURS, who is known to the store."""
    opened = bus.open(url, name="runner")
    opened.declare([runner_queue(OURS.instance)])
    with db.begin() as tx:
        leases.beat(tx, [heartbeat()], NOON, NOON + LEASE)
    yield opened.consume([runner_queue(OURS.instance).name], 100)
    opened.close()


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def hear(db: store.Store, clock: Clock) -> None:
    """A canary came through."""
    with db.begin() as tx:
        facts.put(tx, facts.CANARY, "host.1", clock.now)


def orders(control: Consumer) -> list[Order]:
    taken = control.take(100, 0)
    for delivery in taken:
        delivery.ack()
    found = [decode_reply(d.body) for d in taken]
    assert all(isinstance(order, Order) for order in found)
    return [order for order in found if isinstance(order, Order)]


def reap_for(db: store.Store, watch: Watch, clock: Clock, span: timedelta) -> int:
    """Reap every two seconds with a pipeline that is fresh all the time; how many were lost."""
    lost = 0
    until = clock.now + span
    while clock.now < until:
        hear(db, clock)
        lost += watch.reap()
        clock.tick(2 * SECOND)
    return lost


# -- the pipeline


def test_a_canary_carries_the_databases_clock_through_the_results_queue(
    db: store.Store, watch: Watch, a_bus: Bus, clock: Clock
) -> None:
    watch.send_canary()

    [delivery] = a_bus.consume(["cronq_results"], 10).take(10, 0)
    assert decode_events(delivery.body) == [Canary("host.1", NOON)]


def test_a_pipeline_that_was_never_heard_of_is_not_fresh_and_soon_an_alert(
    db: store.Store, watch: Watch, clock: Clock
) -> None:
    assert not watch.judge_pipeline()
    assert open_alerts(db) == []

    clock.tick(STALE_AFTER)
    assert not watch.judge_pipeline()
    assert open_alerts(db) == [("pipeline_stale", "results")]


def test_it_is_fresh_while_canaries_come(db: store.Store, watch: Watch, clock: Clock) -> None:
    for _ in range(5):
        hear(db, clock)
        clock.tick(5 * SECOND)
        assert watch.judge_pipeline()


def test_a_silent_pipeline_is_an_alert_until_a_canary_comes(
    db: store.Store, watch: Watch, clock: Clock
) -> None:
    hear(db, clock)
    clock.tick(STALE_AFTER)
    watch.judge_pipeline()
    with db.read() as tx:
        [alert] = alerts.listed(tx)
    assert alert["message"] == "no event came through results for 30 s; runners can't be judged meanwhile"

    hear(db, clock)
    watch.judge_pipeline()
    assert open_alerts(db) == []


def test_after_a_silence_it_is_trusted_only_after_a_whole_lease(
    db: store.Store, watch: Watch, clock: Clock
) -> None:
    """The runners' heartbeats have to find their way back first."""
    hear(db, clock)
    clock.tick(STALE_AFTER)
    assert not watch.judge_pipeline()
    silent_until = clock.now

    judged = {}
    while clock.now < silent_until + LEASE + 4 * SECOND:
        clock.tick(2 * SECOND)
        hear(db, clock)
        judged[clock.now - silent_until] = watch.judge_pipeline()

    assert all(fresh == (after >= LEASE) for after, fresh in judged.items())


# -- the reaper


def test_a_silent_runner_is_asked_and_then_its_run_is_lost(
    db: store.Store, watch: Watch, control: Consumer, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)

    assert reap_for(db, watch, clock, LEASE) == 0
    assert orders(control) == []
    assert reap_for(db, watch, clock, LEASE / 2) == 0
    assert set(orders(control)) == {Order("report", made, 1, "host.1")}
    assert reap_for(db, watch, clock, 10 * SECOND) == 1

    assert (run_of(db, made)["state"], run_of(db, made)["reason"]) == ("lost", "the runner is silent")
    assert open_alerts(db) == [("runner_lost", f"run {made}")]
    assert clock.now - NOON <= timedelta(seconds=120)


def test_a_runner_that_answers_keeps_its_run(
    db: store.Store, watch: Watch, control: Consumer, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    reap_for(db, watch, clock, LEASE + 4 * SECOND)
    assert len(set(orders(control))) == 1
    with db.begin() as tx:
        leases.beat(tx, [heartbeat(OURS, (made, 1))], clock.now, clock.now + LEASE)

    assert reap_for(db, watch, clock, LEASE - 4 * SECOND) == 0
    assert run_of(db, made)["state"] == "running"


def test_one_that_tells_an_end_is_not_lost(
    db: store.Store, watch: Watch, control: Consumer, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    reap_for(db, watch, clock, LEASE + 4 * SECOND)
    tell(db, said(EventType.FINISHED, made, return_code=0), now=clock.now)

    assert reap_for(db, watch, clock, LEASE) == 0
    assert run_of(db, made)["state"] == "succeeded"


def test_a_claim_that_nothing_more_was_heard_of_is_lost_too(
    db: store.Store, watch: Watch, job_id: int, clock: Clock
) -> None:
    claimed_run(db, job_id)

    assert reap_for(db, watch, clock, 2 * LEASE) == 1


def test_fault_17_nobody_is_asked_or_lost_while_the_pipeline_is_silent(
    db: store.Store, watch: Watch, control: Consumer, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    for _ in range(100):
        assert watch.reap() == 0
        clock.tick(MINUTE)

    assert orders(control) == []
    assert (run_of(db, made)["state"], run_of(db, made)["asked_at"]) == ("running", None)


def test_nor_one_that_was_asked_before_the_silence(
    db: store.Store, watch: Watch, control: Consumer, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    reap_for(db, watch, clock, LEASE + 4 * SECOND)
    assert len(set(orders(control))) == 1

    clock.tick(HOUR)
    assert watch.reap() == 0

    assert run_of(db, made)["state"] == "running"


def test_nor_while_there_is_no_broker_to_ask_by(
    db: store.Store, a_bus: Bus, job_id: int, clock: Clock
) -> None:
    watch = Watch(db, a_bus, name="host.1", lease=LEASE)
    made = running_run(db, job_id)
    a_bus.close()

    assert reap_for(db, watch, clock, 10 * MINUTE) == 0
    assert run_of(db, made)["state"] == "running"


# -- cancellations


def test_a_cancelled_run_is_ordered_killed_until_it_has_ended(
    db: store.Store, watch: Watch, control: Consumer, job_id: int
) -> None:
    made = running_run(db, job_id)
    watch.send_kills()
    assert orders(control) == []
    with db.begin() as tx:
        runs.request_cancel(tx, made, "ann", NOON)

    for _ in range(3):
        watch.send_kills()
        assert orders(control) == [Order("kill", made, 1, "ann")]
    tell(db, said(EventType.FINISHED, made, return_code=-15, why="cancelled"))
    watch.send_kills()

    assert (orders(control), run_of(db, made)["state"]) == ([], "cancelled")


def test_one_that_was_claimed_only_is_ordered_killed_too(
    db: store.Store, watch: Watch, control: Consumer, job_id: int
) -> None:
    made = claimed_run(db, job_id)
    with db.begin() as tx:
        runs.request_cancel(tx, made, "ann", NOON)

    watch.send_kills()

    assert orders(control) == [Order("kill", made, 1, "ann")]


def test_a_cancelled_run_of_an_unknown_runner_is_no_harm(db: store.Store, watch: Watch, job_id: int) -> None:
    made = running_run(db, job_id)
    with db.begin() as tx:
        runs.request_cancel(tx, made, "ann", NOON)

    watch.send_kills()

    assert run_of(db, made)["state"] == "running"


# -- queues


def test_what_only_the_broker_knows_is_written_down(
    db: store.Store, watch: Watch, a_bus: Bus, job_id: int
) -> None:
    a_bus.declare([job_queue("gpu")])
    a_bus.publish([bus.Message("gpu", b"{}"), bus.Message("gpu", b"{}"), bus.Message("default", b"{}")])
    consumer = a_bus.consume(["cronq_jobs"], 10)
    insert_run(db, job_id, key="gpu")

    watch.measure_queues(watch.waiting_keys)

    with db.read() as tx:
        found = {q["name"]: (q["ready"], q["consumers"]) for q in facts.all_queues(tx)}
    assert found == {"cronq_jobs": (1, 1), "cronq_jobs.gpu": (2, 0)}
    assert open_alerts(db) == [("no_consumer", "cronq_jobs.gpu")]
    consumer.close()


def test_a_queue_that_somebody_consumes_again_is_no_alert(
    db: store.Store, watch: Watch, a_bus: Bus, job_id: int
) -> None:
    a_bus.publish([bus.Message("default", b"{}")])
    watch.measure_queues(watch.waiting_keys)
    assert open_alerts(db) == [("no_consumer", "cronq_jobs")]

    a_bus.consume(["cronq_jobs"], 10)
    watch.measure_queues(watch.waiting_keys)

    assert open_alerts(db) == []


def test_a_queue_whose_runner_has_no_free_slot_is_no_alert(
    db: store.Store, watch: Watch, a_bus: Bus, job_id: int
) -> None:
    with db.begin() as tx:
        leases.beat(tx, [heartbeat()], NOON, NOON + LEASE)
    a_bus.publish([bus.Message("default", b"{}")])

    watch.measure_queues(watch.waiting_keys)

    assert open_alerts(db) == []


def test_a_queue_whose_runner_fell_silent_is_an_alert(
    db: store.Store, watch: Watch, a_bus: Bus, clock: Clock, job_id: int
) -> None:
    with db.begin() as tx:
        leases.beat(tx, [heartbeat()], NOON, NOON + LEASE)
    a_bus.publish([bus.Message("default", b"{}")])
    clock.tick(LEASE + SECOND)

    watch.measure_queues(watch.waiting_keys)

    assert open_alerts(db) == [("no_consumer", "cronq_jobs")]


def test_what_was_asked_in_a_silence_is_asked_again_and_not_lost(
    db: store.Store, watch: Watch, control: Consumer, clock: Clock, job_id: int
) -> None:
    made = running_run(db, job_id)
    clock.tick(LEASE + SECOND)
    with db.begin() as tx:
        leases.ask_expired(tx, clock.now, clock.now + SECOND, 100)
        facts.put(tx, SILENT, "host.1", clock.now + 2 * SECOND)
    clock.tick(2 * LEASE)
    hear(db, clock)

    lost = watch.reap()

    assert (lost, run_of(db, made)["state"]) == (0, "running")
    assert [(order.verb, order.run_id) for order in orders(control)] == [("report", made)]


def test_a_queue_that_is_not_waited_for_any_more_is_measured_all_the_same(
    db: store.Store, watch: Watch, a_bus: Bus, job_id: int
) -> None:
    a_bus.declare([job_queue("gpu")])
    a_bus.publish([bus.Message("gpu", b"{}")])
    insert_run(db, job_id, key="gpu")
    watch.measure_queues(watch.waiting_keys)
    [delivery] = a_bus.consume(["cronq_jobs.gpu"], 10).take(1, 0)
    delivery.ack()
    with db.begin() as tx:
        runs.cancel_waiting(tx, [job_id], "made up", NOON)

    watch.measure_queues(watch.waiting_keys)

    with db.read() as tx:
        found = {q["name"]: q["ready"] for q in facts.all_queues(tx)}
    assert found["cronq_jobs.gpu"] == 0


# -- late starts


@pytest.mark.parametrize("state", [State.QUEUED, State.SCHEDULED])
def test_runs_that_nobody_takes_for_a_minute_are_an_alert_for_their_key(
    db: store.Store, watch: Watch, job_id: int, clock: Clock, state: State
) -> None:
    made = insert_run(db, job_id, state, key="gpu")
    clock.tick(LATE_AFTER)
    watch.judge_late()
    assert open_alerts(db) == []

    clock.tick(SECOND)
    watch.judge_late()
    with db.read() as tx:
        [alert] = alerts.listed(tx)
    assert (alert["kind"], alert["subject"]) == ("late_start", "gpu")
    assert alert["message"] == "1 run waits for a runner of key 'gpu', the oldest for 61 s"

    with db.begin() as tx:
        runs.request_cancel(tx, made, "ann", clock.now)
    watch.judge_late()
    assert open_alerts(db) == []

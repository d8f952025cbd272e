"""The bus while RabbitMQ dies, comes back, freezes, forgets everything, or takes no messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cronq import bus
from cronq.bus import Bus, Confirm, Consumer, Delivery, Message, Queue, amqp_login
from cronq.bus.amqp import AmqpBus
from cronq.bus.topology import runner_queue, shared_queues
from cronq.domain.errors import Unavailable
from tests.servers import RabbitMQ, free_port

pytestmark = pytest.mark.integration

JOBS = "cronq_jobs"
BACK_S = 15.0  # reconnecting takes up to 5 s after the broker is there, and it is slow at first

Opener = Callable[..., Bus]


@pytest.fixture
def broker(private_rabbitmq: RabbitMQ) -> Iterator[RabbitMQ]:
    yield private_rabbitmq
    private_rabbitmq.thaw()
    if not private_rabbitmq.is_running:
        private_rabbitmq.start()


@pytest.fixture
def url(broker: RabbitMQ) -> str:
    return broker.create_vhost()


@pytest.fixture
def open_bus(url: str) -> Iterator[Opener]:
    opened: list[Bus] = []

    def opener(at: str = url) -> Bus:
        opened.append(bus.open(at, name="reconnect"))
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


@pytest.fixture
def one_bus(open_bus: Opener) -> Bus:
    one: Bus = open_bus()
    one.declare(shared_queues())
    wait_until(one.is_connected)
    return one


def wait_until(is_so: Callable[[], bool], within_s: float = BACK_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        threading.Event().wait(0.01)


def fail() -> None:
    raise ZeroDivisionError


def publish(a_bus: Bus, *bodies: bytes, timeout_s: float = BACK_S) -> list[Confirm]:
    return a_bus.publish([Message("default", body) for body in bodies], timeout_s)


def take_exactly(consumer: Consumer, count: int) -> list[Delivery]:
    deadline = time.monotonic() + BACK_S
    taken: list[Delivery] = []
    while len(taken) < count and time.monotonic() < deadline:
        taken += consumer.take(count - len(taken), 0.1)
    assert len(taken) == count
    return taken


def test_all_that_was_confirmed_comes_out_after_kill_9(broker: RabbitMQ, one_bus: Bus) -> None:
    sent = [b"%d" % number for number in range(300)]
    consumer = one_bus.consume([JOBS], 50)
    assert set(publish(one_bus, *sent)) == {Confirm.CONFIRMED}
    take_exactly(consumer, 50)

    broker.kill()
    broker.start()

    again: list[bytes] = []
    while len(again) < 300:
        for delivery in take_exactly(consumer, 1):
            delivery.ack()
            again.append(delivery.body)
    assert again == sent
    assert publish(one_bus, b"more") == [Confirm.CONFIRMED]
    assert take_exactly(consumer, 1)[0].body == b"more"


def test_it_says_that_it_is_lost_and_that_it_is_back(broker: RabbitMQ, one_bus: Bus) -> None:
    back = threading.Event()
    one_bus.on_reconnect(back.set)
    one_bus.on_reconnect(fail)  # a caller's bug costs nothing
    assert one_bus.last_error is None

    broker.kill()
    wait_until(lambda: not one_bus.is_connected(), within_s=1)
    wait_until(lambda: "refused" in str(one_bus.last_error), within_s=5)
    assert not back.is_set()
    broker.start()

    assert back.wait(BACK_S)
    assert one_bus.is_connected()
    assert one_bus.last_error is None
    wait_until(lambda: publish(one_bus, b"x") == [Confirm.CONFIRMED])


def test_a_publish_in_an_outage_is_unknown_in_time_and_never_sent_later(
    broker: RabbitMQ, one_bus: Bus
) -> None:
    broker.kill()
    wait_until(lambda: not one_bus.is_connected())
    started = time.monotonic()

    assert publish(one_bus, b"lost", timeout_s=0.5) == [Confirm.UNKNOWN]

    assert time.monotonic() - started < 2
    broker.start()
    assert publish(one_bus, b"later") == [Confirm.CONFIRMED]
    assert [delivery.body for delivery in one_bus.consume([JOBS], 5).take(5, BACK_S)] == [b"later"]


def test_a_publish_waits_for_the_connection(broker: RabbitMQ, one_bus: Bus) -> None:
    """Once it is known to be lost: what is sent before that may be on its way."""
    assert isinstance(one_bus, AmqpBus)
    broker.kill()
    wait_until(lambda: not one_bus._out.is_up)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(publish, one_bus, b"patient", timeout_s=60)
        broker.start()

        assert waiting.result(60) == [Confirm.CONFIRMED]


def test_what_is_under_way_when_the_connection_is_lost_is_unknown_at_once(
    broker: RabbitMQ, one_bus: Bus
) -> None:
    broker.freeze()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(publish, one_bus, b"1", b"2", timeout_s=60)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)

        broker.kill()

        assert waiting.result(5) == [Confirm.UNKNOWN] * 2


def test_a_frozen_broker_is_noticed_by_its_missing_heartbeats(
    broker: RabbitMQ, url: str, open_bus: Opener
) -> None:
    impatient = open_bus(f"{url}?heartbeat=1")
    wait_until(impatient.is_connected)

    broker.freeze()

    wait_until(lambda: not impatient.is_connected(), within_s=20)  # the client looks every 6 s
    broker.thaw()
    wait_until(impatient.is_connected)


def test_acks_of_an_earlier_connection_do_nothing(broker: RabbitMQ, one_bus: Bus) -> None:
    consumer = one_bus.consume([JOBS], 5)
    publish(one_bus, b"1", b"2")
    stale = take_exactly(consumer, 2)
    broker.restart()
    fresh = take_exactly(consumer, 2)

    for delivery in stale:
        delivery.ack()
    fresh[0].ack()
    consumer.close()

    wait_until(lambda: getattr(one_bus.stats(JOBS), "ready", None) == 1)


def test_a_wiped_broker_gets_all_queues_again(broker: RabbitMQ, open_bus: Opener) -> None:
    one: Bus = open_bus(broker.url)
    one.declare([*shared_queues(), Queue("cronq_jobs.gpu", ("gpu",)), runner_queue("a")])
    orders = one.consume(["cronq_runner.a"], 5)

    broker.wipe()

    wait_until(one.is_connected)
    keys = ("default", "cronq_jobs", "cronq_results", "cronq_claims", "cronq_dead", "gpu", "cronq_runner.a")
    assert one.publish([Message(key, b"") for key in keys]) == [Confirm.CONFIRMED] * len(keys)
    assert take_exactly(orders, 1)[0].key == "cronq_runner.a"


def test_a_private_queue_is_back_before_anyone_can_answer_to_it(broker: RabbitMQ, open_bus: Opener) -> None:
    results, runner = open_bus(), open_bus()
    results.declare(shared_queues())
    runner.declare([runner_queue("a")])
    replies = runner.consume(["cronq_runner.a"], 5)
    broker.restart()
    wait_until(runner.is_connected)

    assert results.publish([Message("cronq_runner.a", b"granted")], BACK_S) == [Confirm.CONFIRMED]

    assert take_exactly(replies, 1)[0].body == b"granted"


def test_an_error_of_our_own_costs_the_connection_and_not_the_bus(
    one_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_once(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    consumer = one_bus.consume([JOBS], 5)
    monkeypatch.setattr("cronq.bus.unacked.Unacked.add", fail_once)
    publish(one_bus, b"1")

    assert take_exactly(consumer, 1)[0].body == b"1"
    monkeypatch.setattr("cronq.bus.amqp_publish._Batch.settle", fail_once)
    assert publish(one_bus, b"2") == [Confirm.UNKNOWN]
    assert publish(one_bus, b"3") == [Confirm.CONFIRMED]


def test_hosts_are_tried_in_turn(broker: RabbitMQ, url: str, open_bus: Opener) -> None:
    vhost = url.rpartition("/")[2]

    one = open_bus(f"amqp://guest:guest@127.0.0.1:{free_port()},localhost:{broker.port}/{vhost}")
    other = open_bus(f"amqp://127.0.0.1:{free_port()}/nowhere,{url}")

    wait_until(one.is_connected, within_s=5)
    wait_until(other.is_connected, within_s=5)


def test_a_bus_opened_before_its_broker_connects_later(broker: RabbitMQ, url: str, open_bus: Opener) -> None:
    broker.kill()
    early = open_bus(url)
    consumer = early.consume([JOBS], 5)
    wait_until(lambda: "refused" in str(early.last_error))

    broker.start()

    wait_until(early.is_connected)
    early.declare(shared_queues())
    assert publish(early, b"1") == [Confirm.CONFIRMED]
    assert take_exactly(consumer, 1)[0].body == b"1"


def test_without_a_broker_declaring_and_asking_raise_in_time(
    broker: RabbitMQ, open_bus: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cronq.bus.amqp._DECLARE_TIMEOUT_S", 0.3)
    monkeypatch.setattr("cronq.bus.amqp._STATS_TIMEOUT_S", 0.3)
    broker.kill()
    one = open_bus()

    with pytest.raises(Unavailable, match="refused"):
        one.declare(shared_queues())
    with pytest.raises(Unavailable, match="refused"):
        one.stats(JOBS)

    broker.start()  # what could not be declared then is declared now
    wait_until(one.is_connected)
    monkeypatch.undo()
    assert publish(one, b"1") == [Confirm.CONFIRMED]


class TestAlarm:
    """The broker's disk or memory alarm blocks who publishes."""

    @pytest.fixture(autouse=True)
    def _end_of_alarm(self, broker: RabbitMQ) -> Iterator[None]:
        yield
        broker.set_alarm(on=False)

    def test_publishing_is_unknown_and_consuming_goes_on(self, broker: RabbitMQ, one_bus: Bus) -> None:
        consumer = one_bus.consume([JOBS], 1)
        publish(one_bus, b"1", b"2")
        broker.set_alarm(on=True)

        assert publish(one_bus, b"3", timeout_s=0.5) == [Confirm.UNKNOWN]

        wait_until(lambda: not one_bus.is_connected(), within_s=1)
        assert "takes no messages" in str(one_bus.last_error)
        take_exactly(consumer, 1)[0].ack()
        assert take_exactly(consumer, 1)[0].body == b"2"

        broker.set_alarm(on=False)
        wait_until(one_bus.is_connected)
        assert publish(one_bus, b"4") == [Confirm.CONFIRMED]

    def test_a_new_connection_in_an_alarm_is_not_taken_for_health(
        self, broker: RabbitMQ, open_bus: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(amqp_login, "_BLOCKED_TIMEOUT_S", 1)
        one: Bus = open_bus()
        one.declare(shared_queues())
        wait_until(one.is_connected)
        back = threading.Event()
        one.on_reconnect(back.set)
        broker.set_alarm(on=True)
        publish(one, b"1", timeout_s=0.1)
        wait_until(lambda: not one.is_connected(), within_s=1)

        assert not back.wait(4), "it reconnected meanwhile, more than once, into the same alarm"

        broker.set_alarm(on=False)
        assert back.wait(BACK_S)
        assert publish(one, b"2") == [Confirm.CONFIRMED]

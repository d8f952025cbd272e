"""Declaring and consuming on a broker where others declare, delete, refuse and close as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from structlog.testing import capture_logs

from cronq import bus
from cronq.bus import Bus, Confirm, Message, Queue
from cronq.bus.topology import job_queue, named_queue, runner_queue, shared_queues
from cronq.domain.errors import Unavailable
from tests.servers import RabbitMQ

pytestmark = pytest.mark.integration

JOBS = "cronq_jobs"
SOON_S = 10.0

Opener = Callable[..., Bus]


@pytest.fixture
def open_bus(amqp_url: str) -> Iterator[Opener]:
    opened: list[Bus] = []

    def opener(at: str = amqp_url, name: str = "topology") -> Bus:
        opened.append(bus.open(at, name=name))
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


@pytest.fixture
def raw(amqp_url: str) -> Iterator[BlockingChannel]:
    """A channel of somebody else's client."""
    with raw_channel(amqp_url) as channel:
        yield channel


@contextmanager
def raw_channel(url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def wait_until(is_so: Callable[[], bool], within_s: float = SOON_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        threading.Event().wait(0.01)


def publish(a_bus: Bus, key: str = "default") -> Confirm:
    return a_bus.publish([Message(key, b"{}")])[0]


def test_everything_is_created_durable(open_bus: Opener, raw: BlockingChannel) -> None:
    open_bus().declare([*shared_queues(), job_queue("gpu")])

    for queue in (JOBS, "cronq_results", "cronq_claims", "cronq_dead", "cronq_jobs.gpu"):
        raw.queue_declare(queue, durable=True)  # raises where it has other properties
    raw.exchange_declare("cronq", "direct", durable=True)


def test_what_is_there_with_other_properties_is_used_as_it_is(open_bus: Opener, raw: BlockingChannel) -> None:
    raw.exchange_declare("cronq", "direct", auto_delete=True)
    raw.queue_declare(JOBS, auto_delete=True)
    raw.queue_declare("cronq_results", arguments={"x-max-length": 100_000})
    raw.queue_bind(JOBS, "cronq", "cronq_jobs")
    one = open_bus()

    one.declare(shared_queues())

    assert [publish(one, key) for key in ("default", "cronq_jobs", "cronq_results")] == [
        Confirm.CONFIRMED
    ] * 3
    assert len(one.consume([JOBS], 5).take(2, SOON_S)) >= 1
    raw.queue_declare(JOBS, auto_delete=True)
    raw.queue_declare("cronq_results", arguments={"x-max-length": 100_000})


@pytest.mark.parametrize("key", ["default", "cronq_jobs"])
def test_a_queue_that_was_bound_to_one_key_by_hand_gets_both(
    open_bus: Opener, raw: BlockingChannel, key: str
) -> None:
    raw.exchange_declare("cronq", "direct", durable=True)
    raw.queue_declare(JOBS)
    raw.queue_bind(JOBS, "cronq", key)
    one = open_bus()

    one.declare(shared_queues())

    assert [publish(one, "default"), publish(one, "cronq_jobs")] == [Confirm.CONFIRMED] * 2


def test_a_queue_of_an_old_name_is_consumed_without_being_touched(
    open_bus: Opener, raw: BlockingChannel
) -> None:
    raw.queue_declare("my_old_queue", exclusive=False, auto_delete=True)
    raw.basic_publish("", "my_old_queue", b"by hand")
    one = open_bus()

    one.declare([named_queue("my_old_queue")])

    assert one.consume(["my_old_queue"], 1).take(1, SOON_S)[0].body == b"by hand"


def test_fault_20_a_queue_deleted_under_its_consumer_is_there_again_within_a_second(
    open_bus: Opener, raw: BlockingChannel
) -> None:
    one = open_bus()
    one.declare([job_queue("default")])
    consumer = one.consume([JOBS], 5)
    wait_until(lambda: one.stats(JOBS) == bus.QueueStats(0, 1))

    raw.queue_delete(JOBS)
    deleted_at = time.monotonic()

    wait_until(lambda: publish(one) is Confirm.CONFIRMED, within_s=1)
    assert consumer.take(1, SOON_S)
    assert time.monotonic() - deleted_at < 1


def test_a_queue_deleted_behind_a_publisher_is_there_again(open_bus: Opener, raw: BlockingChannel) -> None:
    one = open_bus()
    one.declare(shared_queues())
    raw.queue_delete(JOBS)

    assert publish(one) is Confirm.UNROUTABLE

    wait_until(lambda: publish(one) is Confirm.CONFIRMED)


def test_a_deleted_exchange_is_there_again(open_bus: Opener, raw: BlockingChannel) -> None:
    one = open_bus()
    one.declare(shared_queues())
    assert publish(one) is Confirm.CONFIRMED

    raw.exchange_delete("cronq")

    assert publish(one) is Confirm.UNKNOWN  # the broker closes the channel
    wait_until(lambda: publish(one) is Confirm.CONFIRMED)


def test_a_missing_queue_is_said_once_and_waited_for(open_bus: Opener, raw: BlockingChannel) -> None:
    with capture_logs() as logs:
        consumer = open_bus().consume(["elsewhere"], 5)
        assert consumer.take(1, 2.0) == []
    assert [entry["queue"] for entry in logs if entry["event"] == "bus.not_consuming"] == ["elsewhere"]

    raw.queue_declare("elsewhere")
    raw.basic_publish("", "elsewhere", b"1")

    assert consumer.take(1, SOON_S)[0].body == b"1"


def test_one_missing_queue_does_not_keep_a_consumer_from_the_others(open_bus: Opener) -> None:
    one = open_bus()
    one.declare([job_queue("default")])
    consumer = one.consume(["elsewhere", JOBS], 5)

    publish(one)

    assert consumer.take(1, SOON_S)[0].queue == JOBS


def test_a_private_queue_still_held_by_a_dead_connection_is_had_later(
    open_bus: Opener, raw: BlockingChannel
) -> None:
    raw.queue_declare("cronq_runner.a", exclusive=True)
    one = open_bus()
    with pytest.raises(Unavailable, match="RESOURCE_LOCKED"):
        one.declare([runner_queue("a")])
    replies = one.consume(["cronq_runner.a"], 5)

    raw.queue_delete("cronq_runner.a")

    wait_until(lambda: publish(one, "cronq_runner.a") is Confirm.CONFIRMED)
    assert replies.take(1, SOON_S)


def test_a_channel_that_the_broker_closes_is_opened_again(private_rabbitmq: RabbitMQ) -> None:
    private_rabbitmq.evaluate(
        "application:set_env(rabbit, consumer_timeout, 500), "
        "application:set_env(rabbit, channel_tick_interval, 500)"
    )
    one = bus.open(private_rabbitmq.create_vhost(), name="topology")
    try:
        one.declare([job_queue("default")])
        consumer = one.consume([JOBS], 5)
        publish(one)
        [forgotten] = consumer.take(1, SOON_S)

        [again] = consumer.take(1, 2 * SOON_S)  # the broker closes the channel for the ack that never came

        assert again.redelivered
        forgotten.ack()
        again.ack()
        wait_until(lambda: one.stats(JOBS) == bus.QueueStats(0, 1))
    finally:
        one.close()


@pytest.fixture
def restricted_url(rabbitmq: RabbitMQ, amqp_url: str) -> Iterator[str]:
    """As a user who may read and write but configure nothing."""
    vhost = amqp_url.rpartition("/")[2]
    user = f"u_{vhost}"
    rabbitmq.evaluate(
        f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"sesame">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{vhost}">>, '
        '<<"^$">>, <<"^cronq$">>, <<"^cronq">>, <<"test">>)'
    )
    yield amqp_url.replace("guest:guest@", f"{user}:sesame@")
    rabbitmq.evaluate(f'rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"test">>)')


def test_a_user_without_rights_uses_what_is_there_and_is_told_what_is_not(
    open_bus: Opener, restricted_url: str
) -> None:
    open_bus().declare([job_queue("default")])
    limited = open_bus(restricted_url)

    limited.declare([job_queue("default")])
    assert publish(limited) is Confirm.CONFIRMED
    assert limited.consume([JOBS], 5).take(1, SOON_S)
    with pytest.raises(Unavailable, match=r"'cronq_jobs\.gpu'.*403 ACCESS_REFUSED"):
        limited.declare([job_queue("gpu")])
    assert publish(limited) is Confirm.CONFIRMED


def test_a_wrong_password_is_told_without_it(open_bus: Opener, amqp_url: str) -> None:
    one = open_bus(amqp_url.replace("guest:guest", "guest:open-sesame"))

    wait_until(lambda: one.last_error is not None)

    assert "refuses user 'guest': 403 ACCESS_REFUSED" in str(one.last_error)
    assert "open-sesame" not in str(one.last_error)
    assert not one.is_connected()


def test_a_missing_vhost_is_told_and_waited_for(open_bus: Opener, rabbitmq: RabbitMQ, amqp_url: str) -> None:
    name = amqp_url.rpartition("/")[2] + "_later"
    one = open_bus(amqp_url + "_later")
    wait_until(lambda: f"refuses virtual host '{name}'" in str(one.last_error))

    url = rabbitmq.create_vhost(name)

    wait_until(one.is_connected)
    one.close()
    rabbitmq.delete_vhost(url)


def test_tls_to_a_plain_port_is_told(open_bus: Opener, rabbitmq: RabbitMQ) -> None:
    one = open_bus(f"amqps://127.0.0.1:{rabbitmq.port}/")

    wait_until(lambda: "SSL" in str(one.last_error))


def test_the_broker_shows_who_is_connected(open_bus: Opener, rabbitmq: RabbitMQ) -> None:
    wait_until(open_bus(name="injector at example").is_connected)

    shown = rabbitmq.evaluate(
        'lists:flatten(io_lib:format("~p", [rabbit_networking:connection_info_all([client_properties])]))'
    )

    assert shown.count("injector at example") == 2
    assert "publish" in shown
    assert "consume" in shown


def test_a_queue_of_another_connection_has_no_stats_for_us(open_bus: Opener, raw: BlockingChannel) -> None:
    raw.queue_declare("theirs", exclusive=True)

    with pytest.raises(Unavailable, match="RESOURCE_LOCKED"):
        open_bus().stats("theirs")


def test_declaring_many_queues_at_once_from_several_processes_agrees(open_bus: Opener) -> None:
    queues = [*shared_queues(), *(Queue(f"cronq_jobs.k{number}", (f"k{number}",)) for number in range(20))]
    threads = [threading.Thread(target=open_bus().declare, args=(queues,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)

    one = open_bus()
    assert {publish(one, f"k{number}") for number in range(20)} == {Confirm.CONFIRMED}

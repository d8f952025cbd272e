"""What goes over the wire, and how much of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from cronq import bus
from cronq.bus import Bus, Confirm, Message
from cronq.bus.topology import shared_queues

pytestmark = pytest.mark.integration

JOBS = "cronq_jobs"


@pytest.fixture
def one_bus(amqp_url: str) -> Iterator[Bus]:
    one = bus.open(amqp_url, name="publish")
    one.declare(shared_queues())
    yield one
    one.close()


@pytest.fixture
def raw(amqp_url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    yield connection.channel()
    connection.close()


def test_five_thousand_messages_in_batches_are_all_confirmed_and_come_in_order(one_bus: Bus) -> None:
    sent = [b"%d" % number for number in range(5000)]

    verdicts: list[Confirm] = []
    for start in range(0, 5000, 500):
        verdicts += one_bus.publish([Message("default", body) for body in sent[start : start + 500]])

    assert verdicts == [Confirm.CONFIRMED] * 5000
    consumer = one_bus.consume([JOBS], 1000)
    came: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(came) < 5000 and time.monotonic() < deadline:
        for delivery in consumer.take(500, 1.0):
            delivery.ack()
            came.append(delivery.body)
    assert came == sent


def test_five_thousand_messages_in_one_batch_tell_the_unroutable_ones(one_bus: Bus) -> None:
    verdicts = one_bus.publish(
        [Message("nowhere" if n % 7 == 0 else "default", b"{}") for n in range(5000)], 30.0
    )

    assert [n for n, verdict in enumerate(verdicts) if verdict is Confirm.UNROUTABLE] == list(
        range(0, 5000, 7)
    )
    assert verdicts.count(Confirm.CONFIRMED) == 5000 - len(range(0, 5000, 7))


def test_a_job_message_is_persistent_json_that_any_client_reads(one_bus: Bus, raw: BlockingChannel) -> None:
    body = json.dumps({"run_id": "0" * 32, "job_id": 1, "cmd": "true", "name": "x"}).encode()
    one_bus.publish(
        [Message("default", body, expiration_ms=60_000, reply_to="cronq_runner.a", headers={"n": 1})]
    )

    method, properties, got = raw.basic_get(JOBS, auto_ack=True)

    assert (method.exchange, method.routing_key, got) == ("cronq", "default", body)
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert (properties.expiration, properties.reply_to, properties.headers) == (
        "60000",
        "cronq_runner.a",
        {"n": 1},
    )


def test_a_transient_message_is_sent_as_one(one_bus: Bus, raw: BlockingChannel) -> None:
    one_bus.publish([Message("default", b"{}", persistent=False)])

    _, properties, _ = raw.basic_get(JOBS, auto_ack=True)

    assert properties.delivery_mode == 1
    assert properties.headers is None


def test_a_full_queue_that_rejects_publishes_leaves_them_unknown(one_bus: Bus, raw: BlockingChannel) -> None:
    raw.queue_declare("small", durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    raw.queue_bind("small", "cronq", "small")

    verdicts = one_bus.publish([Message("small", b"{}") for _ in range(5)])

    assert verdicts.count(Confirm.UNKNOWN) == 3


def test_what_others_send_without_any_property_is_delivered(one_bus: Bus, raw: BlockingChannel) -> None:
    raw.basic_publish("cronq", "default", b"\xff\x00")
    odd = pika.BasicProperties(headers={"nested": {"a": [1]}, "n": 1, "raw": b"\xff", "none": None})
    raw.basic_publish("cronq", "default", b"", odd)
    consumer = one_bus.consume([JOBS], 5)

    first = consumer.take(1, 10.0)[0]
    second = consumer.take(1, 10.0)[0]

    assert (first.body, first.reply_to, dict(first.headers)) == (b"\xff\x00", None, {})
    assert (second.body, dict(second.headers)) == (b"", {"n": 1})

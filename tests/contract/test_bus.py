"""What every bus must do; each case runs on the one in memory and on RabbitMQ."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from cronq import bus
from cronq.bus import Bus, Confirm, Consumer, Delivery, Message, Queue, QueueStats
from cronq.bus.topology import runner_queue, shared_queues
from cronq.domain.errors import ConfigError, Unavailable

JOBS = Queue("cronq_jobs", ("default", "cronq_jobs"))
SOON_S = 5.0  # a deadline for what should take milliseconds
NEVER_S = 0.3  # how long we watch for what must not happen

Opener = Callable[[], Bus]


@pytest.fixture
def open_bus(bus_url: str) -> Iterator[Opener]:
    """Opens any number of buses on one broker, and closes them."""
    opened: list[Bus] = []

    def opener() -> Bus:
        opened.append(bus.open(bus_url, name="contract"))
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


@pytest.fixture
def one_bus(open_bus: Opener) -> Bus:
    """A bus with the queue of jobs."""
    opened = open_bus()
    opened.declare([JOBS])
    return opened


def messages(*bodies: bytes, key: str = "default") -> list[Message]:
    return [Message(key, body) for body in bodies]


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def take_exactly(consumer: Consumer, count: int) -> list[Delivery]:
    """Take until that many came; fails after a deadline, or when more are at hand."""
    deadline = time.monotonic() + SOON_S
    taken: list[Delivery] = []
    while len(taken) < count and time.monotonic() < deadline:
        taken += consumer.take(count - len(taken), 0.1)
    assert len(taken) == count
    return taken


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.body for delivery in deliveries]


def wait_for_stats(a_bus: Bus, queue: str, expected: QueueStats | None) -> None:
    """The broker counts in its own time."""
    deadline = time.monotonic() + SOON_S
    while (found := a_bus.stats(queue)) != expected and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert found == expected


def test_a_published_message_is_confirmed_and_delivered_whole(one_bus: Bus) -> None:
    message = Message(
        "default", b'{"v": 1}', reply_to="cronq_runner.a", headers={"attempt": 2, "kind": "claim"}
    )

    assert one_bus.publish([message]) == [Confirm.CONFIRMED]

    [delivery] = take_exactly(one_bus.consume(["cronq_jobs"], 10), 1)
    assert delivery.body == message.body
    assert (delivery.queue, delivery.key, delivery.reply_to) == ("cronq_jobs", "default", "cronq_runner.a")
    assert dict(delivery.headers) == {"attempt": 2, "kind": "claim"}
    assert not delivery.redelivered


def test_a_message_that_no_queue_wants_is_unroutable_and_the_others_are_not(one_bus: Bus) -> None:
    batch = messages(b"1") + messages(b"2", key="gpu") + messages(b"3", key="cronq_jobs")

    verdicts = one_bus.publish(batch)

    assert verdicts == [Confirm.CONFIRMED, Confirm.UNROUTABLE, Confirm.CONFIRMED]


def test_nothing_published_has_no_verdicts(one_bus: Bus) -> None:
    assert one_bus.publish([]) == []


def test_a_batch_that_is_sent_without_waiting_gets_its_verdicts_later(one_bus: Bus) -> None:
    verdicts: SimpleQueue[list[Confirm]] = SimpleQueue()

    one_bus.send(messages(b"1") + messages(b"2", key="gpu"), verdicts.put)

    assert verdicts.get(timeout=SOON_S) == [Confirm.CONFIRMED, Confirm.UNROUTABLE]
    assert bodies(take_exactly(one_bus.consume(["cronq_jobs"], 10), 1)) == [b"1"]


def test_a_closed_bus_sends_nothing_and_says_so(one_bus: Bus) -> None:
    one_bus.close()
    verdicts: SimpleQueue[list[Confirm]] = SimpleQueue()

    one_bus.send(messages(b"1"), verdicts.put)

    assert verdicts.get(timeout=SOON_S) == [Confirm.UNKNOWN]


def test_a_batch_comes_out_in_the_order_it_went_in(one_bus: Bus) -> None:
    sent = numbered(500)

    assert set(one_bus.publish(messages(*sent))) == {Confirm.CONFIRMED}

    assert bodies(take_exactly(one_bus.consume(["cronq_jobs"], 500), 500)) == sent


def test_batches_of_many_threads_each_get_their_own_verdicts(one_bus: Bus) -> None:
    def publish(number: int) -> list[Confirm]:
        return one_bus.publish(messages(b"x", key="default" if number % 2 else "nowhere") * 20)

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(publish, range(40)))

    assert [set(one) for one in verdicts] == [{Confirm.UNROUTABLE}, {Confirm.CONFIRMED}] * 20
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=400, consumers=0))


def test_take_returns_nothing_after_its_timeout(one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs"], 10)
    started = time.monotonic()

    assert consumer.take(10, 0.1) == []

    assert 0.09 <= time.monotonic() - started < SOON_S


def test_take_wakes_at_the_first_delivery(one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs"], 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(consumer.take, 10, 60.0)

        one_bus.publish(messages(b"now"))

        assert bodies(waiting.result(SOON_S)) == [b"now"]


def test_take_returns_at_most_as_many_as_asked_for(one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(5)))
    consumer = one_bus.consume(["cronq_jobs"], 10)
    take_exactly(consumer, 1)

    assert len(consumer.take(3, SOON_S)) <= 3


def test_an_acked_message_is_gone(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(10)))
    consumer = one_bus.consume(["cronq_jobs"], 10)

    for delivery in take_exactly(consumer, 10):
        delivery.ack()
    consumer.close()

    wait_for_stats(open_bus(), "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_acks_out_of_order_and_twice_settle_just_those(one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(10)))
    consumer = one_bus.consume(["cronq_jobs"], 10)
    deliveries = take_exactly(consumer, 10)

    for index in (9, 3, 0, 1, 3, 0):
        deliveries[index].ack()
    deliveries[1].reject(requeue=True)
    consumer.close()

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=6, consumers=0))
    left = take_exactly(one_bus.consume(["cronq_jobs"], 10), 6)
    assert bodies(left) == [b"2", b"4", b"5", b"6", b"7", b"8"]


def test_acks_from_many_threads_all_count(one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(300)))
    consumer = one_bus.consume(["cronq_jobs"], 300)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda delivery: delivery.ack(), take_exactly(consumer, 300)))
    consumer.close()

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_a_rejected_message_comes_again_when_requeued(one_bus: Bus) -> None:
    one_bus.publish(messages(b"again"))
    consumer = one_bus.consume(["cronq_jobs"], 10)

    take_exactly(consumer, 1)[0].reject(requeue=True)

    [delivery] = take_exactly(consumer, 1)
    assert (delivery.body, delivery.redelivered) == (b"again", True)


def test_a_rejected_message_is_gone_when_not_requeued(one_bus: Bus) -> None:
    one_bus.publish(messages(b"bad"))
    consumer = one_bus.consume(["cronq_jobs"], 10)

    take_exactly(consumer, 1)[0].reject(requeue=False)
    consumer.close()

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_no_more_than_the_prefetch_is_out_at_once(one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(5)))
    consumer = one_bus.consume(["cronq_jobs"], 2)
    out = take_exactly(consumer, 2)
    assert consumer.take(5, NEVER_S) == []

    out[0].ack()

    assert bodies(take_exactly(consumer, 1)) == [b"2"]
    assert consumer.take(5, NEVER_S) == []


def test_each_queue_of_a_consumer_has_its_own_prefetch(one_bus: Bus) -> None:
    one_bus.declare([Queue("cronq_jobs.gpu", ("gpu",))])
    one_bus.publish(messages(b"1", b"2") + messages(b"3", b"4", key="gpu"))
    consumer = one_bus.consume(["cronq_jobs", "cronq_jobs.gpu"], 1)

    taken = take_exactly(consumer, 2)

    assert {delivery.queue: delivery.body for delivery in taken} == {
        "cronq_jobs": b"1",
        "cronq_jobs.gpu": b"3",
    }
    assert consumer.take(5, NEVER_S) == []


def test_pause_gives_back_what_nobody_took(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(5)))
    paused = one_bus.consume(["cronq_jobs"], 5)
    taken = take_exactly(paused, 1)

    paused.pause()

    assert paused.take(5, NEVER_S) == []
    other = open_bus().consume(["cronq_jobs"], 5)
    assert bodies(take_exactly(other, 4)) == [b"1", b"2", b"3", b"4"]
    taken[0].ack()
    paused.close()
    other.close()
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=4, consumers=0))


def test_a_paused_consumer_delivers_again_after_resume(one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs"], 5)
    consumer.pause()
    consumer.pause()
    one_bus.publish(messages(b"1"))
    assert consumer.take(5, NEVER_S) == []

    consumer.resume()
    consumer.resume()

    assert bodies(take_exactly(consumer, 1)) == [b"1"]


def test_pausing_and_resuming_in_haste_ends_in_the_last_state(one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs"], 5)
    for _ in range(20):
        consumer.pause()
        consumer.resume()
    one_bus.publish(messages(*numbered(5)))

    for delivery in take_exactly(consumer, 5):
        delivery.ack()
    for _ in range(20):
        consumer.resume()
        consumer.pause()

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_two_consumers_share_a_queue_and_nothing_comes_twice(open_bus: Opener, one_bus: Bus) -> None:
    consumers = [one_bus.consume(["cronq_jobs"], 10), open_bus().consume(["cronq_jobs"], 10)]
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=2))
    one_bus.publish(messages(*numbered(200)))

    taken: list[list[bytes]] = [[], []]
    deadline = time.monotonic() + SOON_S
    while sum(map(len, taken)) < 200 and time.monotonic() < deadline:
        for consumer, mine in zip(consumers, taken, strict=True):
            for delivery in consumer.take(5, 0.05):
                mine.append(delivery.body)
                delivery.ack()

    assert sorted(taken[0] + taken[1]) == sorted(numbered(200))
    assert all(taken)


def test_close_gives_back_what_was_not_acked(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(4)))
    consumer = one_bus.consume(["cronq_jobs"], 4)
    first, second, *_ = take_exactly(consumer, 4)
    first.ack()

    consumer.close()
    consumer.close()
    second.ack()  # too late: it does nothing

    again = take_exactly(open_bus().consume(["cronq_jobs"], 4), 3)
    assert bodies(again) == [b"1", b"2", b"3"]
    assert all(delivery.redelivered for delivery in again)
    assert consumer.take(1, 60.0) == []


def test_a_waiting_take_ends_when_its_consumer_is_closed(one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs"], 4)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(consumer.take, 1, 60.0)

        consumer.close()

        assert waiting.result(SOON_S) == []


def test_closing_the_bus_gives_back_what_was_not_acked(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(b"1"))
    take_exactly(one_bus.consume(["cronq_jobs"], 1), 1)

    one_bus.close()
    one_bus.close()

    assert bodies(take_exactly(open_bus().consume(["cronq_jobs"], 1), 1)) == [b"1"]


def test_acks_just_before_closing_the_bus_count(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(50)))
    for delivery in take_exactly(one_bus.consume(["cronq_jobs"], 50), 50):
        delivery.ack()

    one_bus.close()

    wait_for_stats(open_bus(), "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_a_claim_is_answered_on_the_private_queue_of_who_asked(open_bus: Opener) -> None:
    results, runner = open_bus(), open_bus()
    results.declare(shared_queues())
    runner.declare([runner_queue("a")])
    claims = results.consume(["cronq_claims"], 10)
    replies = runner.consume(["cronq_runner.a"], 10)

    runner.publish([Message("cronq_claims", b"claim", persistent=False, reply_to="cronq_runner.a")])
    [claim] = take_exactly(claims, 1)
    assert results.publish([Message(str(claim.reply_to), b"granted", persistent=False)]) == [
        Confirm.CONFIRMED
    ]

    assert bodies(take_exactly(replies, 1)) == [b"granted"]


def test_a_private_queue_is_gone_with_its_bus(open_bus: Opener) -> None:
    runner, other = open_bus(), open_bus()
    other.declare([JOBS])
    runner.declare([runner_queue("a")])
    assert other.publish([Message("cronq_runner.a", b"")]) == [Confirm.CONFIRMED]

    runner.close()

    wait_for_stats(other, "cronq_runner.a", None)
    assert other.publish([Message("cronq_runner.a", b"")]) == [Confirm.UNROUTABLE]


def test_a_private_queue_outlives_a_pause(one_bus: Bus) -> None:
    one_bus.declare([runner_queue("a")])
    orders = one_bus.consume(["cronq_runner.a"], 10)
    one_bus.publish([Message("cronq_runner.a", b"1")])
    take_exactly(orders, 1)[0].ack()

    orders.pause()
    assert one_bus.publish([Message("cronq_runner.a", b"2")]) == [Confirm.CONFIRMED]
    orders.resume()

    assert bodies(take_exactly(orders, 1)) == [b"2"]


def test_a_private_queue_can_be_had_by_one_bus_only(open_bus: Opener) -> None:
    first = open_bus()
    first.declare([runner_queue("a")])

    with pytest.raises(Unavailable, match=r"cronq_runner\.a"):
        open_bus().declare([runner_queue("a")])


def test_an_expired_message_is_never_delivered(one_bus: Bus) -> None:
    one_bus.publish(
        [Message("default", b"old", expiration_ms=30), Message("default", b"new", expiration_ms=60_000)]
    )
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=1, consumers=0))

    assert bodies(take_exactly(one_bus.consume(["cronq_jobs"], 10), 1)) == [b"new"]


def test_declaring_again_changes_nothing(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(b"1"))

    one_bus.declare([JOBS])
    open_bus().declare(shared_queues())

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=1, consumers=0))


def test_a_key_bound_to_two_queues_reaches_both(one_bus: Bus) -> None:
    one_bus.declare([Queue("my_old_queue", ("default",))])

    one_bus.publish(messages(b"1"))

    wait_for_stats(one_bus, "my_old_queue", QueueStats(ready=1, consumers=0))
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=1, consumers=0))


def test_stats_count_what_is_ready_and_who_consumes(open_bus: Opener, one_bus: Bus) -> None:
    one_bus.publish(messages(*numbered(3)))
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=3, consumers=0))
    consumer = open_bus().consume(["cronq_jobs"], 3)
    take_exactly(consumer, 3)

    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=1))
    consumer.pause()
    wait_for_stats(one_bus, "cronq_jobs", QueueStats(ready=0, consumers=0))


def test_stats_of_no_queue_are_none(one_bus: Bus) -> None:
    assert one_bus.stats("cronq_jobs.gpu") is None


def test_a_consumer_waits_for_a_queue_that_is_declared_later(open_bus: Opener, one_bus: Bus) -> None:
    consumer = one_bus.consume(["cronq_jobs.gpu"], 10)
    assert consumer.take(1, NEVER_S) == []

    open_bus().declare([Queue("cronq_jobs.gpu", ("gpu",))])
    one_bus.publish(messages(b"1", key="gpu"))

    assert bodies(take_exactly(consumer, 1)) == [b"1"]


def test_a_bus_is_connected_until_it_is_closed(one_bus: Bus) -> None:
    deadline = time.monotonic() + SOON_S
    while not one_bus.is_connected() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert one_bus.is_connected()
    assert one_bus.last_error is None

    one_bus.close()

    assert not one_bus.is_connected()
    assert one_bus.publish(messages(b"1")) == [Confirm.UNKNOWN]
    with pytest.raises(Unavailable):
        one_bus.stats("cronq_jobs")
    with pytest.raises(Unavailable):
        one_bus.declare([JOBS])
    with pytest.raises(Unavailable):
        one_bus.consume(["cronq_jobs"], 1)


@pytest.mark.parametrize(
    "url", ["", "localhost", "redis://localhost", "amqp://h:99999/", "amqp://h/?heartbeat=soon"]
)
def test_a_url_that_is_no_bus_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="bus URL"):
        bus.open(url, name="contract")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "é" * 128),
        ("reply_to", "x" * 256),
        ("headers", {"ratio": 0.5}),
        ("headers", {"n": 2**63}),
        ("headers", {"text": "\ud800"}),
        ("expiration_ms", -1),
    ],
)
def test_a_message_that_amqp_cannot_carry_is_refused_where_it_is_made(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Message(**{"key": "default", "body": b"", field: value})  # type: ignore[arg-type] # that is the point

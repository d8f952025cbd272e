from __future__ import annotations

import pytest

from cronq.bus.dead import dead_message
from cronq.bus.interface import Queue
from cronq.bus.topology import job_queue, key_for_queue, named_queue, runner_queue, shared_queues


def test_a_letter_keeps_the_body_and_says_where_it_came_from_and_why() -> None:
    message = dead_message("cronq_results", b"\x00garbage", "not JSON")

    assert (message.key, message.body, message.persistent) == ("cronq_dead", b"\x00garbage", True)
    assert (message.headers["x-queue"], message.headers["x-reason"]) == ("cronq_results", "not JSON")


def test_two_letters_of_the_same_bytes_can_be_told_apart() -> None:
    first, second = (dead_message("q", b"same", "same") for _ in range(2))

    assert first.headers["x-copy"] != second.headers["x-copy"]


@pytest.mark.parametrize("reason", ["日" * 5_000, "a\ud800b", "\0" * 2_000])
def test_a_reason_of_any_kind_fits_into_its_header(reason: str) -> None:
    kept = str(dead_message("q", b"", reason).headers["x-reason"])

    assert 0 < len(kept.encode()) <= 1024


@pytest.mark.parametrize(
    "queue",
    [
        *shared_queues()[:3],
        job_queue("gpu"),
        job_queue("a.b"),
        named_queue("my_old_queue"),
        runner_queue("a1"),
    ],
    ids=lambda queue: queue.name,
)
def test_the_key_of_a_queue_is_one_that_it_is_bound_to(queue: Queue) -> None:
    assert key_for_queue(queue.name) in queue.keys


@pytest.mark.parametrize("queue", ["cronq_dead", ""])
def test_no_key_leads_back_to_the_dead(queue: str) -> None:
    assert key_for_queue(queue) is None

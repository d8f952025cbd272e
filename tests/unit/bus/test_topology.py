"""Which queue and key is whose."""

from __future__ import annotations

import pytest

from cronq.bus.interface import Queue
from cronq.bus.topology import (
    is_reserved,
    job_queue,
    named_queue,
    queue_for_key,
    runner_queue,
    shared_queues,
)
from cronq.domain.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "queue"), [("default", "cronq_jobs"), ("cronq_jobs", "cronq_jobs"), ("gpu", "cronq_jobs.gpu")]
)
def test_jobs_of_a_key_wait_in_its_queue(key: str, queue: str) -> None:
    assert queue_for_key(key) == queue
    assert job_queue(key).name == queue
    assert key in job_queue(key).keys


def test_the_common_queue_is_bound_under_both_names() -> None:
    assert job_queue("cronq_jobs") == job_queue("default") == Queue("cronq_jobs", ("default", "cronq_jobs"))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("cronq_jobs", ("default", "cronq_jobs")),
        ("cronq_jobs.gpu", ("gpu",)),
        ("my_old_queue", ("my_old_queue",)),
    ],
)
def test_a_literal_queue_name_keeps_its_name(name: str, keys: tuple[str, ...]) -> None:
    assert named_queue(name) == Queue(name, keys)


@pytest.mark.parametrize("key", ["cronq_results", "cronq_claims", "cronq_dead", "cronq_runner.a", ""])
def test_no_job_queue_takes_our_own_messages(key: str) -> None:
    with pytest.raises(ConfigError, match="reserved"):
        job_queue(key)
    with pytest.raises(ConfigError, match="reserved"):
        named_queue(key)


def test_keys_of_our_own_messages_are_reserved_and_no_others() -> None:
    own = {key for queue in (*shared_queues(), runner_queue("a")) for key in queue.keys}

    assert {key for key in own if not is_reserved(key)} == {"default", "cronq_jobs"}
    assert not is_reserved("gpu")


def test_a_runner_queue_is_private_and_answers_to_its_name() -> None:
    assert runner_queue("a1") == Queue("cronq_runner.a1", ("cronq_runner.a1",), private=True)

"""The names on the broker: one direct exchange, the queues behind it, and the keys that lead to them."""

from __future__ import annotations

from cronq.bus.interface import Queue
from cronq.domain.errors import ConfigError
from cronq.domain.routing import (
    CLAIMS_KEY,
    DEAD_KEY,
    DEFAULT_KEY,
    JOBS_QUEUE,
    RESULTS_KEY,
    RUNNER_PREFIX,
    is_reserved,
)

__all__ = [
    "CLAIMS_KEY",
    "CLAIMS_QUEUE",
    "DEAD_KEY",
    "DEAD_QUEUE",
    "DEFAULT_KEY",
    "EXCHANGE",
    "JOBS_QUEUE",
    "RESULTS_KEY",
    "RESULTS_QUEUE",
    "RUNNER_PREFIX",
    "is_reserved",
    "job_queue",
    "key_for_queue",
    "named_queue",
    "queue_for_key",
    "runner_queue",
    "shared_queues",
]

EXCHANGE = "cronq"

RESULTS_QUEUE, CLAIMS_QUEUE, DEAD_QUEUE = RESULTS_KEY, CLAIMS_KEY, DEAD_KEY

# Jobs of these keys share one queue: the ancestor's sites bound it under either name.
_JOBS_KEYS = (DEFAULT_KEY, JOBS_QUEUE)


def queue_for_key(key: str) -> str:
    """The queue that jobs of routing key `key` wait in."""
    return JOBS_QUEUE if key in _JOBS_KEYS else f"{JOBS_QUEUE}.{key}"


def key_for_queue(queue: str) -> str | None:
    """The key that leads to this queue; None for that of dead letters, where nothing is sent back to."""
    if queue in ("", DEAD_QUEUE):
        return None
    if queue == JOBS_QUEUE:
        return DEFAULT_KEY
    return queue.removeprefix(f"{JOBS_QUEUE}.")


def job_queue(key: str) -> Queue:
    """The queue for jobs of routing key `key`. Raises ConfigError for a reserved key."""
    if not key or is_reserved(key):
        raise ConfigError(
            f"queue key {key!r} is reserved; allowed is another routing key, as {DEFAULT_KEY!r}"
        )
    return Queue(queue_for_key(key), _JOBS_KEYS if key in _JOBS_KEYS else (key,))


def named_queue(name: str) -> Queue:
    """The job queue of this literal name, as `CRONQ_QUEUE` gives it; a foreign one is bound to its name.

    Raises ConfigError for one of our own queues.
    """
    if name.startswith(f"{JOBS_QUEUE}."):
        return job_queue(name.removeprefix(f"{JOBS_QUEUE}."))
    return Queue(name, job_queue(name).keys)


def shared_queues() -> tuple[Queue, ...]:
    """The queues that injector and results both declare: jobs, results, claims, dead letters."""
    return (
        job_queue(DEFAULT_KEY),
        Queue(RESULTS_QUEUE, (RESULTS_KEY,)),
        Queue(CLAIMS_QUEUE, (CLAIMS_KEY,)),
        Queue(DEAD_QUEUE, (DEAD_KEY,)),
    )


def runner_queue(instance: str) -> Queue:
    """The private queue for orders and replies to one runner process; its key is its name."""
    name = f"{RUNNER_PREFIX}{instance}"
    return Queue(name, (name,), private=True)

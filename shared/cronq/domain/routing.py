"""Routing keys: which are a job's, and which carry our own messages."""

from __future__ import annotations

RESULTS_KEY = "cronq_results"
CLAIMS_KEY = "cronq_claims"
DEAD_KEY = "cronq_dead"
RUNNER_PREFIX = "cronq_runner."
DEFAULT_KEY = "default"
JOBS_QUEUE = "cronq_jobs"

_OWN = frozenset({RESULTS_KEY, CLAIMS_KEY, DEAD_KEY})


def is_reserved(key: str) -> bool:
    """Whether `key` carries our own messages, so that no job may be routed by it."""
    return key in _OWN or key.startswith(RUNNER_PREFIX)


def key_of_queue(name: str) -> str:
    """The routing key that leads to a queue of jobs; of a key itself the one that stands for its queue.

    Two keys lead to the queue `cronq_jobs`: `default` stands for both.
    """
    return DEFAULT_KEY if name == JOBS_QUEUE else name.removeprefix(f"{JOBS_QUEUE}.")

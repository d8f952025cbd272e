"""Routing keys: which are a job's, and which carry our own messages."""

from __future__ import annotations

RESULTS_KEY = "cronq_results"
CLAIMS_KEY = "cronq_claims"
DEAD_KEY = "cronq_dead"
RUNNER_PREFIX = "cronq_runner."

_OWN = frozenset({RESULTS_KEY, CLAIMS_KEY, DEAD_KEY})


def is_reserved(key: str) -> bool:
    """Whether `key` carries our own messages, so that no job may be routed by it."""
    return key in _OWN or key.startswith(RUNNER_PREFIX)

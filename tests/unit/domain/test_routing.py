from __future__ import annotations

import pytest

from cronq.domain.routing import key_of_queue


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cronq_jobs", "default"),
        ("default", "default"),
        ("cronq_jobs.slow", "slow"),
        ("slow", "slow"),
        ("cronq_jobs.a.b", "a.b"),
        ("some.other.queue", "some.other.queue"),
    ],
)
def test_a_queue_is_known_by_the_key_that_leads_to_it(name: str, key: str) -> None:
    assert key_of_queue(name) == key

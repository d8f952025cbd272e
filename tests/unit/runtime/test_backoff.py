from __future__ import annotations

import random

from cronq.runtime.backoff import Backoff


class Highest(random.Random):
    """Always draws the most."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(Highest(), base_s=0.5, cap_s=3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_starts_again_at_the_base() -> None:
    backoff = Backoff(Highest(), base_s=0.5, cap_s=3.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.next_s() == 0.5


def test_waits_are_spread_over_the_whole_range() -> None:
    backoff = Backoff(random.Random(7), base_s=1.0, cap_s=1.0)
    waits = [backoff.next_s() for _ in range(1000)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95
    assert all(0 <= wait <= 1 for wait in waits)


def test_ten_thousand_failures_stay_finite_and_capped() -> None:
    backoff = Backoff(Highest(), cap_s=5.0)
    assert [backoff.next_s() for _ in range(10_000)][-1] == 5.0

from __future__ import annotations

from datetime import timedelta

from cronq.domain.jitter import jittered

HOUR = timedelta(hours=1)


def test_it_is_the_same_for_one_seed_and_never_more_than_asked() -> None:
    assert jittered(HOUR, "7") == jittered(HOUR, "7")
    assert all(timedelta(0) <= jittered(HOUR, str(n)) < HOUR for n in range(1000))
    assert jittered(timedelta(0), "7") == timedelta(0)


def test_it_spreads_evenly() -> None:
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int(jittered(HOUR, f"{number}") / HOUR * 10)] += 1
    assert min(tenths) > 900
    assert max(tenths) < 1100

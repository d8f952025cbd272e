"""When a run is tried again, and how long that waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.domain.retry import LONGEST_BACKOFF, MOST_LOST, ONCE, Backoff, Guarantee, Policy

MINUTE = timedelta(minutes=1)


def test_by_default_nothing_is_tried_again() -> None:
    assert not ONCE.retries_failure(0)
    assert not ONCE.retries_loss(0)


def test_a_failure_is_tried_again_until_all_attempts_are_used() -> None:
    policy = Policy(max_attempts=3)

    assert [policy.retries_failure(n) for n in range(4)] == [True, True, False, False]
    assert not policy.retries_loss(0), "a lost run may have succeeded"


@pytest.mark.parametrize("guarantee", [Guarantee.AT_MOST_ONCE, Guarantee.HOLD])
def test_a_loss_is_tried_again_only_where_the_job_says_so(guarantee: Guarantee) -> None:
    assert Policy(Guarantee.AT_LEAST_ONCE).retries_loss(0)
    assert not Policy(guarantee, max_attempts=5).retries_loss(0)


@pytest.mark.parametrize(("max_attempts", "tries"), [(1, MOST_LOST), (50, 50)])
def test_a_run_that_always_gets_lost_is_given_up(max_attempts: int, tries: int) -> None:
    policy = Policy(Guarantee.AT_LEAST_ONCE, max_attempts)

    assert sum(policy.retries_loss(n) for n in range(1000)) == tries - 1


def test_a_constant_wait_is_what_the_job_says() -> None:
    assert {Policy(retry_delay=MINUTE).wait(n, "run") for n in range(50)} == {MINUTE}


def test_an_exponential_wait_doubles_up_to_an_hour_and_a_bit_differently_for_each_run() -> None:
    policy = Policy(retry_delay=MINUTE, backoff=Backoff.EXPONENTIAL)

    for n in range(100):
        least = min(MINUTE * 2 ** min(n, 20), LONGEST_BACKOFF)
        waits = [policy.wait(n, f"run {k}") for k in range(20)]
        assert all(least <= wait <= least * 1.2 for wait in waits)
        assert len(set(waits)) > 15
        assert waits == [policy.wait(n, f"run {k}") for k in range(20)]


def test_a_delay_beyond_the_longest_backoff_is_kept() -> None:
    day = timedelta(days=1)

    assert day <= Policy(retry_delay=day, backoff=Backoff.EXPONENTIAL).wait(5, "run") <= day * 1.2

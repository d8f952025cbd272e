"""The fewest acks that settle a set of deliveries, and never one too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cronq.bus.unacked import Unacked


def unacked(*tags: int) -> Unacked:
    one = Unacked()
    for tag in tags:
        one.add(tag)
    return one


def test_all_acked_in_any_order_is_one_ack() -> None:
    assert unacked(1, 2, 3, 4).settle([3, 1, 4, 2]) == (4, [])


def test_a_gap_is_not_acked_over() -> None:
    assert unacked(1, 2, 3, 4, 5).settle([1, 2, 4, 5]) == (2, [4, 5])


def test_one_that_stays_open_in_front_leaves_single_acks() -> None:
    assert unacked(1, 2, 3).settle([2, 3]) == (None, [2, 3])


def test_what_was_settled_before_closes_the_gap() -> None:
    one = unacked(1, 2, 3, 4)
    assert one.settle([2]) == (None, [2])
    assert one.drop(3)

    assert one.settle([1, 4]) == (4, [])


def test_what_is_not_open_is_left_out() -> None:
    one = unacked(1, 2)
    one.settle([1])

    assert one.settle([1, 7]) == (None, [])
    assert not one.drop(1)
    assert one.settle([2, 2]) == (2, [])


@given(
    st.lists(st.sets(st.integers(1, 40), max_size=15), max_size=8), st.sets(st.integers(1, 40), max_size=10)
)
def test_the_broker_ends_with_just_those_open_that_were_never_settled(
    batches: list[set[int]], rejected: set[int]
) -> None:
    one = unacked(*range(1, 41))
    at_broker = set(range(1, 41))
    settled: set[int] = set()
    for batch in batches:
        for tag in sorted(rejected & batch):
            if one.drop(tag):
                at_broker.remove(tag)
        upto, singles = one.settle(batch)
        if upto is not None:
            at_broker = {tag for tag in at_broker if tag > upto}
        at_broker.difference_update(singles)
        settled |= batch

        assert at_broker == set(range(1, 41)) - settled

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.turns import take_turns


@dataclass(frozen=True)
class Run:
    run_id: str
    priority: int = 0
    turn: int = 0


def line(category: str, count: int, priority: int = 0) -> list[Run]:
    return [Run(f"{category}{number:04}", priority) for number in range(count)]


def taken(found: list[Run]) -> str:
    return "".join(run.run_id[0] for run in found)


def test_a_category_with_a_long_line_makes_nobody_wait_for_all_of_it() -> None:
    assert taken(take_turns({1: line("a", 1000), 2: line("b", 3)}, {}, 8)) == "abababaa"


def test_what_a_category_has_in_its_queue_counts_as_its_turns() -> None:
    assert taken(take_turns({1: line("a", 9), 2: line("b", 9)}, {1: 3}, 6)) == "bbbaba"


def test_a_better_priority_goes_first_whatever_its_category() -> None:
    waiting = {1: line("a", 2, 5), 2: [*line("b", 2, -1), *line("c", 2, 5)]}

    assert taken(take_turns(waiting, {}, 4)) == "bbaa"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 60))
def test_nobody_gets_more_than_one_turn_ahead_of_another_that_still_waits(
    lengths: list[int], room: int
) -> None:
    waiting = {number: line(chr(97 + number), length) for number, length in enumerate(lengths)}

    got = Counter(run.run_id[0] for run in take_turns(waiting, {}, room))

    assert got.total() == min(room, sum(lengths))
    served = [got[chr(97 + n)] for n, length in enumerate(lengths) if got[chr(97 + n)] < length]
    assert not served or max(got.values(), default=0) <= min(served) + 1

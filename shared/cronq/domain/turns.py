"""Taking turns: no category with a long line makes the others wait for all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar


class _Placed(Protocol):
    @property
    def run_id(self) -> str: ...

    @property
    def priority(self) -> int: ...

    @property
    def turn(self) -> int: ...


T = TypeVar("T", bound=_Placed)


def take_turns(waiting: Mapping[int, Sequence[T]], ahead: Mapping[int, int], room: int) -> list[T]:
    """The first `room` of those that wait, each category's given by priority, then turn.

    A better priority goes first whatever its category. Of equal ones each category is served in turn,
    beginning with that which has least `ahead`, in its queue already.
    """
    ranked: list[tuple[int, int, int, str, T]] = []
    for category_id, line in waiting.items():
        rank = ahead.get(category_id, 0)
        for each in line:
            ranked.append((each.priority, rank, each.turn, each.run_id, each))
            rank += 1
    ranked.sort(key=lambda r: r[:4])
    return [each for *_, each in ranked[:room]]

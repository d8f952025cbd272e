"""Which deliveries of a channel are still open, and the fewest acks that settle a set of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_SLACK = 10_000  # settled tags that may pile up behind one that stays open


class Unacked:
    """The open delivery tags of one channel. Not thread-safe."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # rising; may still hold tags that are settled
        self._open: set[int] = set()

    def add(self, tag: int) -> None:
        """A delivery came; the broker numbers them in rising order."""
        self._order.append(tag)
        self._open.add(tag)

    def drop(self, tag: int) -> bool:
        """Settle one; False when it was not open (settled before, or never seen)."""
        if tag not in self._open:
            return False
        self._open.remove(tag)
        return True

    def settle(self, tags: Iterable[int]) -> tuple[int | None, list[int]]:
        """Settle those of `tags` that are open: (ack all up to this tag, and these one by one).

        "All up to" is only used where every open tag below it is being settled as well. Tags that
        are not open are left out: acking one twice makes the broker close the channel.
        """
        wanted = self._open.intersection(tags)
        self._open -= wanted
        upto = None
        while self._order and self._order[0] not in self._open:
            tag = self._order.popleft()
            if tag in wanted:
                wanted.discard(tag)
                upto = tag
        if len(self._order) > 2 * len(self._open) + _SLACK:
            self._order = deque(sorted(self._open))
        return upto, sorted(wanted)

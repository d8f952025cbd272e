"""Taking deliveries in batches that fit the load: at once when it is quiet, together when it is not."""

from __future__ import annotations

import time

from cronq.bus.interface import Consumer, Delivery


class Gatherer:
    """For one consumer. After each batch it rests in proportion to the time that this batch took.

    A transaction costs the same few round trips for one event as for hundreds: the longer they take, the
    more deliveries should share one. What comes alone takes little, so that the next hardly waits.
    """

    def __init__(self, consumer: Consumer, *, most: int, wait_s: float, rest: float, pause_s: float) -> None:
        """`rest` is the pause in terms of the work before it; it is `pause_s` at the longest."""
        self._consumer = consumer
        self._most = most
        self._wait_s = wait_s
        self._rest = rest
        self._pause_s = pause_s
        self._taken_at: float | None = None  # None: the last take found nothing

    def take(self) -> list[Delivery]:
        """Up to `most` deliveries; blocks up to `wait_s` for the first, and until the rest is over."""
        began = time.monotonic()
        worked_s = 0.0 if self._taken_at is None else began - self._taken_at
        found = self._consumer.take(self._most, self._wait_s)
        rest_s = began + min(self._pause_s, self._rest * worked_s) - time.monotonic()
        if found and rest_s > 0 and len(found) < self._most:
            time.sleep(rest_s)
            found += self._consumer.take(self._most - len(found), 0.0)
        self._taken_at = time.monotonic() if found else None
        return found

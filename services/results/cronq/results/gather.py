"""Taking deliveries in batches that fit the load: at once when it is quiet, together when it is not."""

from __future__ import annotations

import time

from cronq.bus.interface import Consumer, Delivery

# A transaction costs the same few round trips for one event as for hundreds.
BUSY_S = 0.05


class Gatherer:
    """For one consumer. After a batch that came soon upon the last, it waits `pause_s` for company."""

    def __init__(self, consumer: Consumer, *, most: int, wait_s: float, pause_s: float) -> None:
        self._consumer = consumer
        self._most = most
        self._wait_s = wait_s
        self._pause_s = pause_s
        self._last = 0.0

    def take(self) -> list[Delivery]:
        """Up to `most` deliveries; blocks up to `wait_s` for the first, then `pause_s` under load."""
        found = self._consumer.take(self._most, self._wait_s)
        now = time.monotonic()
        is_busy = bool(found) and now - self._last < BUSY_S
        if is_busy and len(found) < self._most:
            time.sleep(self._pause_s)
            found += self._consumer.take(self._most - len(found), 0.0)
        if found:
            self._last = time.monotonic()
        return found

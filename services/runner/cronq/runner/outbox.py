"""What the runner has to tell: kept in order until the broker has it.

Nothing here needs a disk: an event that is lost with this process is still in the keeper's journal,
which forgets it only when `done` is called.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cronq.bus.interface import Bus, Confirm, Message
from cronq.bus.messages import Event, encode_events
from cronq.bus.topology import RESULTS_KEY
from cronq.domain.event import OutputChunk

EVENTS_PER_MESSAGE = 200
OUTPUT_PER_MESSAGE = 512 * 1024
MESSAGES_PER_FLUSH = 8
PAUSE_S = 0.5
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Told:
    """An event, and what to do once the broker has it."""

    event: Event
    done: Callable[[], None] | None = None


@dataclass(frozen=True)
class Settled:
    """The broker's verdicts on what a `flush` sent: `others` first, then a message for each part."""

    flush: int
    verdicts: Sequence[Confirm]
    others: int
    sent: Callable[[], None] | None


@dataclass(frozen=True)
class _Flight:
    """What is on its way to the broker: the first of what waits."""

    flush: int
    parts: list[list[Told]]
    since: float


class Outbox:
    """For one thread, but for the verdicts, which the bus hands to `tell`.

    One batch of events is on its way at a time; what comes meanwhile goes together with the next.
    """

    def __init__(self, bus: Bus, tell: Callable[[object], None]) -> None:
        self._bus = bus
        self._tell = tell
        self._waiting: deque[Told] = deque()
        self._flight: _Flight | None = None
        self._flushes = 0
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event, done: Callable[[], None] | None = None) -> None:
        self._waiting.append(Told(event, done))

    def flush(self, others: Sequence[Message] = (), sent: Callable[[], None] | None = None) -> None:
        """Send what waits, together with `others`; returns at once.

        A `Settled` tells later what became of it. What gets no confirm within TIMEOUT_S is sent again;
        `others` are not. `sent` is called when these have arrived, or are lost.
        """
        now = time.monotonic()
        parts = self._parts() if self._may_send(now) else []
        messages = [*others, *(Message(RESULTS_KEY, encode_events(t.event for t in part)) for part in parts)]
        if not messages:
            return
        self._flushes += 1
        number, count = self._flushes, len(others)
        if parts:
            self._flight = _Flight(number, parts, now)
        self._bus.send(messages, lambda verdicts: self._tell(Settled(number, verdicts, count, sent)))

    def on_settled(self, news: Settled) -> None:
        """Take out what the broker has, in order up to the first part that it may not have."""
        if news.sent is not None:
            news.sent()
        flight = self._flight
        if flight is None or flight.flush != news.flush:
            return  # it carried no events, or took too long: they are on their way again
        self._flight = None
        for part, verdict in zip(flight.parts, news.verdicts[news.others :], strict=True):
            if verdict is not Confirm.CONFIRMED:
                self._not_before = time.monotonic() + PAUSE_S
                break
            self._settle(part)

    def _may_send(self, now: float) -> bool:
        if self._flight is not None and now > self._flight.since + TIMEOUT_S:
            self._flight = None
        is_free = self._flight is None and now >= self._not_before
        return is_free and bool(self._waiting) and self._bus.is_connected()

    def _parts(self) -> list[list[Told]]:
        return [part for part, _ in zip(self._cut(), range(MESSAGES_PER_FLUSH), strict=False)]

    def _cut(self) -> Iterator[list[Told]]:
        part: list[Told] = []
        size = 0
        for told in self._waiting:
            part.append(told)
            size += len(told.event.data) if isinstance(told.event, OutputChunk) else 0
            if len(part) >= EVENTS_PER_MESSAGE or size >= OUTPUT_PER_MESSAGE:
                yield part
                part, size = [], 0
        if part:
            yield part

    def _settle(self, part: Sequence[Told]) -> None:
        for told in part:
            self._waiting.popleft()
            if told.done is not None:
                told.done()

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


class Outbox:
    """For one thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[Told] = deque()
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event, done: Callable[[], None] | None = None) -> None:
        self._waiting.append(Told(event, done))

    def flush(self, others: Sequence[Message] = ()) -> list[Confirm]:
        """Publish what waits, together with `others`, whose verdicts are returned; one round trip.

        Blocks up to TIMEOUT_S. What got no confirm stays, in order.
        """
        parts = self._parts() if self._may_send() else []
        messages = [Message(RESULTS_KEY, encode_events(t.event for t in part)) for part in parts]
        if not messages and not others:
            return []
        verdicts = self._bus.publish([*others, *messages], TIMEOUT_S)
        for part, verdict in zip(parts, verdicts[len(others) :], strict=True):
            if verdict is not Confirm.CONFIRMED:
                self._not_before = time.monotonic() + PAUSE_S
                break
            self._settle(part)
        return verdicts[: len(others)]

    def _may_send(self) -> bool:
        return bool(self._waiting) and self._bus.is_connected() and time.monotonic() >= self._not_before

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

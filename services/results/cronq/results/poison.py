"""Messages that can never be applied, or only in part: what is poison in them, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog

from cronq import store
from cronq.bus.dead import dead_message
from cronq.bus.interface import Bus, Confirm, Delivery
from cronq.bus.messages import decode_events, join_events, split_events
from cronq.domain.errors import BadMessage, CronqError
from cronq.results.batch import Batch
from cronq.runtime import crash

log = structlog.get_logger()

# No retry helps against these.
POISON = (BadMessage, store.Refused)

Readable = tuple[Delivery, Batch]
Commit = Callable[[Sequence[Batch]], None]


class Poison(NamedTuple):
    """What of a message could not be applied, as a message, and why."""

    body: bytes
    reason: str


def groups(readable: Sequence[Readable], most: int) -> Iterator[list[Readable]]:
    """Messages in groups of about `most` events; a message is never cut."""
    group: list[Readable] = []
    size = 0
    for each in readable:
        group.append(each)
        size += each[1].size
        if size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def poison_of(body: bytes, why: CronqError, commit: Commit) -> Poison | None:
    """Apply each event of the message that can be; returns the others, None when there are none.

    `why` is what is wrong with the message as a whole.
    """
    parts = _parts(body)
    if len(parts) < 2:
        return Poison(body, str(why))
    refused = [(part, error) for part in parts if (error := _refusal(part, commit))]
    if len(refused) == len(parts):
        return Poison(body, str(why))
    if not refused:
        return None
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return Poison(join_events(part for part, _ in refused), f"{refused[0][1]}{more}")


def _parts(body: bytes) -> list[bytes]:
    try:
        return split_events(body)
    except BadMessage:
        return []


def _refusal(part: bytes, commit: Commit) -> CronqError | None:
    try:
        commit([Batch.of(decode_events(part))])
    except POISON as error:
        return error
    return None


def bury(bus: Bus, delivery: Delivery, why: str, body: bytes) -> None:
    """Move a delivery, or what of it is poison, to `cronq_dead`; given back when that can't be confirmed."""
    crash.reach("results.poison.found")
    [verdict] = bus.publish([dead_message(delivery.queue, body, why)], 5.0)
    if verdict is Confirm.CONFIRMED:
        crash.reach("results.poison.buried")
        log.warning("message.dead", queue=delivery.queue, reason=why[:1024])
        delivery.ack()
    else:
        delivery.reject(requeue=True)

"""Dead letters as messages: a body that nobody could read, and what is said of it beside."""

from __future__ import annotations

import secrets

from cronq.bus.interface import Message
from cronq.bus.topology import DEAD_KEY

REASON, QUEUE = "x-reason", "x-queue"
COPY = "x-copy"  # drawn for each letter: tells two letters of the same bytes from two deliveries of one
REASON_BYTES = 1024


def dead_message(queue: str, body: bytes, reason: str) -> Message:
    """The letter for a body that came by `queue`; of the reason it keeps what fits."""
    headers: dict[str, str | int] = {
        REASON: reason.encode(errors="replace")[:REASON_BYTES].decode(errors="ignore"),
        QUEUE: queue,
        COPY: secrets.token_hex(16),
    }
    return Message(DEAD_KEY, body, headers=headers)

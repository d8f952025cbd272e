"""Attempts between their delivery and their start: claimed again until answered, then given back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cronq.bus.interface import Delivery, Message
from cronq.bus.messages import Grant, encode_claim
from cronq.bus.topology import CLAIMS_KEY
from cronq.domain.run import Claim, Owner

Key = tuple[str, int]  # run_id, attempt

FIRST_AGAIN_S = 3.0
GIVE_UP_S = 60.0


def clock() -> float:
    """Seconds that also pass while the machine is suspended: a permission must not outlast that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Pending:
    """One delivery that takes a slot and waits for permission, or for its start."""

    key: Key
    job_id: int
    delivery: Delivery
    began: float  # by `clock`, as all times here
    again_at: float = 0.0
    pause_s: float = FIRST_AGAIN_S
    sent: dict[str, float] = field(default_factory=dict)  # nonce of each claim → when it was sent
    grant: Grant | None = None
    is_cancelled: bool = False


class Claims:
    """The pending attempts of one runner process. For one thread."""

    def __init__(self, owner: Owner, host: str) -> None:
        self._owner = owner
        self._host = host
        self._pending: dict[Key, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, key: Key) -> bool:
        return key in self._pending

    def add(self, key: Key, job_id: int, delivery: Delivery, now: float) -> None:
        self._pending[key] = Pending(key, job_id, delivery, now)

    def get(self, key: Key) -> Pending | None:
        return self._pending.get(key)

    def pop(self, key: Key) -> Pending | None:
        return self._pending.pop(key, None)

    def keys(self) -> list[Key]:
        return list(self._pending)

    def is_valid(self, grant: Grant, now: float) -> bool:
        """Whether a grant answers a claim of this process, in time to start."""
        pending = self._pending.get((grant.run_id, grant.attempt))
        if pending is None or grant.instance != self._owner.instance:
            return False
        sent = pending.sent.get(grant.nonce)
        return sent is not None and now < sent + grant.start_within_s

    def due(self, now: float, reply_to: str) -> Iterator[Message]:
        """The claims to send now; each is sent again after 3, 6, 12 … s without an answer."""
        for pending in self._pending.values():
            if pending.grant is None and now >= pending.again_at:
                if pending.sent:
                    pending.pause_s *= 2
                pending.again_at = now + pending.pause_s
                yield self._message(pending, reply_to, now)

    def _message(self, pending: Pending, reply_to: str, now: float) -> Message:
        nonce = secrets.token_hex(8)
        pending.sent[nonce] = now
        run_id, attempt = pending.key
        claim = Claim(run_id, attempt, self._owner, nonce, host=self._host, queue=pending.delivery.queue)
        return Message(
            CLAIMS_KEY,
            encode_claim(claim),
            persistent=False,
            expiration_ms=int(pending.pause_s * 1000),
            reply_to=reply_to,
        )

    def unanswered(self, now: float) -> list[Pending]:
        """Take out those that waited for GIVE_UP_S."""
        found = [p for p in self._pending.values() if p.grant is None and now >= p.began + GIVE_UP_S]
        for pending in found:
            del self._pending[pending.key]
        return found

    def next_at(self) -> float | None:
        """When the next claim is to be repeated."""
        waiting = [p.again_at for p in self._pending.values() if p.grant is None]
        return min(waiting) if waiting else None

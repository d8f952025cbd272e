"""Dead letters that somebody wants sent again: back to the queue that they came by, and out of the table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from cronq import store
from cronq.bus.interface import Bus, Confirm, Message
from cronq.bus.topology import key_for_queue
from cronq.store import dead_letters
from cronq.store.dead_letters import Wanted

log = structlog.get_logger()

BATCH = 20
PUBLISH_S = 5.0
# Well longer than one publish: nobody else may send a letter that is on its way.
LEASE = timedelta(seconds=60)

_WHY = {
    Confirm.UNROUTABLE: "no queue is there for it",
    Confirm.UNKNOWN: "the broker did not confirm it, so it may have arrived",
}


def redrive_once(db: store.Store, bus: Bus) -> bool:
    """Send some of the letters that are wanted; whether there were any. Raises Unavailable.

    A letter leaves the table only when the broker has it, so a crash in between sends it twice. What is
    poison still comes back as a new letter. While there is no broker the wishes wait.
    """
    if not bus.is_connected():
        return False
    wanted = db.transact(_lease)
    if not wanted:
        return False
    verdicts = _publish(bus, wanted)
    gone = [letter for letter, why in zip(wanted, verdicts, strict=True) if why is None]
    if gone:
        db.transact(lambda tx: dead_letters.sent(tx, gone, store.now(tx)))
    for letter, why in zip(wanted, verdicts, strict=True):
        if why is None:
            log.info("letter.sent", letter=letter.id, queue=letter.queue, by=letter.requested_by)
        else:
            _keep(db, letter, why)
    return True


def _lease(tx: store.Tx) -> list[Wanted]:
    now = store.now(tx)
    return dead_letters.lease_wanted(tx, now, now + LEASE, BATCH)


def _publish(bus: Bus, wanted: Sequence[Wanted]) -> list[str | None]:
    """For each letter None where its queue has it, else why not."""
    messages = [_message(letter) for letter in wanted]
    verdicts = iter(bus.publish([m for m in messages if isinstance(m, Message)], PUBLISH_S))
    return [m if isinstance(m, str) else _WHY.get(next(verdicts)) for m in messages]


def _message(letter: Wanted) -> Message | str:
    """The letter on its way back, or why there is none."""
    key = key_for_queue(letter.queue)
    if key is None:
        return "nobody knows which queue it came by"
    try:
        return Message(key, letter.body)
    except ValueError as error:
        return f"its queue can't be one: {error}"


def _keep(db: store.Store, letter: Wanted, why: str) -> None:
    log.warning("letter.not_sent", letter=letter.id, queue=letter.queue, by=letter.requested_by, why=why)
    db.transact(lambda tx: dead_letters.not_sent(tx, letter, why))

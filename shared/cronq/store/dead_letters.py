"""Dead letters: messages that nobody could read, kept until somebody sends them again or drops them.

Where a statement touches letters and their queue's alert, the alert's row is locked first: so the last
letter that goes and a new one that comes agree on whether the alert is open.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cronq.domain.errors import Conflict, NotFound
from cronq.store import alerts
from cronq.store.engine import Tx
from cronq.store.tables import alerts as alert_rows
from cronq.store.tables import dead_letters

KIND = "dead_letter"
MOST_QUEUE, MOST_REASON = 190, 1024
# Of a body that is too large for the database, as much is kept as a page shows.
HEAD_BYTES = 64 * 1024
# How the reason of a letter ends that has only the head of its body.
CUT = "; only the head of the body is kept"
# Before what became of the last attempt to send a letter again.
NOT_SENT = "; not sent again: "
# An alert tells no more than this many: counting takes as long as there are letters.
MOST_COUNTED = 10_000

# Where the database has no limit that is near: bodies that no reader of ours takes, by far.
_MOST_BODY = 16 * 1024 * 1024
# What an INSERT has besides its body.
_STATEMENT_BYTES = 64 * 1024

Row = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """A letter to keep; `message_id` (32 characters) is the same for each delivery of one message."""

    message_id: str
    queue: str
    reason: str
    body: bytes

    def cut(self) -> Letter:
        """The same with the head of its body only, and a reason that says so."""
        note = f"; it is {len(self.body):,} bytes long{CUT}"
        reason = self.reason[: MOST_REASON - len(note)] + note
        return Letter(self.message_id, self.queue, reason, self.body[:HEAD_BYTES])


@dataclass(frozen=True)
class Wanted:
    """A letter that is to be sent again, on lease to the caller until `leased_until`."""

    id: int
    queue: str
    reason: str
    body: bytes
    requested_by: str
    leased_until: datetime


def most_body(tx: Tx) -> int:
    """How many bytes of body the database takes in one statement; more than that must be cut."""
    if tx.dialect.name == "sqlite":
        return _MOST_BODY
    # A byte may need two in the statement. A longer one costs the connection, not only the statement.
    packet = int(tx.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
    return min(packet // 2 - _STATEMENT_BYTES, _MOST_BODY)


def keep(tx: Tx, letters: Sequence[Letter], now: datetime) -> list[str]:
    """Insert those that are new, and raise their queues' alerts; returns queues that had none.

    Raises Refused.
    """
    alerted: list[str] = []
    by_queue: dict[str, list[Letter]] = {}
    for letter in letters:
        by_queue.setdefault(letter.queue[:MOST_QUEUE], []).append(letter)
    for queue, found in sorted(by_queue.items()):
        if alerts.raise_alert(tx, KIND, queue, "", now):
            alerted.append(queue)
        word = "OR IGNORE" if tx.dialect.name == "sqlite" else "IGNORE"
        tx.execute(
            sa.insert(dead_letters).prefix_with(word),
            [
                {
                    "message_id": letter.message_id,
                    "queue": queue,
                    "reason": letter.reason[:MOST_REASON],
                    "body": letter.body,
                    "at": now,
                }
                for letter in found
            ],
        )
        _tell(tx, queue, now)
    return alerted


def listed(tx: Tx, *, queue: str | None = None, before: int | None = None, limit: int = 50) -> list[Row]:
    """Letters without their bodies, the newest first. Indexes: the primary key, ix_dead_letters_queue."""
    query = sa.select(*_shown()).order_by(dead_letters.c.id.desc()).limit(limit)
    if queue is not None:
        query = query.where(dead_letters.c.queue == queue)
    if before is not None:
        query = query.where(dead_letters.c.id < before)
    return [dict(row) for row in tx.execute(query).mappings()]


def by_id(tx: Tx, letter_id: int) -> Row | None:
    """One letter with `head`, the first HEAD_BYTES of its body."""
    head = sa.func.substr(dead_letters.c.body, 1, HEAD_BYTES, type_=sa.LargeBinary).label("head")
    query = sa.select(*_shown(), head).where(dead_letters.c.id == letter_id)
    row = tx.execute(query).mappings().one_or_none()
    # Of nothing, SQLite's substr makes NULL.
    return None if row is None else {**row, "head": row["head"] or b""}


def _shown() -> list[sa.ColumnElement[Any]]:
    columns = [column for column in dead_letters.c if column.name != "body"]
    return [*columns, sa.func.length(dead_letters.c.body).label("body_bytes")]


def request_retry(tx: Tx, letter_id: int, by: str, now: datetime) -> None:
    """Have a letter sent again; asked for twice it is the same wish. Raises NotFound, Conflict."""
    if _existing(tx, letter_id).reason.endswith(CUT):
        raise Conflict(f"dead letter {letter_id} can't be sent again: only the head of its body is kept")
    tx.execute(
        sa.update(dead_letters)
        .where(dead_letters.c.id == letter_id, dead_letters.c.retry_requested_at.is_(None))
        .values(retry_requested_at=now, requested_by=by[:255])
    )


def drop(tx: Tx, letter_id: int, now: datetime) -> str:
    """Forget a letter, returns its queue. Raises NotFound."""
    queue = str(_existing(tx, letter_id).queue)
    _lock_alert(tx, queue)
    tx.execute(sa.delete(dead_letters).where(dead_letters.c.id == letter_id))
    _tell(tx, queue, now)
    return queue


def _existing(tx: Tx, letter_id: int) -> sa.Row[Any, Any]:
    query = sa.select(dead_letters.c.queue, dead_letters.c.reason).where(dead_letters.c.id == letter_id)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"no dead letter has the id {letter_id}")
    return row


def lease_wanted(tx: Tx, now: datetime, until: datetime, limit: int) -> list[Wanted]:
    """Letters that are to be sent again, oldest wish first, kept from other processes until then.

    Index: ix_dead_letters_retry. While a letter is on lease, its wish is as of the lease's end: whoever
    dies with it leaves it to the next.
    """
    letters = dead_letters.c
    ids = tx.scalars(
        sa.select(letters.id)
        .where(letters.retry_requested_at <= now)
        .order_by(letters.retry_requested_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not ids:
        return []
    tx.execute(sa.update(dead_letters).where(letters.id.in_(ids)).values(retry_requested_at=until))
    found = tx.execute(
        sa.select(letters.id, letters.queue, letters.reason, letters.body, letters.requested_by)
        .where(letters.id.in_(ids))
        .order_by(letters.id)
    )
    return [Wanted(r.id, r.queue, r.reason, r.body, r.requested_by or "", until) for r in found]


def sent(tx: Tx, wanted: Collection[Wanted], now: datetime) -> None:
    """Their queues have them: forget these letters, where the lease still holds."""
    for queue in sorted({letter.queue for letter in wanted}):
        _lock_alert(tx, queue)
        for letter in wanted:
            if letter.queue == queue:
                tx.execute(sa.delete(dead_letters).where(_on_lease(letter)))
        _tell(tx, queue, now)


def not_sent(tx: Tx, letter: Wanted, why: str) -> None:
    """Keep a letter that could not be sent, with a reason that says why; the wish is over."""
    first = letter.reason.partition(NOT_SENT)[0]
    note = f"{NOT_SENT}{why}"
    tx.execute(
        sa.update(dead_letters)
        .where(_on_lease(letter))
        .values(
            reason=first[: MOST_REASON - len(note)] + note,
            retry_requested_at=None,
            requested_by=None,
        )
    )


def _on_lease(letter: Wanted) -> sa.ColumnElement[bool]:
    return (dead_letters.c.id == letter.id) & (dead_letters.c.retry_requested_at == letter.leased_until)


def _lock_alert(tx: Tx, queue: str) -> None:
    """Before letters of a queue go; one that nobody locked before would be opened by an insert only."""
    tx.execute(
        sa.select(alert_rows.c.id)
        .where(alert_rows.c.kind == KIND, alert_rows.c.subject == queue, alert_rows.c.closing == "")
        .with_for_update()
    )


def _tell(tx: Tx, queue: str, now: datetime) -> None:
    """Raise or clear the alert of a queue by how many letters it has. The caller holds the alert's row."""
    some = sa.select(dead_letters.c.id).where(dead_letters.c.queue == queue).limit(MOST_COUNTED)
    count = int(tx.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0)
    if not count:
        alerts.clear(tx, KIND, queue, now)
        return
    number = f"{count:,}{' or more' if count == MOST_COUNTED else ''}"
    text = f"{number} dead letter{'' if count == 1 else 's'} of {queue}: cronq dead ls"
    alerts.raise_alert(tx, KIND, queue, text, now)

"""Whether the database is still in the state that we left it in.

After a restore from a backup, or a failover to a replica that lagged, rows that were committed are
gone: occurrences that ran look as if they were still due, and claims as if nobody had made them. Each
process that starts things remembers what it committed last (its witness). One that finds it gone puts
up a hold, which stops all injectors and all grants until a person accepts the state that there is.
The acceptance begins another epoch: what was due or waiting before it is missed, and never started.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from cronq.domain import ids
from cronq.domain.errors import Conflict, Unavailable
from cronq.domain.run import WAITING, State
from cronq.store import alerts, dialect
from cronq.store import facts as fact
from cronq.store.engine import Store, Tx
from cronq.store.runs import OpenRun, end_here
from cronq.store.tables import facts, jobs, runs

log = structlog.get_logger()

ALERT = "database_older"
SUBJECT = "database"
REASON = "failover"
_INSTALLATION, _EPOCH, _HOLD = "installation", "epoch", "hold"
# Older ones may have been deleted on purpose.
WITNESSED = timedelta(hours=24)
BATCH = 1000


class Held(Unavailable):
    """The database is older than what was committed to it, and nobody has accepted that yet."""


@dataclass(frozen=True)
class Witness:
    """What an injector knows to be committed: `step` is the newest instant that any of them noted."""

    installation: str
    epoch: int = 1
    run_id: str | None = None
    step: datetime | None = None


@dataclass(frozen=True)
class Epoch:
    """`since` is when it began by a person's acceptance; None for the first.

    With it comes what `check` compares: the database's identity, and the newest step of an injector.
    """

    number: int
    since: datetime | None
    installation: str | None = None
    step: datetime | None = None


def installation(tx: Tx, now: datetime) -> str:
    """The identity of this database's contents, drawn when it is first asked for."""
    fact.claim(tx, _INSTALLATION, now)
    found = fact.get(tx, _INSTALLATION)
    assert found is not None
    return found[0]


_CURRENT = sa.select(facts).where(facts.c.name.in_([_HOLD, _EPOCH, _INSTALLATION, fact.INJECTOR]))


def current(tx: Tx) -> Epoch:
    """The epoch; raises Held. What is committed in this transaction is not stopped by a later hold."""
    found = {row.name: row for row in tx.execute(_CURRENT)}
    if _HOLD in found:
        raise Held(found[_HOLD].value)
    number, since = (int(found[_EPOCH].value), found[_EPOCH].at) if _EPOCH in found else (1, None)
    identity = found[_INSTALLATION].value if _INSTALLATION in found else None
    return Epoch(number, since, identity, found[fact.INJECTOR].at if fact.INJECTOR in found else None)


def number(tx: Tx) -> int:
    found = fact.get(tx, _EPOCH)
    return 1 if found is None else int(found[0])


def check(tx: Tx, witness: Witness, current: Epoch, now: datetime) -> Witness:
    """What the witness knows from now on; raises Held when the database lacks what it knew.

    Of another installation or epoch it knows nothing.
    """
    noted = current.step
    is_same = current.installation is not None and current.installation == witness.installation
    if not is_same or current.number > witness.epoch:
        return Witness(installation(tx, now), current.number, step=noted)
    if witness.step is not None and (noted is None or noted < witness.step):
        known = "never" if noted is None else f"{noted:%Y-%m-%d %H:%M:%S} UTC"
        raise Held(f"an injector worked at {witness.step:%Y-%m-%d %H:%M:%S} UTC, the database says {known}")
    made = witness.run_id
    if made is not None and ids.made_at(made) > now - WITNESSED and _state(tx, made) is None:
        raise Held(f"run {made} of {ids.made_at(made):%Y-%m-%d %H:%M:%S} UTC was committed, and is gone")
    return replace(witness, step=noted)


def check_grant(tx: Tx, run_id: str, attempt: int, now: datetime) -> None:
    """Raise Held when the database does not know that this attempt was granted."""
    if ids.made_at(run_id) < now - WITNESSED:
        return
    found = _state(tx, run_id)
    if found is None or found[1] < attempt or (found[1] == attempt and found[0] in WAITING):
        raise Held(f"attempt {attempt} of run {run_id} was granted, and the database does not know")


_STATE = sa.select(runs.c.state, runs.c.attempt).where(runs.c.run_id == sa.bindparam("id"))


def _state(tx: Tx, run_id: str) -> tuple[str, int] | None:
    found = tx.execute(_STATE, {"id": run_id}).first()
    return None if found is None else (found.state, found.attempt)


def hold(db: Store, reason: str) -> None:
    """Stop all injectors and grants, and say why; commits. The first reason stays."""

    def work(tx: Tx) -> bool:
        now = dialect.now(tx)
        is_new = fact.insert(tx, _HOLD, reason, now)
        text = (
            f"the database is older than what was committed to it ({reason}): nothing is started;"
            " see what it lacks, then run `cronq accept-failover`"
        )
        alerts.raise_alert(tx, ALERT, SUBJECT, text, now)
        return is_new

    if db.transact(work):
        log.error("database.older", reason=reason)


def held(tx: Tx) -> str | None:
    """Why nothing is started; None where all is well."""
    found = fact.get(tx, _HOLD)
    return None if found is None else found[0]


@dataclass(frozen=True)
class Accepted:
    """What an acceptance did."""

    epoch: int
    missed: int


def accept(tx: Tx, by: str, now: datetime) -> Accepted:
    """Go on with the state that there is: what waits is missed, and so is all that was due until now.

    Raises Conflict when nothing is held.
    """
    reason = held(tx)
    if reason is None:
        raise Conflict("nothing is held: the database has all that was committed to it, as far as we know")
    following = number(tx) + 1
    tx.execute(sa.delete(facts).where(facts.c.name.in_([_HOLD, _EPOCH])))
    fact.insert(tx, _EPOCH, str(following), now)
    fact.put(tx, fact.INJECTOR, "accept-failover", now)
    alerts.clear(tx, ALERT, SUBJECT, now)
    # What was wanted may have been done.
    tx.execute(sa.update(jobs).where(jobs.c.run_now == 1).values(run_now=0))
    missed = _miss_waiting(tx, now)
    log.warning("database.accepted", by=by, epoch=following, missed=missed, reason=reason)
    return Accepted(following, missed)


def _miss_waiting(tx: Tx, now: datetime) -> int:
    """They may have run in the time that the database forgot."""
    count = 0
    while found := tx.execute(
        sa.select(runs.c.run_id, runs.c.job_id, runs.c.attempt)
        .where(runs.c.state.in_(WAITING))
        .order_by(runs.c.run_id)
        .limit(BATCH)
        .with_for_update()
    ).all():
        end_here(tx, [OpenRun(*row) for row in found], State.MISSED, REASON, now)
        count += len(found)
    return count

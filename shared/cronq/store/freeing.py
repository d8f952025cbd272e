"""Setting runs free that wait at a gate, as soon as there is room: found anew each time, told by nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain.gate import Closed, Gates, Limit
from cronq.domain.overlap import Overlap, Rule
from cronq.domain.run import State
from cronq.store import holding, jobs, limits
from cronq.store.engine import Tx
from cronq.store.line import NEVER
from cronq.store.restraint import alive_on
from cronq.store.tables import parked, runs

# A run that was denied on a host that is full is offered to the others again after this time.
ELSEWHERE_AFTER = timedelta(seconds=5)


def gates_with_waiting(tx: Tx) -> list[str]:
    """Gates where somebody waits (ix_parked_gate)."""
    return list(tx.execute(sa.select(parked.c.gate).group_by(parked.c.gate).limit(limits.MOST)).scalars())


def open_gates(
    tx: Tx, names: Collection[str], closed: Closed, now: datetime, catch_up_rate: int
) -> list[str]:
    """Of these gates those with room. A look without locks.

    `catch_up_rate` is how many occurrences that are late are let out in a second, unless somebody set
    a limit for that.
    """
    known = _paced(limits.all_limits(tx), catch_up_rate)
    return sorted(_with_room(tx, names, known, closed, now))


def _paced(known: Mapping[str, Limit], catch_up_rate: int) -> dict[str, Limit]:
    limit = known.get(gates.CATCH_UP, Limit())
    if limit.rate:
        return dict(known)
    return {**known, gates.CATCH_UP: replace(limit, rate=catch_up_rate, period=timedelta(seconds=1))}


def _with_room(
    tx: Tx, names: Collection[str], known: Mapping[str, Limit], closed: Closed, now: datetime
) -> dict[str, int | None]:
    judge = Gates(known, holding.holds(tx, names), {}, now)
    rules = _rules(tx, names)
    hosts = _rooms_of_hosts(tx, {n for n in names if _kind(n) == "host"}, now)
    found: dict[str, int | None] = {}
    for name in names:
        kind = _kind(name)
        room: int | None
        if kind in _HELD:
            room = None if closed.is_open(name) else 0
        elif kind == "host":
            room = hosts[name]
        elif kind == "rate":
            room = _tokens(known.get(name if name == gates.CATCH_UP else name.partition(":")[2]), now)
        else:
            room = judge.room(name, rules[name].capacity if name in rules else None)
        if room is None or room > 0:
            found[name] = room
    return found


def _rooms_of_hosts(tx: Tx, names: Collection[str], now: datetime) -> dict[str, int | None]:
    """At times one is set free though the host is full: another host may have room for it."""
    if not names:
        return {}
    hosts = {name.partition(":")[2] for name in names}
    capacities, live = limits.of_hosts(tx, hosts), alive_on(tx, hosts)
    query = sa.select(parked.c.gate, sa.func.min(parked.c.at)).where(parked.c.gate.in_(sorted(names)))
    rooms: dict[str, int | None] = {}
    for name, since in tx.execute(query.group_by(parked.c.gate)):
        host = name.partition(":")[2]
        patience_is_over = int(now - since > ELSEWHERE_AFTER)
        rooms[name] = max(capacities[host] - live[host], patience_is_over) if host in capacities else None
    return {name: rooms.get(name, 0) for name in names}


def _rules(tx: Tx, names: Iterable[str]) -> dict[str, Overlap]:
    """The overlap rules of jobs, by their gates; a job that is gone lets all go."""
    ids = [int(name[4:]) for name in names if name.startswith("job:")]
    records = jobs.by_ids(tx, ids) if ids else {}
    nothing = Overlap(Rule.ALLOW)
    return {gates.of_job(i): records[i].spec.overlap_rule if i in records else nothing for i in ids}


def _tokens(limit: Limit | None, now: datetime) -> int | None:
    """A rate that nobody set any more lets all go."""
    return gates.tokens(limit, now) if limit is not None and limit.rate else None


def set_free(
    tx: Tx, names: Collection[str], closed: Closed, now: datetime, *, most: int, catch_up_rate: int
) -> int:
    """Put the first of those who wait at gates with room back in line; returns how many.

    They are judged again there, as some other gate may be closed to them. What a pause or a window held
    goes on to the gate of what is late. What has ended while it waited is forgotten.
    """
    names = {*names, gates.CATCH_UP}
    behind = [name.removeprefix("rate:") if name != gates.CATCH_UP else name for name in names]
    mine = limits.locked(tx, sorted({*names, *behind}))
    known = _paced(limits.all_limits(tx) | mine, catch_up_rate)
    count = 0
    found = _with_room(tx, names, known, closed, now)
    # Pauses and windows come before the gate that they lead to.
    for name in sorted(found, key=lambda n: (_kind(n) not in _HELD, n)):
        room = found[name]
        rows = _first_parked(tx, name, most if room is None else min(most, room))
        if _kind(name) in _HELD:
            _pass_on(tx, [row.run_id for row in rows])
            continue
        fit = rows if _kind(name) in ("rate", "host") else rows[: _fitting(rows, room)]
        free = _free(tx, [row.run_id for row in fit])
        if name == gates.CATCH_UP and free:
            limits.spend(tx, {name: gates.after_starts(known[name], free, now)})
        count += free
    return count


_HELD = ("pause", "window")


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _pass_on(tx: Tx, run_ids: Sequence[str]) -> None:
    tx.execute(sa.update(parked).where(parked.c.run_id.in_(sorted(run_ids))).values(gate=gates.CATCH_UP))


def _first_parked(tx: Tx, name: str, limit: int) -> Sequence[Any]:
    """Those who wait at a gate, the first first; who has ended meanwhile is forgotten."""
    query = (
        sa.select(parked.c.run_id, parked.c.weight, runs.c.state)
        .join(runs, runs.c.run_id == parked.c.run_id)
        .where(parked.c.gate == name)
        .order_by(parked.c.priority, parked.c.turn, parked.c.run_id)
        .limit(limit)
    )
    while True:
        found = tx.execute(query).all()
        ended = [row.run_id for row in found if row.state != State.SCHEDULED]
        if not ended:
            return found
        tx.execute(sa.delete(parked).where(parked.c.run_id.in_(sorted(ended))))


def _fitting(rows: Sequence[Any], room: int | None) -> int:
    return gates.first_fitting(room, (row.weight for row in rows))


def _free(tx: Tx, run_ids: Sequence[str]) -> int:
    if not run_ids:
        return 0
    tx.execute(sa.delete(parked).where(parked.c.run_id.in_(sorted(run_ids))))
    return tx.execute(
        sa.update(runs)
        # Meanwhile a person may have given one an instant.
        .where(
            runs.c.run_id.in_(sorted(run_ids)), runs.c.state == State.SCHEDULED, runs.c.release_at == NEVER
        )
        .values(release_at=None)
    ).rowcount

"""What people set: limits of gates, and pauses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq.domain import gate
from cronq.domain.gate import Closed, Limit
from cronq.domain.run import State
from cronq.store import dialect, windows
from cronq.store.engine import Tx
from cronq.store.tables import gates, holds, pauses, runs

HOLDING = (State.QUEUED, State.CLAIMED, State.RUNNING)
MOST = 10_000


def all_limits(tx: Tx) -> dict[str, Limit]:
    """The limits that somebody set, by gate, and the rate at which an outage's backlog is let out."""
    is_limited = gates.c.capacity.is_not(None) | gates.c.rate.is_not(None) | (gates.c.name == gate.CATCH_UP)
    found = tx.execute(sa.select(gates).where(is_limited).limit(MOST))
    return {row["name"]: _limit(row) for row in found.mappings()}


@dataclass(frozen=True)
class Set:
    """A limit that somebody set, when and how: `put` by a category's document, else `api`."""

    gate: str
    limit: Limit
    actor: str
    origin: str
    at: datetime | None


_IS_SET = gates.c.capacity.is_not(None) | gates.c.rate.is_not(None)


def listed(tx: Tx) -> list[Set]:
    """Those that somebody set, by gate."""
    found = tx.execute(sa.select(gates).where(_IS_SET).order_by(gates.c.name).limit(MOST))
    return [_set(row) for row in found.mappings()]


def of_gate(tx: Tx, name: str) -> Set | None:
    """The limit that somebody set for a gate."""
    row = tx.execute(sa.select(gates).where(gates.c.name == name, _IS_SET)).mappings().one_or_none()
    return None if row is None else _set(row)


def _set(row: Any) -> Set:
    return Set(row["name"], _limit(row), row["actor"] or "", row["origin"] or "", row["changed_at"])


def _limit(row: Any) -> Limit:
    period = row["rate_period_s"]
    return Limit(
        row["capacity"], row["rate"], None if period is None else timedelta(seconds=period), row["next_at"]
    )


def of_hosts(tx: Tx, hosts: Collection[str]) -> dict[str, int]:
    """How many runs at once each of these hosts may have: by its own limit, or else that of all hosts."""
    names = {gate.of_host(host): host for host in (*hosts, gate.EVERY_HOST)}
    query = sa.select(gates.c.name, gates.c.capacity).where(
        gates.c.name.in_(sorted(names)), gates.c.capacity.is_not(None)
    )
    found = {names[name]: capacity for name, capacity in tx.execute(query)}
    of_all = found.pop(gate.EVERY_HOST, None)
    return found if of_all is None else {host: found.get(host, of_all) for host in hosts}


def locked(tx: Tx, names: list[str]) -> dict[str, Limit]:
    """These gates, made where they are not there, each with its row locked, in the order of their names."""
    wanted = sorted(names)
    found = _locked(tx, wanted)
    if len(found) < len(wanted):
        dialect.insert_new(tx, gates, [{"name": name} for name in wanted if name not in found])
        found = _locked(tx, wanted)
    return found


def _locked(tx: Tx, names: list[str]) -> dict[str, Limit]:
    found = tx.execute(
        sa.select(gates).where(gates.c.name.in_(names)).order_by(gates.c.name).with_for_update()
    )
    return {row["name"]: _limit(row) for row in found.mappings()}


def set_limit(tx: Tx, name: str, limit: Limit, actor: str, now: datetime, *, origin: str = "api") -> bool:
    """Give a gate its limit; runs that are under way count from now on. No capacity and no rate: drop it.

    Returns whether it is another one now. The same again by the same origin changes nothing: not who set
    it, nor how many starts are free to go.
    """
    locked(tx, [name])
    before = of_gate(tx, name)
    is_other = _terms(limit) != _terms(before.limit if before else Limit())
    if not is_other and (before is None or before.origin == origin):
        return False
    period = limit.period
    tx.execute(
        sa.update(gates)
        .where(gates.c.name == name)
        .values(
            capacity=limit.capacity,
            rate=limit.rate,
            rate_period_s=None if period is None else period.total_seconds(),
            next_at=None,
            actor=actor[:255],
            origin=origin,
            changed_at=now,
        )
    )
    if limit.capacity is not None:
        _adopt(tx, name)
    return is_other


def _terms(limit: Limit) -> tuple[int | None, int | None, timedelta | None]:
    return limit.capacity, limit.rate, limit.period


def _adopt(tx: Tx, name: str) -> None:
    """Runs that were let out before their category or queue had a limit hold it too (ix_runs_state)."""
    kind, _, subject = name.partition(":")
    if kind not in ("category", "queue"):
        return
    is_of_it = runs.c.category_id == int(subject) if kind == "category" else runs.c.routing_key == subject
    found = tx.execute(sa.select(runs.c.run_id).where(runs.c.state.in_(HOLDING), is_of_it)).scalars()
    rows = [{"gate": name, "run_id": run_id, "weight": 1} for run_id in sorted(found)]
    dialect.insert_new(tx, holds, rows)


def spend(tx: Tx, next_at: dict[str, datetime]) -> None:
    """Note of locked gates when their next start is free to go."""
    rows = [{"name": name, "next_at": at} for name, at in sorted(next_at.items())]
    dialect.update_rows(tx, gates, rows, keys=("name",))


# -- pauses


def closed(tx: Tx, now: datetime) -> Closed:
    """What holds runs back at this moment."""
    in_force = pauses.c.until.is_(None) | (pauses.c.until > now)
    found = tx.execute(sa.select(pauses.c.subject).where(in_force).limit(MOST)).scalars()
    subjects, held = frozenset(found), windows.in_force(tx, now)
    return Closed(subjects, held) if subjects or held else gate.NOTHING_CLOSED

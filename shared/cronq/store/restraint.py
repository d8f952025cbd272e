"""What is known only at the claim: pauses that came after the release, and how much a host may run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cronq.domain import gate as gates
from cronq.domain.gate import Closed
from cronq.domain.run import LIVE
from cronq.store import limits
from cronq.store.engine import Tx
from cronq.store.rows import JobRecord
from cronq.store.tables import runs


@dataclass
class Restraint:
    """For one batch of claims: `gate` counts what it lets through."""

    closed: Closed
    room: dict[str, int]  # of the hosts that have a limit

    @classmethod
    def of(cls, tx: Tx, hosts: Collection[str], now: datetime) -> Restraint:
        """Locks the gates of hosts with a limit, so that two batches together keep it."""
        return cls(limits.closed(tx, now), _room(tx, hosts))

    def gate(self, row: sa.RowMapping, job: JobRecord, host: str) -> str | None:
        """The gate that is closed to a run on this host; None: it may start, and is counted there."""
        stop = self.closed.gate(
            job_id=job.id,
            category_id=row["category_id"],
            routing_key=job.key,
            trigger=gates.trigger_of(row["triggered_by"], row["actor"]),
        )
        if stop is not None or host not in self.room:
            return stop
        if self.room[host] <= 0:
            return gates.of_host(host)
        self.room[host] -= 1
        return None


def _room(tx: Tx, hosts: Collection[str]) -> dict[str, int]:
    capacities = limits.of_hosts(tx, hosts)
    if not capacities:
        return {}
    limits.locked(tx, [gates.of_host(host) for host in capacities])
    live = alive_on(tx, capacities)
    return {host: capacity - live[host] for host, capacity in capacities.items()}


def alive_on(tx: Tx, hosts: Collection[str]) -> Counter[str]:
    """How many runs are claimed or running on each of these hosts (ix_runs_state)."""
    found = tx.execute(
        sa.select(runs.c.host, sa.func.count())
        .where(runs.c.state.in_(LIVE), runs.c.host.in_(sorted(hosts)))
        .group_by(runs.c.host)
    )
    return Counter(dict(found.all()))

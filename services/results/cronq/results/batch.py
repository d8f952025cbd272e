"""What one transaction of results applies: the events of many messages, sorted by what they do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from cronq import store
from cronq.bus.messages import Event
from cronq.domain.event import Boot, Canary, Heartbeat, OutputChunk, RunEvent
from cronq.runtime import crash
from cronq.store import facts, leases, lost, outcomes

log = structlog.get_logger()


@dataclass
class Batch:
    """Events by kind, each in the order in which they came."""

    runs: list[RunEvent] = field(default_factory=list)
    output: list[OutputChunk] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)
    canaries: list[Canary] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Batch:
        batch = cls()
        for event in events:
            if isinstance(event, RunEvent):
                batch.runs.append(event)
            elif isinstance(event, OutputChunk):
                batch.output.append(event)
            elif isinstance(event, Heartbeat):
                batch.beats.append(event)
            elif isinstance(event, Boot):
                batch.boots.append(event)
            else:
                batch.canaries.append(event)
        return batch

    @property
    def size(self) -> int:
        """How many events."""
        kinds: tuple[Sequence[Event], ...] = (self.runs, self.output, self.beats, self.boots, self.canaries)
        return sum(len(kind) for kind in kinds)

    @classmethod
    def merged(cls, batches: Sequence[Batch]) -> Batch:
        return cls(
            [e for b in batches for e in b.runs],
            [e for b in batches for e in b.output],
            [e for b in batches for e in b.beats],
            [e for b in batches for e in b.boots],
            [e for b in batches for e in b.canaries],
        )


def apply_batch(tx: store.Tx, batch: Batch, lease: timedelta) -> None:
    """Everything of the batch, or nothing. Events of runs come before boots: a boot then meets them."""
    now = store.now(tx)
    if batch.runs:
        _apply_runs(tx, batch.runs, now)
    if batch.output:
        outcomes.store_output(tx, batch.output)
    for report in batch.boots:
        _apply_boot(tx, report, now, lease)
    if batch.beats:
        leases.beat(tx, batch.beats, now, now + lease)
    if batch.runs:
        crash.reach("results.events.uncommitted")
    if batch.canaries:
        latest = max(batch.canaries, key=lambda c: c.at)
        # One from the future would prove the pipeline fresh for ever.
        facts.put(tx, facts.CANARY, latest.injector, min(latest.at, now))


def _apply_runs(tx: store.Tx, told: Sequence[RunEvent], now: datetime) -> None:
    applied = outcomes.apply(tx, told, now)
    for event, verdict in applied.superseded:
        log.info("event.superseded", run_id=event.run_id, type=event.type, why=verdict.why)
    lost.tell(tx, applied.losses, "interrupted, and nobody knows its end", now)


def _apply_boot(tx: store.Tx, report: Boot, now: datetime, lease: timedelta) -> None:
    settled = leases.boot(tx, report, now, now + lease)
    beat = report.heartbeat
    if settled.not_started:
        outcomes.apply(tx, settled.not_started, now)
    log.info(
        "runner.booted",
        runner=beat.runner,
        host=beat.host,
        adopted=settled.adopted,
        requeued=len(settled.not_started),
    )

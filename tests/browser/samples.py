"""A store filled as the services would fill it, for tests that look at pages."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cronq import store
from cronq.domain.category import CategoryDocument
from cronq.domain.event import EventType, Heartbeat, OutputChunk, RunEvent
from cronq.domain.job import JobSpec
from cronq.domain.run import Claim, Owner, Trigger
from cronq.runtime import config
from cronq.runtime.settings import Settings
from cronq.store import categories, claims, doorbells, jobs, leases, migrate, outcomes, requests, runs
from cronq.store.categories import Author, Conditions
from cronq.store.requests import Wish
from tests.factories import let_out

OWNER = Owner("web-01", "1" * 32, "2" * 32)
HOST = "web-01.example"
PID = 4411


def open_samples(url: str) -> Samples:
    """An empty store of this release."""
    db = store.open_store(url)
    migrate.upgrade(db)
    return Samples(db)


def web_settings(folder: Path, **changes: object) -> Settings:
    """What the web needs, without a token: writes are open to this machine."""
    loaded = config.load({"CRONQ_SECRET_KEY": secrets.token_hex(32), "CRONQ_STATE_DIR": str(folder)})
    return replace(loaded, **changes)  # type: ignore[arg-type]  # the caller names fields of Settings


def spec(name: str = "hello", **fields: object) -> JobSpec:
    """A job's definition, unchecked, so that it may hold what no document can."""
    given: dict[str, object] = {"name": name, "schedule": "*/5 * * * *", "command": "echo hello", **fields}
    return JobSpec(**given)  # type: ignore[arg-type]  # the caller names fields of JobSpec


@dataclass(frozen=True)
class Samples:
    """Puts jobs and runs into `db`, by the statements that the services use."""

    db: store.Store

    def now(self) -> datetime:
        with self.db.read() as tx:
            return store.now(tx)

    def put(self, category: str, *specs: JobSpec) -> dict[str, int]:
        """Make these the category's jobs; returns their ids by name."""
        wanted = CategoryDocument(category, specs)
        with self.db.begin() as tx:
            categories.replace(
                tx, wanted, Author("put", "ci"), Conditions(allow_removals=1000), store.now(tx)
            )
        with self.db.read() as tx:
            listed = jobs.listed(tx, category=category, limit=10_000)
        return {job.spec.name: job.id for job in listed}

    def job(self, name: str = "hello", category: str = "first", **fields: object) -> int:
        """The only job of its category; returns its id."""
        return self.put(category, spec(name, **fields))[name]

    def ordered(self, job_id: int) -> str:
        """A run that waits for release."""
        with self.db.begin() as tx:
            return requests.request_run(tx, Wish(job_id, Trigger.MANUAL, "ana"), store.now(tx))

    def queued(self, job_id: int) -> str:
        """A run that was published."""
        run_id = self.ordered(job_id)
        with self.db.begin() as tx:
            now = store.now(tx)
            for key in doorbells.waiting(tx):
                let_out(tx, key, now=now)
            bells = doorbells.lease_unpublished(tx, now, now + timedelta(seconds=5), 1000)
            doorbells.mark_published(tx, bells, now, timedelta(minutes=1), frozenset())
        return run_id

    def running(self, job_id: int) -> str:
        """A run that a runner executes."""
        run_id = self.queued(job_id)
        with self.db.begin() as tx:
            now = store.now(tx)
            claims.answer(tx, [Claim(run_id, 1, OWNER, "n", HOST)], now, now + timedelta(minutes=1))
        self._tell(job_id, run_id, EventType.STARTING)
        return run_id

    def ended(
        self,
        job_id: int,
        *,
        return_code: int | None = 0,
        signal: int | None = None,
        why: str | None = None,
        output: bytes = b"",
    ) -> str:
        """A run that a runner has executed."""
        run_id = self.running(job_id)
        if output:
            self.write(run_id, output)
        self.end(job_id, run_id, return_code=return_code, signal=signal, why=why)
        return run_id

    def end(
        self,
        job_id: int,
        run_id: str,
        *,
        return_code: int | None = 0,
        signal: int | None = None,
        why: str | None = None,
    ) -> None:
        """The runner reports the end of a run."""
        self._tell(job_id, run_id, EventType.FINISHED, return_code=return_code, signal=signal, why=why)

    def write(self, run_id: str, data: bytes, *, offset: int = 0) -> None:
        """The runner sends output."""
        with self.db.begin() as tx:
            outcomes.store_output(tx, [OutputChunk(run_id, 1, OWNER.lineage, offset, data)])

    def beat(self, name: str = OWNER.runner, queues: Sequence[str] = ("default",), running: int = 0) -> None:
        """A runner gives a sign of life."""
        with self.db.begin() as tx:
            now = store.now(tx)
            live = tuple((f"{n:032x}", 1) for n in range(running))
            sign = Heartbeat(
                name, OWNER.lineage, OWNER.instance, HOST, PID, "1.0", tuple(queues), 4, live, now, "control"
            )
            leases.beat(tx, [sign], now, now + timedelta(minutes=1))

    def state_of(self, run_id: str) -> str:
        with self.db.read() as tx:
            run = runs.by_id(tx, run_id)
        assert run is not None
        return str(run["state"])

    def run_ids(self, job_id: int) -> list[str]:
        """The job's runs, the newest first."""
        with self.db.read() as tx:
            return [run["run_id"] for run in runs.listed(tx, job_id=job_id)]

    def _tell(
        self,
        job_id: int,
        run_id: str,
        kind: EventType,
        *,
        return_code: int | None = None,
        signal: int | None = None,
        why: str | None = None,
    ) -> None:
        with self.db.begin() as tx:
            now = store.now(tx)
            ended = kind is EventType.FINISHED
            event = RunEvent(
                kind,
                run_id,
                job_id,
                now,
                attempt=1,
                runner=OWNER.runner,
                lineage=OWNER.lineage,
                instance=OWNER.instance,
                host=HOST,
                pid=PID,
                return_code=return_code,
                signal=signal,
                why=why,
                started_at=None if ended else now,
                finished_at=now if ended else None,
            )
            outcomes.apply(tx, [event], now)

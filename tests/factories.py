"""Jobs, runs and runners' words for tests of what rests on the store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cronq import store
from cronq.domain.category import parse_value
from cronq.domain.event import Boot, EventType, Heartbeat, RunEvent
from cronq.domain.ids import run_id
from cronq.domain.run import Claim, Denial, Kind, Owner, State, Trigger
from cronq.runtime.config import load
from cronq.runtime.settings import Settings
from cronq.store import alerts, categories, claims, doorbells, jobs, limits, line, outcomes, runs, tables
from cronq.store.claims import Granted
from cronq.store.rows import JobRecord

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEASE = MINUTE
NOWHERE = "/dev/null/state"  # a folder that nobody can make, not even root

OURS = Owner("host/1", "a" * 32, "1" * 32)
NEXT = replace(OURS, instance="2" * 32)  # the next process on the same folder
STRANGER = Owner("other/1", "b" * 32, "3" * 32)

Row = Mapping[str, Any]


@dataclass
class Clock:
    """What `store.now` answers in place of the database."""

    now: datetime = NOON

    def tick(self, by: timedelta = SECOND) -> datetime:
        self.now += by
        return self.now


def make_settings(**environ: str) -> Settings:
    return load({"CRONQ_STATE_DIR": NOWHERE, **environ})


# -- SQL as a person writes it


def execute(db: store.Store, statement: str, **values: object) -> None:
    with db.begin() as tx:
        tx.execute(sa.text(statement), values)


def select(db: store.Store, statement: str, **values: object) -> list[Row]:
    with db.read() as tx:
        return [dict(row) for row in tx.execute(sa.text(statement), values).mappings()]


def by_hand(at: datetime) -> str:
    """An instant as a person types it."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def insert_job(db: store.Store, **columns: object) -> int:
    """INSERT INTO jobs with these columns only; instants and intervals may be given as such."""
    columns = {"name": f"job {secrets.token_hex(4)}", "command": "true", **columns}
    written = {name: _typed(value) for name, value in columns.items()}
    quote = "`" if not db.is_sqlite() else '"'
    names = ", ".join(f"{quote}{name}{quote}" for name in written)
    execute(db, f"INSERT INTO jobs ({names}) VALUES ({', '.join(f':{n}' for n in written)})", **written)
    [row] = select(db, "SELECT max(id) AS id FROM jobs")
    return int(row["id"])


def _typed(value: object) -> object:
    if isinstance(value, timedelta):
        return by_hand(EPOCH + value)
    return by_hand(value) if isinstance(value, datetime) else value


def wipe(db: store.Store) -> None:
    """Empty every table."""
    with db.begin() as tx:
        for table in ("events", "jobs", *(t for t in tables.metadata.tables if t not in ("events", "jobs"))):
            tx.execute(sa.text(f"DELETE FROM {table}"))


# -- jobs


def definition(name: str = "job", **fields: object) -> dict[str, object]:
    return {"name": name, "schedule": "* * * * *", "command": "true", **fields}


def put(
    db: store.Store,
    *definitions: dict[str, object],
    category: str = "cat",
    now: datetime = NOON,
    author: categories.Author | None = None,
    source: dict[str, str] | None = None,
    limits: Mapping[str, object] | None = None,
    **conditions: Any,
) -> categories.Put:
    document = {"jobs": list(definitions), "source": source or {}, "limits": limits or {}}
    wanted = parse_value(document, url_name=category)
    made = categories.Conditions(**conditions)
    return db.transact(
        lambda tx: categories.replace(tx, wanted, author or categories.Author("put", "ci"), made, now)
    )


def job_named(db: store.Store, name: str = "job") -> JobRecord:
    """A job by its name, also when it was removed."""
    [row] = select(db, "SELECT id FROM jobs WHERE name = :name", name=name)
    return job_of(db, row["id"])


def job_of(db: store.Store, job_id: int) -> JobRecord:
    with db.read() as tx:
        found = jobs.by_id(tx, job_id)
    assert found is not None
    return found


def revisions_of(db: store.Store, job_id: int) -> list[dict[str, Any]]:
    """Oldest first."""
    with db.read() as tx:
        return jobs.revisions(tx, job_id)[::-1]


# -- runs


def insert_run(
    db: store.Store,
    job_id: int,
    state: State = State.QUEUED,
    *,
    at: datetime = NOON,
    kind: Kind = Kind.SLOT,
    key: str = "default",
    made_at: datetime | None = None,
    **columns: object,
) -> str:
    """A run in a state, as the injector makes it; `columns` are set afterwards."""
    made = run_id(made_at or at, secrets.randbits)
    row = runs.new_row(
        made,
        job_id,
        kind=kind,
        scheduled_for=at,
        triggered_by=Trigger.SCHEDULE,
        state=state,
        routing_key=key,
        now=made_at or at,
        request="" if kind is Kind.SLOT else secrets.token_hex(16),
        publish_at=at if state is State.QUEUED else None,
    )
    with db.begin() as tx:
        runs.insert(tx, [row], made_at or at)
        if columns:
            tx.execute(sa.update(tables.runs).where(tables.runs.c.run_id == made).values(**columns))
    return made


def claimed_run(db: store.Store, job_id: int, owner: Owner = OURS, *, at: datetime = NOON) -> str:
    """A run that was granted to `owner` at its instant."""
    made = insert_run(db, job_id, at=at, kind=Kind.REQUEST)
    assert isinstance(ask(db, claim(made, owner), now=at), Granted)
    return made


def running_run(db: store.Store, job_id: int, owner: Owner = OURS, *, at: datetime = NOON) -> str:
    made = claimed_run(db, job_id, owner, at=at)
    tell(db, said(EventType.STARTING, made, owner, at=at), now=at)
    return made


def run_of(db: store.Store, made: str) -> dict[str, Any]:
    with db.read() as tx:
        found = runs.by_id(tx, made)
    assert found is not None
    return found


def runs_of(db: store.Store, job_id: int | None = None) -> list[dict[str, Any]]:
    """By instant."""
    with db.read() as tx:
        found = runs.listed(tx, job_id=job_id, limit=100_000)
    return sorted(found, key=lambda r: (r["scheduled_for"], r["run_id"]))


def states_of(db: store.Store, job_id: int | None = None) -> list[str]:
    return [r["state"] for r in runs_of(db, job_id)]


def events_of(db: store.Store, made: str) -> list[tuple[str, int, int]]:
    """(type, attempt, seq) of each, in the order of their recording."""
    with db.read() as tx:
        return [(e["type"], e["attempt"], e["seq"]) for e in runs.events_of(tx, made)]


def open_alerts(db: store.Store) -> list[tuple[str, str]]:
    """(kind, subject), oldest first."""
    with db.read() as tx:
        return [(a["kind"], a["subject"]) for a in alerts.listed(tx)][::-1]


def let_out(tx: store.Tx, key: str = "default", most: int = 1_000, now: datetime = NOON) -> int:
    """Decide about the first in line of a key, as the injector does; returns how many were released."""
    waiting = doorbells.waiting(tx).get(key, {})
    first = line.first_in_line(tx, key, waiting, {}, most)
    return line.let_out(tx, first, limits.closed(tx, now), now).released


# -- what runners say


def claim(made: str, owner: Owner = OURS, *, attempt: int = 1, nonce: str = "n") -> Claim:
    return Claim(made, attempt, owner, nonce, host="host")


def ask(db: store.Store, one: Claim, *, now: datetime = NOON) -> Granted | Denial:
    [(_, answer)] = ask_all(db, [one], now=now)
    return answer


def ask_all(db: store.Store, asked: Sequence[Claim], *, now: datetime = NOON) -> list[claims.Answer]:
    return db.transact(lambda tx: claims.answer(tx, asked, now, now + LEASE))


def said(
    kind: EventType,
    made: str,
    owner: Owner = OURS,
    *,
    job_id: int = 0,
    attempt: int | None = 1,
    at: datetime = NOON,
    **fields: Any,
) -> RunEvent:
    """An event of a runner that claims."""
    return RunEvent(
        kind,
        made,
        job_id,
        at,
        attempt=attempt,
        runner=owner.runner,
        lineage=owner.lineage,
        instance=owner.instance,
        host=owner.runner.partition("/")[0],
        **fields,
    )


def said_plainly(kind: EventType, made: str, job_id: int, *, at: datetime = NOON, **fields: Any) -> RunEvent:
    """An event in the ancestor's dialect."""
    return RunEvent(kind, made, job_id, at, **{"host": "old.example.org", **fields})


def tell(db: store.Store, *told: RunEvent, now: datetime = NOON) -> outcomes.Applied:
    return db.transact(lambda tx: outcomes.apply(tx, told, now))


def heartbeat(
    owner: Owner = OURS, *live: tuple[str, int], at: datetime = NOON, slots: int = 2, draining: bool = False
) -> Heartbeat:
    return Heartbeat(
        runner=owner.runner,
        lineage=owner.lineage,
        instance=owner.instance,
        host=owner.runner.partition("/")[0],
        pid=4711,
        version="1.0",
        queues=("cronq_jobs",),
        slots=slots,
        live=live,
        at=at,
        control_key=f"cronq_runner.{owner.instance}",
        draining=draining,
    )


def boot(
    owner: Owner = NEXT,
    *,
    live: Sequence[tuple[str, int]] = (),
    known: Sequence[tuple[str, int]] = (),
    complete: bool = True,
    since: datetime | None = None,
) -> Boot:
    return Boot(heartbeat(owner, *live), tuple(known), complete, since)

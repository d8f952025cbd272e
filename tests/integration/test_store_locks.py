"""Many at once on real databases: each occurrence once, each attempt one owner, nobody in the way."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy.exc import OperationalError

from cronq import bus, store
from cronq.bus.messages import decode_job
from cronq.domain.event import EventType, RunEvent
from cronq.domain.run import Denial, Owner, State, Trigger
from cronq.injector.expand import expand_once
from cronq.injector.service import Injector
from cronq.store import claims, jobs, leases, migrate, open_store, outcomes, runs
from cronq.store.claims import Granted
from cronq.store.requests import Wish, request_run
from tests.factories import (
    HOUR,
    LEASE,
    NOON,
    OURS,
    SECOND,
    by_hand,
    claim,
    claimed_run,
    definition,
    events_of,
    execute,
    heartbeat,
    insert_job,
    insert_run,
    job_named,
    make_settings,
    put,
    revisions_of,
    run_of,
    running_run,
    runs_of,
    said,
    select,
    states_of,
    wipe,
)
from tests.servers import MariaDB

T = TypeVar("T")
SOON_S = 30.0


@contextmanager
def opened(url: str) -> Iterator[store.Store]:
    db = open_store(url)
    try:
        yield db
    finally:
        db.close()


@pytest.fixture(scope="module")
def migrated_url(mariadb: MariaDB) -> Iterator[str]:
    """One for all these tests: migrating takes longer than most of them."""
    url = mariadb.create_database()
    with opened(url) as db:
        migrate.upgrade(db)
    yield url
    mariadb.drop_database(url)


@pytest.fixture
def mariadb_url(migrated_url: str) -> str:
    """A database on MariaDB with empty tables."""
    with opened(migrated_url) as db:
        wipe(db)
    return migrated_url


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.servers)])
def db(request: pytest.FixtureRequest) -> Iterator[store.Store]:
    """A store with empty tables, of each kind in turn."""
    with opened(request.getfixturevalue(f"{request.param}_url")) as db:
        migrate.upgrade(db)
        yield db


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Start all in the same moment, each in a thread; raises what any of them raised."""
    start = threading.Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        start.wait(SOON_S)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))


def clock_of(db: store.Store) -> datetime:
    with db.read() as tx:
        return store.now(tx)


def step(db: store.Store, who: str = "me") -> int:
    return expand_once(db, locked_by=who, window=10_000, publish_lease=2 * SECOND).jobs


# -- injectors side by side


def due_jobs(db: store.Store, count: int) -> None:
    """So many jobs that are due now, and once."""
    with db.begin() as tx:
        tx.exec_driver_sql(
            "INSERT INTO jobs (name, command, next_run, revision)"
            " SELECT CONCAT('job ', seq), 'true', UTC_TIMESTAMP() - INTERVAL 10 SECOND, 1"
            f" FROM seq_1_to_{count}"
        )


@pytest.mark.parametrize("injectors", [2, 4])
def test_fault_04_five_thousand_due_jobs_get_one_run_each_and_every_injector_works(
    mariadb_url: str, injectors: int
) -> None:
    with opened(mariadb_url) as db:
        due_jobs(db, 5_000)

        def expand_all() -> int:
            with opened(mariadb_url) as own:
                done = 0
                while taken := step(own):
                    done += taken
                return done

        shares = at_once([expand_all] * injectors)

        assert sum(shares) == 5_000
        assert min(shares) > 0
        [found] = select(
            db, "SELECT count(*) AS n, count(DISTINCT job_id) AS jobs FROM runs WHERE state = 'queued'"
        )
        assert (found["n"], found["jobs"]) == (5_000, 5_000)


def test_injectors_that_publish_too_ring_for_every_run(mariadb_url: str) -> None:
    url = f"memory:{secrets.token_hex(8)}"
    listener = bus.open(url, name="runner")
    with opened(mariadb_url) as db:
        due_jobs(db, 1_000)

        def work() -> None:
            with opened(mariadb_url) as own:
                injector = Injector(make_settings(), own, bus.open(url, name="i"), secrets.token_hex(4))
                while injector.step():
                    pass

        at_once([work] * 3)

        rung = Counter(d.body for d in listener.consume(["cronq_jobs"], 65_535).take(65_535, SOON_S))
        assert len(rung) == 1_000
        assert {r["publishes"] > 0 for r in runs_of(db)} == {True}
    listener.close()


def test_a_frozen_injectors_jobs_come_back_after_three_seconds(mariadb_url: str) -> None:
    with opened(mariadb_url) as db, opened(mariadb_url) as other:
        due_jobs(db, 10)
        frozen = db.engine.connect()
        taken = jobs.claim_due(frozen, store.now(frozen), 6)
        jobs.advance(frozen, [(job.id, None) for job in taken], "frozen")
        began = time.monotonic()

        assert step(other) == 4
        while not (late := step(other)):
            assert time.monotonic() - began < SOON_S

        assert (late, len(runs_of(db))) == (6, 10)
        assert 2 < time.monotonic() - began < 15
        with pytest.raises(OperationalError, match=r"Lost connection|gone away|killed"):
            store.now(frozen)  # it thaws
        frozen.invalidate()
        frozen.close()


def test_one_that_froze_before_it_wrote_anything_is_no_hindrance_either(mariadb_url: str) -> None:
    with opened(mariadb_url) as db, opened(mariadb_url) as other:
        due_jobs(db, 10)
        frozen = db.engine.connect()
        [limit] = frozen.exec_driver_sql("SELECT @@idle_transaction_timeout").scalars()
        frozen.exec_driver_sql("SET idle_transaction_timeout = 1")
        jobs.claim_due(frozen, store.now(frozen), 6)
        began = time.monotonic()

        assert step(other) == 4
        while not (late := step(other)):
            assert time.monotonic() - began < SOON_S

        assert (late, limit) == (6, 10)
        frozen.invalidate()
        frozen.close()


def test_fault_06_an_edit_of_a_category_waits_for_its_jobs_expansion_and_loses_nothing(
    mariadb_url: str,
) -> None:
    with opened(mariadb_url) as db:
        now = clock_of(db).replace(microsecond=0)
        due = now - 3 * SECOND
        put(db, *(definition(f"job {k}") for k in range(50)), now=now)
        execute(db, "UPDATE jobs SET next_run = :due", due=by_hand(due))

        def edit(round_: int) -> Callable[[], int]:
            wanted = [definition(f"job {k}", command=f"echo {round_}") for k in range(50)]
            return lambda: put(db, *wanted, now=now).revision

        at_once([lambda: step(db), edit(1), lambda: step(db), edit(2), lambda: step(db)])
        while step(db):
            pass

        per_job = Counter(r["job_id"] for r in runs_of(db) if r["scheduled_for"] == due)
        assert per_job == dict.fromkeys(per_job, 1)
        assert len(per_job) == 50


# -- categories


def test_fault_49_puts_of_one_category_take_turns(db: store.Store) -> None:
    def putting(number: int) -> Callable[[], tuple[int, int]]:
        wanted = [definition("shared", command=f"echo {number}"), definition(f"own {number}")]
        return lambda: (number, put(db, *wanted).revision)

    done = dict(at_once([putting(n) for n in range(6)]))

    last = max(done, key=lambda number: done[number])
    assert sorted(done.values()) == [1, 2, 3, 4, 5, 6]
    with db.read() as tx:
        assert sorted(j.spec.name for j in jobs.listed(tx, category="cat")) == [f"own {last}", "shared"]
    shared = job_named(db, "shared")
    assert (shared.spec.command, shared.revision) == (f"echo {last}", 6)
    assert [r["revision"] for r in revisions_of(db, shared.id)] == [1, 2, 3, 4, 5, 6]


def test_the_same_document_put_at_once_is_one_change(db: store.Store) -> None:
    done = at_once([lambda: put(db, definition("a"), definition("b"))] * 6)

    assert sorted(d.changed for d in done) == [False] * 5 + [True]
    assert len(select(db, "SELECT * FROM jobs")) == len(select(db, "SELECT * FROM job_revisions")) == 2


def test_puts_of_other_categories_do_not_hinder_each_other(db: store.Store) -> None:
    wanted = [[definition(f"job {k}") for k in range(20)]] * 6

    done = at_once([partial(put, db, *w, category=f"cat {n}") for n, w in enumerate(wanted)])

    assert [d.revision for d in done] == [1] * 6


# -- claims


OWNERS = [Owner(f"host/{n}", f"{n:032x}", f"{n + 100:032x}") for n in range(8)]


def test_of_eight_owners_that_ask_at_once_one_is_granted(db: store.Store) -> None:
    job_id = insert_job(db)
    for k in range(10):
        made = insert_run(db, job_id, at=NOON + k * SECOND)

        def ask(owner: Owner, made: str = made) -> Callable[[], Granted | Denial]:
            def work(tx: store.Tx) -> Granted | Denial:
                [(_, answer)] = claims.answer(tx, [claim(made, owner)], NOON, NOON + LEASE)
                return answer

            return lambda: db.transact(work)

        answers = at_once([ask(owner) for owner in OWNERS])

        granted = [a.claim.owner for a in answers if isinstance(a, Granted)]
        assert len(granted) == 1
        assert run_of(db, made)["instance"] == granted[0].instance
        assert [e[0] for e in events_of(db, made)] == ["queued", "claimed"]


def test_batches_of_claims_in_any_order_do_not_lock_each_other_out(db: store.Store) -> None:
    job_id = insert_job(db)
    made = [insert_run(db, job_id, at=NOON + k * SECOND) for k in range(40)]

    def ask(owner: Owner, order: list[str]) -> Callable[[], int]:
        asked = [claim(m, owner) for m in order]

        def work(tx: store.Tx) -> int:
            return sum(isinstance(a, Granted) for _, a in claims.answer(tx, asked, NOON, NOON + LEASE))

        return lambda: db.transact(work)

    shares = at_once([ask(owner, made[::-1] if n % 2 else made) for n, owner in enumerate(OWNERS)])

    assert sum(shares) == 40
    assert set(states_of(db)) == {"claimed"}


@pytest.mark.parametrize("rival", ["cancelled", "superseded"])
def test_a_run_is_either_claimed_or_ended_by_the_database(db: store.Store, rival: str) -> None:
    job_id = insert_job(db)
    seen = Counter[str]()
    for k in range(25):
        made = insert_run(db, job_id, at=NOON + k * SECOND)

        def ask(made: str = made) -> bool:
            return db.transact(
                lambda tx: isinstance(claims.answer(tx, [claim(made)], NOON, NOON + LEASE)[0][1], Granted)
            )

        def end(made: str = made) -> bool:
            if rival == "cancelled":
                return db.transact(lambda tx: runs.request_cancel(tx, made, "ann", NOON) is State.QUEUED)
            return db.transact(lambda tx: runs.supersede(tx, [job_id], NOON) == 1)

        granted, ended = at_once([ask, end])

        state = run_of(db, made)["state"]
        seen[state] += 1
        assert granted != ended or (rival == "superseded" and not ended)
        assert state == ("claimed" if granted else {"cancelled": "cancelled", "superseded": "missed"}[rival])
        execute(db, "UPDATE runs SET state = 'succeeded'")
    assert sum(seen.values()) == 25


# -- wishes


def test_fault_05_fifty_requests_with_one_key_are_one_run(db: store.Store) -> None:
    job_id = insert_job(db)
    wish = Wish(job_id, Trigger.API, key="k", fingerprint="f")

    def ask() -> list[str]:
        return [db.transact(lambda tx: request_run(tx, wish, NOON)) for _ in range(5)]

    made = {one for some in at_once([ask] * 10) for one in some}

    assert [r["run_id"] for r in runs_of(db)] == [*made]


def test_fifty_requests_without_one_are_fifty_runs(db: store.Store) -> None:
    job_id = insert_job(db)
    wish = Wish(job_id, Trigger.API)

    def ask() -> list[str]:
        return [db.transact(lambda tx: request_run(tx, wish, NOON)) for _ in range(5)]

    made = {one for some in at_once([ask] * 10) for one in some}

    assert len(made) == len(runs_of(db)) == 50


# -- results side by side


def test_copies_of_events_applied_at_once_are_applied_once(db: store.Store) -> None:
    job_id = insert_job(db)
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(20)]
    told = [said(kind, m, return_code=3) for m in made for kind in (EventType.STARTING, EventType.FINISHED)]

    def tell(events: list[RunEvent]) -> Callable[[], int]:
        return lambda: db.transact(lambda tx: outcomes.apply(tx, events, NOON)).changed

    at_once([tell(told), tell(told[::-1]), tell(told[10:] + told[:10]), tell(told)])

    assert {(r["state"], r["return_code"]) for r in runs_of(db)} == {("failed", 3)}
    for one in made:
        assert sorted(e[0] for e in events_of(db, one)) == ["claimed", "finished", "queued", "starting"]


def test_a_heartbeat_and_the_reaper_agree(db: store.Store) -> None:
    """Whoever comes first: a run is either lost, or lives with a new lease."""
    job_id = insert_job(db)
    late = NOON + HOUR
    for k in range(15):
        made = running_run(db, job_id, at=NOON + k * SECOND)
        db.transact(lambda tx: leases.ask_expired(tx, late, late, 100))

        def beat(made: str = made) -> int:
            beats = [heartbeat(OURS, (made, 1))]
            db.transact(lambda tx: leases.beat(tx, beats, late, late + LEASE))
            return 0

        def reap() -> int:
            return len(db.transact(lambda tx: leases.lose_unanswered(tx, late + SECOND, 100)).lost)

        lost = sum(at_once([beat, reap]))

        found = run_of(db, made)
        assert (found["state"], found["lease_until"]) == (
            ("lost", None) if lost else ("running", late + LEASE)
        )
        execute(db, "UPDATE runs SET state = 'succeeded', lease_until = NULL")


class Bustle:
    """Injectors, runners and an editor on the same rows, each with connections of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._bus_url = f"memory:{secrets.token_hex(8)}"
        self._is_over = threading.Event()
        self.ran: list[tuple[str, str]] = []  # (run id, runner)

    def inject(self) -> None:
        with opened(self._url) as db:
            injector = Injector(make_settings(), db, bus.open(self._bus_url, name="i"), secrets.token_hex(4))
            while not self._is_over.is_set():
                injector.step()

    def run(self, owner: Owner) -> None:
        listening = bus.open(self._bus_url, name=owner.runner).consume(["cronq_jobs"], 50)
        with opened(self._url) as db:
            while not self._is_over.is_set():
                taken = listening.take(20, 0.05)
                self._claim_and_end(db, owner, [decode_job(d.body).run_id for d in taken])
                for delivery in taken:
                    delivery.ack()

    def _claim_and_end(self, db: store.Store, owner: Owner, made: list[str]) -> None:
        def ask(tx: store.Tx) -> list[claims.Answer]:
            now = store.now(tx)
            return claims.answer(tx, [claim(m, owner) for m in made], now, now + LEASE)

        granted = [c.run_id for c, a in db.transact(ask) if isinstance(a, Granted)]
        self.ran += [(run_id, owner.runner) for run_id in granted]
        kinds = (EventType.STARTING, EventType.FINISHED)
        told = [said(kind, run_id, owner, return_code=0) for run_id in granted for kind in kinds]
        db.transact(lambda tx: outcomes.apply(tx, told, store.now(tx)))

    def edit(self) -> None:
        """Change every job again and again, press run now, and pause all in the end."""
        try:
            with opened(self._url) as db:
                for round_ in range(6):
                    put(db, *self.jobs(command=f"echo {round_}"), now=clock_of(db))
                    db.transact(lambda tx: tx.exec_driver_sql("UPDATE jobs SET run_now = 1"))
                    self._wait_until_ran(10 * (round_ + 1))
                put(db, *self.jobs(enabled=False), now=clock_of(db))
                self._wait_until_all_has_ended(db)
        finally:
            self._is_over.set()

    def _wait_until_all_has_ended(self, db: store.Store) -> None:
        ended = "'succeeded', 'missed', 'skipped'"
        rest = f"SELECT 1 FROM runs WHERE state NOT IN ({ended}) LIMIT 1"
        self._wait_until(lambda: not select(db, rest))

    def _wait_until_ran(self, count: int) -> None:
        self._wait_until(lambda: len(self.ran) >= count)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SOON_S
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def jobs(self, **fields: object) -> list[dict[str, object]]:
        each_second = {"schedule": "R/2026-01-01T00:00:00Z/PT1S", **fields}
        return [{**definition(f"job {k}"), **each_second} for k in range(30)]


def test_everything_at_once_gives_each_occurrence_one_owner(mariadb_url: str) -> None:
    bustle = Bustle(mariadb_url)
    with opened(mariadb_url) as db:
        put(db, *bustle.jobs(), now=clock_of(db))

        at_once(
            [
                bustle.inject,
                bustle.inject,
                lambda: bustle.run(OWNERS[0]),
                lambda: bustle.run(OWNERS[1]),
                bustle.edit,
            ]
        )

        owners = {r["run_id"]: r["runner"] for r in runs_of(db) if r["state"] == "succeeded"}
        assert sorted(bustle.ran) == sorted(owners.items())
        assert len(owners) >= 30
        doubles = "GROUP BY job_id, scheduled_for HAVING count(*) > 1"
        assert select(db, f"SELECT job_id FROM runs WHERE kind = 'slot' {doubles}") == []

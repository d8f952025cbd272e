"""Every polling query uses its index on MariaDB, however many rows there are that it does not want."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from cronq import store
from cronq.domain.event import EventType
from cronq.domain.gate import NOTHING_CLOSED
from cronq.domain.missed import Action, Standing, Which
from cronq.domain.run import State
from cronq.store import (
    alerts,
    chains,
    claims,
    dead_letters,
    doorbells,
    followed,
    forecasts,
    freeing,
    holding,
    jobs,
    leases,
    line,
    migrate,
    missed,
    open_store,
    outcomes,
    pauses,
    requests,
    runs,
    skips,
    slots,
    uses,
    waits,
    why,
)
from cronq.store.rows import JobRecord
from tests.factories import (
    LEASE,
    NOON,
    OURS,
    SECOND,
    boot,
    claim,
    heartbeat,
    said,
    select,
)
from tests.servers import MariaDB

RUN = f"{7:032x}"
PLACE = SimpleNamespace(priority=2, turn=7, run_id=f"{9_001:032x}")
LIMIT = 50

# One of 40 jobs is due; one of 40 runs waits, one of 40 lives; the others have ended.
FILL = (
    """INSERT INTO jobs (name, command, schedule, revision, next_run, enabled)
        SELECT CONCAT('job ', seq), 'true', '* * * * *', IF(seq % 40 = 1, 0, 1),
          '2026-11-21 12:00:00' + INTERVAL IF(seq % 40 = 0, -1, 1) * CAST(seq AS SIGNED) SECOND, seq % 50 <> 0
        FROM seq_1_to_4000""",
    """INSERT INTO runs (run_id, job_id, kind, scheduled_for, triggered_by, state, routing_key, priority,
          created_at, publish_at, lease_until, asked_at, runner, lineage, instance)
        SELECT LPAD(HEX(n), 32, '0'), n % 4000 + 1, 'slot', '2026-11-01 00:00:00' + INTERVAL n SECOND,
          'schedule',
          IFNULL(ELT(n % 40 + 1, 'queued', 'scheduled', 'claimed', 'running'), 'succeeded'),
          ELT(n % 3 + 1, 'default', 'slow', 'gpu'), n % 5, '2026-11-01 00:00:00' + INTERVAL n SECOND,
          IF(n % 40 = 0, '2026-11-21 12:00:00' + INTERVAL (n % 600 - 300) SECOND, NULL),
          IF(n % 40 IN (2, 3), '2026-11-21 12:00:00' + INTERVAL (n % 600 - 300) SECOND, NULL),
          IF(n % 80 = 2, '2026-11-21 11:00:00', NULL),
          IF(n % 40 > 1, 'host/1', NULL), IF(n % 40 > 1, REPEAT('a', 32), NULL),
          IF(n % 40 > 1, REPEAT('1', 32), NULL)
        FROM (SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_20000) AS numbers""",
    # Of one job there is a long history.
    """INSERT INTO runs (run_id, job_id, kind, scheduled_for, triggered_by, state, routing_key, created_at)
        SELECT LPAD(HEX(seq + 50000), 32, '0'), 7, 'slot', '2026-10-01 00:00:00' + INTERVAL seq SECOND,
          'schedule', 'failed', 'default', '2026-10-01 00:00:00' FROM seq_1_to_3000""",
    """INSERT INTO events (job_id, datetime, run_id, type, attempt, seq)
        SELECT job_id, scheduled_for, run_id, 'starting', 1, 3 FROM runs""",
    """INSERT INTO alerts (kind, subject, message, since, seen_at, cleared_at, closing)
        SELECT 'late_start', CONCAT('key ', seq), '', NOW(6), NOW(6), NOW(6), seq FROM seq_1_to_2000""",
    """INSERT INTO idempotency_keys (`key`, fingerprint, run_id, created_at)
        SELECT CONCAT('key ', seq), '', '', '2026-11-21 12:00:00' + INTERVAL seq SECOND FROM seq_1_to_2000""",
    "INSERT INTO categories (name) VALUES ('cat')",
    "UPDATE jobs SET category_id = (SELECT id FROM categories)",
    """INSERT INTO chains (job_id, position, upstream_category, upstream_name, outcome)
        SELECT id, 0, 'cat', CONCAT('job ', id % 4000 + 1), 'success' FROM jobs""",
    "INSERT INTO followed (run_id, job_id) SELECT run_id, job_id FROM runs WHERE job_id < 2000",
    """INSERT INTO joins (job_id, scheduled_for, due_at)
        SELECT seq, '2026-11-21 09:00:00', '2026-11-21 12:00:00' + INTERVAL IF(seq % 40 = 0, -1, 1) * 60
          * CAST(seq AS SIGNED) SECOND FROM seq_1_to_4000""",
    "INSERT INTO causes (cause_id, run_id) SELECT run_id, run_id FROM runs",
    """INSERT INTO job_revisions (job_id, revision, at, origin, document)
        SELECT id, 1, NOW(6), 'put', '{}' FROM jobs""",
    """INSERT INTO dead_letters (message_id, queue, reason, body, at, retry_requested_at)
        SELECT MD5(seq), CONCAT('queue ', seq % 40), '', '{}', '2026-11-21 11:00:00',
          IF(seq % 20 = 0, '2026-11-21 11:00:00', NULL) FROM seq_1_to_4000""",
    """INSERT INTO deadlines (run_id, expires_at)
        SELECT run_id, '2026-11-21 12:00:00' + INTERVAL IF(job_id % 40, 1, -1) * job_id SECOND FROM runs""",
    """INSERT INTO parked (run_id, gate, priority, turn, at)
        SELECT run_id, CONCAT('lock:', job_id % 20), priority, job_id, '2026-11-21 11:00:00' FROM runs""",
    """INSERT INTO holds (gate, run_id)
        SELECT CONCAT('lock:', job_id % 20), run_id FROM runs WHERE state IN ('queued', 'running')""",
    """INSERT INTO pauses (subject, since, until) SELECT CONCAT('job:', seq), '2026-11-01 00:00:00',
          '2026-11-21 12:00:00' + INTERVAL IF(seq % 40 = 0, -1, 1) * CAST(seq AS SIGNED) SECOND
        FROM seq_1_to_4000""",
    "INSERT INTO skips (job_id, remaining, at) SELECT seq, 3, '2026-11-01 00:00:00' FROM seq_1_to_2000",
)


# All of a kind are wanted at once, as at midnight or after an outage.
CROWD = (
    """INSERT INTO jobs (name, command, next_run) SELECT CONCAT('job ', seq), 'true', '2026-11-21 11:00:00'
        FROM seq_1_to_3000""",
    """INSERT INTO runs (run_id, job_id, kind, scheduled_for, triggered_by, state, routing_key, created_at,
          publish_at, lease_until, asked_at, runner)
        SELECT LPAD(HEX(n), 32, '0'), n, 'slot', '2026-11-21 11:00:00', 'schedule',
          ELT(n % 4 + 1, 'queued', 'scheduled', 'running', 'running'), 'slow', '2026-11-21 11:00:00',
          IF(n % 4 = 0, '2026-11-21 11:00:00', NULL), IF(n % 4 > 1, '2026-11-21 11:00:00', NULL),
          IF(n % 4 > 2, '2026-11-21 11:00:00', NULL), 'host/1'
        FROM (SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_3000) AS numbers""",
    """INSERT INTO dead_letters (message_id, queue, reason, body, at, retry_requested_at)
        SELECT MD5(seq), CONCAT('queue ', seq % 40), '', '{}', '2026-11-21 11:00:00',
          IF(seq % 20, '2026-11-21 11:00:00', NULL) FROM seq_1_to_3000""",
    "INSERT INTO deadlines (run_id, expires_at) SELECT run_id, '2026-11-21 11:00:00' FROM runs",
    """INSERT INTO joins (job_id, scheduled_for, due_at)
        SELECT seq, '2026-11-21 09:00:00', '2026-11-21 11:00:00' FROM seq_1_to_3000""",
)


@contextmanager
def filled(mariadb: MariaDB, statements: Sequence[str]) -> Iterator[store.Store]:
    url = mariadb.create_database()
    made = open_store(url)
    migrate.upgrade(made)
    for statement in statements:
        with made.begin() as tx:
            tx.exec_driver_sql(statement.replace("%", "%%"))
    yield made
    made.close()
    mariadb.drop_database(url)


@pytest.fixture(scope="module")
def db(mariadb: MariaDB) -> Iterator[store.Store]:
    """Little is wanted among much."""
    with filled(mariadb, FILL) as made:
        tables = (
            "jobs", "runs", "events", "alerts", "idempotency_keys", "job_revisions", "dead_letters",
            "deadlines", "parked", "holds",
        )  # fmt: skip
        select(made, f"ANALYZE TABLE {', '.join(tables)} PERSISTENT FOR ALL")
        yield made


@pytest.fixture(scope="module", params=["as filled", "analyzed"])
def crowded(mariadb: MariaDB, request: pytest.FixtureRequest) -> Iterator[store.Store]:
    """All is wanted, whatever the statistics say."""
    with filled(mariadb, CROWD) as made:
        if request.param == "analyzed":
            select(made, "ANALYZE TABLE jobs, runs, dead_letters, deadlines PERSISTENT FOR ALL")
        yield made


class _Undone(Exception):
    """Nothing that these tests do may stay."""


def statements(db: store.Store, work: Callable[[store.Tx], object]) -> list[tuple[str, Any]]:
    """The statements that `work` makes, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        with pytest.raises(_Undone), db.begin() as tx:  # noqa: PT012 - the whole transaction is what ends so
            work(tx)
            raise _Undone
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    return seen


def plan(db: store.Store, statement: str, parameters: Any) -> list[dict[str, Any]]:
    with db.read() as tx:
        return [dict(r) for r in tx.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings()]


def plans(
    db: store.Store, work: Callable[[store.Tx], object], beginning: str, table: str
) -> list[dict[str, Any]]:
    """How MariaDB carries out the first of the statements that begin so, as far as `table` goes."""
    found = [(s, p) for s, p in statements(db, work) if s.startswith(beginning) and table in s]
    assert found, f"no {beginning} of {table}"
    return [row for row in plan(db, *found[0]) if row["table"] in (table, "t")]


def job(tx: store.Tx) -> JobRecord:
    """One with a long history, that is not due."""
    found = jobs.by_id(tx, 7)
    assert found is not None
    return found


Polling = dict[str, tuple[Callable[[store.Tx], object], str, str]]
# Locking reads with a limit: every row that is looked at is locked, so each must be one that is wanted.
CLAIMING: Polling = {
    "due jobs": (lambda tx: jobs.claim_due(tx, NOON, LIMIT), "jobs", "ix_jobs_due"),
    "unseen jobs": (lambda tx: jobs.claim_unseen(tx, LIMIT), "jobs", "ix_jobs_revision"),
    "release": (lambda tx: line.first_in_line(tx, "slow", {0: 0}, {}, LIMIT), "runs", "ix_runs_waiting"),
    "publish": (
        lambda tx: doorbells.lease_unpublished(tx, NOON, NOON + SECOND, LIMIT),
        "runs",
        "ix_runs_publish",
    ),
    "joins to give up": (lambda tx: chains.overdue(tx, NOON, LIMIT), "joins", "ix_joins_due"),
    "leases that ran out": (lambda tx: leases.ask_expired(tx, NOON, NOON, LIMIT), "runs", "ix_runs_lease"),
    "leases to ask for again": (
        lambda tx: leases.expired_again(tx, NOON, NOON, LIMIT),
        "runs",
        "ix_runs_lease",
    ),
    "letters to send": (
        lambda tx: dead_letters.lease_wanted(tx, NOON, NOON + SECOND, LIMIT),
        "dead_letters",
        "ix_dead_letters_retry",
    ),
    "deadlines": (lambda tx: runs.expire(tx, NOON, LIMIT), "deadlines", "ix_deadlines_expires"),
    "unanswered": (lambda tx: leases.lose_unanswered(tx, NOON, LIMIT), "runs", "ix_runs_lease"),
}
READING: Polling = {
    "next due": (jobs.next_due_at, "jobs", "ix_jobs_due"),
    "queued": (doorbells.queued_counts, "runs", "ix_runs_waiting"),
    "waiting": (doorbells.waiting, "runs", "ix_runs_waiting"),
    "gates where somebody waits": (freeing.gates_with_waiting, "parked", "ix_parked_gate"),
    "who waits at a gate": (
        lambda tx: freeing.set_free(tx, ["lock:3"], NOTHING_CLOSED, NOON, most=LIMIT, catch_up_rate=1),
        "parked",
        "ix_parked_gate",
    ),
    "who holds a gate": (lambda tx: holding.holds(tx, {"lock:3"}), "holds", "PRIMARY"),
    "to ask again soon": (
        lambda tx: leases.unanswered(tx, NOON, NOON + LEASE, LIMIT),
        "runs",
        "ix_runs_lease",
    ),
    "late": (lambda tx: runs.late(tx, NOON), "runs", "ix_runs_waiting"),
    "kills": (lambda tx: runs.kills_wanted(tx, LIMIT), "runs", "ix_runs_state"),
    "runs of a job": (lambda tx: runs.listed(tx, job_id=7), "runs", "ix_runs_job"),
    "newest runs": (runs.listed, "runs", "PRIMARY"),
    "events of a run": (lambda tx: runs.events_of(tx, RUN), "events", "ux_events_seq"),
    "revisions": (lambda tx: jobs.revisions(tx, 7), "job_revisions", "PRIMARY"),
    "supersede": (lambda tx: runs.supersede(tx, [7, 8, 9], NOON), "runs", "ix_runs_job_state"),
    "cancel": (lambda tx: runs.cancel_waiting(tx, [7], "why", NOON), "runs", "ix_runs_job_state"),
    "jobs of a forecast": (lambda tx: forecasts.due_before(tx, NOON, LIMIT), "jobs", "ix_jobs_due"),
    "how many": (lambda tx: forecasts.count_due_before(tx, NOON), "jobs", "ix_jobs_due"),
    "occurrences": (lambda tx: slots.within(tx, 7, NOON, None, limit=LIMIT), "runs", "ux_runs_occurrence"),
    "occurrences reaching into": (
        lambda tx: slots._reaching_into(tx, 7, NOON, LIMIT),
        "runs",
        "ix_runs_job_state",
    ),
    "newest letters": (dead_letters.listed, "dead_letters", "PRIMARY"),
    "letters of a queue": (
        lambda tx: dead_letters.listed(tx, queue="queue 7"),
        "dead_letters",
        "ix_dead_letters_queue",
    ),
    "followed": (lambda tx: followed.over(tx, "", LIMIT), "runs", "PRIMARY"),
    "upstreams": (lambda tx: followed.upstreams(tx, range(1, 500)), "chains", "ix_chains_upstream"),
    "edges": (lambda tx: chains.edges_from(tx, range(1, 500)), "chains", "ix_chains_upstream"),
    "followers": (lambda tx: chains.followers(tx, range(1, 500)), "chains", "ix_chains_upstream"),
    "runs of slots": (
        lambda tx: chains.runs_of_slots(tx, [(7, NOON), (8, NOON + SECOND)]),
        "runs",
        "ux_runs_occurrence",
    ),
    "overdue joins": (lambda tx: chains.has_overdue(tx, NOON), "joins", "ix_joins_due"),
    "causes": (lambda tx: chains.caused_by(tx, [RUN]), "causes", "PRIMARY"),
    "claims": (lambda tx: claims.answer(tx, [claim(RUN)], NOON, NOON), "runs", "PRIMARY"),
    "line of a key": (lambda tx: waits._of_key(tx, State.SCHEDULED, "slow"), "runs", "ix_runs_waiting"),
    "place at a gate": (
        lambda tx: waits.count_parked(tx, "lock:1", before=PLACE),
        "parked",
        "ix_parked_gate",
    ),
    "holders of a gate": (lambda tx: waits._in_the_way(tx, "lock:1", RUN), "holds", "PRIMARY"),
    "users of a limit": (lambda tx: uses._held(tx, ["lock:1"]), "holds", "PRIMARY"),
    "parked by key": (uses.parked_by_key, "runs", "ix_runs_waiting"),
    "locks in use": (uses.locks_in_use, "holds", "PRIMARY"),
    "an occurrence": (lambda tx: why.explain(tx, job(tx), NOON, NOON), "runs", "ux_runs_occurrence"),
    "last occurrence": (lambda tx: why._last_due(tx, job(tx), NOON), "runs", "ux_runs_occurrence"),
    "snoozes that are over": (lambda tx: pauses.forget_over(tx, NOON, LIMIT), "pauses", "ix_pauses_until"),
    "occurrences held": (lambda tx: pauses.keep_newest(tx, {7: 1, 8: 2}, NOON), "runs", "ix_runs_job_state"),
    "what is skipped": (lambda tx: skips.take(tx, {7: [], 8: []}), "skips", "PRIMARY"),
    "last results": (lambda tx: jobs.note_results(tx, [(7, NOON)], []), "jobs", "PRIMARY"),
    "boot": (lambda tx: leases.boot(tx, boot(), NOON, NOON + LEASE), "runs", "ix_runs_state"),
}
WRITING: dict[str, tuple[Callable[[store.Tx], object], str, str, str]] = {
    "advance": (lambda tx: jobs.advance(tx, [(7, None), (8, NOON)], "me"), "UPDATE", "jobs", "PRIMARY"),
    "beat": (
        lambda tx: leases.beat(tx, [heartbeat(OURS, (RUN, 1))], NOON, NOON + LEASE),
        "UPDATE JSON_TABLE(%(rows)s, '$[*]' COLUMNS (`run_id`",
        "runs",
        "PRIMARY",
    ),
    "who is under way of a job": (
        lambda tx: holding.holds(tx, {"job:7"}),
        "SELECT runs.job_id",
        "runs",
        "ix_runs_job_state",
    ),
    "apply": (
        lambda tx: outcomes.apply(tx, [said(EventType.STARTING, f"{2:032x}")], NOON),
        "SELECT runs.run_id",
        "runs",
        "PRIMARY",
    ),
    "clear": (lambda tx: alerts.clear(tx, "late_start", "key 7", NOON), "UPDATE", "alerts", "ux_alerts_open"),
    "old keys": (
        lambda tx: requests._keep_key(tx, "new", "", "", NOON),
        "DELETE",
        "idempotency_keys",
        "ix_idempotency_created",
    ),
}


@pytest.mark.parametrize("name", CLAIMING)
def test_a_claiming_query_reads_a_range_of_its_index_in_its_order(db: store.Store, name: str) -> None:
    """A filesort, or an index of another column, would lock every row and starve the others."""
    claims_by_its_index(db, name)


@pytest.mark.parametrize("work", [runs.supersede, runs.cancel_waiting])
def test_runs_of_many_jobs_are_found_by_their_jobs(crowded: store.Store, work: Callable[..., object]) -> None:
    rest = (NOON,) if work is runs.supersede else ("why", NOON)

    [row] = plans(crowded, lambda tx: work(tx, range(1, 1_001), *rest), "SELECT", "runs")

    assert row["key"] == "ix_runs_job_state"


def test_noting_results_locks_only_its_jobs_where_most_of_all_are_among_them(crowded: store.Store) -> None:
    told = [(job_id, NOON) for job_id in range(1, 2_000)]

    [row] = plans(crowded, lambda tx: jobs.note_results(tx, told, []), "SELECT", "jobs")

    assert (row["key"], row["type"]) == ("PRIMARY", "range"), row


@pytest.mark.parametrize("name", CLAIMING)
def test_it_does_so_also_where_nearly_all_is_wanted(crowded: store.Store, name: str) -> None:
    claims_by_its_index(crowded, name)
    locks_few_more_than_it_takes(crowded, name)


def claims_by_its_index(db: store.Store, name: str) -> None:
    work, table, index = CLAIMING[name]

    [row] = plans(db, work, "SELECT", table)

    assert row["key"] == index, row
    assert row["type"] in ("range", "ref"), row
    assert "filesort" not in (row["Extra"] or ""), row
    assert "temporary" not in (row["Extra"] or ""), row


def locks_few_more_than_it_takes(db: store.Store, name: str) -> None:
    work, *_ = CLAIMING[name]
    with db.engine.connect() as tx:
        work(tx)
        locked = rows_locked(tx)
        tx.rollback()

    # Of each: its places in indexes, the row, and the job that its event refers to.
    assert 0 < locked <= 5 * LIMIT


def rows_locked(tx: store.Tx) -> int:
    """The server renews this table only when nobody has read it for 0.1 s: a first answer may be old."""
    query = (
        "SELECT trx_rows_locked FROM information_schema.innodb_trx"
        " WHERE trx_mysql_thread_id = CONNECTION_ID()"
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        tx.exec_driver_sql("DO SLEEP(0.11)")
        for (count,) in tx.exec_driver_sql(query):
            return int(count)
    raise AssertionError("the transaction is not in innodb_trx")


@pytest.mark.parametrize("name", READING)
def test_a_reading_query_uses_its_index(db: store.Store, name: str) -> None:
    work, table, index = READING[name]

    [row] = plans(db, work, "SELECT", table)

    assert row["key"] == index, row
    assert row["type"] != "ALL", row


def test_durations_of_jobs_are_read_by_their_index_in_its_order(db: store.Store) -> None:
    """A sort would read every run that a job ever had."""
    rows = plans(db, lambda tx: forecasts.durations(tx, [7, 8, 9]), "SELECT", "runs")

    assert len(rows) == forecasts.RUNS_LOOKED_AT
    assert {(row["key"], row["type"]) for row in rows} == {("ix_runs_job_state", "ref")}, rows
    assert not any("filesort" in (row["Extra"] or "") for row in rows), rows


@pytest.mark.parametrize("job_id", [None, 7])
def test_the_outage_board_reads_a_range_of_an_index_for_each_way_to_stand(
    db: store.Store, job_id: int | None
) -> None:
    scope = missed.Scope(since=NOON - 60 * SECOND, job_id=job_id, standings=frozenset(Standing))
    reads = [
        lambda tx: missed.listed(tx, scope),
        lambda tx: missed.by_job(tx, scope),
        lambda tx: missed.orderable(tx, scope, Action.RUN, Which.ALL),
        lambda tx: missed.orderable(tx, scope, Action.RUN, Which.LATEST),
    ]
    for read in reads:
        [(statement, parameters)] = statements(db, read)
        rows = [row for row in plan(db, statement, parameters) if row["table"] in ("runs", "parked")]

        used = {row["key"] for row in rows}
        assert used <= {"ix_runs_state", "ix_runs_job_state", "PRIMARY", "ix_parked_gate"}, rows
        assert "ALL" not in {row["type"] for row in rows}, rows


@pytest.mark.parametrize("name", WRITING)
def test_a_statement_finds_its_rows_by_their_keys(db: store.Store, name: str) -> None:
    work, beginning, table, index = WRITING[name]

    rows = plans(db, work, beginning, table)

    assert {row["key"] for row in rows} == {index}, rows
    assert "ALL" not in {row["type"] for row in rows}, rows


@pytest.mark.parametrize("name", CLAIMING)
def test_a_claiming_query_locks_few_rows_more_than_it_takes(db: store.Store, name: str) -> None:
    locks_few_more_than_it_takes(db, name)


def test_the_filling_has_something_for_every_query(db: store.Store) -> None:
    """Else the plans above would be those of empty tables."""
    [due] = select(db, "SELECT count(*) AS n FROM jobs WHERE due_at < :now", now=NOON.replace(tzinfo=None))
    states = {r["state"]: r["n"] for r in select(db, "SELECT state, count(*) AS n FROM runs GROUP BY state")}

    assert due["n"] > LIMIT
    assert {State.QUEUED, State.SCHEDULED, State.CLAIMED, State.RUNNING} < set(states)
    assert states[State.SUCCEEDED] > 10 * states[State.QUEUED] > 10 * LIMIT

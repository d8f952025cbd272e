"""Rows of the fault table (`fault_table.py`) that no other test injects."""

from __future__ import annotations

import time

import pytest

from tests.proxy import Proxy
from tests.servers import MariaDB, RabbitMQ
from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

JOBS = 60


@pytest.fixture
def own(private_stack: Stack) -> Stack:
    return private_stack


def each_once(stack: Stack, count: int = JOBS) -> None:
    """Wait for the end; every run succeeded, and was started once."""
    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] == count)
    told = stack.traces().all()
    assert len({run_id for run_id, _ in told}) == len(told) == count


def make_due_again(stack: Stack) -> None:
    """In a later second: one occurrence is one run, however often it is made due."""
    later = "SELECT MAX(scheduled_for) < UTC_TIMESTAMP() FROM runs"
    wait_until("another second has begun", lambda: stack.database.value(later))
    stack.database.make_due()


def put_to_work(stack: Stack, *, sleep: str = "0.05") -> None:
    stack.database.insert_jobs(JOBS, f"{stack.traces().command}; sleep {sleep}")
    stack.database.make_due()


def test_fault_07_an_edit_of_a_job_that_is_locked_waits_or_is_told_when_to_come_again(own: Stack) -> None:
    _, api = own.web()
    job = {"name": "job", "schedule": "0 0 1 1 *", "command": "true"}
    api.put_category("c", job)
    import pymysql  # noqa: PLC0415 - only this test needs the driver

    port = int(own.database.url.partition("127.0.0.1:")[2].partition("/")[0])
    locker = pymysql.connect(
        host="127.0.0.1", port=port, user="root", database=own.database.url.rpartition("/")[2]
    )
    with locker.cursor() as cursor:
        cursor.execute("SELECT id FROM jobs FOR UPDATE")
    before = own.database.rows("SELECT next_run, schedule FROM jobs")

    asked_at = time.monotonic()
    refused = api.ask("PUT", "/api/category/c", {"jobs": [{**job, "schedule": "0 0 2 1 *"}]})

    assert refused.status == 503, refused
    assert time.monotonic() - asked_at < 15, "the lock is waited for once, 5 s"
    assert refused.json["type"].endswith("/unavailable")
    assert own.database.rows("SELECT next_run, schedule FROM jobs") == before
    locker.close()
    api.put_category("c", {**job, "schedule": "0 0 2 1 *"})
    assert own.database.value("SELECT schedule FROM jobs") == "0 0 2 1 *"


def test_fault_16_without_results_nothing_starts_and_nothing_is_lost(own: Stack) -> None:
    results = own.service("results")
    own.start(own.service("injector"), results, own.runner())
    put_to_work(own, sleep="8")
    wait_until("some run", lambda: own.database.states()["running"] >= 4)
    results.kill()
    started = len(own.traces())

    # Leases are 6 s: with a pipeline that is silent for longer, nobody may be declared dead.
    silent = "SELECT MIN(lease_until) < UTC_TIMESTAMP() - INTERVAL 8 SECOND FROM runs WHERE state = 'running'"
    wait_until("leases have run out long since", lambda: own.database.value(silent))
    assert own.database.states()["lost"] == 0
    assert len(own.traces()) <= started + 4, "what was granted before may start, nothing else"
    own.database.rows("UPDATE jobs SET command = REPLACE(command, 'sleep 8', 'sleep 0.05')")
    results.start()

    each_once(own)
    assert own.database.value("SELECT COUNT(*) FROM alerts WHERE kind = 'runner_lost'") == 0


def test_fault_22_a_broker_that_blocks_publishers_costs_only_time(
    own: Stack, private_rabbitmq: RabbitMQ
) -> None:
    injector = own.service("injector")
    own.start(injector, own.service("results"), own.runner(slots=8))
    private_rabbitmq.set_alarm(on=True)
    put_to_work(own)

    wait_until("they wait in the ledger", lambda: sum(own.database.states().values()) == JOBS)
    private_rabbitmq.set_alarm(on=False)

    each_once(own)


def test_fault_25_a_queue_with_little_room_that_rejects_publishes(own: Stack) -> None:
    """As somebody declared it before us; it is used as it is."""
    limits = {"x-max-length": 5, "x-overflow": "reject-publish"}
    own.broker.declare("cronq_jobs", "default", arguments=limits)
    own.start(own.service("injector"), own.service("results"), own.runner(slots=4))
    put_to_work(own)

    each_once(own)


def test_fault_02_26_every_message_three_times_in_any_order(own: Stack) -> None:
    """Copies of all job messages, sent by somebody else while they are claimed."""
    own.start(own.service("injector"), own.service("results"))
    put_to_work(own)
    wait_until("all are queued", lambda: own.database.states()["queued"] == JOBS)
    wait_until("all are published", lambda: own.broker.counts("cronq_jobs")[0] >= JOBS)
    bodies = [body for _, body in own.broker.take_all("cronq_jobs")]
    own.broker.publish("default", *bodies[::-1], *bodies, *sorted(bodies))

    own.start(own.runner("one"), own.runner("two"))

    each_once(own)


def test_fault_29_a_database_that_is_away_for_long(own: Stack, private_mariadb: MariaDB) -> None:
    """Runs go on meanwhile, pages say why, and what was due is one run and rows for the rest."""
    own.start(own.service("injector"), own.service("results"), own.runner())
    _, api = own.web()
    traces = own.traces()
    release = own.folder / "release"
    own.database.insert_jobs(1, f"{traces.command}; until [ -e {release} ]; do sleep 0.1; done")
    own.database.run_now()
    traces.wait_for(1)
    api.put_category(
        "c",
        {"name": "often", "schedule": "R/2026-01-01T00:00:00Z/PT2S", "command": own.traces("often").command},
    )
    own.traces("often").wait_for(1)

    private_mariadb.kill()
    release.touch()
    away = time.monotonic()
    wait_until("pages say so", lambda: api.ask("GET", "/api/jobs").status == 503)
    assert api.ask("GET", "/api/jobs").json["type"].endswith("/unavailable")
    wait_until("some occurrences are due", lambda: time.monotonic() > away + 9)
    private_mariadb.start()

    first = "SELECT state FROM runs JOIN jobs ON jobs.id = job_id WHERE jobs.name = 'job 1'"
    wait_until("its true end is known", lambda: own.database.value(first) == "succeeded")
    missed = "SELECT COUNT(*) FROM runs WHERE state = 'missed' AND reason = 'misfire'"
    wait_until("each missed occurrence has its row", lambda: int(str(own.database.value(missed))) >= 2)
    caught_up = "SELECT COUNT(*) FROM runs WHERE triggered_by = 'catch-up'"
    assert own.database.value(caught_up) in {1, 2}, "what followed may have been late too"
    doubles = "SELECT 1 FROM runs WHERE kind = 'slot' GROUP BY job_id, scheduled_for HAVING COUNT(*) > 1"
    assert own.database.rows(doubles) == []


@pytest.mark.parametrize("how", [Proxy.black_hole, Proxy.hold, Proxy.reset])
def test_fault_34_a_runner_cut_off_from_the_broker_finishes_its_job_and_tells_later(
    own: Stack, private_rabbitmq: RabbitMQ, how: object
) -> None:
    with Proxy(private_rabbitmq.port) as way:
        url = way.url(own.broker.url)
        own.start(own.service("injector"), own.service("results"), own.runner(RABBITMQ_URL=url))
        release, traces = own.folder / "release", own.traces()
        own.database.insert_jobs(
            1,
            f"{traces.command}; echo begun; until [ -e {release} ]; do sleep 0.05; done; echo ended; exit 5",
        )
        own.database.run_now()
        wait_until("it runs", lambda: own.database.state() == "running")

        how(way)  # type: ignore[operator]  # one of the proxy's methods
        release.touch()
        if how is not Proxy.reset:
            wait_until("it is given up", lambda: own.database.state() == "lost")
        way.heal()

        wait_until("its true end is known", lambda: own.database.state() == "failed")
        run = own.database.run()
        assert (run.attempt, run.return_code, len(traces)) == (1, 5, 1)
        wait_until("its output is whole", lambda: own.database.output(run.run_id) == b"begun\nended\n")


def test_fault_35_an_injector_that_the_database_does_not_answer_is_replaced(
    own: Stack, private_mariadb: MariaDB
) -> None:
    with Proxy(private_mariadb.port) as way:
        cut = own.service("injector", name="cut")
        cut.set_env(DATABASE_URL=way.url(own.database.url))
        own.start(cut, own.service("injector", name="other"), own.service("results"), own.runner(slots=8))
        put_to_work(own)
        wait_until("the first have ended", lambda: own.database.states()["succeeded"] == JOBS)

        way.black_hole()
        make_due_again(own)
        wait_until("the other works for both", lambda: own.database.states()["succeeded"] == 2 * JOBS)
        way.heal()

        make_due_again(own)
        each_once(own, 3 * JOBS)
        assert cut.is_running

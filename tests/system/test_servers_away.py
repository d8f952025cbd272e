"""Broker and database killed, or emptied, in the middle of a burst: only time is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import MariaDB, RabbitMQ
from tests.stack import Broker, Stack, wait_until
from tests.system.conftest import guarded

pytestmark = pytest.mark.system

JOBS = 300
Fault = Callable[[MariaDB, RabbitMQ], None]


def kill_the_broker(_: MariaDB, rabbitmq: RabbitMQ) -> None:
    rabbitmq.kill()
    rabbitmq.start()


def wipe_the_broker(_: MariaDB, rabbitmq: RabbitMQ) -> None:
    """Every queue and message is lost; the virtual host `/` is there again."""
    rabbitmq.wipe()


def kill_the_database(mariadb: MariaDB, _: RabbitMQ) -> None:
    mariadb.kill()
    mariadb.start()


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, tmp_path: Path, private_mariadb: MariaDB, private_rabbitmq: RabbitMQ
) -> Iterator[Stack]:
    """On servers that may be killed."""
    url = private_mariadb.create_database()
    made = Stack(tmp_path, database_url=url, broker=Broker(private_rabbitmq, private_rabbitmq.url)).migrate()
    yield from guarded(request, made)


@pytest.mark.parametrize("fault", [kill_the_broker, wipe_the_broker, kill_the_database])
def test_fault_18_28_servers_that_fail_in_the_middle_lose_and_double_nothing(
    stack: Stack, private_mariadb: MariaDB, private_rabbitmq: RabbitMQ, fault: Fault
) -> None:
    stack.short_clocks()
    stack.start(stack.service("injector"), stack.service("results"), stack.runner(slots=8))
    traces = stack.traces()
    stack.database.insert_jobs(JOBS, f"{traces.command}; sleep 0.1")
    stack.database.make_due()
    traces.wait_for(40)

    fault(private_mariadb, private_rabbitmq)

    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] >= JOBS)
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told) == JOBS
    assert stack.database.states() == {"succeeded": JOBS}
    assert stack.database.value("SELECT COUNT(*) FROM runs WHERE recovered") == 0, "none was called lost"
    assert sorted(stack.database.rows("SELECT run_id, attempt FROM runs")) == sorted(told)


def test_runs_live_through_an_outage_of_the_broker_that_is_longer_than_their_leases(
    stack: Stack, private_rabbitmq: RabbitMQ
) -> None:
    """A silent pipeline is never read as dead runners, not even in the moment when it comes back."""
    stack.short_clocks()
    stack.start(stack.service("injector"), stack.service("results"), stack.runner(slots=4))
    traces, release = stack.traces(), stack.folder / "release"
    stack.database.insert_jobs(4, f"{traces.command}; until [ -e {release} ]; do sleep 0.1; done; echo done")
    stack.database.run_now()
    wait_until("all run", lambda: stack.database.states() == {"running": 4})

    private_rabbitmq.kill()
    late = "SELECT COUNT(*) FROM runs WHERE lease_until < UTC_TIMESTAMP(6) - INTERVAL 5 SECOND"
    wait_until(
        "every lease ran out, or was given up", lambda: stack.database.value(late) == 4 or _lost(stack)
    )
    private_rabbitmq.start()
    wait_until("leases are extended", lambda: stack.database.value(
        "SELECT COUNT(*) FROM runs WHERE lease_until > UTC_TIMESTAMP(6)") == 4 or _lost(stack))  # fmt: skip
    release.touch()

    wait_until("every run has ended", lambda: stack.database.states() == {"succeeded": 4})
    assert _lost(stack) == 0
    assert stack.database.value("SELECT COUNT(*) FROM run_output WHERE data = 'done\n'") == 4
    assert len(traces) == 4


def _lost(stack: Stack) -> object:
    return stack.database.value("SELECT COUNT(*) FROM runs WHERE state = 'lost' OR recovered")

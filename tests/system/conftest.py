"""A stack for each test; what its processes logged and the ledger are shown when the test fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers import MariaDB, RabbitMQ
from tests.stack import Api, Broker, Stack
from tests.system.apis import api_of, up

_FAILED = pytest.StashKey[bool]()
_TIMEOUT_S = 300  # several deadlines fit in


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, tmp_path: Path, mysql_url: str, amqp_url: str, rabbitmq: RabbitMQ
) -> Iterator[Stack]:
    """On the session's servers, with the tables made and no process running."""
    made = Stack(tmp_path, database_url=mysql_url, broker=Broker(rabbitmq, amqp_url)).migrate()
    yield from guarded(request, made)


@pytest.fixture
def private_stack(
    request: pytest.FixtureRequest, tmp_path: Path, private_mariadb: MariaDB, private_rabbitmq: RabbitMQ
) -> Iterator[Stack]:
    """On servers that may be hurt, with short clocks, the tables made and no process running."""
    url = private_mariadb.create_database()
    broker = Broker(private_rabbitmq, private_rabbitmq.create_vhost())
    made = Stack(tmp_path, database_url=url, broker=broker).migrate()
    yield from guarded(request, made.short_clocks())


def guarded(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Stack]:
    """The stack, ended whatever happens, after its story where the test failed."""
    try:
        yield stack
    finally:
        if request.node.stash.get(_FAILED, True):
            print(stack.story())
        stack.end()


@pytest.fixture
def embedded_api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """Of a `cronq up` without any server."""
    for stack in guarded(request, Stack(tmp_path)):
        yield api_of(up(stack).start())


@pytest.fixture
def servers_api(stack: Stack) -> Api:
    """Of services on MariaDB and RabbitMQ, two of the injector."""
    injectors = [stack.service("injector", name=f"injector {n}") for n in range(2)]
    stack.start(*injectors, stack.service("results"), stack.runner())
    _, api = stack.web()
    return api


@pytest.fixture(params=["embedded", pytest.param("servers", marks=pytest.mark.servers)])
def api(request: pytest.FixtureRequest) -> Api:
    found: Api = request.getfixturevalue(f"{request.param}_api")
    return found

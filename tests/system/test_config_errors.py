"""A wrong setting ends a service with 78 and one line that names it; a wrong command line with 64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack
from tests.system.conftest import guarded

pytestmark = pytest.mark.system

AMQP = "amqp://guest:guest@127.0.0.1:1/"
DATABASE = "mysql+pymysql://root@127.0.0.1:1/cronq"
SOON_S = 9.0  # less than what a service manager waits before it kills
KEY = "2f8c1d7e5b3a4960" * 2
WEB = {"DATABASE_URL": DATABASE, "CRONQ_SECRET_KEY": KEY}
BOTH = {"RABBITMQ_URL": AMQP, "DATABASE_URL": DATABASE}

WRONG = [
    ("runner", {"RABBITMQ_URL": "http://127.0.0.1/"}, ["RABBITMQ_URL", "http"]),
    ("runner", {}, ["RABBITMQ_URL"]),
    ("runner", {"RABBITMQ_URL": "memory:"}, ["RABBITMQ_URL", "memory:", "cronq up"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_SLOTS": "abc"}, ["CRONQ_SLOTS", "abc"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_SLOTS": "0"}, ["CRONQ_SLOTS", "0"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_QUEUE": "cronq_results"}, ["CRONQ_QUEUE", "cronq_results"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_ON_TERM": "run"}, ["CRONQ_ON_TERM", "run", "leave", "wait"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_STATE_DIR": "/proc/none"}, ["/proc/none"]),
    ("runner", {"RABBITMQ_URL": AMQP, "CRONQ_LEASE_S": "29"}, ["CRONQ_HEARTBEAT_S", "CRONQ_LEASE_S"]),
    ("injector", {"RABBITMQ_URL": AMQP}, ["DATABASE_URL"]),
    ("injector", {"RABBITMQ_URL": AMQP, "DATABASE_URL": "postgres://x/y"}, ["DATABASE_URL", "postgres"]),
    ("injector", {"DATABASE_URL": DATABASE}, ["RABBITMQ_URL"]),
    ("injector", {**BOTH, "RABBITMQ_URL": "memory:"}, ["RABBITMQ_URL", "memory:"]),
    ("injector", {**BOTH, "CRONQ_LEASE_S": "6"}, ["CRONQ_HEARTBEAT_S", "CRONQ_LEASE_S"]),
    ("results", {"RABBITMQ_URL": AMQP}, ["DATABASE_URL"]),
    ("results", {**BOTH, "CRONQ_HEALTH_PORT": "99999"}, ["CRONQ_HEALTH_PORT", "99999"]),
    ("web", {"DATABASE_URL": DATABASE, "CRONQ_SECRET_KEY": "short"}, ["CRONQ_SECRET_KEY"]),
    ("web", {"DATABASE_URL": DATABASE}, ["CRONQ_SECRET_KEY"]),
    ("web", {"CRONQ_SECRET_KEY": KEY}, ["DATABASE_URL"]),
    ("web", {**WEB, "CRONQ_AUTH": "none", "LISTEN_INTERFACE": "192.0.2.1"}, ["CRONQ_AUTH", "192.0.2.1"]),
    ("web", {**WEB, "CRONQ_AUTH": "off"}, ["CRONQ_AUTH", "off"]),
]


@pytest.fixture
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Without any server."""
    made = Stack(tmp_path)
    for name in ("CRONQ_SECRET_KEY", "CRONQ_AUTH"):
        del made.env[name]
    yield from guarded(request, made)


@pytest.mark.parametrize(("service", "environ", "words"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(
    stack: Stack, service: str, environ: dict[str, str], words: list[str]
) -> None:
    process = stack.command(service, name=service, env=stack.env | environ).start()

    assert process.exit_code() == os.EX_CONFIG, process.output()
    [line] = process.output().splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "arguments",
    [
        ["injector", "--nonsense"],
        ["runner", "--slots", "0"],
        ["runner", "--slots", "many"],
        ["up", "--port", "99999"],
        ["no-such-command"],
        ["next"],
    ],
)
def test_a_wrong_command_line_ends_with_64(stack: Stack, arguments: list[str]) -> None:
    process = stack.command(*arguments, name="usage", env=stack.env | BOTH).start()

    assert process.exit_code() == os.EX_USAGE, process.output()
    assert "Usage: cronq" in process.output()
    assert "Traceback" not in process.output()


def test_the_names_of_two_runners_must_differ(stack: Stack) -> None:
    first = stack.command("runner", "--name", "same", name="first", env=stack.env | BOTH).start()
    first.wait_for_log("bus.unreachable")

    second = stack.command("runner", "--name", "same", name="second", env=stack.env | BOTH).start()

    assert second.exit_code() == os.EX_CONFIG
    [line] = second.output().splitlines()
    assert "'same'" in line
    assert str(first.pid) in line
    assert first.terminate() == 0


@pytest.mark.parametrize("service", ["injector", "results", "runner"])
def test_a_service_whose_servers_are_away_waits_for_them_and_ends_when_told(
    stack: Stack, service: str
) -> None:
    process = stack.command(service, name=service, env=stack.env | BOTH).start()
    process.wait_for_log("unreachable" if service == "runner" else "service.unavailable")

    assert process.terminate(SOON_S) == 0
    assert "Traceback" not in process.output()

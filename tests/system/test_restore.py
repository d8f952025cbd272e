"""A database that comes back from a backup: nothing starts until a person accepts it, and nothing twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import MariaDB
from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

EVERY_SECOND = "R/2026-01-01T00:00:00Z/PT1S"


@pytest.fixture
def stack(private_stack: Stack) -> Stack:
    """On a database of which backups can be taken."""
    return private_stack


def cronq(stack: Stack, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**stack.env, "DATABASE_URL": stack.database.url}
    return subprocess.run(
        [sys.executable, "-m", "cronq.cli", *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_fault_33_after_a_restore_nothing_of_the_gap_runs_twice(
    stack: Stack, private_mariadb: MariaDB, tmp_path: Path
) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner(slots=8))
    _, api = stack.web()
    traces = stack.traces()
    # Each occurrence leaves its own line: the same one twice would be a double.
    command = f'echo "$CRONQ_SCHEDULED_FOR" 1 >> {traces.file}'
    api.put_category("c", {"name": "each second", "schedule": EVERY_SECOND, "command": command})
    traces.wait_for(3)

    private_mariadb.stop()
    data, backup = private_mariadb.folder / "data", tmp_path / "backup"
    shutil.copytree(data, backup)
    private_mariadb.start()
    before = len(traces)
    traces.wait_for(before + 4)
    private_mariadb.stop()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    private_mariadb.start()

    wait_until("it is held", lambda: ("database_older", "database") in stack.database.open_alerts())
    started = len(traces)
    doctor = cronq(stack, "doctor")
    assert doctor.returncode == 1
    assert "cronq accept-failover" in doctor.stdout
    due = "SELECT next_run < UTC_TIMESTAMP() - INTERVAL 3 SECOND FROM jobs"
    wait_until("three occurrences are due", lambda: stack.database.value(due))
    assert len(traces) == started

    accepted = cronq(stack, "accept-failover")
    assert accepted.returncode == 0, accepted.stderr
    assert accepted.stdout.startswith("epoch 2 began; ")
    traces.wait_for(started + 3)
    told = traces.file.read_text().split("\n")[:-1]
    assert len(set(told)) == len(told)
    assert cronq(stack, "accept-failover").returncode == 1
    assert stack.database.states()["missed"] >= 3


def test_an_injector_that_starts_on_an_older_database_remembers_what_it_did(
    stack: Stack, private_mariadb: MariaDB, tmp_path: Path
) -> None:
    injector = stack.service("injector")
    stack.start(injector, stack.service("results"), stack.runner())
    _, api = stack.web()
    traces = stack.traces()
    private_mariadb.stop()
    data, backup = private_mariadb.folder / "data", tmp_path / "backup"
    shutil.copytree(data, backup)
    private_mariadb.start()
    api_command = f'echo "$CRONQ_SCHEDULED_FOR" 1 >> {traces.file}'
    wait_until(
        "the web is back",
        lambda: (
            api.ask(
                "PUT",
                "/api/category/c",
                {"jobs": [{"name": "j", "schedule": EVERY_SECOND, "command": api_command}]},
            ).status
            == 200
        ),
    )
    traces.wait_for(4)
    witness = stack.state / "injector" / "witness.json"
    wait_until("it has written down a run", lambda: witness.exists() and '"run_id": "' in witness.read_text())
    injector.kill()
    private_mariadb.stop()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    private_mariadb.start()

    injector.start()

    wait_until("it is held", lambda: ("database_older", "database") in stack.database.open_alerts())

"""Kills and timeouts: TERM, the grace, KILL, wherever the run's processes went, with or without a runner."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cronq.runner.keeper_client import Finished, Started
from tests.integration.keeper_support import Runner, Runners, is_alive, read_pid, runners_in, wait_until

pytestmark = pytest.mark.integration

IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with runners_in(tmp_path / "state") as found:
        yield found


@pytest.fixture
def runner(runners: Runners) -> Runner:
    return runners.connect()


def ready(runner: Runner, command: str, **more: Any) -> str:
    """Start a job and wait for its first line, `ready`."""
    run_id = runner.start(command, **more)
    wait_until("the job is ready", lambda: runner.output(run_id).startswith(b"ready\n"))
    return run_id


def test_a_kill_asks_with_term_and_tells_why(runner: Runner) -> None:
    run_id = ready(runner, "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=20)

    finished = runner.wait(Finished, run_id)

    assert (finished.return_code, finished.signal, finished.why) == (9, None, "cancelled")
    assert runner.output(run_id).endswith(b"bye\n")


def test_what_ignores_term_is_killed_after_the_grace(runner: Runner) -> None:
    run_id = ready(runner, IGNORES_TERM)
    began = time.monotonic()
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=0.5)

    finished = runner.wait(Finished, run_id)

    assert (finished.return_code, finished.signal, finished.left) == (-9, signal.SIGKILL, 0)
    assert time.monotonic() - began >= 0.5


def test_a_second_kill_shortens_the_grace(runner: Runner) -> None:
    run_id = ready(runner, IGNORES_TERM)
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=60)
    runner.keeper.kill(run_id, 1, why="shutdown", grace_s=0)

    finished = runner.wait(Finished, run_id)

    assert (finished.signal, finished.why) == (signal.SIGKILL, "cancelled")


def test_fault_40_a_stopped_job_is_woken_to_hear_term(runner: Runner) -> None:
    run_id = ready(runner, "trap 'exit 9' TERM; echo ready; kill -STOP $$; while :; do sleep 0.05; done")
    pid = runner.wait(Started, run_id).pid
    wait_until("it is stopped", lambda: ") T " in Path(f"/proc/{pid}/stat").read_text())
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=20)

    assert runner.wait(Finished, run_id).return_code == 9


def test_a_timeout_kills_and_says_so(runner: Runner) -> None:
    finished = runner.finish("sleep 60", timeout_s=0.3)

    assert (finished.signal, finished.why) == (signal.SIGTERM, "timeout")
    assert 0.3 <= finished.duration_s < 5


def test_a_timeout_holds_while_no_runner_is_connected(runners: Runners, runner: Runner) -> None:
    run_id = runner.start(IGNORES_TERM, timeout_s=0.5, kill_grace_s=0.3)
    pid = runner.wait(Started, run_id).pid
    runner.keeper.close()
    wait_until("it is gone", lambda: not is_alive(pid))

    finished = runners.connect().wait(Finished, run_id)

    assert (finished.signal, finished.why) == (signal.SIGKILL, "timeout")
    assert 0.8 <= finished.duration_s < 10


def test_a_job_in_time_is_not_touched_by_its_timeout(runner: Runner) -> None:
    assert runner.finish("sleep 0.1; exit 4", timeout_s=0.6).return_code == 4
    assert runner.finish("sleep 0.8; exit 5").why is None


def test_children_get_the_grace_too_when_the_shell_dies_first(runner: Runner, tmp_path: Path) -> None:
    """The shell dies of TERM at once, while the child still has something to put in order."""
    child = "trap 'sleep 0.4; echo tidy; exit' TERM; echo ready; while :; do sleep 0.05; done"
    run_id = ready(runner, f'sh -c "{child}" & wait')
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=20)

    finished = runner.wait(Finished, run_id)

    assert runner.output(run_id).endswith(b"tidy\n")
    assert (finished.signal, finished.left) == (signal.SIGTERM, 0)
    assert finished.duration_s < 20


@pytest.mark.parametrize(
    "stranger",
    [
        "setsid sh -c '{}' &",
        "setsid sh -c 'setsid sh -c \"{}\" & exit' &",
        "setsid sh -c '{} > /dev/null 2>&1' > /dev/null 2>&1 &",
    ],
)
def test_fault_39_processes_that_left_the_session_are_killed_with_the_run(
    runner: Runner, tmp_path: Path, stranger: str
) -> None:
    file = tmp_path / "pid"
    inner = f"trap : TERM; echo \\$\\$ > {file}; while :; do sleep 0.05; done"
    inner = inner if '"' in stranger else inner.replace("\\", "")
    run_id = runner.start(f"{stranger.format(inner)} echo ready; wait; while :; do sleep 1; done")
    pid = read_pid(file)
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=0.5)

    finished = runner.wait(Finished, run_id)

    assert finished.left == 0
    wait_until("the stranger is gone", lambda: not is_alive(pid))


def test_a_kill_leaves_other_runs_alone(runner: Runner) -> None:
    others = [ready(runner, "echo ready; sleep 60") for _ in range(3)]
    run_id = ready(runner, IGNORES_TERM)
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=0.1)
    runner.wait(Finished, run_id)

    assert all(is_alive(runner.wait(Started, other).pid) for other in others)


def test_a_kill_right_after_the_order_to_start_is_not_lost(runner: Runner) -> None:
    run_ids = []
    for _ in range(20):
        run_ids.append(runner.start("sleep 60"))
        runner.keeper.kill(run_ids[-1], 1, why="cancelled", grace_s=5)

    finished = [runner.wait(Finished, run_id) for run_id in run_ids]

    assert {(f.why, f.return_code) for f in finished} == {("cancelled", -15)}


def test_many_killed_at_once_all_end_soon(runner: Runner) -> None:
    run_ids = [ready(runner, "echo ready; sleep 60 & wait") for _ in range(60)]
    began = time.monotonic()
    for run_id in run_ids:
        runner.keeper.kill(run_id, 1, why="cancelled", grace_s=5)
    finished = [runner.wait(Finished, run_id) for run_id in run_ids]

    assert time.monotonic() - began < 5
    assert {f.left for f in finished} == {0}


def test_a_kill_of_what_is_over_or_unknown_is_nothing(runner: Runner) -> None:
    finished = runner.finish("exit 3")
    runner.keeper.kill(finished.run_id, 1, why="cancelled", grace_s=0)
    runner.keeper.kill("0" * 32, 1, why="cancelled", grace_s=0)

    assert runner.finish("exit 4").return_code == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_is_killed_as_well(runner: Runner) -> None:
    run_id = ready(runner, "echo ready; exec sleep 60", uid=65534, gid=65534, groups=())
    pid = runner.wait(Started, run_id).pid
    assert Path(f"/proc/{pid}").stat().st_uid == 65534
    runner.keeper.kill(run_id, 1, why="cancelled", grace_s=1)

    assert (runner.wait(Finished, run_id).left, is_alive(pid)) == (0, False)

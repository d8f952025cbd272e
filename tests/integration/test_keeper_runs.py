"""What a real keeper says of real processes: exit codes, launch failures, environment, duplicates."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cronq.runner import journal
from cronq.runner.keeper_client import (
    Duplicate,
    Finished,
    LaunchFailed,
    NotStarted,
    Output,
    Started,
    StartOrder,
)
from tests.integration.keeper_support import (
    ENV,
    Runner,
    Runners,
    is_alive,
    new_run,
    read_pid,
    runners_in,
    signals_of_a_shell,
    wait_until,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with runners_in(tmp_path / "state") as found:
        yield found


@pytest.fixture
def runner(runners: Runners) -> Runner:
    return runners.connect()


@pytest.mark.parametrize(
    ("command", "return_code", "number"),
    [
        ("true", 0, None),
        ("exit 3", 3, None),
        ("exit 256", 0, None),
        ("kill -9 $$", -9, signal.SIGKILL),
        ("kill -TERM $$", -15, signal.SIGTERM),
        ("nonexistent-command-of-nobody", 127, None),
    ],
)
def test_fault_09_exit_codes_and_signals_are_told_as_they_are(
    runner: Runner, command: str, return_code: int, number: int | None
) -> None:
    finished = runner.finish(command)

    assert (finished.return_code, finished.signal, finished.why) == (return_code, number, None)


def test_a_run_is_told_in_order_with_its_times(runner: Runner) -> None:
    before = datetime.now(UTC)
    run_id = runner.start("echo a; sleep 0.2; echo b >&2; exit 4")
    finished = runner.wait(Finished, run_id)
    after = datetime.now(UTC)

    started = runner.wait(Started, run_id)
    assert [type(event) for event in (runner.events[0], runner.events[-1])] == [Started, Finished]
    assert runner.output(run_id) == b"a\nb\n"
    assert before - timedelta(seconds=1) <= started.started_at <= finished.finished_at <= after
    assert 0.2 <= finished.duration_s < 5
    assert finished.cpu_s < finished.duration_s
    assert (finished.output_bytes, finished.dropped_bytes, finished.left) == (4, 0, 0)


def test_the_memory_of_a_large_process_is_told(runner: Runner) -> None:
    large = runner.finish("python3 -c 'x = b\"x\" * (64 << 20)'", env=ENV)
    small = runner.finish("true")

    assert large.max_rss_kb is not None
    assert 64 << 10 < large.max_rss_kb < 200 << 10
    assert small.max_rss_kb is None, "it can't be told from the keeper's own"


def test_a_process_sees_its_environment_folder_stdin_and_umask_and_nothing_of_ours(
    runner: Runner, tmp_path: Path
) -> None:
    script = (
        "cat; pwd; umask; env | grep -v -e ^PWD -e ^_= -e ^SHLVL -e ^OLDPWD | sort; ls /proc/self/fd | wc -l"
    )
    base = {"PATH": os.environ["PATH"], "A": "base", "B": "bäse"}
    run_id = runner.start(
        script, env={"A": "own"}, base_env=base, cwd=str(tmp_path), stdin="hellö\n", umask=0o27
    )
    runner.wait(Finished, run_id)

    lines = runner.output(run_id).decode().splitlines()
    assert lines[:3] == ["hellö", str(tmp_path), "0027"]
    assert lines[3:-1] == ["A=own", "B=bäse", f"PATH={os.environ['PATH']}"]
    assert lines[-1] == "4", "0, 1, 2, and the one that ls itself has open"


def test_without_stdin_there_is_nothing_to_read_and_signals_are_as_a_shell_has_them(runner: Runner) -> None:
    run_id = runner.start("cat; grep -e SigIgn -e SigBlk /proc/self/status; trap")
    runner.wait(Finished, run_id)

    assert signals_of_a_shell(runner.output(run_id)) == {"SigBlk": set(), "SigIgn": set()}


def test_each_run_leads_a_session_of_its_own(runner: Runner) -> None:
    run_id = runner.start("ps -o pid= -o pgid= -o sid= -o ppid= -p $$")
    runner.wait(Finished, run_id)

    pid, group, session, parent = map(int, runner.output(run_id).split())
    assert pid == group == session == runner.wait(Started, run_id).pid
    assert parent == runner.keeper.pid


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"cwd": "/nonexistent"}, "working directory /nonexistent: no such file or directory"),
        ({"cwd": "/etc/passwd"}, "working directory /etc/passwd: not a directory"),
        ({"argv": ("/nonexistent/tool", "x")}, "command /nonexistent/tool: no such file or directory"),
        ({"argv": ("tool-of-nobody",)}, "command tool-of-nobody: no such file or directory"),
        ({"argv": ("/etc/passwd",)}, "command /etc/passwd: permission denied"),
        ({"argv": ("/bin",)}, "command /bin: permission denied"),
        ({"argv": ("/bin/echo", "x" * 200_000)}, "command /bin/echo: arguments and environment are too long"),
        ({"argv": ("/bin/echo", "a\0b")}, "command, environment or working directory: embedded null byte"),
        ({"env": {"A=B": "c"}}, "illegal environment variable name"),
        ({"env": {"A": "\ud800"}}, "surrogates not allowed"),
        ({"cwd": "/\0"}, "embedded null byte"),
    ],
)
def test_what_cannot_be_launched_is_told_in_words(runner: Runner, more: dict[str, Any], reason: str) -> None:
    run_id = runner.start("true", **more)

    failed = runner.wait(LaunchFailed, run_id)
    assert reason in failed.reason
    assert journal.read(runner.folder.path).known[(run_id, 1)].state == "launch_failed"
    assert runner.finish("exit 5").return_code == 5, "the keeper goes on"


@pytest.mark.parametrize(
    "wrong",
    [
        {"run_id": "x"},
        {"run_id": "A" * 32},
        {"attempt": -1},
        {"attempt": 1 << 16},
        {"argv": ()},
        {"output_limit": -1},
        {"uid": (1 << 32) - 1},  # the kernel takes it for "leave it as it is"
        {"gid": -1},
    ],
)
def test_orders_that_no_keeper_could_carry_out_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*allowed"):
        StartOrder(**{"run_id": "0" * 32, "attempt": 1, "argv": ("true",), "env": {}, **wrong})


def test_scripts_that_the_kernel_refuses_are_told_apart(runner: Runner, tmp_path: Path) -> None:
    reasons = []
    for number, content in enumerate(("true\n", "#!/nonexistent/interpreter\ntrue\n")):
        script = tmp_path / f"script{number}"
        script.write_text(content)
        script.chmod(0o755)
        run_id = runner.start("", argv=(str(script),))
        reasons.append(runner.wait(LaunchFailed, run_id).reason)

    assert reasons == [
        f"command {tmp_path}/script0: neither a program nor a script that begins with #!",
        f"command {tmp_path}/script1: the interpreter that it names does not exist",
    ]


def test_the_same_attempt_is_never_started_twice(runner: Runner, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = f"echo x >> {trace}; sleep 0.2"
    run_id = runner.start(command)
    for _ in range(3):
        runner.start(command, run_id=run_id)
    assert runner.wait(Duplicate, run_id).state == "live"
    runner.wait(Finished, run_id)

    runner.events.clear()
    runner.start(command, run_id=run_id)
    assert runner.wait(Duplicate, run_id).state == "finished"

    runner.events.clear()
    runner.keeper.reported(run_id, 1)
    runner.start(command, run_id=run_id)
    assert runner.wait(Duplicate, run_id).state == "reported"
    assert trace.read_text() == "x\n"


def test_another_attempt_of_the_run_is_another_start(runner: Runner) -> None:
    run_id = runner.start("exit 1", attempt=1)
    runner.start("exit 2", run_id=run_id, attempt=2)

    wait_until("both end", lambda: len([e for e in runner.events if isinstance(e, Finished)]) == 2)
    assert {e.key: e.return_code for e in runner.events if isinstance(e, Finished)} == {
        (run_id, 1): 1,
        (run_id, 2): 2,
    }


def test_a_tombstone_forbids_the_start_for_good(runners: Runners, runner: Runner) -> None:
    run_id = new_run()
    runner.keeper.tombstone(run_id, 1, "too late")
    assert runner.wait(NotStarted, run_id).reason == "too late"
    runner.start("true", run_id=run_id)
    assert runner.wait(Duplicate, run_id).state == "not_started"

    runners.kill_keeper(runner)
    second = runners.connect()

    assert isinstance(second.keeper.known[(run_id, 1)], NotStarted)
    assert second.wait(NotStarted, run_id).reason == "too late"
    second.start("true", run_id=run_id)
    assert second.wait(Duplicate, run_id).state == "not_started"


def test_a_tombstone_for_what_has_started_tells_its_state(runner: Runner) -> None:
    run_id = runner.start("sleep 30")
    runner.keeper.tombstone(run_id, 1, "too late")

    assert runner.wait(Duplicate, run_id).state == "live"


def test_a_background_child_does_not_hold_up_the_end_and_is_counted(runner: Runner, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    finished = runner.finish(f"sleep 60 & echo $! > {file}; echo done; exit 6")

    assert (finished.return_code, finished.left) == (6, 1)
    assert finished.duration_s < 1.5, "the process's own end, not that of the pipe"
    assert runner.output(finished.run_id) == b"done\n"
    assert is_alive(read_pid(file)), "nobody asked for it to be killed"
    os.kill(read_pid(file), signal.SIGKILL)


def test_a_quiet_background_child_costs_no_wait(runner: Runner, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    began = datetime.now(UTC)
    finished = runner.finish(f"sleep 60 > /dev/null 2>&1 & echo $! > {file}")

    assert datetime.now(UTC) - began < timedelta(seconds=1.5)
    assert finished.left == 1
    os.kill(read_pid(file), signal.SIGKILL)


def test_many_at_once_all_end_with_their_own_code_and_output(runner: Runner) -> None:
    codes = {runner.start(f"echo {number}; exit {number % 100}"): number for number in range(200)}
    wait_until("all end", lambda: sum(isinstance(e, Finished) for e in runner.events) == 200)

    found = {e.run_id: e.return_code for e in runner.events if isinstance(e, Finished)}
    assert found == {run_id: number % 100 for run_id, number in codes.items()}
    assert all(runner.output(run_id) == b"%d\n" % number for run_id, number in codes.items())


def test_the_last_message_of_a_run_comes_after_its_output(runner: Runner) -> None:
    run_id = runner.start("seq 1 2000")
    runner.wait(Finished, run_id)

    kinds = [type(event) for event in runner.events]
    assert kinds.index(Finished) == len(kinds) - 1
    assert set(kinds[1:-1]) == {Output}


def test_an_idle_keeper_is_small_and_sleeps(runner: Runner) -> None:
    runner.finish("true")

    def cpu() -> tuple[str, ...]:
        return tuple(Path(f"/proc/{runner.keeper.pid}/stat").read_text().rpartition(")")[2].split()[11:13])

    status = Path(f"/proc/{runner.keeper.pid}/status").read_text()
    rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    before, switches = cpu(), _switches(runner.keeper.pid)
    with pytest.raises(AssertionError, match="no LaunchFailed"):
        runner.wait(LaunchFailed, within_s=1.0)

    assert rss_kb < 15 << 10
    assert cpu() == before
    assert _switches(runner.keeper.pid) - switches <= 2, "it does not wake up for nothing"


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

"""Runs outlive their runner; a keeper that dies is found out; nothing starts twice over all of that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cronq.domain.errors import Unavailable
from cronq.runner import journal
from cronq.runner.folder import open_folder
from cronq.runner.keeper.processes import ticks_now
from cronq.runner.keeper_client import (
    Duplicate,
    Finished,
    Interrupted,
    Keeper,
    KeeperLost,
    NotStarted,
    Started,
)
from cronq.runner.keeper_spawn import connect
from tests.integration.keeper_support import (
    Runner,
    Runners,
    is_alive,
    new_run,
    read_pid,
    runners_in,
    wait_until,
)

pytestmark = pytest.mark.integration

# A runner of its own process: starts what its arguments say, prints what it knows, and waits to be killed.
RUNNER = """
import os, sys, threading
from pathlib import Path
from cronq.runner.folder import open_folder
from cronq.runner.keeper_client import Keeper, Output, Started, StartOrder

state, run_id, command = sys.argv[1:]
told = threading.Event()
seen = b""

def on_event(event):
    global seen
    if isinstance(event, Output):
        seen += event.data
        if b"two" in seen:
            keeper.ack_output(event.run_id, event.attempt, len(seen))
            print(len(seen), flush=True)

folder = open_folder(Path(state), "r")
keeper = Keeper.connect_or_spawn(folder, on_event=on_event)
print(keeper.pid, flush=True)
keeper.start(StartOrder(run_id, 1, ("/bin/sh", "-c", command), {"PATH": os.environ["PATH"]}))
told.wait()
"""


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with runners_in(tmp_path / "state") as found:
        yield found


@pytest.fixture
def runner(runners: Runners) -> Runner:
    return runners.connect()


def test_a_job_survives_kill_9_of_its_runner_and_the_next_one_adopts_it(tmp_path: Path) -> None:
    run_id, go, trace = new_run(), tmp_path / "go", tmp_path / "trace"
    command = (
        f"echo x >> {trace}; echo one; echo two; while ! [ -e {go} ]; do sleep 0.05; done; echo three; exit 7"
    )
    arguments = [sys.executable, "-c", RUNNER, str(tmp_path / "state"), run_id, command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        keeper_pid = int(first.stdout.readline())
        acked = int(first.stdout.readline())
        first.kill()
        first.wait()

    with runners_in(tmp_path / "state") as runners:
        second = runners.connect()
        assert second.keeper.pid == keeper_pid
        [(key, adopted)] = second.keeper.live.items()
        second.start(command, run_id=run_id)
        assert second.wait(Duplicate, run_id).state == "live"
        go.touch()
        finished = second.wait(Finished, run_id)

        assert key == (run_id, 1)
        assert is_alive(keeper_pid)
        assert finished.return_code == 7
        assert [(p.offset, p.data) for p in second.pieces(run_id)] == [(acked, b"three\n")]
        assert acked == len(b"one\ntwo\n")
        assert trace.read_text() == "x\n"
        assert adopted.pid > 0


def test_what_ended_while_no_runner_was_there_is_told_to_the_next(runners: Runners, runner: Runner) -> None:
    run_id = runner.start("sleep 0.3; echo late; exit 4")
    runner.wait(Started, run_id)
    runner.keeper.close()
    wait_until("it ends", lambda: journal.read(runners.folder.path).known[(run_id, 1)].state == "finished")

    second = runners.connect()

    known = second.keeper.known[(run_id, 1)]
    assert isinstance(known, Finished)
    assert second.wait(Finished, run_id) == known
    assert (known.return_code, second.output(run_id)) == (4, b"late\n")


def test_what_was_reported_is_not_told_again(runners: Runners, runner: Runner) -> None:
    run_id = runner.start("echo x")
    runner.wait(Finished, run_id)
    runner.keeper.reported(run_id, 1)
    runner.keeper.close()

    second = runners.connect()
    other = second.finish("true")

    assert second.keeper.known == {}
    assert {getattr(event, "run_id", "") for event in second.events} == {other.run_id}


def test_the_latest_runner_counts_and_the_earlier_one_is_cut_off(runners: Runners, runner: Runner) -> None:
    second = runners.connect()

    runner.wait(KeeperLost)
    with pytest.raises(Unavailable, match="takes no orders"):
        runner.start("true")
    assert second.finish("exit 3").return_code == 3


def test_nothing_that_an_earlier_runner_sent_starts_after_the_hello(
    runners: Runners, runner: Runner, tmp_path: Path
) -> None:
    """The keeper is frozen while orders come in, and a next runner says hello behind them."""
    traces = tmp_path / "traces"
    traces.mkdir()
    os.kill(runner.keeper.pid, signal.SIGSTOP)
    sent = [runner.start(f"touch {traces}/$CRONQ_FENCE") for _ in range(50)]
    with connect(runners.folder.path) as sock:
        sock.sendall(b'{"type":"hello","v":1}\n')
        os.kill(runner.keeper.pid, signal.SIGCONT)
        known = {message["run_id"] for message in json.loads(sock.makefile("rb").readline())["known"]}

    second = runners.connect()
    for run_id in sent:
        second.keeper.tombstone(run_id, 1, "given up")
    wait_until("each that is not known is given up", lambda: len(_refused(second)) == 50 - len(known))
    for run_id in known:
        second.wait(Finished, run_id)

    assert _refused(second) == set(sent) - known
    assert {file.name.partition(":")[0] for file in traces.iterdir()} == known


def _refused(runner: Runner) -> set[str]:
    return {event.run_id for event in runner.events if isinstance(event, NotStarted)}


def test_jobs_of_a_killed_keeper_are_killed_and_told_as_interrupted(
    runners: Runners, runner: Runner, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("child", "stranger")]
    run_id = runner.start(
        f"trap '' TERM; sleep 60 & echo $! > {files[0]};"
        f" setsid sh -c 'echo $$ > {files[1]}; exec sleep 60' & wait"
    )
    pids = [runner.wait(Started, run_id).pid, *map(read_pid, files)]
    runners.kill_keeper(runner)
    assert all(is_alive(pid) for pid in pids)

    second = runners.connect()

    assert isinstance(second.keeper.known[(run_id, 1)], Interrupted)
    second.wait(Interrupted, run_id)
    wait_until("nothing of it is left", lambda: not any(map(is_alive, pids)))
    second.start("true", run_id=run_id)
    assert second.wait(Duplicate, run_id).state == "interrupted"
    second.keeper.reported(run_id, 1)
    second.keeper.close()
    assert runners.connect().keeper.known == {}


def test_an_end_that_was_recorded_before_the_keeper_died_is_still_told(
    runners: Runners, runner: Runner
) -> None:
    first, second = runner.start("exit 3"), runner.start("exit 4")
    for run_id in (first, second):
        runner.wait(Finished, run_id)
    runner.keeper.reported(first, 1)
    wait_until("it is recorded", lambda: journal.read(runners.folder.path).known[(first, 1)].reported)
    runners.kill_keeper(runner)

    again = runners.connect()

    assert again.wait(Finished, second).return_code == 4
    assert set(again.keeper.known) == {(second, 1)}
    again.start("true", run_id=first)
    assert again.wait(Duplicate, first).state == "reported"


def test_another_process_with_the_recorded_pid_is_left_alone(runners: Runners, runner: Runner) -> None:
    run_id = runner.start("sleep 60")
    pid = runner.wait(Started, run_id).pid
    runners.kill_keeper(runner)
    os.kill(pid, signal.SIGKILL)
    wait_until("the job is gone", lambda: not is_alive(pid))
    present = ticks_now()
    wait_until("a tick has passed, since no pid comes again within one", lambda: ticks_now() > present)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        file = Path(journal.segment_path(runners.folder.path, 1))
        file.write_text(file.read_text().replace(f'"pid":{pid},', f'"pid":{bystander.pid},'))

        second = runners.connect()
        second.wait(Interrupted, run_id)

        assert bystander.poll() is None
        bystander.kill()


def test_the_keeper_ignores_what_ends_a_runner(runner: Runner) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(runner.keeper.pid, number)

    assert runner.finish("kill -TERM $$").signal == signal.SIGTERM, "while its jobs don't"
    assert is_alive(runner.keeper.pid)


def test_an_orphaned_keeper_stays_while_something_runs(runners: Runners, tmp_path: Path) -> None:
    first, go = runners.connect(orphan_idle_s=0.1), tmp_path / "go"
    run_id = first.start(f"while ! [ -e {go} ]; do sleep 0.05; done; exit 3")
    first.wait(Started, run_id)
    first.keeper.close()
    with pytest.raises(AssertionError, match="not within"):
        wait_until("it leaves too early", lambda: not is_alive(first.keeper.pid), within_s=0.6)

    go.touch()

    wait_until("the keeper has left", lambda: not is_alive(first.keeper.pid))
    assert not (runners.folder.path / "keeper.sock").exists()
    assert runners.connect().wait(Finished, run_id).return_code == 3


def test_a_keeper_told_to_quit_stays_while_something_runs(runner: Runner) -> None:
    run_id = runner.start("sleep 0.3; exit 3")
    runner.keeper.quit_when_idle()

    assert runner.wait(Finished, run_id).return_code == 3
    runner.wait(KeeperLost)
    wait_until("the keeper has left", lambda: not is_alive(runner.keeper.pid))


def test_what_was_sent_before_a_runner_left_is_still_obeyed(runners: Runners, runner: Runner) -> None:
    run_ids = [runner.start("true") for _ in range(20)]
    for run_id in run_ids:
        runner.wait(Finished, run_id)
    for run_id in run_ids:
        runner.keeper.reported(run_id, 1)
    runner.keeper.close()

    assert runners.connect().keeper.known == {}


def test_a_second_keeper_on_the_same_folder_gives_up(runners: Runners, runner: Runner) -> None:
    main = Path(sys.modules["cronq.runner.keeper"].__file__ or "").with_name("__main__.py")
    second = subprocess.run(
        [sys.executable, "-I", "-S", str(main), str(runners.folder.path)],
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert second.returncode == 75
    assert b"another keeper holds" in second.stderr
    assert runner.finish("exit 3").return_code == 3


def test_a_frozen_keeper_is_named_after_a_while(
    runners: Runners, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cronq.runner.keeper_client.HELLO_S", 0.3)
    os.kill(runner.keeper.pid, signal.SIGSTOP)

    with pytest.raises(Unavailable, match=r"does not answer within 0\.3 s"):
        runners.connect()
    os.kill(runner.keeper.pid, signal.SIGCONT)


def test_garbage_from_a_stranger_disturbs_nobody(runners: Runners, runner: Runner) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000 + b"\n", b'{"type":"start"}\n', b"[]\n"):
        with connect(runners.folder.path) as sock:
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""

    assert runner.finish("exit 3").return_code == 3


def test_an_order_that_makes_no_sense_is_logged_and_the_rest_goes_on(runner: Runner) -> None:
    for message in (b'{"type":"start"}\n', b'{"type":"kill","run_id":"x","attempt":null}\n', b'{"type":7}\n'):
        runner.keeper._socket.sendall(message)

    assert runner.finish("exit 3").return_code == 3
    assert "an order makes no sense: KeyError('run_id')" in (runner.folder.path / "keeper.log").read_text()


def test_a_folder_with_a_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with runners_in(deep) as runners:
        assert runners.connect().finish("exit 3").return_code == 3


def test_a_copy_of_the_folder_knows_nothing_of_the_original(tmp_path: Path) -> None:
    with runners_in(tmp_path / "one") as original:
        runner = original.connect()
        run_id = runner.start("sleep 60")
        runner.wait(Started, run_id)
        source = original.folder.path
        (tmp_path / "two" / "runners" / "r").mkdir(parents=True)
        for file in source.iterdir():
            if not file.is_socket():
                shutil.copy2(file, tmp_path / "two" / "runners" / "r")

        with runners_in(tmp_path / "two") as copied:
            copy = copied.connect()
            assert copied.folder.lineage != original.folder.lineage
            assert copy.keeper.known == {}
        assert is_alive(runner.wait(Started, run_id).pid)


def test_fault_09_a_reboot_interrupts_what_was_open_and_kills_nobody(tmp_path: Path) -> None:
    with runners_in(tmp_path / "state") as runners:
        runner = runners.connect()
        run_id = runner.start("sleep 60")
        pid = runner.wait(Started, run_id).pid
        runners.kill_keeper(runner)
        file = Path(journal.segment_path(runners.folder.path, 1))
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        file.write_text(file.read_text().replace(boot, "an-earlier-one"))

        second = runners.connect()
        second.wait(Interrupted, run_id)

        assert is_alive(pid), "in this boot that pid is somebody else's"
        assert second.keeper.journal_since > runner.keeper.journal_since
        os.kill(pid, signal.SIGKILL)


def test_a_keeper_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tmp_path, "r")
    (folder.path / "journal-1.log").mkdir()

    with pytest.raises(Unavailable, match=r"did not start: .*Is a directory"):
        Keeper.connect_or_spawn(folder, on_event=print)
    folder.close()

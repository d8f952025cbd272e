"""Output through a real keeper: complete when small, bounded when large, never in the job's way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cronq.runner.keeper_client import Finished, Started
from tests.integration.keeper_support import Runner, Runners, runners_in, wait_until

pytestmark = pytest.mark.integration

LIMIT = 256 << 10
HALF = LIMIT // 2


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with runners_in(tmp_path / "state") as found:
        yield found


@pytest.fixture
def runner(runners: Runners) -> Runner:
    return runners.connect()


def peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_output_comes_while_the_job_runs(runner: Runner) -> None:
    run_id = runner.start("echo early; sleep 30")

    wait_until("the line is here", lambda: runner.output(run_id) == b"early\n")
    assert not any(isinstance(event, Finished) for event in runner.events)


def test_every_byte_of_binary_output_comes_through(runner: Runner, tmp_path: Path) -> None:
    data = bytes(range(256)) * 500
    (tmp_path / "data").write_bytes(data)
    run_id = runner.start(f"cat {tmp_path}/data")

    assert runner.wait(Finished, run_id).output_bytes == len(data)
    assert runner.output(run_id) == data


def test_of_much_output_head_and_tail_come_and_the_middle_is_counted(runner: Runner) -> None:
    run_id = runner.start("seq 1 200000", output_limit=LIMIT)
    finished = runner.wait(Finished, run_id)

    everything = "".join(f"{n}\n" for n in range(1, 200001)).encode()
    pieces = runner.pieces(run_id)
    head = b"".join(p.data for p in pieces if p.offset < HALF)
    tail = b"".join(p.data for p in pieces if p.offset >= HALF)
    assert (finished.output_bytes, finished.dropped_bytes) == (len(everything), len(everything) - LIMIT)
    assert head == everything[:HALF]
    assert tail == everything[-HALF:]
    assert min(p.offset for p in pieces if p.offset >= HALF) == len(everything) - HALF


def test_fault_38_a_flood_neither_stalls_the_job_nor_fills_the_memory(runner: Runner) -> None:
    runner.finish("true")
    before = peak_kb(runner.keeper.pid)
    finished = runner.finish("yes | head -c 200M", output_limit=LIMIT)

    assert (finished.return_code, finished.output_bytes) == (0, 200 << 20)
    assert finished.dropped_bytes == (200 << 20) - LIMIT
    assert peak_kb(runner.keeper.pid) - before < 4 << 10


def test_ten_thousand_small_writes_take_no_more_memory_than_their_bytes(runner: Runner) -> None:
    runner.finish("true")
    before = peak_kb(runner.keeper.pid)
    script = "i=0; while [ $i -lt 10000 ]; do echo 0123456789; i=$((i+1)); done"
    finished = runner.finish(script, output_limit=LIMIT)

    assert finished.output_bytes == 110_000
    assert len(runner.output(finished.run_id)) == 110_000
    assert peak_kb(runner.keeper.pid) - before < 4 << 10


def test_no_output_is_kept_with_a_limit_of_nothing(runner: Runner) -> None:
    finished = runner.finish("echo hello", output_limit=0)

    assert (finished.output_bytes, finished.dropped_bytes) == (6, 6)
    assert runner.output(finished.run_id) == b""


def test_a_runner_that_does_not_listen_stalls_no_job(
    runners: Runners, runner: Runner, tmp_path: Path
) -> None:
    """Its socket fills up; the keeper buffers within the cap and goes on reading."""
    release = runner._news  # held, so that the thread that takes the news stands still
    with release:
        orders = [f"yes | head -c 3M; echo x > {tmp_path}/{n}" for n in range(4)]
        for order in orders:
            runner.start(order)
        wait_until("all jobs are through", lambda: all((tmp_path / str(n)).exists() for n in range(4)))

    wait_until("all are told", lambda: sum(isinstance(e, Finished) for e in runner.events) == 4)


def test_output_that_nobody_acked_comes_again_and_what_was_acked_does_not(
    runners: Runners, runner: Runner, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    run_id = runner.start(f"echo 12345; while ! [ -e {go} ]; do sleep 0.05; done; echo 67890")
    wait_until("the first line is here", lambda: runner.output(run_id) == b"12345\n")
    runner.keeper.ack_output(run_id, 1, 3)
    runner.keeper.close()

    second = runners.connect()
    wait_until("the rest of the line is here", lambda: second.pieces(run_id))
    go.touch()
    second.wait(Finished, run_id)

    assert second.pieces(run_id)[0].offset == 3
    assert b"".join(piece.data for piece in second.pieces(run_id)) == b"45\n67890\n"


def test_output_outlives_a_keeper_that_leaves_when_it_is_idle(runners: Runners) -> None:
    first = runners.connect(orphan_idle_s=0.1)
    run_id = first.start("seq 1 200000; exit 5", output_limit=LIMIT)
    finished = first.wait(Finished, run_id)
    first.keeper.ack_output(run_id, 1, 1000)
    pieces = {p.offset: p.data for p in first.pieces(run_id)}
    first.keeper.close()
    wait_until("the keeper has left", lambda: not Path(f"/proc/{first.keeper.pid}").exists())
    assert list(runners.folder.path.glob("output-*"))

    second = runners.connect()
    again = second.wait(Finished, run_id)

    assert second.keeper.pid != first.keeper.pid
    assert again == finished
    told = b"".join(data for _, data in sorted(pieces.items()))
    assert second.pieces(run_id)[0].offset == 1000
    assert b"".join(piece.data for piece in second.pieces(run_id)) == told[1000:]
    second.keeper.reported(run_id, 1)
    wait_until("the file is gone", lambda: not list(runners.folder.path.glob("output-*")))


def test_a_keeper_that_leaves_before_its_runner_acked_keeps_both_for_the_next(runners: Runners) -> None:
    """quit_when_idle with something unreported: nothing is lost by it."""
    first = runners.connect()
    run_id = first.start("echo out; exit 9")
    first.keeper.quit_when_idle()
    first.wait(Finished, run_id)
    wait_until("the keeper has left", lambda: not Path(f"/proc/{first.keeper.pid}").exists())

    second = runners.connect()

    assert second.wait(Finished, run_id).return_code == 9
    assert second.output(run_id) == b"out\n"


def test_a_job_that_closes_its_output_early_is_still_waited_for(runner: Runner) -> None:
    run_id = runner.start("exec > /dev/null 2>&1; sleep 0.3; exit 8")

    assert runner.wait(Finished, run_id).return_code == 8


def test_a_child_that_floods_the_pipe_after_the_end_is_cut_off(runner: Runner) -> None:
    finished = runner.finish("yes & exit 2", output_limit=LIMIT)

    assert (finished.return_code, finished.left) == (2, 1)
    pid = runner.wait(Started, finished.run_id).pid
    wait_until("it ends by itself: nobody reads", lambda: not _group(pid))


def _group(pid: int) -> bool:
    try:
        os.killpg(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True

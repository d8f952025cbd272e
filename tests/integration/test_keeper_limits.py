"""A keeper that runs out of something: it refuses what it can't record, says why, and goes on afterwards."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cronq.runner import journal
from cronq.runner.keeper_client import Duplicate, Finished, LaunchFailed, NotStarted, Started
from cronq.runner.keeper_spawn import connect
from tests.integration.keeper_support import Runner, Runners, is_alive, runners_in, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    with runners_in(tmp_path / "state") as found:
        yield found


@pytest.fixture
def runner(runners: Runners) -> Runner:
    return runners.connect()


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """A resource of a process is cut short for a while."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def journal_size(runner: Runner) -> int:
    return os.path.getsize(journal.segment_path(runner.folder.path, 1))


def test_fault_37_a_full_disk_refuses_new_starts_and_still_tells_the_end_of_old_ones(
    runners: Runners, runner: Runner, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    old = runner.start(f"while ! [ -e {go} ]; do sleep 0.05; done; exit 4")
    runner.wait(Started, old)
    wait_until("its start is recorded", lambda: b'"started"' in _content(runner))
    with limited(runner.keeper.pid, resource.RLIMIT_FSIZE, journal_size(runner) + 20):
        refused = runner.start("true")
        reason = runner.wait(NotStarted, refused).reason
        go.mkdir()
        assert runner.wait(Finished, old).return_code == 4
        runner.start("true", run_id=refused)
        assert runner.wait(Duplicate, refused).state == "not_started"

    assert reason == "the runner's journal can't be written: file too large"
    assert runner.finish("exit 5").return_code == 5
    known = journal.read(runner.folder.path).known
    assert {key[0]: entry.state for key, entry in known.items()}[old] == "finished"
    assert known[(refused, 1)].state == "not_started"
    log = (runner.folder.path / "keeper.log").read_text()
    assert "the journal can't be written: file too large" in log
    assert "the journal can be written again" in log


def test_a_keeper_that_cannot_save_what_is_unreported_stays(runners: Runners) -> None:
    runner = runners.connect(orphan_idle_s=0.1)
    run_id = runner.start("seq 1 1000")
    finished = runner.wait(Finished, run_id)
    with limited(runner.keeper.pid, resource.RLIMIT_FSIZE, 1000):
        runner.keeper.close()
        wait_until("it says so", lambda: b"staying" in _log(runner))
        assert is_alive(runner.keeper.pid)

    second = runners.connect()

    assert second.keeper.pid == runner.keeper.pid
    assert second.wait(Finished, run_id) == finished
    assert len(second.output(run_id)) == finished.output_bytes


def test_too_few_descriptors_are_told_in_words_and_pass(runner: Runner) -> None:
    runner.finish("true")
    used = len(os.listdir(f"/proc/{runner.keeper.pid}/fd"))
    with limited(runner.keeper.pid, resource.RLIMIT_NOFILE, used):
        reason = runner.wait(LaunchFailed, runner.start("true")).reason
        with connect(runner.folder.path) as sock:
            wait_until("it says so", lambda: b"no connection can be accepted" in _log(runner))
            before = _cpu(runner.keeper.pid)
            sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            assert _cpu(runner.keeper.pid) - before <= 5, "hundredths of a second: it doesn't spin"

    assert reason == "no pipe for its output: too many open files"
    assert runner.finish("exit 5").return_code == 5


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _content(runner: Runner) -> bytes:
    return Path(journal.segment_path(runner.folder.path, 1)).read_bytes()


def _log(runner: Runner) -> bytes:
    return (runner.folder.path / "keeper.log").read_bytes()

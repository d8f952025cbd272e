"""SIGTERM: services go at once, and the jobs of a runner stay for the next process to adopt."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.stack import Process, Stack, wait_until

pytestmark = pytest.mark.system

SOON_S = 15.0  # seconds on an idle machine; ours may be busy
CLOCK_S = 1.0  # between the job's own clock reading and its process's end


class LongJob:
    """A job that runs until it is let go, and leaves word of its end."""

    def __init__(self, folder: Path, *, exit_code: int = 0) -> None:
        self.release = folder / "release"
        self.ended = folder / "ended"
        self.traces = folder / "traces"
        self.command = (
            f"echo x >> {self.traces}; echo before; until [ -e {self.release} ]; do sleep 0.05; done;"
            f" echo after; date +%s.%N > {self.ended}; exit {exit_code}"
        )

    def ended_at(self) -> float:
        return float(wait_until("the job has ended", lambda: self.ended.exists() and self.ended.read_text()))

    def starts(self) -> int:
        return len(self.traces.read_text().splitlines())


def started(stack: Stack, runner: Process, job: LongJob) -> str:
    """Start all, and the job; its run's id once its first output is there."""
    stack.start(stack.service("injector"), stack.service("results"), runner)
    stack.database.insert_jobs(1, job.command)
    stack.database.run_now()
    wait_until("it runs", lambda: stack.database.state() == "running")
    run_id = stack.database.run().run_id
    wait_until("its first output has arrived", lambda: stack.database.output(run_id) == b"before\n")
    return run_id


def test_each_service_ends_with_0_soon_after_sigterm(stack: Stack) -> None:
    services = [stack.service("injector"), stack.service("results"), stack.runner()]
    stack.start(*services)
    web, _ = stack.web()

    codes = {service.name: service.terminate(SOON_S) for service in [*services, web]}

    assert codes == {"injector": 0, "results": 0, "runner": 0, "web": 0}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_fault_13_a_running_job_survives_its_runner_and_is_adopted(stack: Stack, how: signal.Signals) -> None:
    job, runner = LongJob(stack.folder, exit_code=3), stack.runner()
    run_id = started(stack, runner, job)

    runner.signal(how)
    assert runner.exit_code(SOON_S) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    assert stack.job_pids(run_id)
    stack.start(runner)
    runner.wait_for_log("run.adopted")
    job.release.touch()

    wait_until("it has ended", lambda: stack.database.state() == "failed")
    run = stack.database.run()
    assert (run.attempt, run.return_code) == (1, 3)
    assert float(run.finished_at or 0) == pytest.approx(job.ended_at(), abs=CLOCK_S)
    assert stack.database.output(run_id) == b"before\nafter\n"
    assert job.starts() == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_ended_without_a_runner_is_reported_by_the_next(stack: Stack, how: signal.Signals) -> None:
    job, runner = LongJob(stack.folder, exit_code=4), stack.runner()
    run_id = started(stack, runner, job)

    runner.signal(how)
    runner.exit_code(SOON_S)
    job.release.touch()
    ended_at = job.ended_at()
    wait_until("nothing of it is left", lambda: not stack.job_pids(run_id))
    wait_until("its end is a while ago", lambda: time.time() > ended_at + 2 * CLOCK_S)
    stack.start(runner)

    wait_until("it has ended", lambda: stack.database.state() == "failed")
    run = stack.database.run()
    assert (run.attempt, run.return_code) == (1, 4)
    assert float(run.finished_at or 0) == pytest.approx(ended_at, abs=CLOCK_S)
    wait_until("all output is there", lambda: stack.database.output(run_id) == b"before\nafter\n")
    assert job.starts() == 1


def test_a_runner_that_is_told_to_wait_leaves_after_its_jobs(stack: Stack) -> None:
    job, runner = LongJob(stack.folder), stack.runner(CRONQ_ON_TERM="wait")
    started(stack, runner, job)

    runner.signal(signal.SIGTERM)
    runner.wait_for_log("service.stopping")
    assert stack.database.state() == "running"
    job.release.touch()

    assert runner.exit_code(SOON_S) == 0
    wait_until("it has ended", lambda: stack.database.state() == "succeeded")
    wait_until("no keeper is left", lambda: not stack.keepers())


def test_a_runner_that_has_waited_long_enough_kills_its_jobs_and_says_so(stack: Stack) -> None:
    job, runner = LongJob(stack.folder), stack.runner(CRONQ_ON_TERM="wait", CRONQ_DRAIN_S="1")
    run_id = started(stack, runner, job)

    assert runner.terminate(SOON_S) == 0

    assert "runner.killing" in runner.output()
    wait_until("it is cancelled", lambda: stack.database.state() == "cancelled")
    assert not stack.job_pids(run_id)


def test_a_runner_that_leaves_takes_nothing_new(stack: Stack) -> None:
    job, runner = LongJob(stack.folder), stack.runner("leaving")
    started(stack, runner, job)
    traces = stack.traces("others")
    stack.database.rows("UPDATE jobs SET command = %s", traces.command)

    runner.terminate(SOON_S)
    stack.database.run_now()
    wait_until("the next run waits", lambda: stack.database.states() == {"running": 1, "queued": 1})
    stack.start(stack.runner("staying"))

    wait_until("the next run has ended", lambda: stack.database.states() == {"running": 1, "succeeded": 1})
    assert stack.database.rows("SELECT runner FROM runs ORDER BY run_id") == [("leaving",), ("staying",)]
    assert len(traces) == 1

"""kill -9 of the keeper: what it kept is interrupted and dead, and the runner goes on with a new one."""

from __future__ import annotations

import os
import signal

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

LONG = 3


def test_fault_09_jobs_of_a_killed_keeper_are_interrupted_and_new_ones_run(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner(slots=LONG))
    traces, later = stack.traces(), stack.traces("later")
    stack.database.insert_jobs(LONG, f"{traces.command}; sleep 600 & sleep 600")
    stack.database.run_now()
    wait_until("all run", lambda: stack.database.states()["running"] == LONG)
    run_ids = [run_id for run_id, _ in traces.all()]

    os.kill(stack.keeper(), signal.SIGKILL)

    wait_until("all are lost", lambda: stack.database.states() == {"lost": LONG})
    assert stack.database.rows("SELECT DISTINCT reason FROM runs") == [("interrupted",)]
    assert [stack.job_pids(run_id) for run_id in run_ids] == [[]] * LONG
    stack.database.rows("UPDATE jobs SET command = %s", f"{later.command}; exit 0")
    stack.database.run_now()
    wait_until("new runs end", lambda: stack.database.states() == {"lost": LONG, "succeeded": LONG})
    assert len(traces) == len(later) == LONG


def test_a_keeper_killed_in_the_middle_of_a_burst_doubles_nothing(stack: Stack) -> None:
    """What it had started is lost, what it had not is done; the runner's orders meet a dead keeper."""
    jobs = 200
    stack.short_clocks()
    stack.start(stack.service("injector"), stack.service("results"), stack.runner(slots=8))
    traces = stack.traces()
    stack.database.insert_jobs(jobs, f"{traces.command}; sleep 0.05")
    stack.database.make_due()

    for started in (20, 60, 100):
        traces.wait_for(started)
        os.kill(stack.keeper(), signal.SIGKILL)
        wait_until("there is another keeper", stack.keepers)

    wait_until("every run has ended", lambda: _ended(stack) == jobs)
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told)
    succeeded = {
        run_id for (run_id,) in stack.database.rows("SELECT run_id FROM runs WHERE state = 'succeeded'")
    }
    lost = {run_id for (run_id,) in stack.database.rows("SELECT run_id FROM runs WHERE state = 'lost'")}
    assert len(succeeded) + len(lost) == jobs
    assert succeeded <= {run_id for run_id, _ in told}
    assert len(lost) <= 3 * 8
    assert stack.database.rows("SELECT DISTINCT reason FROM runs WHERE state = 'lost'") == [("interrupted",)]


def _ended(stack: Stack) -> int:
    states = stack.database.states()
    return states["succeeded"] + states["lost"]

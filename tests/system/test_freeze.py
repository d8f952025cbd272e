"""Services that stop for a while and then go on, as if nothing had happened."""

from __future__ import annotations

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

JOBS = 400


def test_a_frozen_injector_is_replaced_by_the_other_and_doubles_nothing_when_it_thaws(stack: Stack) -> None:
    stack.short_clocks()
    frozen, other = stack.service("injector", name="injector-1"), stack.service("injector", name="injector-2")
    stack.start(frozen, other, stack.service("results"), stack.runner(slots=8))
    traces, later = stack.traces(), stack.traces("later")
    stack.database.insert_jobs(JOBS, f"{traces.command}; sleep 0.05")
    stack.database.make_due()
    traces.wait_for(1)

    frozen.freeze()
    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] == JOBS)
    stack.database.rows("UPDATE jobs SET command = %s", later.command)
    stack.database.make_due()
    wait_until("all have run again", lambda: stack.database.states()["succeeded"] == 2 * JOBS)
    frozen.thaw()
    stack.database.run_now("id = 1")

    wait_until("another has run", lambda: stack.database.states()["succeeded"] == 2 * JOBS + 1)
    assert stack.database.states() == {"succeeded": 2 * JOBS + 1}
    told = traces.all() + later.all()
    assert len({run_id for run_id, _ in told}) == len(told) == 2 * JOBS + 1


def test_frozen_results_hold_up_nobody_for_long_and_double_nothing_when_they_thaw(stack: Stack) -> None:
    """Claims that they had taken are asked again, and answered by the others."""
    jobs = 150
    frozen = stack.service("results", name="results-1")
    stack.start(frozen, stack.service("injector"), stack.service("results", name="results-2"))
    stack.start(stack.runner(slots=8))
    traces = stack.traces()
    stack.database.insert_jobs(jobs, f"{traces.command}; sleep 0.05")
    stack.database.make_due()
    traces.wait_for(20)

    frozen.freeze()
    traces.wait_for(len(traces) + 20)
    frozen.thaw()

    wait_until("every run has ended", lambda: stack.database.states() == {"succeeded": jobs})
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told) == jobs


def test_a_frozen_runner_loses_nothing_when_it_thaws_in_time(stack: Stack) -> None:
    """Its processes don't care; its claims, grants and doorbells wait or are another's by then."""
    stack.short_clocks()
    frozen = stack.runner("frozen", slots=8)
    stack.start(stack.service("injector"), stack.service("results"), frozen)
    traces = stack.traces()
    stack.database.insert_jobs(JOBS, f"{traces.command}; sleep 0.05")
    stack.database.make_due()
    traces.wait_for(40)

    frozen.freeze()
    stack.start(stack.runner("other", slots=8))
    by_other = "SELECT COUNT(*) FROM runs WHERE state = 'succeeded' AND runner = 'other'"
    wait_until("the other works", lambda: int(str(stack.database.value(by_other))) >= 40)
    frozen.thaw()

    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] == JOBS)
    assert stack.database.states() == {"succeeded": JOBS}
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told) == JOBS


def test_fault_11_runs_of_a_runner_that_is_silent_for_long_are_lost_and_found_again(stack: Stack) -> None:
    stack.short_clocks()
    runner = stack.runner()
    stack.start(stack.service("injector"), stack.service("results"), runner)
    release, traces = stack.folder / "release", stack.traces()
    stack.database.insert_jobs(1, f"{traces.command}; until [ -e {release} ]; do sleep 0.05; done; exit 5")
    stack.database.run_now()
    wait_until("it runs", lambda: stack.database.state() == "running")
    run_id = stack.database.run().run_id

    runner.freeze()
    wait_until("it is lost", lambda: stack.database.state() == "lost")
    assert ("runner_lost", f"run {run_id}") in stack.database.open_alerts()
    release.touch()
    runner.thaw()

    wait_until("its true end is known", lambda: stack.database.state() == "failed")
    run = stack.database.run()
    assert (run.attempt, run.return_code, len(traces)) == (1, 5, 1)
    wait_until("the alert is cleared", lambda: stack.database.open_alerts() == set())

"""Cancelling through the API: what waits never starts, what runs is ended with all its processes."""

from __future__ import annotations

import time

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

KILL_WITHIN_S = 2.0  # from the request; what is asserted leaves room for a busy machine
SLACK_S = 8.0


def test_a_waiting_run_that_is_cancelled_never_starts(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"))
    _, api = stack.web()
    traces, others = stack.traces(), stack.traces("others")
    stack.database.insert_jobs(1, traces.command)
    stack.database.run_now()
    wait_until("its message waits on the broker", lambda: stack.broker.counts("cronq_jobs") == (1, 0))
    run_id = stack.database.run().run_id

    assert api.ask("POST", f"/api/runs/{run_id}/cancel").status == 202

    assert stack.database.state() == "cancelled"
    assert api.ask("POST", f"/api/runs/{run_id}/cancel").status == 409
    stack.start(stack.runner())
    wait_until("its message is gone", lambda: stack.broker.counts("cronq_jobs") == (0, 0))
    stack.database.rows("UPDATE jobs SET command = %s", others.command)
    stack.database.run_now()
    wait_until("another has run", lambda: stack.database.states() == {"cancelled": 1, "succeeded": 1})
    assert (len(traces), len(others)) == (0, 1)


def test_a_running_job_that_is_cancelled_is_asked_to_end(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    _, api = stack.web()
    asked, children = stack.folder / "asked", stack.folder / "children"
    stack.database.insert_jobs(
        1,
        f"trap 'date +%s.%N > {asked}; exit 7' TERM;"
        f" sh -c 'sleep 600 & sleep 600' & echo $! > {children}; while :; do sleep 0.05; done",
    )
    stack.database.run_now()
    wait_until("it runs", lambda: stack.database.state() == "running" and children.exists())
    run_id = stack.database.run().run_id

    cancelled_at = time.time()
    assert api.ask("POST", f"/api/runs/{run_id}/cancel").status == 202

    wait_until("it is cancelled", lambda: stack.database.state() == "cancelled")
    lag = float(asked.read_text()) - cancelled_at
    assert lag < KILL_WITHIN_S + SLACK_S, lag
    run = stack.database.run()
    assert (run.return_code, run.attempt) == (7, 1)
    assert stack.job_pids(run_id) == []


def test_fault_40_a_job_that_ignores_the_request_is_killed_after_its_grace(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    _, api = stack.web()
    traces = stack.traces()
    deaf = f"trap '' TERM; {traces.command}; while :; do sleep 0.05; done"
    api.put_category("deaf", {"name": "deaf", "schedule": "0 0 1 1 *", "command": deaf, "kill_grace": "1s"})
    stack.database.run_now()
    traces.wait_for(1)
    wait_until("it runs", lambda: stack.database.state() == "running")
    run_id = stack.database.run().run_id

    assert api.ask("POST", f"/api/runs/{run_id}/cancel").status == 202

    wait_until("it is cancelled", lambda: stack.database.state() == "cancelled")
    assert stack.database.run().signal == 9
    assert stack.job_pids(run_id) == []


def test_a_run_cancelled_between_claim_and_start_is_cancelled_once_and_for_all(stack: Stack) -> None:
    """Its runner is frozen with the grant on its way."""
    runner = stack.runner()
    results = stack.service("results")
    stack.start(stack.service("injector"), results, runner)
    _, api = stack.web()
    traces = stack.traces()
    stack.database.insert_jobs(1, traces.command)
    results.freeze()
    stack.database.run_now()
    wait_until("its claim waits", lambda: sum(stack.broker.counts("cronq_claims")) >= 1)
    runner.freeze()
    results.thaw()
    wait_until("it is claimed", lambda: stack.database.state() == "claimed")
    run_id = stack.database.run().run_id

    assert api.ask("POST", f"/api/runs/{run_id}/cancel").status == 202
    runner.thaw()

    wait_until("it is over", lambda: stack.database.state() in ("cancelled", "succeeded"))
    run = stack.database.run()
    assert run.attempt == 1
    assert len(traces) == (0 if run.started_at is None else 1)

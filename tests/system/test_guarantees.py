"""What becomes of runs whose host is gone for good, and of runs that fail, as the job asks for it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.stack import Process, Stack, wait_until
from tests.system.outside import Api

pytestmark = pytest.mark.system

HOURLY = "0 * * * *"


def put_and_run(api: Api, **job: object) -> str:
    """A job of one run; returns the run's id."""
    api.put_category("c", {"name": "job", "schedule": HOURLY, **job})
    [found] = api.get("/api/jobs")["data"]["jobs"]
    answer = api.ask("POST", f"/api/jobs/{found['id']}/run")
    assert answer.status == 202, answer
    return str(answer.json["run"]["id"])


def lose_the_host(stack: Stack, runner: Process, run_id: str) -> None:
    """Runner, keeper and job die at once, and never come back."""
    keeper, jobs = stack.keeper(runner.name), stack.job_pids(run_id)
    for pid in (runner.pid, keeper, *jobs):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("guarantee", "end"), [("at_most_once", "lost"), ("hold", "lost"), ("at_least_once", "succeeded")]
)
def test_fault_10_a_host_that_never_returns(stack: Stack, guarantee: str, end: str) -> None:
    stack.short_clocks()
    first, second = stack.runner("first", slots=1), stack.runner("second", slots=1)
    stack.start(stack.service("injector"), stack.service("results"), first)
    _, api = stack.web()
    traces = stack.traces()
    # The first attempt hangs, a second one ends.
    command = f'{traces.command}; test "$CRONQ_ATTEMPT" = 2 || sleep 600'
    run_id = put_and_run(api, command=command, guarantee=guarantee, retry_delay=0)
    wait_until("it runs", lambda: api.run(run_id)["state"] == "running")

    lose_the_host(stack, first, run_id)
    stack.start(second)

    wait_until("it is over", lambda: api.run(run_id)["state"] == end)
    found = api.run(run_id)
    attempts = {"succeeded": [1, 2], "lost": [1]}[end]
    assert traces.all() == [(run_id, n) for n in attempts]
    assert found["attempt"] == attempts[-1]
    assert found["needs_decision"] is (guarantee == "hold")
    is_told = ("runner_lost", f"run {run_id}") in stack.database.open_alerts()
    assert is_told is (end == "lost")
    if guarantee == "hold":
        again = api.ask("POST", f"/api/runs/{run_id}/decide", {"decision": "rerun"})
        assert again.status == 202, again
        rerun = again.json["data"]["run"]
        wait_until("it runs elsewhere", lambda: (rerun["id"], 1) in traces.all())
        assert api.run(rerun["id"])["trigger"] == "rerun"


def test_a_failing_job_is_tried_again_after_its_delay(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    _, api = stack.web()
    traces = stack.traces()

    run_id = put_and_run(
        api,
        command=f"{traces.command}; echo attempt $CRONQ_ATTEMPT of $CRONQ_FENCE; test $CRONQ_ATTEMPT = 3",
        max_attempts=3,
        retry_delay="1s",
        retry_backoff="exponential",
    )

    wait_until("it succeeded", lambda: api.run(run_id)["state"] == "succeeded")
    found = api.run(run_id)
    assert traces.all() == [(run_id, 1), (run_id, 2), (run_id, 3)]
    assert (found["attempt"], found["retries"], found["return_code"]) == (3, 2, 0)
    assert api.output(run_id) == f"attempt 3 of {run_id}:3\n"
    earlier = api.ask("GET", f"/api/runs/{run_id}/output?attempt=1").text
    assert earlier == f"attempt 1 of {run_id}:1\n"
    events = api.get(f"/api/runs/{run_id}/events")["data"]["events"]
    codes = {e["attempt"]: e["return_code"] for e in events if e["type"] == "finished"}
    assert codes == {1: 1, 2: 1, 3: 0}

"""Which runner gets a run: by its key, by free slots, and what a run costs the broker meanwhile."""

from __future__ import annotations

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system


def test_fault_24_a_run_waits_for_the_first_runner_of_its_key_and_says_so(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    traces = stack.traces()
    stack.database.insert_jobs(1, traces.command, key="gpu")
    stack.database.run_now()
    wait_until(
        "the run says why",
        lambda: stack.database.rows("SELECT state, reason FROM runs") == [("queued", "no_queue")],
    )
    wait_until("there is an alert", lambda: ("no_queue", "gpu") in stack.database.open_alerts())

    stack.start(stack.runner("gpu", "--queue", "gpu"))

    wait_until("it has run", lambda: stack.database.states() == {"succeeded": 1}, 15)
    wait_until("the alert is cleared", lambda: stack.database.open_alerts() == set(), 15)
    run = stack.database.run()
    assert (run.runner, run.reason, len(traces)) == ("gpu", None, 1)


def test_a_full_runner_holds_no_deliveries_while_another_is_free(stack: Stack) -> None:
    small = stack.runner("small", slots=1)
    stack.start(stack.service("injector"), stack.service("results"), small)
    traces, release = stack.traces(), stack.folder / "release"
    long = f"{traces.command}; until [ -e {release} ]; do sleep 0.1; done"
    stack.database.insert_jobs(1, long)
    stack.database.run_now()
    wait_until("its only slot is taken", lambda: stack.database.states() == {"running": 1})
    stack.database.insert_jobs(20, traces.command)
    stack.database.run_now("command NOT LIKE '%sleep%'")
    wait_until("the others wait", lambda: stack.database.states() == {"running": 1, "queued": 20})

    stack.start(stack.runner("big"))

    wait_until("the others have run", lambda: stack.database.states() == {"running": 1, "succeeded": 20}, 30)
    assert stack.database.rows("SELECT DISTINCT runner FROM runs WHERE state = 'succeeded'") == [("big",)]
    release.touch()
    wait_until("all have run", lambda: stack.database.states() == {"succeeded": 21})
    assert len(traces) == 21


def test_fault_23_a_run_needs_no_message_on_the_broker_while_it_lasts(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    release = stack.folder / "release"
    stack.database.insert_jobs(2, f"until [ -e {release} ]; do sleep 0.1; done")
    stack.database.run_now()
    wait_until("they run", lambda: stack.database.states() == {"running": 2})

    wait_until("nothing waits for an ack", lambda: stack.broker.counts("cronq_jobs") == (0, 0))

    assert stack.database.states() == {"running": 2}
    release.touch()
    wait_until("both have ended", lambda: stack.database.states() == {"succeeded": 2})

"""kill -9 of one service in the middle of a burst, twice: only time is lost."""

from __future__ import annotations

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

JOBS = 400
KILL_AT = (40, 200)  # so many have started


@pytest.mark.parametrize("victim", ["injector", "results", "runner"])
def test_fault_08_a_service_killed_in_the_middle_loses_and_doubles_nothing(stack: Stack, victim: str) -> None:
    stack.short_clocks()
    services = {
        "injector": stack.service("injector"),
        "results": stack.service("results"),
        "runner": stack.runner(slots=8),
    }
    stack.start(*services.values())
    traces = stack.traces()
    stack.database.insert_jobs(JOBS, f"{traces.command}; sleep 0.1")
    stack.database.make_due()

    for started in KILL_AT:
        traces.wait_for(started)
        services[victim].kill()
        services[victim].start()

    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] >= JOBS)
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told) == JOBS
    assert stack.database.states() == {"succeeded": JOBS}
    assert sorted(stack.database.rows("SELECT run_id, attempt FROM runs")) == sorted(told)
    assert stack.database.open_alerts() == set()

"""Many jobs due in one second, through two of everything."""

from __future__ import annotations

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

JOBS = 2000


def test_fault_04_each_of_2000_jobs_due_in_one_second_is_executed_once(stack: Stack) -> None:
    stack.start(
        stack.service("injector", name="injector-1"),
        stack.service("injector", name="injector-2"),
        stack.service("results", name="results-1"),
        stack.service("results", name="results-2"),
        stack.runner("runner-1"),
        stack.runner("runner-2"),
    )
    traces = stack.traces()
    stack.database.insert_jobs(JOBS, traces.command)

    stack.database.make_due()

    wait_until("every run has ended", lambda: stack.database.states()["succeeded"] >= JOBS)
    told = traces.all()
    assert len(told) == len(set(told)) == JOBS
    assert stack.database.states() == {"succeeded": JOBS}
    ledger = stack.database.rows("SELECT run_id, attempt FROM runs")
    assert sorted(ledger) == sorted(told)
    assert stack.database.value("SELECT COUNT(DISTINCT job_id) FROM runs") == JOBS
    assert stack.database.value("SELECT COUNT(DISTINCT locked_by) FROM jobs") == 2, "one injector did it all"
    assert stack.database.value("SELECT COUNT(DISTINCT runner) FROM runs") == 2, "one runner did it all"

"""`cronq up`: one command, everything on this host."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, Traces, wait_until
from tests.system.apis import YEARLY, api_of, run_now, up, wait_for_state
from tests.system.conftest import guarded

pytestmark = pytest.mark.system


@pytest.fixture
def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Without any server."""
    yield from guarded(request, Stack(tmp_path))


def a_long_job(traces: Traces, release: Path) -> dict[str, object]:
    command = (
        f"{traces.command}; echo before; until [ -e {release} ]; do sleep 0.05; done; echo after; exit 6"
    )
    return {"name": "long", "schedule": YEARLY, "command": command}


def test_jobs_put_to_a_fresh_up_run(embedded: Stack) -> None:
    process = up(embedded).start()
    api, traces = api_of(process), embedded.traces()

    each_second = {"name": "each second", "schedule": "R/2024-01-01T00:00:00Z/PT1S", "routing_key": "slow"}
    api.put_category("example", {**each_second, "command": f"{traces.command}; echo hi"})

    traces.wait_for(3)
    wait_until("three have succeeded", lambda: len(api.runs(state="succeeded")) >= 3)
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told)
    first = api.runs(state="succeeded")[-1]
    wait_until("its output is there", lambda: api.output(first["id"]) == "hi\n")
    assert process.terminate() == 0


def test_a_running_job_survives_kill_9_of_up(embedded: Stack) -> None:
    process, traces, release = up(embedded), embedded.traces(), embedded.folder / "release"
    process.start()
    api = api_of(process)
    quick_job = {"name": "quick", "schedule": YEARLY, "command": "echo quick"}
    api.put_category("example", a_long_job(traces, release), quick_job)
    quick = run_now(api, "quick")
    wait_for_state(api, quick, "succeeded")
    long = run_now(api, "long")
    wait_until("its first output has arrived", lambda: api.output(long) == "before\n")

    process.kill()
    wait_until("its children are gone", lambda: not embedded.services())
    assert embedded.job_pids(long)
    process.start()
    api = api_of(process)
    process.wait_for_log("run.adopted")
    assert api.run(long)["state"] == "running"
    release.touch()

    wait_for_state(api, long, "failed")
    run = api.run(long)
    assert (run["return_code"], run["attempt"], len(traces)) == (6, 1, 1)
    wait_until("all output is there", lambda: api.output(long) == "before\nafter\n")
    assert api.run(quick)["state"] == "succeeded"
    assert [job["name"] for job in api.get("/api/jobs")["data"]["jobs"]] == ["long", "quick"]


def test_a_run_that_waited_when_up_was_killed_starts_soon_after_the_next_start(embedded: Stack) -> None:
    embedded.env["CRONQ_SLOTS"] = "1"
    process, traces, release = up(embedded), embedded.traces(), embedded.folder / "release"
    process.start()
    api = api_of(process)
    api.put_category(
        "example", a_long_job(traces, release), {"name": "next", "schedule": YEARLY, "command": "true"}
    )
    long = run_now(api, "long")
    wait_for_state(api, long, "running")
    waiting = run_now(api, "next")
    wait_for_state(api, waiting, "queued")

    process.kill()
    process.start()
    api = api_of(process)
    release.touch()
    wait_for_state(api, long, "failed")

    published_again_at_the_latest_s = 60
    wait_until(
        "it has run", lambda: api.run(waiting)["state"] == "succeeded", published_again_at_the_latest_s / 2
    )


def test_ctrl_c_leaves_jobs_running_for_the_next_up(embedded: Stack) -> None:
    process, traces, release = up(embedded), embedded.traces(), embedded.folder / "release"
    process.start()
    api = api_of(process)
    api.put_category("example", a_long_job(traces, release))
    long = run_now(api, "long")
    wait_for_state(api, long, "running")

    process.signal(signal.SIGINT)
    assert process.exit_code() == 0
    assert embedded.job_pids(long)
    release.touch()
    wait_until("the job has ended", lambda: not embedded.job_pids(long))
    process.start()

    api = api_of(process)
    wait_for_state(api, long, "failed")
    assert (api.run(long)["return_code"], len(traces)) == (6, 1)


def test_ctrl_c_in_the_demo_kills_jobs(embedded: Stack) -> None:
    process, traces, release = up(embedded, "--demo"), embedded.traces(), embedded.folder / "release"
    process.start()
    api = api_of(process)
    assert {"demo", "gpu", "reports"} <= {
        job["category"]["name"] for job in api.get("/api/jobs")["data"]["jobs"]
    }
    api.put_category("example", a_long_job(traces, release))
    long = run_now(api, "long")
    wait_for_state(api, long, "running")

    process.signal(signal.SIGINT)

    assert process.exit_code() == 0
    assert not embedded.job_pids(long)
    wait_until("no keeper is left", lambda: not embedded.keepers())
    process.start()
    api = api_of(process)
    assert api.run(long)["state"] == "cancelled"


def test_a_second_up_on_the_same_state_is_refused(embedded: Stack) -> None:
    first = up(embedded).start()
    api_of(first)

    second = up(embedded, name="second").start()

    assert second.exit_code() == os.EX_CONFIG
    [line] = second.output().splitlines()
    assert str(embedded.state) in line
    assert first.is_running


def test_up_with_servers_runs_several_processes_and_ends_them_all(stack: Stack) -> None:
    stack.env["DATABASE_URL"] = stack.database.url
    process, traces = up(stack), stack.traces()
    process.start()
    api = api_of(process)
    api.put_category("example", {"name": "job", "schedule": YEARLY, "command": traces.command})

    run_id = run_now(api, "job")

    wait_for_state(api, run_id, "succeeded")
    assert len(traces) == 1
    assert stack.services() >= {"injector", "results", "runner", "web"}
    assert process.terminate() == 0
    assert stack.services() == set()


def test_the_services_of_a_killed_up_end_by_themselves_and_their_jobs_do_not(stack: Stack) -> None:
    stack.env["DATABASE_URL"] = stack.database.url
    process, traces, release = up(stack), stack.traces(), stack.folder / "release"
    process.start()
    api = api_of(process)
    api.put_category("example", a_long_job(traces, release))
    long = run_now(api, "long")
    wait_until("its first output has arrived", lambda: api.output(long) == "before\n")

    process.kill()
    wait_until("its services have ended", lambda: stack.services() == set())
    assert stack.job_pids(long)
    process.start()
    api = api_of(process)
    release.touch()

    wait_for_state(api, long, "failed")
    assert (api.run(long)["return_code"], len(traces)) == (6, 1)


def test_a_killed_up_loses_and_doubles_nothing(embedded: Stack) -> None:
    """Its messages are gone with its memory; the ledger and the keeper's journal are not."""
    jobs = 100
    embedded.env["CRONQ_SLOTS"] = "4"
    process, traces = up(embedded.short_clocks()), embedded.traces()
    process.start()
    api = api_of(process)
    named = [{"name": f"job {n}", "schedule": YEARLY} for n in range(jobs)]
    api.put_category("example", *({**job, "command": f"{traces.command}; sleep 0.1"} for job in named))
    embedded.sqlite("UPDATE jobs SET run_now = 1")

    for started in (20, 60):
        traces.wait_for(started)
        process.kill()
        process.start()
    api = api_of(process)

    states = "SELECT state, COUNT(*) FROM runs GROUP BY state"
    wait_until("every run has ended", lambda: embedded.sqlite(states) == [("succeeded", jobs)])
    told = traces.all()
    assert len({run_id for run_id, _ in told}) == len(told) == jobs
    assert sorted(embedded.sqlite("SELECT run_id, attempt FROM runs")) == sorted(told)

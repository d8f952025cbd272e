"""A `cronq up`, and what is asked of any API."""

from __future__ import annotations

import re

from tests.stack import Api, Process, Stack, wait_until

YEARLY = "0 0 1 1 *"


def up(stack: Stack, *args: str, name: str = "up") -> Process:
    return stack.command("up", "--port", "0", "--state", str(stack.state), *args, name=name, env=stack.env)


def api_of(process: Process) -> Api:
    """Of a `cronq up` that is ready, as its ready line tells it."""
    found = re.match(r"ready (http://[0-9.]+:[0-9]+)/", process.ready_line("ready http"))
    assert found
    return Api(found[1])


def run_now(api: Api, name: str) -> str:
    """Ask for a run of this job; its id."""
    [job_id] = [job["id"] for job in api.get("/api/jobs")["data"]["jobs"] if job["name"] == name]
    answer = api.ask("POST", f"/api/jobs/{job_id}/run")
    assert answer.status == 202, answer
    return str(answer.json["run"]["id"])


def wait_for_state(api: Api, run_id: str, state: str) -> None:
    wait_until(f"the run is {state}", lambda: api.run(run_id)["state"] == state)

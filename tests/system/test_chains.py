"""Jobs that start after others, with real processes: embedded, and on servers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.stack import Api, wait_until
from tests.system.apis import YEARLY, run_now

pytestmark = pytest.mark.system

EACH_3_S = "R/2024-01-01T00:00:00Z/PT3S"


def job_id(api: Api, name: str) -> int:
    [found] = [job["id"] for job in api.get("/api/jobs")["data"]["jobs"] if job["name"] == name]
    return int(found)


def runs(api: Api, name: str, **wanted: str) -> list[dict[str, Any]]:
    return api.runs(**{"job.id": str(job_id(api, name)), "limit": "100"}, **wanted)


def test_a_success_and_a_failure_start_the_jobs_that_come_after_them(api: Api) -> None:
    api.put_category(
        "etl",
        {"name": "good", "schedule": YEARLY, "command": "true"},
        {"name": "bad", "schedule": YEARLY, "command": "exit 3"},
        {"name": "load", "after": ["good", "bad"], "command": "echo $CRONQ_TRIGGER $CRONQ_SCHEDULED_FOR"},
        {"name": "alarm", "after": [{"job": "bad", "on": "failure"}], "command": "true"},
        {"name": "log", "after": {"job": "load", "on": "end"}, "command": "true"},
    )
    good, bad = run_now(api, "good"), run_now(api, "bad")

    for name in ("load", "alarm", "log"):
        wait_until(f"{name} has run", partial(runs, api, name, state="succeeded"))

    [load], [alarm], [log] = (runs(api, name) for name in ("load", "alarm", "log"))
    assert (load["caused_by"], alarm["caused_by"], log["caused_by"]) == (good, bad, load["id"])
    assert (api.run(good)["caused"], api.run(load["id"])["caused"]) == ([load["id"]], [log["id"]])
    assert {run["trigger"] for run in (load, alarm, log)} == {"chain"}
    assert log["scheduled_for"] == load["scheduled_for"] == api.run(good)["scheduled_for"]
    wait_until("its output is there", lambda: api.output(load["id"]) == f"chain {load['scheduled_for']}\n")


def test_a_join_runs_once_for_each_slot_that_all_have_ended_for(api: Api) -> None:
    api.put_category(
        "etl",
        {"name": "extract", "schedule": EACH_3_S, "command": "true"},
        {"name": "count", "schedule": EACH_3_S, "command": "sleep 0.5"},
        {"name": "report", "after": {"all": ["extract", "count"]}, "command": "true"},
    )

    wait_until("it has run for three slots", lambda: len(runs(api, "report", state="succeeded")) >= 3)

    reports = runs(api, "report")
    slots = Counter(run["scheduled_for"] for run in reports)
    assert set(slots.values()) == {1}
    for run in reports:
        cause = api.run(run["caused_by"])
        assert (cause["state"], cause["scheduled_for"]) == ("succeeded", run["scheduled_for"])
        assert cause["recorded_at"] <= run["created_at"]

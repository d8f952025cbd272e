"""Overlap, locks, limits and pauses with real processes: embedded, and on servers."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.stack import Api, wait_until
from tests.system.apis import YEARLY, run_now, wait_for_state

pytestmark = pytest.mark.system


def put(api: Api, **fields: object) -> None:
    api.put_category("ops", {"name": "job", "schedule": YEARLY, "command": "true", **fields})


def order(api: Api, count: int) -> list[str]:
    return [run_now(api, "job") for _ in range(count)]


def all_have(api: Api, made: list[str], state: str) -> bool:
    return all(api.run(run_id)["state"] == state for run_id in made)


def at(run: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(run[name])


def test_a_lock_lets_one_after_the_other_through(api: Api) -> None:
    put(api, locks=["db"], command="sleep 0.3")

    made = order(api, 4)
    wait_until("all have run", lambda: all_have(api, made, "succeeded"))

    found = sorted((api.run(run_id) for run_id in made), key=lambda run: at(run, "started_at"))
    assert [run["id"] for run in found] == made
    for before, after in pairwise(found):
        assert at(before, "finished_at") <= at(after, "started_at")


def test_fault_45_skip_leaves_the_one_that_runs_alone(api: Api) -> None:
    put(api, overlap="skip", command="sleep 30")
    [first] = order(api, 1)
    wait_for_state(api, first, "running")

    [second] = order(api, 1)
    wait_for_state(api, second, "skipped")

    assert api.run(second)["reason"] == f"overlap: run {first} has not ended"
    assert api.run(first)["state"] == "running"


def test_fault_45_replace_kills_the_one_that_runs_and_starts_after_it(api: Api) -> None:
    put(api, overlap="replace", command="sleep 30")
    [first] = order(api, 1)
    wait_for_state(api, first, "running")

    [second] = order(api, 1)
    wait_for_state(api, second, "running")

    killed, running = api.run(first), api.run(second)
    assert (killed["state"], killed["signal"]) == ("cancelled", 15)
    assert at(killed, "finished_at") <= at(running, "started_at")


def test_a_paused_queue_holds_what_is_asked_for_until_it_is_resumed(api: Api) -> None:
    put(api)
    assert api.ask("POST", "/api/queues/default/pause", {"reason": "maintenance"}).status == 200
    [made] = order(api, 1)
    wait_until("it says what it waits for", lambda: "pause" in str(api.run(made)["waiting"]))

    assert api.ask("POST", "/api/queues/default/resume").status == 200

    wait_for_state(api, made, "succeeded")

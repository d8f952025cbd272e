"""Rows written by hand with the ancestor's columns only."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

PROMPT_S = 1.0  # of an idle system; what is asserted leaves room for a busy machine
STARTED_AT = "date +%s.%N >> {file}"


@pytest.fixture
def idle(stack: Stack) -> Stack:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    return stack


def test_run_now_starts_an_idle_job_at_once(
    idle: Stack, record_property: Callable[[str, object], None]
) -> None:
    file = idle.folder / "started_at"
    idle.database.insert_jobs(1, STARTED_AT.format(file=file))
    wait_until("the job is known", lambda: idle.database.value("SELECT revision FROM jobs"))
    lags = []
    for presses in range(1, 4):
        pressed_at = time.time()
        idle.database.run_now()
        times = wait_until("it has started", partial(_numbers, file, presses))
        lags.append(times[-1] - pressed_at)
    record_property("run_now_lag_s", [round(lag, 3) for lag in lags])
    assert min(lags) < PROMPT_S, lags
    wait_until("all succeeded", lambda: idle.database.states() == {"succeeded": 3})
    assert idle.database.rows("SELECT DISTINCT triggered_by FROM runs") == [("manual",)]


def test_a_job_inserted_by_hand_runs_on_its_interval(idle: Stack) -> None:
    file = idle.folder / "started_at"
    an_hour_ago = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    idle.database.insert_jobs(
        1, STARTED_AT.format(file=file), interval="00:00:02", next_run=f"{an_hour_ago:%Y-%m-%d %H:%M:%S}"
    )

    times = wait_until("it has run four times", lambda: _numbers(file, 4))

    # The first is for the past; those that follow keep the interval's rhythm.
    gaps = [after - before for before, after in pairwise(times[1:])]
    assert all(0.5 < gap < 3.5 for gap in gaps), gaps
    off_beat = "SELECT COUNT(*) FROM runs WHERE MOD(SECOND(scheduled_for), 2) <> 0"
    assert idle.database.value(off_beat) == 0
    missed = "SELECT reason, COUNT(*) FROM runs WHERE state = 'missed' AND missed_count > 1700"
    assert idle.database.rows(missed) == [("misfire", 1)], "the hour is one row"


def test_a_job_without_next_run_begins_by_itself(idle: Stack) -> None:
    traces = idle.traces()
    idle.database.rows(
        "INSERT INTO jobs (name, `interval`, command, routing_key) VALUES"
        " ('by hand', '1970-01-01 00:00:01', %s, 'default')",
        traces.command,
    )

    wait_until("it has run twice", lambda: len(traces) >= 2)


def test_run_now_pressed_many_times_at_once_is_one_run(stack: Stack) -> None:
    injector = stack.service("injector")
    stack.start(injector, stack.service("results"), stack.runner())
    traces = stack.traces()
    stack.database.insert_jobs(1, traces.command)
    wait_until("the job is known", lambda: stack.database.value("SELECT revision FROM jobs"))

    injector.freeze()  # so that it sees all of them at once
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: stack.database.run_now(), range(40)))
    injector.thaw()

    wait_until("it has run", lambda: stack.database.states() == {"succeeded": 1})
    assert stack.database.value("SELECT run_now FROM jobs") == 0
    stack.database.run_now()
    wait_until("it has run again", lambda: stack.database.states() == {"succeeded": 2})
    assert len(traces) == 2


def _numbers(file: Path, at_least: int) -> list[float]:
    """What is in the file, once there are so many lines."""
    found = [float(line) for line in file.read_text().splitlines()] if file.exists() else []
    return found if len(found) >= at_least else []

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.gate import (
    ALL,
    CATCH_UP,
    NOTHING_CLOSED,
    Closed,
    Decision,
    Gates,
    Go,
    Hold,
    Limit,
    Need,
    Park,
    Place,
    Skip,
    Waiting,
    after_starts,
    first_fitting,
    needs,
    rate_of,
    tokens,
)
from cronq.domain.job import JobSpec, read_job
from cronq.domain.overlap import Overlap, Rule, parse_overlap
from cronq.domain.run import State, Trigger

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
JOB, LOCK = "job:7", "lock:db"


def spec(**fields: object) -> JobSpec:
    return read_job({"name": "job", "schedule": "* * * * *", "command": "true", **fields})


def run(name: str, *asked: Need, overlap: str = "allow", priority: int = 0) -> Waiting:
    return Waiting(name, priority, 0, asked, parse_overlap(overlap) or Overlap(Rule.ALLOW))


def decide(
    *runs: Waiting,
    limits: Mapping[str, Limit] | None = None,
    holds: Mapping[str, Sequence[Hold]] | None = None,
    parked: Mapping[str, Sequence[Place]] | None = None,
) -> list[Decision]:
    gates = Gates(limits or {}, holds or {}, parked or {}, NOW)
    return [gates.decide(each) for each in runs]


def holder(name: str, state: State = State.RUNNING, weight: int = 1) -> Hold:
    return Hold(name, state, weight)


# -- which gates a job's runs need


def test_a_plain_job_needs_none() -> None:
    assert needs(7, 3, spec(), {}) == ()
    assert needs(7, 3, spec(), {"category:4": Limit(1), "queue:slow": Limit(1)}) == ()


def test_its_overlap_rule_comes_first_then_locks_then_what_has_a_limit() -> None:
    job = spec(overlap="skip", locks=["db", "api:2"], routing_key="slow")

    found = needs(7, 3, job, {"category:3": Limit(5), "queue:slow": Limit(rate=1, period=SECOND)})

    assert found == (
        Need("job:7", capacity=1),
        Need("lock:api", 2),
        Need("lock:db", 1),
        Need("category:3"),
        Need("queue:slow"),
    )


@pytest.mark.parametrize(
    ("text", "capacity"), [("allow(3)", 3), ("skip", 1), ("queue(2)", 1), ("replace", 1)]
)
def test_the_capacity_of_a_jobs_gate_is_that_of_its_rule(text: str, capacity: int) -> None:
    assert needs(7, 3, spec(overlap=text), {}) == (Need("job:7", capacity=capacity),)


# -- overlap


@pytest.mark.parametrize("state", [State.SCHEDULED, State.QUEUED, State.CLAIMED, State.RUNNING])
def test_skip_names_the_run_that_has_not_ended(state: State) -> None:
    [decision] = decide(run("b", Need(JOB, capacity=1), overlap="skip"), holds={JOB: [holder("a", state)]})

    assert decision == Skip("overlap: run a has not ended")


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.LOST, State.CANCELLED])
def test_a_run_that_has_ended_is_in_nobodys_way(state: State) -> None:
    assert decide(run("b", Need(JOB, capacity=1), overlap="skip"), holds={JOB: [holder("a", state)]}) == [
        Go()
    ]


def test_of_two_in_one_step_the_second_meets_the_first() -> None:
    asked = Need(JOB, capacity=1)

    assert decide(run("a", asked, overlap="skip"), run("b", asked, overlap="skip")) == [
        Go(),
        Skip("overlap: run a has not ended"),
    ]


def test_queue_lets_so_many_wait_and_skips_the_next() -> None:
    asked = Need(JOB, capacity=1)
    four = [run(name, asked, overlap="queue(2)") for name in "abcd"]

    assert decide(*four) == [Go(), Park(JOB), Park(JOB), Skip("overlap: 2 wait already for run a")]


def test_allow_with_a_number_lets_the_others_wait() -> None:
    asked = Need(JOB, capacity=2)

    assert decide(*(run(name, asked, overlap="allow(2)") for name in "abc")) == [Go(), Go(), Park(JOB)]


def test_replace_kills_what_runs_and_takes_the_place_of_what_waits() -> None:
    asked = Need(JOB, capacity=1)

    decisions = decide(
        run("c", asked, overlap="replace"),
        run("d", asked, overlap="replace"),
        holds={JOB: [holder("a")]},
        parked={JOB: [(0, 0, "b")]},
    )

    assert decisions == [
        Park(JOB, kill=("a",), instead_of=("b",)),
        Park(JOB, kill=("a",), instead_of=("c",)),
    ]


def test_a_retry_that_holds_its_jobs_gate_goes_through() -> None:
    assert decide(
        run("a", Need(JOB, capacity=1), overlap="skip"), holds={JOB: [holder("a", State.SCHEDULED)]}
    ) == [Go()]


def test_a_run_that_waits_for_a_lock_is_in_the_way_of_its_jobs_next_one() -> None:
    asked = (Need(JOB, capacity=1), Need(LOCK))

    decisions = decide(
        run("b", *asked, overlap="skip"),
        run("c", *asked, overlap="skip"),
        holds={LOCK: [holder("a")]},
    )

    assert decisions == [Park(LOCK), Skip("overlap: run b has not ended")]


# -- capacity


def test_a_lock_that_nobody_set_lets_one_in() -> None:
    assert decide(run("a", Need(LOCK)), run("b", Need(LOCK))) == [Go(), Park(LOCK)]


def test_weights_add_up() -> None:
    runs = [run(name, Need(LOCK, weight)) for name, weight in (("a", 2), ("b", 2), ("c", 1))]

    assert decide(*runs, limits={LOCK: Limit(4)}) == [Go(), Go(), Park(LOCK)]


def test_one_that_is_heavier_than_the_whole_gate_goes_alone() -> None:
    limits = {LOCK: Limit(4)}

    assert decide(run("a", Need(LOCK, 9)), run("b", Need(LOCK)), limits=limits) == [Go(), Park(LOCK)]
    assert decide(run("b", Need(LOCK, 9)), limits=limits, holds={LOCK: [holder("a")]}) == [Park(LOCK, 4)]


def test_nobody_passes_those_who_came_before_and_wait_there() -> None:
    parked = {LOCK: [(0, 0, "b")]}

    assert decide(run("c", Need(LOCK)), parked=parked) == [Park(LOCK)]
    assert decide(run("a", Need(LOCK)), parked=parked) == [Go()]
    assert decide(run("c", Need(LOCK), priority=-1), parked=parked) == [Go()]


def test_a_run_that_waits_for_its_next_attempt_holds_no_lock() -> None:
    assert decide(run("b", Need(LOCK)), holds={LOCK: [holder("a", State.SCHEDULED)]}) == [Go()]


def test_a_blocked_run_takes_none_of_the_gates_before() -> None:
    first = run("b", Need("lock:api"), Need(LOCK))

    decisions = decide(first, run("c", Need("lock:api")), holds={LOCK: [holder("a")]})

    assert decisions == [Park(LOCK), Go()]


def test_a_limit_of_none_at_all_holds_everybody() -> None:
    assert decide(run("a", Need("queue:slow")), limits={"queue:slow": Limit(0)}) == [Park("queue:slow")]


# -- rates


def test_a_rate_lets_its_burst_go_and_the_rest_wait() -> None:
    limits = {"queue:slow": Limit(rate=2, period=timedelta(minutes=1))}

    decisions = decide(*(run(name, Need("queue:slow")) for name in "abcd"), limits=limits)

    assert decisions == [Go(), Go(), Park(rate_of("queue:slow")), Park(rate_of("queue:slow"))]


def test_nobody_passes_those_who_wait_for_the_rate() -> None:
    limits = {"queue:slow": Limit(rate=2, period=SECOND)}
    parked = {rate_of("queue:slow"): [(0, 0, "a")]}

    assert decide(run("b", Need("queue:slow")), limits=limits, parked=parked) == [Park("queue:slow")]


@given(
    st.integers(1, 50),
    st.integers(1, 600),
    st.lists(st.integers(0, 5_000), min_size=1, max_size=200),
)
def test_no_period_has_more_starts_than_twice_the_rate_and_the_long_run_keeps_it(
    rate: int, period_s: int, gaps_ms: list[int]
) -> None:
    """A burst of one period's worth, then one each period / rate."""
    limit = Limit(rate=rate, period=timedelta(seconds=period_s))
    now, next_at, starts = NOW, None, 0
    for gap in gaps_ms:
        now += timedelta(milliseconds=gap)
        allowed = tokens(limit, now, next_at=next_at)
        if allowed:
            next_at = after_starts(limit, allowed, now, next_at=next_at)
            starts += allowed
        assert tokens(limit, now, next_at=next_at) == 0
    elapsed = (now - NOW).total_seconds()
    assert starts <= rate + elapsed * rate / period_s + 1e-6


def test_a_rate_that_waited_is_worth_one_period_at_most() -> None:
    limit = Limit(rate=10, period=SECOND, next_at=NOW - timedelta(days=1))

    assert tokens(limit, NOW) == 10


# -- what is closed


def gate(closed: Closed, trigger: str = Trigger.SCHEDULE) -> str | None:
    return closed.gate(job_id=7, category_id=3, routing_key="slow", trigger=trigger)


@pytest.mark.parametrize("subject", [ALL, "category:3", "queue:slow", "job:7"])
def test_a_pause_holds_what_comes_by_itself(subject: str) -> None:
    closed = Closed(frozenset({subject}))

    assert gate(closed) == gate(closed, Trigger.CHAIN) == f"pause:{subject}"


@pytest.mark.parametrize("subject", ["category:4", "queue:default", "job:8"])
def test_a_pause_of_another_holds_nothing(subject: str) -> None:
    assert gate(Closed(frozenset({subject}))) is None
    assert gate(NOTHING_CLOSED) is None


@pytest.mark.parametrize("trigger", [Trigger.MANUAL, Trigger.API, Trigger.RERUN])
def test_what_a_person_asks_for_passes_a_pause_but_not_that_of_its_queue(trigger: Trigger) -> None:
    assert gate(Closed(frozenset({ALL, "category:3", "job:7"})), trigger) is None
    assert gate(Closed(frozenset({"queue:slow"})), trigger) == "pause:queue:slow"


def test_a_maintenance_window_holds_everything() -> None:
    closed = Closed(windows={"category:3": "night"})

    assert gate(closed, Trigger.MANUAL) == "window:night"
    assert not closed.is_open("window:night")
    assert closed.is_open("window:day")
    assert closed.is_open("pause:all")


# -- setting free


@pytest.mark.parametrize(
    ("room", "weights", "count"),
    [(None, [1, 9, 1], 3), (2, [1, 1, 1], 2), (2, [1, 2, 1], 1), (0, [1], 0), (-3, [1], 0), (5, [], 0)],
)
def test_the_first_that_does_not_fit_stops_the_rest(room: int | None, weights: list[int], count: int) -> None:
    assert first_fitting(room, weights) == count


def test_the_gate_of_what_is_late_is_a_rate() -> None:
    assert CATCH_UP.startswith("rate:")

"""Waiting runs: who goes, who waits at a gate, and who is set free from it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.event import EventType
from cronq.domain.gate import Limit
from cronq.domain.run import Denial, State, Trigger
from cronq.injector.expand import expand_once
from cronq.injector.release import expire_once, forget_once, release_once, set_free_once
from cronq.store import dialect, freeing, leases, limits, line, lost, requests, runs
from cronq.store.claims import Granted
from cronq.store.requests import Wish
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    ask,
    claim,
    definition,
    execute,
    insert_run,
    job_named,
    put,
    run_of,
    runs_of,
    said,
    select,
    states_of,
    tell,
)

LEASE = 2 * SECOND
RATE = 1_000_000


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    return clock


def job(db: store.Store, name: str = "job", category: str = "cat", **fields: object) -> int:
    put(db, definition(name, **{"schedule": "@hourly", **fields}), category=category)
    return job_named(db, name).id


def order(db: store.Store, job_id: int, clock: Clock, trigger: Trigger = Trigger.API) -> str:
    """A wish, a moment after the one before: the order of ids is that of the wishes."""
    now = clock.tick(timedelta(milliseconds=2))
    return db.transact(lambda tx: requests.request_run(tx, Wish(job_id, trigger, "ana"), now))


def step(db: store.Store, window: int = 1_000) -> None:
    """As the injector does it, until nothing moves."""
    for _ in range(50):
        if not set_free_once(db, catch_up_rate=RATE) + release_once(db, window):
            return
    raise AssertionError("runs go round in circles")


def start(db: store.Store, made: str, clock: Clock) -> None:
    assert isinstance(ask(db, claim(made), now=clock.now), Granted)
    tell(db, said(EventType.STARTING, made), now=clock.now)


def end(db: store.Store, made: str, clock: Clock, code: int = 0) -> None:
    tell(db, said(EventType.FINISHED, made, return_code=code, at=clock.now), now=clock.now)


def limit(db: store.Store, name: str, **of: Any) -> None:
    db.transact(lambda tx: limits.set_limit(tx, name, Limit(**of), "ana", NOON))


def pause(db: store.Store, subject: str) -> None:
    execute(
        db,
        "INSERT INTO pauses (subject, since) VALUES (:subject, :since)",
        subject=subject,
        since="2026-11-21",
    )


def state(db: store.Store, made: str) -> str:
    return str(run_of(db, made)["state"])


def reason(db: store.Store, made: str) -> str | None:
    found: str | None = run_of(db, made)["reason"]
    return found


def queued(db: store.Store) -> list[str]:
    return [r["run_id"] for r in runs_of(db) if r["state"] == State.QUEUED]


def gate_of(db: store.Store, made: str) -> str | None:
    found = select(db, "SELECT gate FROM parked WHERE run_id = :made", made=made)
    return found[0]["gate"] if found else None


# -- locks and limits


def test_a_lock_is_held_from_the_release_to_the_end(db: store.Store, clock: Clock) -> None:
    put(db, definition("a", locks=["db"]), definition("b", locks=["db"]))
    first = order(db, job_named(db, "a").id, clock)
    second = order(db, job_named(db, "b").id, clock)
    step(db)
    assert (state(db, first), state(db, second), gate_of(db, second)) == ("queued", "scheduled", "lock:db")
    start(db, first, clock)
    step(db)
    assert state(db, second) == "scheduled"

    end(db, first, clock)
    step(db)

    assert (state(db, second), gate_of(db, second)) == ("queued", None)


@pytest.mark.parametrize("name", ["lock:db", "category", "queue:slow"])
def test_many_drain_through_a_limit_in_order_and_never_too_many_at_once(
    db: store.Store, clock: Clock, name: str
) -> None:
    job_id = job(db, locks=["db"] if name == "lock:db" else [], routing_key="slow")
    if name == "category":
        [row] = select(db, "SELECT id FROM categories")
        name = f"category:{row['id']}"
    limit(db, name, capacity=3)
    made = [order(db, job_id, clock) for _ in range(60)]

    done: list[str] = []
    while len(done) < len(made):
        step(db)
        going = queued(db)
        assert 1 <= len(going) <= 3
        start(db, going[0], clock)
        end(db, going[0], clock)
        done.append(going[0])

    assert done == made


def test_weights_take_so_much_of_a_lock(db: store.Store, clock: Clock) -> None:
    put(db, definition("heavy", locks=["db:3"]), definition("light", locks=["db"]))
    limit(db, "lock:db", capacity=4)
    heavy, light = job_named(db, "heavy").id, job_named(db, "light").id

    made = [order(db, job_id, clock) for job_id in (heavy, light, heavy, light)]
    step(db)

    assert [state(db, m) for m in made] == ["queued", "queued", "scheduled", "scheduled"]


def test_a_better_priority_goes_first_through_a_gate(db: store.Store, clock: Clock) -> None:
    put(db, definition("low", locks=["db"], priority=5), definition("high", locks=["db"], priority=-5))
    running = order(db, job_named(db, "low").id, clock)
    step(db)
    low, high = (order(db, job_named(db, name).id, clock) for name in ("low", "high"))
    step(db)
    start(db, running, clock)

    end(db, running, clock)
    step(db)

    assert (state(db, high), state(db, low)) == ("queued", "scheduled")


def test_runs_under_way_count_when_a_limit_comes(db: store.Store, clock: Clock) -> None:
    job_id = job(db, routing_key="slow")
    first = order(db, job_id, clock)
    step(db)
    start(db, first, clock)

    limit(db, "queue:slow", capacity=1)
    second = order(db, job_id, clock)
    step(db)

    assert (state(db, second), gate_of(db, second)) == ("scheduled", "queue:slow")


def test_a_limit_that_is_lifted_lets_all_go(db: store.Store, clock: Clock) -> None:
    job_id = job(db, routing_key="slow")
    limit(db, "queue:slow", capacity=1)
    made = [order(db, job_id, clock) for _ in range(4)]
    step(db)

    limit(db, "queue:slow")
    step(db)

    assert {state(db, m) for m in made} == {"queued"}


def test_one_that_is_cancelled_at_a_gate_is_in_nobodys_way(db: store.Store, clock: Clock) -> None:
    job_id = job(db, locks=["db"])
    first, second, third = (order(db, job_id, clock) for _ in range(3))
    step(db)
    db.transact(lambda tx: runs.request_cancel(tx, second, "ana", NOON))
    start(db, first, clock)
    end(db, first, clock)

    step(db)

    assert (state(db, second), state(db, third)) == ("cancelled", "queued")
    assert select(db, "SELECT * FROM parked") == []


def test_what_is_lost_gives_its_lock_back(db: store.Store, clock: Clock) -> None:
    job_id = job(db, locks=["db"])
    first, second = order(db, job_id, clock), order(db, job_id, clock)
    step(db)
    start(db, first, clock)
    execute(db, "UPDATE runs SET state = 'lost', lease_until = NULL WHERE run_id = :r", r=first)

    step(db)

    assert state(db, second) == "queued"


def test_a_lost_run_that_never_started_asks_for_its_lock_again(db: store.Store, clock: Clock) -> None:
    job_id = job(db, locks=["db"])
    first, second = order(db, job_id, clock), order(db, job_id, clock)
    step(db)
    assert isinstance(ask(db, claim(first), now=clock.now), Granted)
    execute(db, "UPDATE runs SET state = 'lost', lease_until = NULL WHERE run_id = :r", r=first)
    step(db)
    tell(db, said(EventType.NOT_STARTED, first), now=clock.now)

    step(db)

    assert (state(db, first), gate_of(db, first), state(db, second)) == ("scheduled", "lock:db", "queued")


def test_holds_of_runs_that_ended_are_forgotten(db: store.Store, clock: Clock) -> None:
    job_id = job(db, locks=["db"], overlap="skip")
    made = order(db, job_id, clock)
    step(db)
    assert forget_once(db) == 0
    start(db, made, clock)
    end(db, made, clock)

    assert forget_once(db) == 2
    assert select(db, "SELECT * FROM holds") == []


def test_two_gates_are_needed_at_once_and_none_is_held_in_vain(db: store.Store, clock: Clock) -> None:
    put(db, definition("a", locks=["x"]), definition("both", locks=["x", "y"]), definition("b", locks=["y"]))
    a, both, b = (order(db, job_named(db, name).id, clock) for name in ("a", "both", "b"))
    step(db)
    assert [state(db, m) for m in (a, both, b)] == ["queued", "scheduled", "queued"]

    for made in (a, b):
        start(db, made, clock)
        end(db, made, clock)
    step(db)

    assert state(db, both) == "queued"


def test_a_start_rate_spreads_a_queue(db: store.Store, clock: Clock) -> None:
    job_id = job(db, routing_key="slow")
    limit(db, "queue:slow", rate=2, period=timedelta(seconds=10))
    for _ in range(6):
        order(db, job_id, clock)

    counts = []
    for _ in range(6):
        step(db)
        counts.append(len(queued(db)))
        clock.tick(timedelta(seconds=4))

    assert counts == [2, 2, 3, 4, 5, 6]


# -- turns


def test_categories_take_turns(db: store.Store, clock: Clock) -> None:
    many, few = job(db, "many", "big"), job(db, "few", "small")
    made = [order(db, many, clock) for _ in range(20)] + [order(db, few, clock) for _ in range(2)]

    step(db, window=4)

    assert [state(db, m) for m in made] == ["queued"] * 2 + ["scheduled"] * 18 + ["queued"] * 2


# -- overlap, by every way to start


@pytest.mark.parametrize("trigger", [Trigger.MANUAL, Trigger.API, Trigger.RERUN, Trigger.CHAIN])
def test_skip_holds_for_every_wish(db: store.Store, clock: Clock, trigger: Trigger) -> None:
    job_id = job(db, overlap="skip")
    first = order(db, job_id, clock)
    step(db)
    second = order(db, job_id, clock, trigger)

    step(db)

    assert (state(db, second), reason(db, second)) == ("skipped", f"overlap: run {first} has not ended")


def test_and_for_an_occurrence(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="skip", schedule="* * * * *")
    first = order(db, job_id, clock)
    step(db)

    clock.now = NOON + MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    step(db)

    [_, second] = runs_of(db)
    assert (second["kind"], second["state"]) == ("slot", "skipped")
    assert second["reason"] == f"overlap: run {first} has not ended"


def test_an_occurrence_that_finds_nobody_runs(db: store.Store, clock: Clock) -> None:
    job(db, overlap="skip", schedule="* * * * *")

    clock.now = NOON + MINUTE + SECOND
    assert expand_once(db, locked_by="i", window=10, publish_lease=LEASE).bells == []
    step(db)

    assert states_of(db) == ["queued"]


def test_a_run_between_two_attempts_is_in_the_way_and_its_next_attempt_is_not_skipped(
    db: store.Store, clock: Clock
) -> None:
    job_id = job(db, overlap="skip", max_attempts=2, retry_delay="10s")
    first = order(db, job_id, clock)
    step(db)
    start(db, first, clock)
    end(db, first, clock, code=1)
    second = order(db, job_id, clock)
    step(db)
    assert (state(db, first), state(db, second)) == ("scheduled", "skipped")

    clock.tick(timedelta(seconds=11))
    step(db)

    assert (state(db, first), run_of(db, first)["attempt"]) == ("queued", 2)


def test_a_rule_that_comes_while_a_run_is_under_way_holds_for_the_next_one(
    db: store.Store, clock: Clock
) -> None:
    first = order(db, job(db), clock)
    step(db)
    start(db, first, clock)
    second = order(db, job(db, overlap="skip"), clock)

    step(db)

    assert state(db, second) == "skipped"


def test_fault_45_queue_runs_one_after_the_other(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="queue(2)")
    made = [order(db, job_id, clock) for _ in range(4)]
    step(db)
    assert [state(db, m) for m in made] == ["queued", "scheduled", "scheduled", "skipped"]
    assert reason(db, made[3]) == f"overlap: 2 wait already for run {made[0]}"

    for before, after in ((0, 1), (1, 2)):
        start(db, made[before], clock)
        end(db, made[before], clock)
        step(db)
        assert state(db, made[after]) == "queued"


def test_replace_kills_what_runs_and_starts_when_it_has_ended(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="replace")
    first = order(db, job_id, clock)
    step(db)
    start(db, first, clock)
    second = order(db, job_id, clock)
    step(db)
    assert (state(db, first), run_of(db, first)["cancelled_by"]) == ("running", f"replaced by run {second}")
    third = order(db, job_id, clock)
    step(db)
    assert (state(db, second), reason(db, second)) == ("skipped", f"overlap: replaced by run {third}")

    tell(db, said(EventType.FINISHED, first, return_code=-15, why="cancelled", at=clock.now), now=clock.now)
    step(db)

    assert [state(db, m) for m in (first, second, third)] == ["cancelled", "skipped", "queued"]


def test_replace_ends_what_has_not_started_at_once(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="replace")
    first = order(db, job_id, clock)
    step(db)
    second = order(db, job_id, clock)

    step(db)

    assert (state(db, first), state(db, second)) == ("cancelled", "queued")


def test_allow_with_a_number_makes_older_occurrences_pointless(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="allow(1)", schedule="* * * * *")
    running = order(db, job_id, clock)
    step(db)
    start(db, running, clock)

    for minute in (1, 2, 3):
        clock.now = NOON + minute * MINUTE + SECOND
        expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
        step(db)

    assert states_of(db) == ["running", "missed", "missed", "scheduled"]
    end(db, running, clock)
    step(db)
    assert states_of(db) == ["succeeded", "missed", "missed", "queued"]


def test_an_occurrence_takes_the_place_of_the_older_one_that_it_makes_pointless(
    db: store.Store, clock: Clock
) -> None:
    """Else a job that waits for longer than its period would never come first."""
    put(db, definition("often", locks=["db"]), definition("other", schedule="@yearly", locks=["db"]))
    other = job_named(db, "other").id
    running = order(db, other, clock)
    step(db)
    start(db, running, clock)
    clock.now = NOON + MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    step(db)
    later = order(db, other, clock)
    step(db)
    clock.now = NOON + 2 * MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    step(db)

    end(db, running, clock)
    step(db)

    assert states_of(db, job_named(db, "often").id) == ["missed", "queued"]
    assert state(db, later) == "scheduled"


def test_runs_that_were_made_at_one_instant_do_not_block_each_other(db: store.Store, clock: Clock) -> None:
    names = [f"job {number}" for number in range(5)]
    put(db, *(definition(name, locks=["db"]) for name in names))
    clock.now = NOON + MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)

    for _ in names:
        step(db)
        [made] = queued(db)
        start(db, made, clock)
        end(db, made, clock)

    assert set(states_of(db)) == {"succeeded"}


def test_queue_keeps_each_occurrence(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="queue(5)", schedule="* * * * *")
    running = order(db, job_id, clock)
    step(db)
    start(db, running, clock)

    for minute in (1, 2, 3):
        clock.now = NOON + minute * MINUTE + SECOND
        expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
        step(db)

    assert states_of(db) == ["running", "scheduled", "scheduled", "scheduled"]


# -- pauses


def test_a_pause_holds_what_stands_in_line(db: store.Store, clock: Clock) -> None:
    job_id = job(db)
    made = order(db, job_id, clock, Trigger.CHAIN)
    pause(db, "all")
    step(db)
    assert (state(db, made), gate_of(db, made)) == ("scheduled", "pause:all")

    execute(db, "DELETE FROM pauses")
    step(db)

    assert state(db, made) == "queued"


def test_what_was_let_out_before_a_pause_is_denied_at_the_claim(db: store.Store, clock: Clock) -> None:
    job_id = job(db)
    made = order(db, job_id, clock, Trigger.CHAIN)
    step(db)
    pause(db, "queue:default")

    answer = ask(db, claim(made), now=clock.now)

    assert answer == Denial("waits at pause:queue:default", retry=True)
    assert (state(db, made), gate_of(db, made)) == ("scheduled", "pause:queue:default")
    assert (run_of(db, made)["publish_at"], run_of(db, made)["queued_at"]) == (None, None)
    assert ask(db, claim(made), now=clock.now) == Denial("run is scheduled")
    execute(db, "DELETE FROM pauses")
    step(db)
    assert isinstance(ask(db, claim(made), now=clock.now), Granted)


def test_a_claim_that_was_granted_is_granted_again_though_a_pause_came(db: store.Store, clock: Clock) -> None:
    made = order(db, job(db), clock, Trigger.CHAIN)
    step(db)
    assert isinstance(ask(db, claim(made), now=clock.now), Granted)
    pause(db, "all")

    assert isinstance(ask(db, claim(made), now=clock.now), Granted)


# -- hosts


def test_a_host_has_no_more_than_its_limit(db: store.Store, clock: Clock) -> None:
    job_id = job(db)
    limit(db, "host:host", capacity=1)
    first, second = order(db, job_id, clock), order(db, job_id, clock)
    step(db)
    assert isinstance(ask(db, claim(first), now=clock.now), Granted)

    assert ask(db, claim(second), now=clock.now) == Denial("waits at host:host", retry=True)
    step(db)
    assert (state(db, second), gate_of(db, second)) == ("scheduled", "host:host")
    tell(db, said(EventType.STARTING, first), now=clock.now)
    end(db, first, clock)
    step(db)
    assert isinstance(ask(db, claim(second), now=clock.now), Granted)


def test_a_run_that_a_full_host_denied_is_offered_to_others(db: store.Store, clock: Clock) -> None:
    job_id = job(db)
    limit(db, "host:*", capacity=0)
    made = order(db, job_id, clock)
    step(db)
    assert isinstance(ask(db, claim(made), now=clock.now), Denial)
    step(db)
    assert state(db, made) == "scheduled"

    clock.tick(freeing.ELSEWHERE_AFTER + SECOND)
    step(db)

    assert state(db, made) == "queued"


def test_a_hosts_own_limit_wins_over_that_of_all(db: store.Store) -> None:
    limit(db, "host:*", capacity=1)
    limit(db, "host:big", capacity=9)

    with db.read() as tx:
        assert limits.of_hosts(tx, {"big", "small"}) == {"big": 9, "small": 1}


# -- deadlines


def test_a_run_that_nobody_claimed_in_time_never_starts(db: store.Store, clock: Clock) -> None:
    job(db, start_deadline="5m", schedule="* * * * *")
    clock.now = NOON + MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    [made] = [r["run_id"] for r in runs_of(db)]
    assert (expire_once(db), state(db, made)) == (0, "queued")

    clock.now = NOON + 6 * MINUTE + SECOND

    assert (expire_once(db), state(db, made), reason(db, made)) == (1, "expired", "deadline")
    assert select(db, "SELECT * FROM deadlines") == []


def test_one_that_was_claimed_runs_on_past_its_deadline(db: store.Store, clock: Clock) -> None:
    job(db, start_deadline="5m", schedule="* * * * *")
    clock.now = NOON + MINUTE + SECOND
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    [made] = [r["run_id"] for r in runs_of(db)]
    start(db, made, clock)

    clock.now = NOON + HOUR

    assert (expire_once(db), state(db, made)) == (0, "running")


# -- jitter


def test_jitter_moves_the_release_and_not_the_instant(db: store.Store, clock: Clock) -> None:
    job(db, schedule="* * * * *", jitter="50s")
    clock.now = NOON + MINUTE + timedelta(milliseconds=1)
    expand_once(db, locked_by="i", window=10, publish_lease=LEASE)
    [found] = runs_of(db)
    assert (found["state"], found["scheduled_for"]) == ("scheduled", NOON + MINUTE)
    assert NOON + MINUTE < found["release_at"] < NOON + MINUTE + timedelta(seconds=50)
    step(db)
    assert states_of(db) == ["scheduled"]

    clock.now = found["release_at"]
    step(db)

    assert states_of(db) == ["queued"]


# -- breaking off


@pytest.mark.parametrize(
    ("module", "function"),
    [(line, "queue"), (line, "park"), (line, "end_here"), (limits, "spend"), (dialect, "insert_new")],
)
def test_a_decision_that_breaks_off_in_the_middle_is_no_decision(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    put(db, definition("a", overlap="skip", locks=["db"]), definition("b", locks=["db"]))
    for name in ("a", "a", "b"):
        order(db, job_named(db, name).id, clock)
    before = runs_of(db), select(db, "SELECT * FROM holds"), select(db, "SELECT * FROM parked")
    whole = getattr(module, function)

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    monkeypatch.setattr(module, function, breaks)
    with pytest.raises(RuntimeError, match="made up"):
        release_once(db, 100)
    assert (runs_of(db), select(db, "SELECT * FROM holds"), select(db, "SELECT * FROM parked")) == before

    monkeypatch.undo()
    monkeypatch.setattr(store, "now", lambda tx: clock.now)
    step(db)
    assert sorted(states_of(db)) == ["queued", "scheduled", "skipped"]


def test_setting_free_that_breaks_off_leaves_everybody_where_he_was(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job(db, locks=["db"])
    first, second = order(db, job_id, clock), order(db, job_id, clock)
    step(db)
    start(db, first, clock)
    end(db, first, clock)

    def breaks(tx: store.Tx, run_ids: list[str]) -> int:
        raise RuntimeError("made up")

    monkeypatch.setattr(freeing, "_free", breaks)
    with pytest.raises(RuntimeError, match="made up"):
        set_free_once(db, catch_up_rate=RATE)
    assert gate_of(db, second) == "lock:db"

    monkeypatch.undo()
    monkeypatch.setattr(store, "now", lambda tx: clock.now)
    step(db)
    assert state(db, second) == "queued"


# -- side by side


def test_several_injectors_let_no_more_through_than_there_is_room(db: store.Store, clock: Clock) -> None:
    """Four of them, while runners start and end what comes: never more than two hold the lock."""
    put(
        db,
        definition("a", locks=["db"]),
        definition("b", locks=["db"]),
        definition("c", overlap="queue(1000)"),
    )
    limit(db, "lock:db", capacity=2)
    made = [order(db, job_named(db, name).id, clock) for name in "abc" * 20]
    problems: list[str] = []
    done = threading.Event()

    def inject() -> None:
        while not done.is_set():
            set_free_once(db, catch_up_rate=RATE)
            release_once(db, 1_000)

    threads = [threading.Thread(target=inject) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        ended: set[str] = set()
        while len(ended) < len(made) and not problems:
            with db.read() as tx:
                going = runs.listed(tx, states=[State.QUEUED], limit=100)
            of_job = Counter(job_named(db, "c").id == r["job_id"] for r in going)
            if of_job[False] > 2 or of_job[True] > 1:
                problems.append(f"{of_job} at once")
            for row in going:
                start(db, row["run_id"], clock)
                end(db, row["run_id"], clock)
                ended.add(row["run_id"])
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert problems == []
    assert {state(db, m) for m in made} == {"succeeded"}


def test_what_has_no_job_any_more_waits_for_nothing(db: store.Store, clock: Clock) -> None:
    job_id = job(db, locks=["db"], overlap="skip")
    made = insert_run(db, job_id, State.SCHEDULED)
    execute(db, "DELETE FROM events")
    execute(db, "DELETE FROM jobs")

    step(db)

    assert state(db, made) == "queued"


def test_a_held_run_that_a_person_runs_again_meets_the_rule(db: store.Store, clock: Clock) -> None:
    job_id = job(db, overlap="skip", guarantee="hold")
    first = order(db, job_id, clock)
    step(db)
    start(db, first, clock)
    clock.tick(HOUR)
    db.transact(lambda tx: leases.ask_expired(tx, clock.now, clock.now, 10))
    clock.tick(HOUR)
    db.transact(lambda tx: leases.lose_unanswered(tx, clock.now, 10))
    again = db.transact(lambda tx: lost.decide(tx, first, lost.Decision.RERUN, "ana", clock.now))
    second = order(db, job_id, clock)

    step(db)

    assert (state(db, first), state(db, again), state(db, second)) == ("lost", "queued", "skipped")

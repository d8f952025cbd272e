"""Pauses: what they hold while they last, what goes on afterwards, and that nothing is lost on the way."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from cronq import store
from cronq.domain import gate
from cronq.domain.audit import Window
from cronq.domain.errors import Conflict
from cronq.domain.gate import Closed
from cronq.domain.pause import Pause
from cronq.domain.run import Trigger
from cronq.injector.expand import expand_once
from cronq.injector.release import expire_once, forget_once, release_once, set_free_once
from cronq.store import audits, limits, pauses, requests
from cronq.store.audits import Scope
from cronq.store.pauses import Resumed
from cronq.store.requests import Wish
from cronq.store.tables import parked
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    definition,
    job_named,
    put,
    run_of,
    runs_of,
    select,
    states_of,
)

WINDOW = 2_000


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def make(db: store.Store, clock: Clock, name: str = "job", **fields: Any) -> int:
    """A job that is due each minute from now on, in a category of its own name."""
    put(db, definition(name, **fields), category=name, now=clock.now)
    return job_named(db, name).id


def expand(db: store.Store) -> None:
    while expand_once(db, locked_by="host.1", window=WINDOW, publish_lease=2 * SECOND).jobs:
        pass


def work(db: store.Store) -> None:
    """Steps of an injector until there is nothing left to do."""
    expand(db)
    while set_free_once(db, catch_up_rate=1_000) or release_once(db, WINDOW):
        pass


def live(db: store.Store, clock: Clock, minutes: int) -> None:
    for _ in range(minutes):
        clock.tick(MINUTE)
        work(db)


def pause(
    db: store.Store, clock: Clock, subject: str, until: datetime | None = None, reason: str = ""
) -> Pause:
    wanted = Pause(subject, clock.now, until, reason, "ana")
    return db.transact(lambda tx: pauses.pause(tx, wanted, store.now(tx)))


def resume(db: store.Store, subject: str) -> Resumed:
    return db.transact(lambda tx: pauses.resume(tx, subject, store.now(tx)))


def order(db: store.Store, job_id: int, trigger: Trigger = Trigger.MANUAL) -> str:
    return db.transact(lambda tx: requests.request_run(tx, Wish(job_id, trigger), store.now(tx)))


def in_force(db: store.Store) -> list[Pause]:
    with db.read() as tx:
        return pauses.listed(tx, store.now(tx))


def ends(db: store.Store, job_id: int) -> list[tuple[str, str | None]]:
    return [(r["state"], r["reason"]) for r in runs_of(db, job_id)]


def gates_of(db: store.Store) -> Counter[str]:
    return Counter(row["gate"] for row in select(db, "SELECT gate FROM parked"))


def is_clean(db: store.Store, clock: Clock) -> bool:
    return audits.audit(db, Window.of(NOON - HOUR, None, clock.now), Scope()).is_clean()


# -- what is held


def test_of_a_paused_job_the_latest_occurrence_is_held_and_goes_on_when_it_is_resumed(
    db: store.Store, clock: Clock
) -> None:
    job_id = make(db, clock)
    live(db, clock, 1)
    began = pause(db, clock, gate.of_job(job_id), reason="disk full")
    live(db, clock, 3)

    assert ends(db, job_id) == [("missed", "superseded")] * 3 + [("scheduled", None)]
    assert gates_of(db) == {f"pause:job:{job_id}": 1}
    assert is_clean(db, clock)

    done = resume(db, gate.of_job(job_id))
    work(db)

    assert ends(db, job_id) == [("missed", "superseded")] * 3 + [("queued", None)]
    assert done.pause == began
    assert (done.total.going_on, done.total.still_held, done.total.missed, done.total.skipped) == (1, 0, 2, 0)
    assert [share.job_id for share in done.shares] == [job_id]
    assert done.is_whole
    assert gates_of(db) == {}
    assert is_clean(db, clock)


def test_of_a_job_that_makes_up_for_nothing_each_occurrence_is_skipped(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, misfire="skip")
    pause(db, clock, gate.of_job(job_id))
    live(db, clock, 2)

    done = resume(db, gate.of_job(job_id))
    live(db, clock, 1)

    assert ends(db, job_id) == [("skipped", "paused")] * 2 + [("queued", None)]
    assert (done.total.going_on, done.total.skipped) == (0, 2)
    assert is_clean(db, clock)


def test_of_a_job_that_makes_up_for_all_so_many_are_held_as_its_limit_says(
    db: store.Store, clock: Clock
) -> None:
    job_id = make(db, clock, misfire="all", misfire_limit=3)
    other = make(db, clock, "other", misfire="all", misfire_limit=5)
    pause(db, clock, gate.ALL)
    live(db, clock, 6)

    assert ends(db, job_id) == [("missed", "misfire")] * 3 + [("scheduled", None)] * 3
    assert ends(db, other) == [("missed", "misfire")] + [("scheduled", None)] * 5
    assert is_clean(db, clock)

    assert resume(db, gate.ALL).total.going_on == 8
    work(db)

    assert states_of(db, job_id) == ["missed"] * 3 + ["queued"] * 3
    assert states_of(db, other) == ["missed"] + ["queued"] * 5


def test_the_limit_holds_too_where_many_are_due_at_once(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, misfire="all", misfire_limit=3)
    pause(db, clock, gate.of_job(job_id))
    live(db, clock, 2)
    clock.tick(10 * MINUTE)
    work(db)

    assert states_of(db, job_id) == ["missed"] * 9 + ["scheduled"] * 3
    assert is_clean(db, clock)


def test_without_a_pause_no_limit_cuts_what_was_on_time(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, misfire="all", misfire_limit=1)
    live(db, clock, 3)

    assert states_of(db, job_id) == ["queued"] * 3


@pytest.mark.parametrize("subject", ["job", "category", "queue", "all"])
def test_a_pause_holds_what_it_names_and_nothing_else(db: store.Store, clock: Clock, subject: str) -> None:
    job_id, other = make(db, clock, routing_key="slow"), make(db, clock, "other")
    named = {
        "job": gate.of_job(job_id),
        "category": gate.of_category(job_named(db).category_id or 0),
        "queue": gate.of_queue("slow"),
        "all": gate.ALL,
    }[subject]
    pause(db, clock, named)
    live(db, clock, 1)

    assert states_of(db, job_id) == ["scheduled"]
    assert states_of(db, other) == (["scheduled"] if subject == "all" else ["queued"])
    assert set(gates_of(db)) == {f"pause:{named}"}

    assert resume(db, named).total.going_on == (2 if subject == "all" else 1)
    work(db)
    assert states_of(db) == ["queued"] * 2


def test_what_a_person_asks_for_passes_a_pause_but_not_that_of_its_queue(
    db: store.Store, clock: Clock
) -> None:
    job_id = make(db, clock, routing_key="slow")
    for subject in (gate.of_job(job_id), gate.of_category(job_named(db).category_id or 0), gate.ALL):
        pause(db, clock, subject)
    asked = [order(db, job_id, trigger) for trigger in (Trigger.MANUAL, Trigger.API, Trigger.RERUN)]
    chained = order(db, job_id, Trigger.CHAIN)
    work(db)

    assert [run_of(db, run)["state"] for run in asked] == ["queued"] * 3
    assert run_of(db, chained)["state"] == "scheduled"

    pause(db, clock, gate.of_queue("slow"))
    last = order(db, job_id)
    work(db)
    assert run_of(db, last)["state"] == "scheduled"


def test_a_queue_holds_runs_by_the_key_that_they_have(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, routing_key="slow")
    waiting = order(db, job_id)
    put(db, definition(routing_key="fast"), category="job", now=clock.now)
    pause(db, clock, gate.of_queue("slow"))
    later = order(db, job_id)
    work(db)

    assert (run_of(db, waiting)["routing_key"], run_of(db, waiting)["state"]) == ("slow", "scheduled")
    assert (run_of(db, later)["routing_key"], run_of(db, later)["state"]) == ("fast", "queued")


def test_what_stands_in_line_when_a_pause_begins_is_held_too(db: store.Store, clock: Clock) -> None:
    job_id, skipping = make(db, clock, priority=5), make(db, clock, "skipping", priority=5, misfire="skip")
    clock.tick(MINUTE)
    expand(db)
    assert states_of(db) == ["scheduled"] * 2
    assert gates_of(db) == {}

    pause(db, clock, gate.ALL)
    work(db)

    assert ends(db, job_id) == [("scheduled", None)]
    assert ends(db, skipping) == [("skipped", "paused")]
    assert gates_of(db) == {"pause:all": 1}


def test_a_deadline_passes_while_a_run_is_held(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, schedule="0 * * * *", start_deadline="10m")
    pause(db, clock, gate.of_job(job_id))
    clock.tick(HOUR)
    work(db)
    clock.tick(11 * MINUTE)
    expire_once(db)

    assert ends(db, job_id) == [("expired", "deadline")]
    assert gates_of(db) == {}
    assert resume(db, gate.of_job(job_id)).total.missed == 1


def test_occurrences_that_are_superseded_leave_nothing_behind_at_the_gate(
    db: store.Store, clock: Clock
) -> None:
    make(db, clock)
    pause(db, clock, gate.ALL)
    live(db, clock, 5)

    assert sum(gates_of(db).values()) == 1


# -- how it ends


def test_a_snooze_ends_by_itself_and_is_forgotten(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    pause(db, clock, gate.of_job(job_id), until=clock.now + 3 * MINUTE)
    live(db, clock, 2)
    assert states_of(db, job_id) == ["missed", "scheduled"]
    assert len(in_force(db)) == 1

    clock.tick(MINUTE)
    assert in_force(db) == []
    while set_free_once(db, catch_up_rate=1_000) or release_once(db, WINDOW):
        pass
    assert states_of(db, job_id) == ["missed", "queued"]

    assert forget_once(db) == 1
    assert forget_once(db) == 0
    assert select(db, "SELECT * FROM pauses") == []


def test_a_pause_that_has_no_end_is_not_forgotten(db: store.Store, clock: Clock) -> None:
    pause(db, clock, gate.ALL)
    pause(db, clock, gate.of_job(1), until=clock.now + HOUR)
    clock.tick(10 * MINUTE)

    assert forget_once(db) == 0
    assert [p.subject for p in in_force(db)] == ["all", "job:1"]


def test_who_pauses_again_changes_the_reason_and_the_end_but_not_the_beginning(
    db: store.Store, clock: Clock
) -> None:
    first = pause(db, clock, gate.ALL, reason="one")
    clock.tick(MINUTE)
    again = pause(db, clock, gate.ALL, until=clock.now + HOUR, reason="two")

    assert again == Pause("all", first.since, clock.now + HOUR, "two", "ana")
    assert in_force(db) == [again]

    clock.tick(2 * HOUR)
    assert pause(db, clock, gate.ALL).since == clock.now  # that one had ended


def test_resuming_what_is_not_paused_does_nothing(db: store.Store, clock: Clock) -> None:
    assert resume(db, gate.ALL) == Resumed()
    pause(db, clock, gate.ALL, until=clock.now + MINUTE)
    clock.tick(HOUR)
    assert resume(db, gate.ALL).pause is None


def test_what_something_else_holds_stays_held(db: store.Store, clock: Clock) -> None:
    job_id, other = make(db, clock), make(db, clock, "other")
    pause(db, clock, gate.ALL)
    pause(db, clock, gate.of_job(job_id))
    live(db, clock, 1)

    done = resume(db, gate.ALL)
    work(db)

    assert (done.total.going_on, done.total.still_held) == (1, 1)
    assert (states_of(db, job_id), states_of(db, other)) == (["scheduled"], ["queued"])
    assert gates_of(db) == {f"pause:job:{job_id}": 1}


def test_a_resume_tells_of_no_more_jobs_than_it_can(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(db, *(definition(f"job {n}") for n in range(5)), now=clock.now)
    pause(db, clock, gate.ALL)
    live(db, clock, 3)
    monkeypatch.setattr(pauses, "MOST_TOLD", 2)

    done = resume(db, gate.ALL)

    assert (done.total.going_on, done.total.missed) == (5, 10)
    assert (len(done.shares), done.is_whole) == (2, False)


def test_a_resume_looks_at_no_more_rows_than_it_can(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(db, clock)
    pause(db, clock, gate.ALL)
    live(db, clock, 6)
    monkeypatch.setattr(pauses, "MOST_COUNTED", 4)

    done = resume(db, gate.ALL)

    assert (done.total.missed, done.is_whole) == (4, False)


def test_there_are_only_so_many_pauses(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "MOST", 2)
    pause(db, clock, gate.of_job(1))
    pause(db, clock, gate.of_job(2))

    with pytest.raises(Conflict, match="the most that are allowed"):
        pause(db, clock, gate.of_job(3))

    assert pause(db, clock, gate.of_job(2), reason="again").reason == "again"


def test_a_window_skips_what_makes_up_for_nothing_and_says_so(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make(db, clock, misfire="skip")
    monkeypatch.setattr(limits, "closed", lambda _tx, _now: Closed(windows={gate.of_job(job_id): "night"}))
    live(db, clock, 1)

    assert ends(db, job_id) == [("skipped", "window night")]


# -- in the middle of an injector's step


Look = Callable[[store.Tx, datetime], Closed]


def looking_before(monkeypatch: pytest.MonkeyPatch, seen: Closed) -> None:
    """As an injector that looked before somebody else's commit."""
    look: Look = lambda _tx, _now: seen  # noqa: E731 - a name for its type
    monkeypatch.setattr(limits, "closed", look)


def test_a_pause_that_begins_after_an_injector_looked_holds_from_the_next_occurrence_on(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make(db, clock, misfire="all")
    clock.tick(MINUTE)
    pause(db, clock, gate.of_job(job_id))
    with monkeypatch.context() as patch:
        looking_before(patch, gate.NOTHING_CLOSED)
        work(db)
    assert states_of(db, job_id) == ["queued"]

    live(db, clock, 1)
    assert states_of(db, job_id) == ["queued", "scheduled"]
    assert is_clean(db, clock)


@pytest.mark.parametrize("priority", [0, 5])
def test_what_is_held_by_a_pause_that_ended_meanwhile_is_set_free(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, priority: int
) -> None:
    """At once at its making, or when its turn in line comes."""
    job_id = make(db, clock, priority=priority)
    clock.tick(MINUTE)
    if priority:
        expand(db)
    with monkeypatch.context() as patch:
        looking_before(patch, Closed(frozenset({gate.of_job(job_id)})))
        expand(db)
        release_once(db, WINDOW)
    assert gates_of(db) == {f"pause:job:{job_id}": 1}

    work(db)
    assert states_of(db, job_id) == ["queued"]
    assert gates_of(db) == {}


def test_what_is_set_free_while_a_pause_begins_is_held_again(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make(db, clock)
    pause(db, clock, gate.of_job(job_id))
    live(db, clock, 1)
    with monkeypatch.context() as patch:
        looking_before(patch, gate.NOTHING_CLOSED)
        assert set_free_once(db, catch_up_rate=1_000) == 1
    assert gates_of(db) == {}

    work(db)
    assert states_of(db, job_id) == ["scheduled"]
    assert gates_of(db) == {f"pause:job:{job_id}": 1}


def test_two_injectors_lose_and_double_nothing_while_pauses_come_and_go(
    db: store.Store, clock: Clock
) -> None:
    rules: list[dict[str, Any]] = [
        {"misfire": "all", "misfire_limit": 1_000},
        {"misfire": "latest"},
        {"misfire": "skip"},
        {"misfire": "latest", "overlap": "queue(3)"},
        {"misfire": "all", "priority": 5},
    ]
    ids = [make(db, clock, f"job {n}", **fields) for n, fields in enumerate(rules)]
    stop, broken = threading.Event(), list[BaseException]()

    def inject() -> None:
        try:
            while not stop.is_set():
                expand_once(db, locked_by="host.1", window=WINDOW, publish_lease=2 * SECOND)
                set_free_once(db, catch_up_rate=1_000)
                release_once(db, WINDOW)
        except BaseException as error:
            broken.append(error)
            raise

    threads = [threading.Thread(target=inject) for _ in range(2)]
    for thread in threads:
        thread.start()
    subjects = [gate.ALL, gate.of_queue("default"), *(gate.of_job(job_id) for job_id in ids)]
    chance = random.Random(7)
    for _ in range(40):
        clock.tick(20 * SECOND)
        subject = chance.choice(subjects)
        if chance.random() < 0.5:
            pause(db, clock, subject, until=chance.choice([None, clock.now + MINUTE]))
        else:
            resume(db, subject)
    stop.set()
    for thread in threads:
        thread.join()
    for subject in subjects:
        resume(db, subject)
    clock.tick(MINUTE)
    work(db)

    assert broken == []
    assert is_clean(db, clock)
    assert gates_of(db).keys() <= {gate.of_job(ids[3])}  # where the overlap rule lets one run at a time
    waiting = [r for r in runs_of(db) if r["state"] == "scheduled" and r["job_id"] != ids[3]]
    assert waiting == []
    with db.read() as tx:
        kept = tx.execute(sa.select(parked.c.run_id)).scalars().all()
    assert all(run_of(db, run_id)["state"] == "scheduled" for run_id in kept)
    by_job = {job_id: Counter(states_of(db, job_id)) for job_id in ids}
    assert by_job[ids[0]].keys() == {"queued"}

"""Skip next: so many occurrences that come next don't run, and say who wanted that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain import gate
from cronq.domain.audit import Window
from cronq.domain.pause import Pause, Skip
from cronq.injector import expand
from cronq.injector.expand import expand_once
from cronq.store import audits, pauses, runs, skips
from cronq.store.audits import Scope
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    definition,
    execute,
    job_named,
    put,
    runs_of,
    states_of,
)

WHY = "skip next: ana: holiday"


@pytest.fixture(autouse=True)
def at_noon(clock: Clock) -> Clock:
    """It is half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def make(db: store.Store, clock: Clock, name: str = "job", **fields: Any) -> int:
    put(db, definition(name, **fields), category=name, now=clock.now)
    return job_named(db, name).id


def work(db: store.Store) -> None:
    while expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND).jobs:
        pass


def live(db: store.Store, clock: Clock, minutes: int) -> None:
    for _ in range(minutes):
        clock.tick(MINUTE)
        work(db)


def skip(db: store.Store, clock: Clock, count: int, *job_ids: int, reason: str = "holiday") -> None:
    wanted = Skip(count, reason, "ana", clock.now)
    db.transact(lambda tx: skips.put(tx, job_ids, wanted, clock.now))


def remaining(db: store.Store, *job_ids: int) -> dict[int, int]:
    with db.read() as tx:
        return {job_id: left.remaining for job_id, left in skips.of_jobs(tx, job_ids).items()}


def ends(db: store.Store, job_id: int) -> list[tuple[str, str | None]]:
    return [(r["state"], r["reason"]) for r in runs_of(db, job_id)]


def is_clean(db: store.Store, clock: Clock) -> bool:
    return audits.audit(db, Window.of(NOON - HOUR, None, clock.now), Scope()).is_clean()


def test_the_next_occurrences_are_skipped_and_counted_down(db: store.Store, clock: Clock) -> None:
    job_id, other = make(db, clock), make(db, clock, "other")
    skip(db, clock, 2, job_id)
    live(db, clock, 1)
    assert remaining(db, job_id, other) == {job_id: 1}

    live(db, clock, 2)

    assert ends(db, job_id) == [("skipped", WHY)] * 2 + [("queued", None)]
    assert "skipped" not in states_of(db, other)
    assert remaining(db, job_id) == {}
    assert is_clean(db, clock)


def test_an_occurrence_that_is_skipped_supersedes_none_that_waits(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    live(db, clock, 1)
    skip(db, clock, 1, job_id)
    live(db, clock, 1)

    assert ends(db, job_id) == [("queued", None), ("skipped", WHY)]


def test_the_last_word_counts_and_none_cancels(db: store.Store, clock: Clock) -> None:
    first, second = make(db, clock), make(db, clock, "other")
    skip(db, clock, 5, first, second)
    skip(db, clock, 1, first, reason="")
    assert remaining(db, first, second) == {first: 1, second: 5}
    skip(db, clock, 0, second)
    assert remaining(db, first, second) == {first: 1}

    live(db, clock, 1)
    assert ends(db, first) == [("skipped", "skip next: ana")]
    assert ends(db, second) == [("queued", None)]


def test_a_wish_is_no_occurrence(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    skip(db, clock, 1, job_id)
    execute(db, "UPDATE jobs SET run_now = 1")
    clock.tick(SECOND)
    work(db)

    assert [(r["triggered_by"], r["state"]) for r in runs_of(db)] == [("manual", "queued")]
    assert remaining(db, job_id) == {job_id: 1}


def test_what_is_missed_anyway_does_not_count(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    skip(db, clock, 2, job_id)
    clock.tick(5 * MINUTE)
    work(db)

    assert ends(db, job_id) == [("missed", "misfire")] * 4 + [("skipped", WHY)]
    assert remaining(db, job_id) == {job_id: 1}


def test_of_several_that_would_run_the_first_are_skipped(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock, misfire="all")
    skip(db, clock, 2, job_id)
    clock.tick(5 * MINUTE)
    work(db)

    assert states_of(db, job_id) == ["skipped"] * 2 + ["scheduled"] * 2 + ["queued"]
    assert remaining(db, job_id) == {}
    assert is_clean(db, clock)


def test_of_a_paused_job_what_is_held_counts_and_what_is_skipped_does_not(
    db: store.Store, clock: Clock
) -> None:
    held, skipped = make(db, clock), make(db, clock, "other", misfire="skip")
    skip(db, clock, 1, held, skipped)
    wanted = Pause(gate.ALL, clock.now, None, "", "ana")
    db.transact(lambda tx: pauses.pause(tx, wanted, clock.now))
    live(db, clock, 2)

    assert ends(db, held) == [("skipped", WHY), ("scheduled", None)]
    assert ends(db, skipped) == [("skipped", "paused")] * 2
    assert remaining(db, held, skipped) == {skipped: 1}


@pytest.mark.parametrize(("module", "function"), [(runs, "insert"), (expand, "_alert_problems")])
def test_a_step_that_breaks_counts_nothing_down(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    job_id = make(db, clock)
    skip(db, clock, 1, job_id)
    clock.tick(MINUTE)
    whole: Callable[..., Any] = getattr(module, function)

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    with monkeypatch.context() as patch:
        patch.setattr(module, function, breaks)
        with pytest.raises(RuntimeError, match="made up"):
            work(db)
    assert remaining(db, job_id) == {job_id: 1}

    work(db)
    assert (states_of(db, job_id), remaining(db, job_id)) == (["skipped"], {})


def test_an_edit_that_settles_what_is_due_skips_it_too(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    skip(db, clock, 3, job_id)
    clock.tick(MINUTE)
    put(db, definition(schedule="*/7 * * * *"), category="job", now=clock.now)
    work(db)

    assert ends(db, job_id) == [("skipped", WHY)]
    assert remaining(db, job_id) == {job_id: 2}
    assert is_clean(db, clock)


def test_a_job_that_is_switched_off_uses_up_none(db: store.Store, clock: Clock) -> None:
    job_id = make(db, clock)
    skip(db, clock, 3, job_id)
    clock.tick(MINUTE)
    put(db, definition(enabled=False), category="job", now=clock.now)

    assert ends(db, job_id) == [("skipped", "paused")]
    assert remaining(db, job_id) == {job_id: 3}


def test_two_injectors_skip_just_as_many_as_somebody_said(db: store.Store, clock: Clock) -> None:
    put(db, *(definition(f"job {n}", misfire="all") for n in range(20)), now=clock.now)
    ids = [job_named(db, f"job {n}").id for n in range(20)]
    skip(db, clock, 4, *ids)
    stop, broken = threading.Event(), list[BaseException]()

    def inject() -> None:
        try:
            while not stop.is_set():
                expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND)
        except BaseException as error:
            broken.append(error)
            raise

    threads = [threading.Thread(target=inject) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        clock.tick(MINUTE)
    stop.set()
    for thread in threads:
        thread.join()
    work(db)

    assert broken == []
    assert remaining(db, *ids) == {}
    assert [states_of(db, job_id).count("skipped") for job_id in ids] == [4] * 20
    assert is_clean(db, clock)

"""A database that lost what was committed to it: everything stands still until a person accepts it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from cronq import bus, store
from cronq.domain.errors import Conflict, Unavailable
from cronq.domain.event import EventType
from cronq.domain.ids import run_id
from cronq.domain.run import Denial
from cronq.injector.service import Injector
from cronq.injector.witness import FILE, Memory
from cronq.store import claims as store_claims
from cronq.store import epoch, facts, leases
from cronq.store.claims import Granted
from cronq.store.epoch import Held
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
    insert_job,
    insert_run,
    job_named,
    make_settings,
    open_alerts,
    put,
    run_of,
    running_run,
    runs_of,
    said,
    states_of,
    tell,
)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


@pytest.fixture
def injector(db: store.Store, tmp_path: Path) -> Injector:
    settings = make_settings(CRONQ_STATE_DIR=str(tmp_path))
    return Injector(settings, db, bus.open(f"memory:{secrets.token_hex(4)}", name="i"), "i")


def check(db: store.Store, memory: Memory, clock: Clock) -> int:
    with db.begin() as tx:
        return memory.check(tx, clock.now).number


def note_step(db: store.Store, clock: Clock) -> None:
    with db.begin() as tx:
        facts.put(tx, facts.INJECTOR, "i", clock.now)


def forget(db: store.Store, *, but: str = "") -> None:
    """As a restore from a backup does."""
    execute(db, "DELETE FROM events")
    execute(db, "DELETE FROM runs WHERE run_id <> :but", but=but)


def accept(db: store.Store, clock: Clock) -> epoch.Accepted:
    return db.transact(lambda tx: epoch.accept(tx, "ann", clock.now))


# -- the witness


def test_a_database_with_all_that_was_committed_is_fine(
    db: store.Store, memory: Memory, clock: Clock
) -> None:
    assert check(db, memory, clock) == 1
    memory.note(insert_run(db, insert_job(db)))
    note_step(db, clock)

    assert [check(db, memory, clock) for _ in range(3)] == [1, 1, 1]


def test_a_run_that_was_committed_and_is_gone_is_noticed(
    db: store.Store, memory: Memory, clock: Clock
) -> None:
    check(db, memory, clock)
    made = insert_run(db, insert_job(db))
    memory.note(made)
    forget(db)

    with pytest.raises(Held, match=f"run {made} of 2026-11-21 12:00:00 UTC was committed"):
        check(db, memory, clock)


def test_a_step_that_the_database_does_not_know_is_noticed(
    db: store.Store, memory: Memory, clock: Clock
) -> None:
    check(db, memory, clock)
    note_step(db, clock)
    check(db, memory, clock)
    execute(db, "UPDATE cronq_facts SET at = '2026-11-21 11:50:00' WHERE name = 'injector_step'")

    with pytest.raises(Held, match="worked at 2026-11-21 12:00:00 UTC, the database says 2026-11-21 11:50"):
        check(db, memory, clock)


def test_it_is_noticed_after_a_restart_too(
    db: store.Store, memory: Memory, clock: Clock, tmp_path: Path
) -> None:
    check(db, memory, clock)
    memory.note(insert_run(db, insert_job(db)))
    memory.save()
    forget(db)

    with pytest.raises(Held):
        check(db, Memory(tmp_path), clock)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"installation": 1}', '{"run_id": "x"}'])
def test_a_file_that_is_unreadable_says_nothing(
    db: store.Store, clock: Clock, tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE).write_text(text)

    assert check(db, Memory(tmp_path), clock) == 1


def test_another_database_is_none_of_its_business(
    db: store.Store, memory: Memory, clock: Clock, tmp_path: Path
) -> None:
    check(db, memory, clock)
    memory.note(insert_run(db, insert_job(db)))
    memory.save()
    forget(db)
    execute(db, "DELETE FROM cronq_facts")

    assert check(db, Memory(tmp_path), clock) == 1


def test_what_is_very_old_may_have_been_deleted(db: store.Store, memory: Memory, clock: Clock) -> None:
    check(db, memory, clock)
    memory.note(insert_run(db, insert_job(db)))
    forget(db)
    clock.tick(25 * HOUR)

    assert check(db, memory, clock) == 1


def test_a_folder_that_cannot_be_written_costs_the_memory_alone(
    db: store.Store, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "folder")

    assert check(db, memory, clock) == 1
    memory.save()


# -- the hold


def held_injector(db: store.Store, injector: Injector, clock: Clock) -> None:
    """It committed a run, which is gone."""
    put(db, definition(schedule="* * * * *"), now=clock.now)
    clock.tick(2 * MINUTE)
    injector.step()
    assert len(runs_of(db)) == 2
    forget(db)
    execute(db, "UPDATE jobs SET next_run = '2026-11-21 12:01:00'")
    with pytest.raises(Held):
        injector.step()


def test_nothing_is_started_until_a_person_accepts(db: store.Store, injector: Injector, clock: Clock) -> None:
    held_injector(db, injector, clock)

    for _ in range(3):
        with pytest.raises(Held):
            injector.step()
    assert runs_of(db) == []
    assert ("database_older", "database") in open_alerts(db)
    assert "was committed" in str(injector.is_ready()["epoch"])


def test_a_hold_that_could_not_be_written_is_written_later(
    db: store.Store, injector: Injector, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(epoch, "hold", away)
        put(db, definition(schedule="* * * * *"), now=clock.now)
        clock.tick(2 * MINUTE)
        injector.step()
        forget(db)
        with pytest.raises(Unavailable, match="away"):
            injector.step()

    with pytest.raises(Held):
        injector.step()

    assert ("database_older", "database") in open_alerts(db)


def test_every_other_injector_stands_still_too(
    db: store.Store, injector: Injector, clock: Clock, tmp_path: Path
) -> None:
    held_injector(db, injector, clock)
    settings = make_settings(CRONQ_STATE_DIR=str(tmp_path / "other"))
    other = Injector(settings, db, bus.open(f"memory:{secrets.token_hex(4)}", name="o"), "o")

    with pytest.raises(Held):
        other.step()


def test_after_the_acceptance_nothing_of_the_gap_runs_by_itself(
    db: store.Store, injector: Injector, clock: Clock
) -> None:
    held_injector(db, injector, clock)
    job_id = job_named(db).id
    waiting = insert_run(db, job_id, at=NOON - HOUR)
    execute(db, "UPDATE jobs SET run_now = 1")
    clock.tick(30 * SECOND)

    done = accept(db, clock)
    injector.step()

    assert (done.epoch, done.missed) == (2, 1)
    assert {(r["state"], r["reason"]) for r in runs_of(db)} == {("missed", "failover"), ("missed", "misfire")}
    assert run_of(db, waiting)["state"] == "missed"
    assert ("database_older", "database") not in open_alerts(db)
    clock.tick(MINUTE)
    injector.step()
    assert states_of(db)[-1] == "queued"


def test_without_a_hold_there_is_nothing_to_accept(db: store.Store, clock: Clock) -> None:
    with pytest.raises(Conflict, match="nothing is held"):
        accept(db, clock)


def test_a_grant_that_is_forgotten_is_noticed(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db)
    made = running_run(db, job_id)
    with db.begin() as tx:
        epoch.check_grant(tx, made, 1, NOON)
    execute(db, "UPDATE runs SET state = 'queued'")

    with db.begin() as tx, pytest.raises(Held, match=f"attempt 1 of run {made} was granted"):
        epoch.check_grant(tx, made, 1, NOON)
    with db.begin() as tx, pytest.raises(Held):
        epoch.check_grant(tx, run_id(NOON, secrets.randbits), 1, NOON)
    with db.begin() as tx:
        epoch.check_grant(tx, "0" * 32, 1, NOON)  # of 1970: it may have been deleted


def test_a_grant_is_of_its_epoch(db: store.Store) -> None:
    made = insert_run(db, insert_job(db))

    with db.begin() as tx:
        [(_, answer)] = store_claims.answer(tx, [claim(made)], NOON, NOON + MINUTE, epoch=3)

    assert isinstance(answer, Granted)
    assert run_of(db, made)["epoch"] == 3


def test_a_run_of_an_earlier_epoch_that_gets_lost_is_for_a_person_to_decide(
    db: store.Store, clock: Clock
) -> None:
    put(db, {**definition(), "guarantee": "at_least_once"})
    made = running_run(db, job_named(db).id)
    epoch.hold(db, "restored")
    accept(db, clock)

    with db.begin() as tx:
        leases.ask_expired(tx, NOON + HOUR, NOON + HOUR, 10)
        losses = leases.lose_unanswered(tx, NOON + HOUR + SECOND, 10)

    assert (losses.retried, losses.held) == ([], [made])


def test_what_runners_tell_counts_during_a_hold(db: store.Store) -> None:
    made = running_run(db, insert_job(db))
    epoch.hold(db, "restored")

    tell(db, said(EventType.FINISHED, made, return_code=0))

    assert run_of(db, made)["state"] == "succeeded"
    assert ask(db, claim(made)) == Denial("run is succeeded")

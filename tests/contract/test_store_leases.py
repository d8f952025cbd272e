"""How long a silent runner is believed alive: heartbeats, boots, and the reaper's two steps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.event import Boot, EventType, Heartbeat
from cronq.domain.run import ENDED, WAITING, Owner, State
from cronq.store import leases, outcomes
from cronq.store.leases import SKEW, BootReport, Question
from tests.factories import (
    HOUR,
    LEASE,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    boot,
    claimed_run,
    events_of,
    execute,
    heartbeat,
    insert_job,
    insert_run,
    run_of,
    running_run,
    said,
    said_plainly,
    tell,
)

LATER = NOON + 30 * SECOND


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def beat(db: store.Store, *beats: Heartbeat, now: datetime = LATER) -> None:
    with db.begin() as tx:
        leases.beat(tx, beats, now, now + LEASE)


def book(db: store.Store, report: Boot, now: datetime = LATER) -> BootReport:
    """A boot, and what it proves applied, as results does."""
    with db.begin() as tx:
        settled = leases.boot(tx, report, now, now + LEASE)
        outcomes.apply(tx, settled.not_started, now)
    return settled


def ask(db: store.Store, now: datetime, limit: int = 100) -> list[Question]:
    with db.begin() as tx:
        return leases.ask_expired(tx, now, now + 30 * SECOND, limit)


def lose(db: store.Store, now: datetime, limit: int = 100) -> list[str]:
    with db.begin() as tx:
        return leases.lose_unanswered(tx, now, limit).lost


def runner_of(db: store.Store, owner: Owner = OURS) -> dict[str, Any]:
    with db.read() as tx:
        [found] = [r for r in leases.all_runners(tx) if r["name"] == owner.runner]
    return found


def lease_of(db: store.Store, made: str) -> datetime | None:
    found: datetime | None = run_of(db, made)["lease_until"]
    return found


# -- heartbeats


def test_a_heartbeat_shows_the_runner(db: store.Store) -> None:
    beat(db, heartbeat(OURS, ("0" * 32, 1), at=NOON, slots=4, draining=True))

    found = runner_of(db)
    assert (found["lineage"], found["instance"], found["host"], found["pid"]) == (*_ids(OURS), "host", 4711)
    assert (found["slots"], found["running"], found["draining"]) == (4, 1, True)
    assert (found["heartbeat_at"], found["started_at"], found["clock_skew_s"]) == (LATER, LATER, -30.0)
    assert json.loads(found["queues"]) == ["cronq_jobs"]


def _ids(owner: Owner) -> tuple[str, str]:
    return owner.lineage, owner.instance


def test_the_next_heartbeat_replaces_what_was_shown_but_not_since_when_it_runs(db: store.Store) -> None:
    beat(db, heartbeat(draining=True), now=NOON)
    beat(db, heartbeat(slots=8), now=LATER)

    found = runner_of(db)
    assert (found["slots"], found["draining"], found["heartbeat_at"]) == (8, False, LATER)
    assert found["started_at"] == NOON


def test_a_heartbeat_extends_the_leases_it_lists(db: store.Store, job_id: int) -> None:
    claimed, running, other = claimed_run(db, job_id), running_run(db, job_id), running_run(db, job_id)

    beat(db, heartbeat(OURS, (claimed, 1), (running, 1)))

    assert lease_of(db, claimed) == lease_of(db, running) == LATER + LEASE
    assert lease_of(db, other) == NOON + LEASE


@pytest.mark.parametrize(
    "liar",
    [
        heartbeat(STRANGER),
        heartbeat(replace(OURS, lineage="c" * 32)),
        heartbeat(replace(STRANGER, runner="r")),
    ],
)
def test_nobody_extends_the_lease_of_another_lineage(db: store.Store, job_id: int, liar: Heartbeat) -> None:
    made = running_run(db, job_id)

    beat(db, replace(liar, live=((made, 1),)))

    assert lease_of(db, made) == NOON + LEASE


def test_nor_that_of_another_attempt(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    beat(db, heartbeat(OURS, (made, 2)))

    assert lease_of(db, made) == NOON + LEASE


@pytest.mark.parametrize("state", sorted(WAITING | ENDED))
def test_a_run_that_does_not_live_gets_no_lease(db: store.Store, job_id: int, state: State) -> None:
    made = running_run(db, job_id)
    execute(db, "UPDATE runs SET state = :s, lease_until = NULL", s=state)

    beat(db, heartbeat(OURS, (made, 1)))

    assert lease_of(db, made) is None


def test_of_several_heartbeats_of_a_runner_the_last_counts(db: store.Store, job_id: int) -> None:
    ended, running = running_run(db, job_id), running_run(db, job_id)

    beat(db, heartbeat(OURS, (ended, 1), (running, 1)), heartbeat(OURS, (running, 1), slots=9))

    assert (lease_of(db, ended), lease_of(db, running)) == (NOON + LEASE, LATER + LEASE)
    assert runner_of(db)["slots"] == 9


def test_two_runners_that_go_by_one_name_both_keep_their_runs(db: store.Store, job_id: int) -> None:
    namesake = replace(STRANGER, runner=OURS.runner)
    ours, theirs = running_run(db, job_id), running_run(db, job_id, namesake)

    beat(db, heartbeat(OURS, (ours, 1)), heartbeat(namesake, (theirs, 1)))

    assert lease_of(db, ours) == lease_of(db, theirs) == LATER + LEASE


def test_a_heartbeat_answers_the_reapers_question(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    beat(db, heartbeat(OURS), now=NOON)
    assert len(ask(db, NOON + LEASE + SECOND)) == 1

    beat(db, heartbeat(OURS, (made, 1)), now=NOON + LEASE + 2 * SECOND)

    assert (run_of(db, made)["asked_at"], lease_of(db, made)) == (None, NOON + 2 * LEASE + 2 * SECOND)
    assert lose(db, NOON + LEASE + 40 * SECOND) == []


# -- boots


def test_a_boot_adopts_what_still_runs(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    settled = book(db, boot(NEXT, live=[(made, 1)], known=[(made, 1)]))

    found = run_of(db, made)
    assert (settled.adopted, settled.not_started) == (1, ())
    assert (found["state"], found["attempt"], found["instance"]) == ("running", 1, NEXT.instance)
    assert lease_of(db, made) == LATER + LEASE
    assert (runner_of(db)["instance"], runner_of(db)["started_at"]) == (NEXT.instance, LATER)


def test_a_claim_without_a_trace_in_the_journal_was_never_started(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    settled = book(db, boot(NEXT))

    found = run_of(db, made)
    assert [e.run_id for e in settled.not_started] == [made]
    assert (found["state"], found["attempt"], found["publish_at"]) == ("queued", 2, LATER)
    assert events_of(db, made)[-1] == ("not_started", 1, 5)


@pytest.mark.parametrize("complete", [True, False])
def test_a_running_run_is_never_queued_again(db: store.Store, job_id: int, complete: bool) -> None:
    made = running_run(db, job_id)

    book(db, boot(NEXT, complete=complete, since=NOON - HOUR))

    assert (run_of(db, made)["state"], run_of(db, made)["attempt"]) == ("running", 1)


@pytest.mark.parametrize("live", [True, False])
def test_nor_is_a_claim_that_the_journal_knows(db: store.Store, job_id: int, live: bool) -> None:
    made = claimed_run(db, job_id)

    book(db, boot(NEXT, known=[(made, 1)], live=[(made, 1)] if live else []))

    assert (run_of(db, made)["state"], run_of(db, made)["attempt"]) == ("claimed", 1)


def test_nor_one_of_the_booting_instance_itself(db: store.Store, job_id: int) -> None:
    """It was granted while the boot was under way."""
    claimed_run(db, job_id, NEXT)

    assert book(db, boot(NEXT)).not_started == ()


def test_nor_one_of_a_later_instance(db: store.Store, job_id: int) -> None:
    """The report was overtaken: its successor has booted and claimed since."""
    made = claimed_run(db, job_id, NEXT)

    assert book(db, boot(OURS)).not_started == ()
    assert run_of(db, made)["state"] == "claimed"


def test_what_the_journal_knows_to_have_ended_is_asked_about_soon(db: store.Store, job_id: int) -> None:
    """Its end was told, and the message may have got lost since."""
    made = running_run(db, job_id)

    book(db, boot(NEXT, known=[(made, 1)]))

    assert run_of(db, made)["state"] == "running"
    assert ask(db, LATER + SECOND) == [Question(made, 1, f"cronq_runner.{NEXT.instance}")]


def test_nor_one_of_another_lineage(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id, STRANGER)

    book(db, boot(NEXT, live=[(made, 1)]))

    assert (run_of(db, made)["state"], run_of(db, made)["instance"]) == ("claimed", STRANGER.instance)


@pytest.mark.parametrize(
    ("since", "is_covered"),
    [
        (None, False),
        (NOON, False),
        (NOON - SKEW, False),
        (NOON - SKEW - HOUR, True),
        (NOON + HOUR, False),
    ],
)
def test_an_incomplete_journal_proves_only_what_came_well_after_its_beginning(
    db: store.Store, job_id: int, since: datetime | None, is_covered: bool
) -> None:
    made = claimed_run(db, job_id, at=NOON)

    book(db, boot(NEXT, complete=False, since=since))

    assert run_of(db, made)["state"] == ("queued" if is_covered else "claimed")


def test_a_cancelled_claim_that_was_never_started_is_cancelled(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    execute(db, "UPDATE runs SET cancel_requested_at = '2026-11-21 12:00:00'")

    book(db, boot(NEXT))

    assert run_of(db, made)["state"] == "cancelled"


def test_a_second_copy_of_a_boot_changes_nothing(db: store.Store, job_id: int) -> None:
    live, unknown = running_run(db, job_id), claimed_run(db, job_id)
    report = boot(NEXT, live=[(live, 1)], known=[(live, 1)])
    book(db, report)
    before = [run_of(db, made) for made in (live, unknown)]

    book(db, report)

    assert [run_of(db, made) for made in (live, unknown)] == before


# -- the reaper


def test_a_lease_that_ran_out_is_asked_about_once(db: store.Store, job_id: int) -> None:
    beat(db, heartbeat(OURS), now=NOON)
    made = running_run(db, job_id)

    assert ask(db, NOON + LEASE) == []
    assert ask(db, NOON + LEASE + SECOND) == [Question(made, 1, f"cronq_runner.{OURS.instance}")]
    assert ask(db, NOON + LEASE + SECOND) == []

    found = run_of(db, made)
    assert (found["state"], found["asked_at"]) == ("running", NOON + LEASE + SECOND)
    assert found["lease_until"] == NOON + LEASE + 31 * SECOND


def test_nobody_is_lost_before_being_asked(db: store.Store, job_id: int) -> None:
    running_run(db, job_id)

    assert lose(db, NOON + timedelta(days=1)) == []


@pytest.mark.parametrize("make", [claimed_run, running_run])
def test_who_does_not_answer_in_time_is_lost(db: store.Store, job_id: int, make: Any) -> None:
    made = make(db, job_id)
    asked = NOON + LEASE + SECOND
    ask(db, asked)

    assert lose(db, asked + 30 * SECOND) == []
    assert lose(db, asked + 31 * SECOND) == [made]

    found = run_of(db, made)
    assert (found["state"], found["reason"]) == ("lost", "the runner is silent")
    assert (found["recorded_at"], found["lease_until"], found["asked_at"]) == (
        asked + 31 * SECOND,
        None,
        None,
    )
    assert events_of(db, made)[-1] == ("lost", 1, 7)


def test_a_runner_that_never_showed_itself_is_lost_too(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    assert ask(db, NOON + LEASE + SECOND) == []
    assert lose(db, NOON + LEASE + MINUTE) == [made]


def test_an_end_settles_the_question(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    ask(db, NOON + HOUR)

    tell(db, said(EventType.FINISHED, made, return_code=0), now=NOON + HOUR)

    assert lose(db, NOON + 2 * HOUR) == []
    assert run_of(db, made)["state"] == "succeeded"


def test_the_next_attempt_is_not_judged_by_the_last_ones_lease(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    ask(db, NOON + HOUR)
    tell(db, said(EventType.NOT_STARTED, made), now=NOON + HOUR)

    assert (ask(db, NOON + 3 * HOUR), lose(db, NOON + 3 * HOUR)) == ([], [])


def test_a_plain_runner_is_never_judged(db: store.Store, job_id: int) -> None:
    """It has no heartbeat."""
    made = insert_run(db, job_id)
    tell(db, said_plainly(EventType.STARTING, made, job_id))

    assert (ask(db, NOON + timedelta(days=9)), lose(db, NOON + timedelta(days=9))) == ([], [])
    assert run_of(db, made)["state"] == "running"


def test_the_longest_silent_are_asked_first(db: store.Store, job_id: int) -> None:
    beat(db, heartbeat(OURS))
    made = [running_run(db, job_id, at=NOON + k * SECOND) for k in (2, 0, 1)]

    assert [q.run_id for q in ask(db, NOON + HOUR, limit=2)] == [made[1], made[2]]
    assert [q.run_id for q in ask(db, NOON + HOUR, limit=2)] == [made[0]]

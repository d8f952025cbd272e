"""What runners tell: facts kept once, runs moved by their owners only, in whatever order it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cronq import store
from cronq.domain.errors import BadMessage
from cronq.domain.event import SEQ, SEQ_SUPERSEDED, EventType, OutputChunk, RunEvent
from cronq.domain.run import ENDED, Kind, Owner, State
from cronq.store import leases, outcomes, runs
from tests.factories import (
    HOUR,
    LEASE,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    ask,
    claim,
    claimed_run,
    events_of,
    execute,
    insert_job,
    insert_run,
    job_of,
    run_of,
    running_run,
    said,
    said_plainly,
    select,
    tell,
)

START, END = NOON + SECOND, NOON + 61 * SECOND
BOTH_STORES = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def starting(made: str, **fields: Any) -> RunEvent:
    return said(EventType.STARTING, made, at=START, **{"pid": 99, "started_at": START, **fields})


def finished(made: str, code: int | None = 0, **fields: Any) -> RunEvent:
    return said(
        EventType.FINISHED,
        made,
        at=END,
        **{"return_code": code, "finished_at": END, "run_time_s": 60.0, **fields},
    )


def facts(db: store.Store, made: str, *names: str) -> tuple[object, ...]:
    found = run_of(db, made)
    return tuple(found[name] for name in names)


def payload_of(db: store.Store, made: str, seq: int) -> dict[str, object]:
    [row] = select(db, "SELECT payload FROM events WHERE run_id = :r AND seq = :s", r=made, s=seq)
    found: dict[str, object] = json.loads(row["payload"])
    return found


# -- a run's way


def test_a_run_starts_and_succeeds(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    assert tell(db, starting(made), now=START).changed == 1
    assert facts(db, made, "state", "started_at", "pid", "host") == ("running", START, 99, "host")
    assert tell(db, finished(made), now=END).changed == 1

    assert facts(db, made, "state", "reason", "return_code", "signal") == ("succeeded", None, 0, None)
    assert facts(db, made, "finished_at", "recorded_at", "duration_s") == (END, END, 60.0)
    assert facts(db, made, "lease_until", "asked_at", "publish_at") == (None, None, None)
    assert [e[0] for e in events_of(db, made)] == ["queued", "claimed", "starting", "finished"]


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (replace(finished("", 3), reason="exit 3"), "failed", "exit 3"),
        (replace(finished("", -9), signal=9), "failed", None),
        (replace(finished("", 0), why="timeout"), "timed_out", None),
        (replace(finished("", -15), why="cancelled"), "cancelled", "cancelled"),
        (
            replace(finished("", None), type=EventType.FAILED, reason="no such file"),
            "launch_failed",
            "no such file",
        ),
    ],
)
def test_a_run_ends_as_it_is_told(
    db: store.Store, job_id: int, event: RunEvent, state: str, reason: str | None
) -> None:
    made = running_run(db, job_id)

    tell(db, replace(event, run_id=made), now=END)

    assert facts(db, made, "state", "reason", "return_code") == (state, reason, event.return_code)


def test_events_of_many_runs_are_applied_in_one_go(db: store.Store, job_id: int) -> None:
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(50)]

    assert tell(db, *map(starting, made), *map(finished, made), now=END).changed == 50
    assert {run_of(db, m)["state"] for m in made} == {"succeeded"}


def test_a_reason_of_any_length_is_kept_the_run_has_its_beginning(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    tell(db, finished(made, 1, reason="é" * 4096), now=END)

    assert facts(db, made, "reason") == ("é" * 255,)
    assert payload_of(db, made, SEQ[EventType.FINISHED])["reason"] == "é" * 4096


@pytest.mark.parametrize("text", ["😀", "'; DROP TABLE runs; --", "\\", '"', "\u2028"])
def test_any_text_of_a_runner_is_kept(db: store.Store, job_id: int, text: str) -> None:
    made = running_run(db, job_id)

    tell(db, finished(made, 1, reason=text), now=END)

    assert facts(db, made, "reason") == (text,)


def test_fields_that_were_rejected_are_noted_with_the_event(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    tell(db, starting(made, notes=("pid: 'x' is not from 0 to 2147483648",)))

    assert payload_of(db, made, 3)["rejected"] == ["pid: 'x' is not from 0 to 2147483648"]


# -- whatever the order, however often


def final(db: store.Store, made: str) -> tuple[object, ...]:
    """The run's row without what tells when it was applied, its facts, and its job's results."""
    row = {k: v for k, v in run_of(db, made).items() if k not in ("run_id", "scheduled_for", "created_at")}
    job = job_of(db, row["job_id"])
    told = sorted(e for e in events_of(db, made) if e[0] != "superseded")
    return (
        {k: v for k, v in row.items() if k not in ("job_id", "request", "recorded_at", "queued_at")},
        told,
        (job.last_run_start, job.last_run_stop, job.last_run_status, job.current_status),
    )


Story = Callable[[str, int], list[RunEvent]]
STORIES: dict[str, tuple[bool, Story]] = {
    "start and end": (True, lambda made, job: [starting(made), finished(made, 1)]),
    "an end that tells its start": (
        True,
        lambda made, job: [starting(made), finished(made, started_at=START)],
    ),
    "an end within the second": (
        True,
        lambda made, job: [starting(made), replace(finished(made), finished_at=START)],
    ),
    "launch failed": (True, lambda made, job: [said(EventType.FAILED, made, at=END, reason="no such file")]),
    "interrupted": (True, lambda made, job: [starting(made), said(EventType.INTERRUPTED, made, at=END)]),
    "not started": (True, lambda made, job: [said(EventType.NOT_STARTED, made, at=END, reason="draining")]),
    "plain": (
        False,
        lambda made, job: [
            said_plainly(EventType.STARTING, made, job, at=START, started_at=START),
            said_plainly(EventType.FINISHED, made, job, at=END, return_code=2, run_time_s=60.0),
        ],
    ),
    "plain without its own start instant": (
        False,
        lambda made, job: [
            said_plainly(EventType.STARTING, made, job, at=START),
            said_plainly(EventType.FINISHED, made, job, at=END, return_code=0, run_time_s=60.0),
        ],
    ),
    "plain, launch failed": (
        False,
        lambda made, job: [
            said_plainly(EventType.STARTING, made, job, at=START),
            said_plainly(EventType.FAILED, made, job, at=END, run_time_s=0.1),
        ],
    ),
}


@pytest.mark.parametrize("name", STORIES)
@BOTH_STORES
@given(data=st.data())
def test_the_order_and_the_number_of_copies_make_no_difference(
    db: store.Store, name: str, data: st.DataObject
) -> None:
    claims, story = STORIES[name]

    def a_run() -> tuple[str, list[RunEvent]]:
        job_id = insert_job(db)
        made = claimed_run(db, job_id) if claims else insert_run(db, job_id, kind=Kind.REQUEST)
        return made, story(made, job_id)

    reference, events = a_run()
    tell(db, *events, now=END)
    made, events = a_run()
    copies = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=4))
    order = data.draw(st.permutations([*range(len(events)), *copies]))
    cuts = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    batch: list[RunEvent] = []
    for index, cut in zip(order, cuts, strict=True):
        batch.append(events[index])
        if cut:
            tell(db, *batch, now=END)
            batch = []
    tell(db, *batch, now=END)

    assert final(db, made) == final(db, reference)


@BOTH_STORES
@given(order=st.permutations(range(6)))
def test_two_runs_of_a_job_leave_the_same_results_in_any_order(db: store.Store, order: list[int]) -> None:
    """The second begins before the first ends, and ends first."""

    def told(job_id: int) -> list[RunEvent]:
        one, two = (claimed_run(db, job_id) for _ in range(2))
        return [
            said(EventType.STARTING, one, at=NOON),
            said(EventType.STARTING, two, at=NOON + 10 * SECOND),
            said(EventType.FINISHED, two, at=NOON + 20 * SECOND, return_code=0),
            said(EventType.FINISHED, one, at=NOON + 30 * SECOND, return_code=1),
            said(EventType.STARTING, one, at=NOON),
            said(EventType.FINISHED, two, at=NOON + 20 * SECOND, return_code=0),
        ]

    job_id = insert_job(db)
    events = told(job_id)
    for index in order:
        tell(db, events[index], now=END)

    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_stop) == (NOON + 10 * SECOND, NOON + 30 * SECOND)
    assert (job.last_run_status, job.current_status) == ("failed", "failed")


# -- strangers


@pytest.mark.parametrize("kind", list(SEQ))
@pytest.mark.parametrize(
    ("owner", "attempt"),
    [(STRANGER, 1), (OURS, 2), (replace(OURS, lineage="c" * 32), 1), (Owner("", "", ""), 1)],
)
def test_a_stranger_changes_nothing_and_is_kept_as_superseded(
    db: store.Store, job_id: int, kind: EventType, owner: Owner, attempt: int
) -> None:
    made = running_run(db, job_id)
    before, job_before = run_of(db, made), job_of(db, job_id)

    applied = tell(db, said(kind, made, owner, attempt=attempt, at=END, return_code=0), now=END)

    assert (applied.changed, len(applied.superseded)) == (0, 1)
    assert run_of(db, made) == before
    assert job_of(db, job_id) == job_before
    assert events_of(db, made)[-1] == ("superseded", attempt, SEQ[kind] + SEQ_SUPERSEDED)
    kept = payload_of(db, made, SEQ[kind] + SEQ_SUPERSEDED)
    assert (kept["type"], bool(kept["superseded"])) == (kind, True)


def test_plain_words_about_a_claimed_run_change_nothing(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    before = run_of(db, made)

    tell(db, said_plainly(EventType.FINISHED, made, job_id, return_code=0), now=END)

    assert run_of(db, made) == before


def test_a_stranger_does_not_take_the_place_of_a_fact(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    tell(db, said(EventType.FINISHED, made, STRANGER, return_code=1), finished(made), now=END)

    assert facts(db, made, "state") == ("succeeded",)
    assert [e[0] for e in events_of(db, made)] == ["queued", "claimed", "superseded", "finished"]


def test_the_next_process_of_a_lineage_speaks_for_its_run(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    tell(db, said(EventType.FINISHED, made, NEXT, return_code=0), now=END)

    assert facts(db, made, "state") == ("succeeded",)


# -- not started


@pytest.mark.parametrize(("lost", "state", "queued_at"), [(False, "queued", END), (True, "scheduled", None)])
def test_the_proof_of_no_start_brings_the_next_attempt_at_once(
    db: store.Store, job_id: int, lost: bool, state: str, queued_at: datetime | None
) -> None:
    made = claimed_run(db, job_id)
    if lost:
        lose(db, made)

    applied = tell(db, said(EventType.NOT_STARTED, made, reason="draining"), now=END)

    assert facts(db, made, "state", "attempt", "reason") == (state, 2, "draining")
    assert facts(db, made, "publish_at", "publishes", "queued_at") == (queued_at, 0, queued_at)
    assert facts(db, made, "release_at") == (None,)
    assert facts(db, made, "runner", "lineage", "instance", "claimed_at") == (None,) * 4
    assert facts(db, made, "lease_until", "asked_at", "recorded_at", "started_at", "host") == (None,) * 5
    assert applied.losses.found_again == ([made] if lost else [])


@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_a_run_that_started_never_gets_another_attempt(db: store.Store, job_id: int, state: str) -> None:
    made = running_run(db, job_id)
    if state != "running":
        tell(db, finished(made, int(state == "failed")), now=END)

    tell(db, said(EventType.NOT_STARTED, made), now=END)

    assert facts(db, made, "state", "attempt") == (state, 1)


def test_a_cancelled_run_that_was_not_started_is_not_queued_again(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    with db.begin() as tx:
        runs.request_cancel(tx, made, "ann", NOON)

    tell(db, said(EventType.NOT_STARTED, made), now=END)

    assert facts(db, made, "state", "attempt", "publish_at") == ("cancelled", 1, None)


def test_what_the_old_attempt_tells_later_does_not_touch_the_next(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    tell(db, said(EventType.NOT_STARTED, made))
    ask(db, claim(made, STRANGER, attempt=2))
    before = run_of(db, made)

    tell(db, starting(made), finished(made), said(EventType.NOT_STARTED, made), now=END)

    assert run_of(db, made) == before


def test_events_of_one_batch_meet_what_the_earlier_ones_did(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    tell(db, said(EventType.NOT_STARTED, made), said(EventType.NOT_STARTED, made), now=END)

    assert facts(db, made, "attempt") == (2,)


# -- lost and found


def lose(db: store.Store, made: str) -> None:
    """As the reaper does: asked, unanswered, lost."""
    late = NOON + HOUR
    with db.begin() as tx:
        leases.ask_expired(tx, late, late, 100)
        assert made in leases.lose_unanswered(tx, late + SECOND, 100).lost


def test_an_interrupted_run_is_lost(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    applied = tell(db, said(EventType.INTERRUPTED, made, at=END), now=END)

    assert facts(db, made, "state", "reason", "recorded_at", "lease_until") == (
        "lost",
        "interrupted",
        END,
        None,
    )
    assert applied.losses.lost == [made]


@pytest.mark.parametrize("code", [0, 1])
def test_a_lost_run_that_turns_out_to_have_ended_is_corrected(
    db: store.Store, job_id: int, code: int
) -> None:
    made = running_run(db, job_id)
    lose(db, made)
    assert facts(db, made, "state", "recovered") == ("lost", False)

    applied = tell(db, finished(made, code), now=END)

    assert facts(db, made, "state", "recovered", "return_code") == (("succeeded", "failed")[code], True, code)
    assert applied.losses.found_again == [made]


def test_an_interrupted_run_that_turns_out_to_have_ended_is_corrected(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)

    tell(db, said(EventType.INTERRUPTED, made), now=NOON)
    tell(db, finished(made), now=END)

    assert facts(db, made, "state", "recovered", "reason", "finished_at") == ("succeeded", True, None, END)


def test_a_correction_stands(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    lose(db, made)
    tell(db, finished(made, 0), now=END)

    tell(db, finished(made, 1), said(EventType.INTERRUPTED, made), now=END)

    assert facts(db, made, "state", "return_code", "recovered") == ("succeeded", 0, True)


# -- runs of the ancestor's injector, and nobody's


def test_an_event_of_a_run_that_is_not_in_the_ledger_is_kept_if_its_job_exists(
    db: store.Store, job_id: int
) -> None:
    made = "f" * 32

    for _ in range(2):
        tell(
            db,
            said_plainly(EventType.STARTING, made, job_id, at=START),
            said_plainly(EventType.FINISHED, made, job_id, at=END, return_code=0),
            now=END,
        )

    assert [e[0] for e in events_of(db, made)] == ["starting", "finished"]
    [first, second] = select(db, "SELECT * FROM events ORDER BY id")
    assert (first["job_id"], first["host"], second["return_code"]) == (job_id, "old.example.org", 0)
    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_stop, job.last_run_status) == (START, END, "succeeded")


@pytest.mark.parametrize("kind", list(SEQ))
def test_an_event_of_no_job_is_refused(db: store.Store, kind: EventType) -> None:
    with pytest.raises(BadMessage, match=r"^job_id: no job 77, and no run of this id$"):
        tell(db, said(kind, "f" * 32, job_id=77))


def test_one_event_of_no_job_keeps_the_others_from_being_written(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)

    with pytest.raises(BadMessage):
        tell(db, starting(made), said(EventType.STARTING, "f" * 32, job_id=77))

    assert facts(db, made, "state") == ("claimed",)


def test_a_run_whose_job_was_deleted_by_hand_ends_all_the_same(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    execute(db, "UPDATE events SET job_id = NULL")
    execute(db, "DELETE FROM jobs")

    tell(db, finished(made), now=END)

    assert facts(db, made, "state") == ("succeeded",)


# -- the job's own columns


def test_a_job_shows_its_last_start_and_end_as_the_ancestor_did(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    tell(db, starting(made), now=START)
    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_stop, job.current_status) == (START, None, "starting")

    tell(db, finished(made, 1), now=END)
    job = job_of(db, job_id)
    assert (job.last_run_stop, job.last_run_status, job.current_status) == (END, "failed", "failed")


@pytest.mark.parametrize("ahead", [timedelta(days=3650), MINUTE])
def test_a_runner_whose_clock_is_ahead_does_not_hide_later_runs(
    db: store.Store, job_id: int, ahead: timedelta
) -> None:
    first, second = claimed_run(db, job_id), claimed_run(db, job_id)
    tell(db, said(EventType.STARTING, first, at=NOON + ahead), now=NOON)
    tell(db, said(EventType.FINISHED, first, at=NOON + ahead, return_code=0), now=NOON + SECOND)

    tell(db, said(EventType.STARTING, second, at=NOON + 2 * SECOND), now=NOON + 2 * SECOND)
    tell(db, said(EventType.FINISHED, second, at=NOON + 3 * SECOND, return_code=1), now=NOON + 3 * SECOND)

    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_stop) == (NOON + 2 * SECOND, NOON + 3 * SECOND)
    assert job.last_run_status == "failed"


def test_fractions_of_seconds_do_not_matter_to_the_jobs_columns(db: store.Store, job_id: int) -> None:
    """The ancestor's columns hold whole seconds."""
    made = claimed_run(db, job_id)
    start, end = NOON + timedelta(milliseconds=200), NOON + timedelta(milliseconds=900)

    tell(db, said(EventType.FINISHED, made, at=end, return_code=0), now=NOON + SECOND)
    tell(db, said(EventType.STARTING, made, at=start), now=NOON + SECOND)

    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_stop, job.current_status) == (NOON, NOON, "succeeded")


# -- output


def chunk(made: str, offset: int, data: bytes, owner: Owner = OURS, attempt: int = 1) -> OutputChunk:
    return OutputChunk(made, attempt, owner.lineage, offset, data)


def keep(db: store.Store, *chunks: OutputChunk) -> int:
    with db.begin() as tx:
        return outcomes.store_output(tx, chunks)


def read(db: store.Store, made: str, **how: int) -> list[tuple[int, bytes]]:
    with db.read() as tx:
        return outcomes.output(tx, made, 1, **how)


def test_output_is_kept_byte_by_byte_and_once(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    every_byte = bytes(range(256)) * 4

    for _ in range(2):
        keep(db, chunk(made, len(every_byte), b"tail\n"), chunk(made, 0, every_byte))

    assert read(db, made) == [(0, every_byte), (1024, b"tail\n")]
    assert facts(db, made, "output_bytes") == (1029,)


@pytest.mark.parametrize(("owner", "attempt"), [(STRANGER, 1), (OURS, 2)])
def test_output_of_a_stranger_is_dropped(db: store.Store, job_id: int, owner: Owner, attempt: int) -> None:
    made = running_run(db, job_id)

    assert keep(db, chunk(made, 0, b"forged", owner, attempt), chunk("f" * 32, 0, b"nobody's")) == 0
    assert (read(db, made), facts(db, made, "output_bytes")) == ([], (0,))


def test_output_is_read_from_an_offset_on(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    keep(db, chunk(made, 0, b"0123"), chunk(made, 4, b"4567"), chunk(made, 100, b"end"))

    assert read(db, made, offset=2) == [(2, b"23"), (4, b"4567"), (100, b"end")]
    assert read(db, made, offset=4) == [(4, b"4567"), (100, b"end")]
    assert read(db, made, offset=50) == [(100, b"end")]
    assert read(db, made, offset=103) == []
    assert read(db, made, most=4) == [(0, b"0123")]


def test_large_output_is_kept(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    data = b"\x00\xff" * 1_500_000

    keep(db, *(chunk(made, k * len(data), data) for k in range(8)))

    assert facts(db, made, "output_bytes") == (8 * len(data),)
    assert read(db, made, offset=7 * len(data), most=10**8) == [(7 * len(data), data)]


def test_an_ended_run_still_takes_its_output(db: store.Store, job_id: int) -> None:
    made = running_run(db, job_id)
    tell(db, finished(made))

    assert keep(db, chunk(made, 0, b"late")) == 1
    assert State(run_of(db, made)["state"]) in ENDED


def test_a_lease_outlives_everything_but_the_end(db: store.Store, job_id: int) -> None:
    made = claimed_run(db, job_id)
    tell(db, starting(made))

    assert facts(db, made, "lease_until") == (NOON + LEASE,)


@pytest.mark.parametrize(
    ("newer_by", "state"), [(timedelta(hours=1), "lost"), (timedelta(hours=-1), "scheduled")]
)
def test_a_lost_run_that_was_never_started_comes_back_only_while_it_is_the_latest(
    db: store.Store, job_id: int, newer_by: timedelta, state: str
) -> None:
    made = insert_run(db, job_id, at=NOON)
    ask(db, claim(made))
    insert_run(db, job_id, at=NOON + newer_by)
    execute(db, "UPDATE runs SET state = 'lost', lease_until = NULL WHERE run_id = :made", made=made)

    tell(db, said(EventType.NOT_STARTED, made))

    assert run_of(db, made)["state"] == state

"""The outage board: what is on it, and what becomes of it when a person orders it to run, later or never."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain.audit import Window
from cronq.domain.errors import Conflict, InvalidInput, NotFound
from cronq.domain.event import EventType
from cronq.domain.gate import Limit
from cronq.domain.missed import MOST, ORDERED, SHOWN, Action, Order, Standing, Which
from cronq.domain.run import Denial, State
from cronq.injector.expand import expand_once
from cronq.injector.release import release_once, set_free_once
from cronq.store import audits, missed, missed_orders
from cronq.store.audits import Scope as AuditScope
from cronq.store.claims import Granted
from cronq.store.missed import Scope
from cronq.store.missed_orders import Done
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Clock,
    ask,
    by_hand,
    claim,
    definition,
    events_of,
    execute,
    insert_job,
    insert_run,
    job_named,
    put,
    run_of,
    runs_of,
    said,
    select,
    tell,
)

DAY = 24 * HOUR
RATE = Limit(rate=10, period=SECOND)
RUN, SKIP, SHIFT = Action.RUN, Action.SKIP, Action.SHIFT
SINCE = NOON - DAY


@pytest.fixture(autouse=True)
def after_noon(clock: Clock) -> Clock:
    """Half a second past noon."""
    clock.now = NOON + timedelta(milliseconds=500)
    return clock


def work(db: store.Store) -> None:
    """An injector that is at work until nothing is due."""
    while expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND).jobs:
        pass
    set_free_once(db, catch_up_rate=100)
    release_once(db, 2_000)


def outage(db: store.Store, since: timedelta, *names: str, **fields: Any) -> None:
    """Nobody has looked at these jobs for so long, and somebody does now; none of what they missed runs."""
    common: dict[str, Any] = {"misfire": "skip", **fields}
    put(db, *(definition(name, **common) for name in names or ["job"]), now=NOON - since - SECOND)
    work(db)


def board(db: store.Store, **scope: Any) -> list[dict[str, Any]]:
    with db.read() as tx:
        return missed.listed(tx, Scope(**{"since": SINCE, **scope}), limit=100_000)


def instants(db: store.Store, *states: State) -> list[datetime]:
    return [r["scheduled_for"] for r in runs_of(db) if r["state"] in states]


def order(
    db: store.Store,
    clock: Clock,
    action: Action,
    wanted: Scope | Sequence[str] | None = None,
    *,
    which: Which = Which.ALL,
    **more: Any,
) -> Done:
    wish = Order(action=action, actor="ann", which=which, **more)
    about = Scope(since=SINCE, standings=ORDERED) if wanted is None else wanted

    def carry_out(tx: store.Tx) -> Done:
        if isinstance(about, Scope):
            return missed_orders.carry_out(tx, wish, about, clock.now, RATE)
        return missed_orders.carry_out_on(tx, wish, about, clock.now, RATE)

    return db.transact(carry_out)


def assert_audit_is_clean(db: store.Store, clock: Clock) -> None:
    for since in (NOON - 3 * DAY, NOON - 90 * MINUTE, NOON - 30 * MINUTE):
        report = audits.audit(db, Window.of(since, None, clock.now), AuditScope())
        assert (report.holes, report.doubles, report.unexpected) == ([], [], [])
    slots = [r for r in runs_of(db) if r["kind"] == "slot"]
    whole = audits.audit(db, Window.of(NOON - 3 * DAY, None, clock.now), AuditScope())
    assert whole.expected == whole.found == sum(r["missed_count"] or 1 for r in slots)


# -- what is on it


def test_every_missed_expired_held_or_undecided_slot_since_an_instant_is_on_it(
    db: store.Store, clock: Clock
) -> None:
    job_id = insert_job(db, next_run=NOON + HOUR)
    made = {
        state: insert_run(db, job_id, state, at=NOON - k * MINUTE, made_at=NOON)
        for k, state in enumerate(State)
    }
    undecided = insert_run(db, job_id, State.LOST, at=NOON - 30 * MINUTE, made_at=NOON, needs_decision=True)
    held = insert_run(db, job_id, State.SCHEDULED, at=NOON - 31 * MINUTE, made_at=NOON)
    in_line = insert_run(db, job_id, State.SCHEDULED, at=NOON - 32 * MINUTE, made_at=NOON)
    for run, gate in ((held, "pause:all"), (in_line, "category:1")):
        columns = "(run_id, gate, weight, priority, turn, at)"
        execute(
            db, f"INSERT INTO parked {columns} VALUES (:r, :g, 1, 0, 0, :at)", r=run, g=gate, at=by_hand(NOON)
        )
    insert_run(db, job_id, State.MISSED, at=SINCE - SECOND, made_at=NOON)

    found = {row["run_id"]: row["standing"] for row in board(db)}

    assert found == {
        made[State.MISSED]: "missed",
        made[State.EXPIRED]: "expired",
        undecided: "lost",
        held: "held",
    }
    with_skipped = board(db, standings=SHOWN | {Standing.SKIPPED})
    assert {r["run_id"] for r in with_skipped} - {*found} == {made[State.SKIPPED]}
    [row] = [r for r in board(db) if r["run_id"] == held]
    assert (row["gate"], row["scheduled_for"]) == ("pause:all", NOON - 31 * MINUTE)


def test_it_can_be_narrowed_and_paged_and_counts_each_job(db: store.Store, clock: Clock) -> None:
    outage(db, HOUR, "a", "b")
    put(db, definition("c", misfire="skip"), category="other", now=NOON - 10 * MINUTE)
    work(db)
    a, c = job_named(db, "a"), job_named(db, "c")

    assert {r["job_id"] for r in board(db, job_id=a.id)} == {a.id}
    assert {r["job_id"] for r in board(db, category_id=c.category_id)} == {c.id}
    narrow = board(db, since=NOON - 5 * MINUTE, until=NOON - 3 * MINUTE, job_id=a.id)
    assert {r["scheduled_for"] for r in narrow} == {NOON - 5 * MINUTE, NOON - 4 * MINUTE}

    pages, before = [], None
    with db.read() as tx:
        while page := missed.listed(tx, Scope(since=SINCE), before=before, limit=7):
            pages += page
            before = page[-1]["run_id"]
        counts = missed.by_job(tx, Scope(since=SINCE))
    assert [r["run_id"] for r in pages] == [r["run_id"] for r in board(db)]
    assert [(r["job_id"], r["standing"], r["count"]) for r in counts] == [
        (a.id, "missed", 60),
        (job_named(db, "b").id, "missed", 60),
        (c.id, "missed", 9),
    ]
    assert (counts[0]["first"], counts[0]["last"]) == (NOON - HOUR, NOON - MINUTE)


def test_a_row_that_stands_for_many_is_on_it_wherever_the_window_touches_it(db: store.Store) -> None:
    outage(db, 3 * HOUR)

    [row] = board(db)
    assert (row["scheduled_for"], row["last_scheduled_for"]) == (NOON - 3 * HOUR, NOON - MINUTE)
    assert board(db, since=NOON - HOUR, until=NOON - 30 * MINUTE) == [row]
    assert board(db, since=NOON) == board(db, until=NOON - 3 * HOUR) == []


# -- run


def test_a_missed_occurrence_runs_in_its_own_row(db: store.Store, clock: Clock) -> None:
    outage(db, 2 * MINUTE)
    first = runs_of(db)[0]

    done = order(db, clock, RUN, [first["run_id"]])

    assert (done.changed, done.unchanged, done.left) == ([first["run_id"]], [], 0)
    run = run_of(db, first["run_id"])
    assert (run["state"], run["triggered_by"], run["actor"]) == ("scheduled", "catch-up", "ann")
    assert (run["reason"], run["recorded_at"], run["release_at"], run["attempt"]) == (None, None, None, 1)
    [event] = select(db, "SELECT * FROM events WHERE run_id = :r", r=run["run_id"])
    assert (event["type"], json.loads(event["payload"])) == (
        "scheduled",
        {"by": "ann", "was": "missed (misfire)"},
    )
    release_once(db, 100)
    assert isinstance(ask(db, claim(run["run_id"]), now=clock.now), Granted)
    for kind in (EventType.STARTING, EventType.FINISHED):
        tell(db, said(kind, run["run_id"], at=clock.now, return_code=0), now=clock.now)
    assert [e[0] for e in events_of(db, run["run_id"])] == [
        "scheduled", "queued", "claimed", "starting", "finished",
    ]  # fmt: skip
    assert run_of(db, run["run_id"])["state"] == "succeeded"
    assert_audit_is_clean(db, clock)


def test_ordered_again_and_again_it_runs_once(db: store.Store, clock: Clock) -> None:
    outage(db, 5 * MINUTE)
    ids = [r["run_id"] for r in board(db)]

    assert len(order(db, clock, RUN, ids).changed) == 5
    before = runs_of(db), select(db, "SELECT * FROM events")
    again = order(db, clock, RUN, ids)

    assert (again.changed, len(again.unchanged)) == ([], 5)
    assert again.unchanged[0][1] == "it is scheduled: neither missed nor held"
    assert order(db, clock, RUN).changed == []
    assert (runs_of(db), select(db, "SELECT * FROM events")) == before


@pytest.mark.parametrize("action", [RUN, SKIP, SHIFT])
def test_the_latest_of_each_job_is_taken_once_however_often_that_is_ordered(
    db: store.Store, clock: Clock, action: Action
) -> None:
    outage(db, 5 * MINUTE, "a", "b")
    more: dict[str, Any] = {"to": NOON + HOUR} if action is SHIFT else {}

    done = order(db, clock, action, which=Which.LATEST, **more)

    assert (len(done.changed), done.left) == (2, 0)
    assert {run_of(db, made)["scheduled_for"] for made in done.changed} == {NOON - MINUTE}
    assert order(db, clock, action, which=Which.LATEST, **more) == Done()
    assert_audit_is_clean(db, clock)


def test_one_that_was_published_and_expired_runs_as_another_attempt(db: store.Store, clock: Clock) -> None:
    """So that a copy of the message of before starts nothing, and each event is told."""
    put(db, definition(schedule="0 * * * *", start_deadline=30), now=NOON - SECOND)
    work(db)
    [run] = runs_of(db)
    assert ask(db, claim(run["run_id"]), now=NOON + 31 * SECOND) == Denial("expired")
    clock.now = NOON + MINUTE

    order(db, clock, RUN, [run["run_id"]])
    release_once(db, 100)

    assert ask(db, claim(run["run_id"]), now=clock.now) == Denial("superseded")
    assert isinstance(ask(db, claim(run["run_id"], attempt=2), now=clock.now), Granted)
    assert [e[:2] for e in events_of(db, run["run_id"])] == [
        ("queued", 1), ("expired", 1), ("scheduled", 2), ("queued", 2), ("claimed", 2),
    ]  # fmt: skip
    assert select(db, "SELECT * FROM deadlines") == []


def test_many_are_let_out_at_the_set_rate_by_priority_then_age(db: store.Store, clock: Clock) -> None:
    outage(db, 5 * MINUTE, "a", "b", priority=5)
    put(db, definition("urgent", misfire="skip", priority=-5), category="other", now=NOON - 5 * MINUTE)
    work(db)

    done = order(db, clock, RUN)

    found = [run_of(db, made) for made in done.changed]
    assert [r["release_at"] for r in found] == [
        None if k == 0 else clock.now + k * SECOND / 10 for k in range(len(found))
    ]
    assert [(r["priority"], r["scheduled_for"]) for r in found] == sorted(
        (r["priority"], r["scheduled_for"]) for r in found
    )
    assert [r["priority"] for r in found] == [-5] * 4 + [5] * 10
    clock.tick(SECOND)
    queued = len(instants(db, State.QUEUED))
    release_once(db, 1_000)
    assert len(instants(db, State.QUEUED)) == queued + 11


@pytest.mark.parametrize(("every", "gap"), [(timedelta(0), timedelta(0)), (10 * SECOND, 10 * SECOND)])
def test_or_as_far_apart_as_the_order_says(
    db: store.Store, clock: Clock, every: timedelta, gap: timedelta
) -> None:
    outage(db, 4 * MINUTE)

    done = order(db, clock, RUN, every=every)

    wanted = [clock.now + k * gap for k in range(4)]
    assert [run_of(db, made)["release_at"] for made in done.changed] == [
        at if at > clock.now else None for at in wanted
    ]


def test_the_next_occurrence_leaves_alone_what_a_person_let_out(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * MINUTE, misfire="latest")
    done = order(db, clock, RUN, every=HOUR)
    clock.tick(MINUTE)

    work(db)

    states = [run_of(db, made)["state"] for made in done.changed]
    assert states == ["queued", "scheduled", "scheduled"]
    assert instants(db, State.MISSED) == [NOON]  # which nobody claimed
    assert_audit_is_clean(db, clock)


# -- rows that stand for many


@pytest.mark.parametrize("action", [RUN, SKIP, SHIFT])
def test_the_latest_of_a_row_that_stands_for_many_gets_a_row_of_its_own(
    db: store.Store, clock: Clock, action: Action
) -> None:
    outage(db, 3 * HOUR)
    [row] = board(db)
    named = [row["run_id"]]
    more: dict[str, Any] = {"to": NOON + HOUR} if action is SHIFT else {}

    done = order(db, clock, action, named, which=Which.LATEST, **more)

    kept, taken = run_of(db, row["run_id"]), run_of(db, done.changed[0])
    assert (kept["state"], kept["missed_count"], kept["last_scheduled_for"]) == (
        "missed",
        179,
        NOON - 2 * MINUTE,
    )
    assert (taken["scheduled_for"], taken["missed_count"], taken["revision"]) == (NOON - MINUTE, None, 1)
    assert taken["state"] == ("skipped" if action is SKIP else "scheduled")
    again = order(db, clock, action, named, which=Which.LATEST, **more)
    assert (again.changed, len(again.unchanged)) == ([], 1)
    assert_audit_is_clean(db, clock)


def test_two_orders_at_once_for_the_latest_are_one(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one looked before the first one was carried out."""
    outage(db, 3 * HOUR, "many")
    put(db, definition("few", misfire="skip"), category="other", now=NOON - 5 * MINUTE)
    work(db)
    scope = Scope(since=SINCE, standings=ORDERED)
    with db.read() as tx:
        seen = missed.orderable(tx, scope, RUN, Which.LATEST)

    assert len(order(db, clock, RUN, scope, which=Which.LATEST).changed) == len(seen) == 2
    monkeypatch.setattr(missed, "orderable", lambda *_: seen)
    assert order(db, clock, RUN, scope, which=Which.LATEST).changed == []
    assert_audit_is_clean(db, clock)


def test_all_of_it_can_be_let_out(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * HOUR)

    done = order(db, clock, RUN)

    assert (len(done.changed), done.left) == (180, 0)
    assert instants(db, State.SCHEDULED) == [NOON - k * MINUTE for k in range(180, 0, -1)]
    assert order(db, clock, RUN).changed == []
    assert_audit_is_clean(db, clock)


def test_or_some_of_its_middle(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * HOUR)
    middle = Scope(since=NOON - 2 * HOUR, until=NOON - 2 * HOUR + 3 * MINUTE, standings=ORDERED)

    done = order(db, clock, RUN, middle)

    assert [run_of(db, made)["scheduled_for"] for made in done.changed] == [
        NOON - 2 * HOUR + k * MINUTE for k in range(3)
    ]
    spans = [(r["scheduled_for"], r["last_scheduled_for"], r["missed_count"]) for r in board(db)]
    assert sorted(spans) == [
        (NOON - 3 * HOUR, NOON - 2 * HOUR - MINUTE, 60),
        (NOON - 2 * HOUR + 3 * MINUTE, NOON - MINUTE, 117),
    ]
    assert order(db, clock, RUN, middle).changed == []
    assert_audit_is_clean(db, clock)


def test_more_than_one_order_lets_out_is_refused_and_changes_nothing(db: store.Store, clock: Clock) -> None:
    outage(db, (MOST + 1) * MINUTE)
    [row] = board(db)
    before = runs_of(db)

    for wanted in (None, [row["run_id"]]):
        with pytest.raises(InvalidInput, match="stands for 1,001") as refused:
            order(db, clock, RUN, wanted)
        assert "narrow" in refused.value.problems[0].hint
    assert runs_of(db) == before

    first = Scope(since=SINCE, until=NOON - 10 * MINUTE, standings=ORDERED)
    assert len(order(db, clock, RUN, first).changed) == MOST - 9
    assert len(order(db, clock, RUN).changed) == 10
    assert_audit_is_clean(db, clock)


def test_one_order_takes_a_thousand_and_says_how_many_are_left(db: store.Store, clock: Clock) -> None:
    outage(db, 90 * MINUTE, *(f"job {k}" for k in range(12)))

    first, second = order(db, clock, RUN), order(db, clock, RUN)

    assert [(len(d.changed), d.left) for d in (first, second)] == [(MOST, 80), (80, 0)]


def test_it_goes_by_the_schedule_of_then(db: store.Store, clock: Clock) -> None:
    """Its own revision's, with its zone and its hashed minute."""
    start = NOON - 2 * DAY
    fields: dict[str, Any] = {"timezone": "Asia/Kolkata", "misfire": "skip"}
    put(db, definition(schedule="H/9 0-22 * * *", **fields), now=start)
    work(db)
    put(db, definition(schedule="0 0 1 1 *", **fields), now=clock.now)
    [row] = [r for r in board(db, since=start) if r["missed_count"]]
    count = row["missed_count"]

    done = order(db, clock, RUN, [row["run_id"]])

    assert len(done.changed) == count > 200
    assert_audit_is_clean(db, clock)


def test_what_a_bare_interval_missed_is_worked_out_from_its_first_instant(
    db: store.Store, clock: Clock
) -> None:
    insert_job(db, interval=37 * SECOND, next_run=NOON - 3 * HOUR - 5 * SECOND, name="bare")
    work(db)

    order(db, clock, RUN, which=Which.LATEST)

    [taken] = instants(db, State.SCHEDULED)
    assert (NOON - 3 * HOUR - 5 * SECOND - taken) % (37 * SECOND) == timedelta(0)
    assert_audit_is_clean(db, clock)


def test_a_row_whose_schedule_does_not_give_what_it_counts_is_left_alone(
    db: store.Store, clock: Clock
) -> None:
    outage(db, 3 * HOUR)
    execute(db, "UPDATE runs SET missed_count = 99 WHERE missed_count IS NOT NULL")
    [row] = board(db)

    with pytest.raises(Conflict, match="its schedule does not give the occurrences"):
        order(db, clock, RUN, [row["run_id"]])
    assert order(db, clock, RUN).changed == []


# -- skip and shift


def test_what_is_skipped_says_who_and_why_and_leaves_the_board(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * HOUR, "a")
    outage(db, 5 * MINUTE, "a", "b")

    done = order(db, clock, SKIP, why="done by hand")

    assert (len(done.changed), board(db)) == (6, [])
    found = [run_of(db, made) for made in done.changed]
    assert {(r["state"], r["reason"], r["actor"]) for r in found} == {
        ("skipped", "skipped_by ann: done by hand", "ann")
    }
    assert [r["missed_count"] for r in found if r["missed_count"]] == [180]
    assert [e[0] for e in events_of(db, done.changed[0])] == ["skipped"]
    assert order(db, clock, SKIP).changed == []
    assert_audit_is_clean(db, clock)


def test_a_skipped_one_can_be_run_after_all(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * HOUR)
    order(db, clock, SKIP)
    [row] = board(db, standings=frozenset({Standing.SKIPPED}))

    done = order(db, clock, RUN, [row["run_id"]], which=Which.LATEST)

    assert instants(db, State.SCHEDULED) == [NOON - MINUTE]
    assert run_of(db, row["run_id"])["state"] == "skipped"
    assert [e[:2] for e in events_of(db, done.changed[0])] == [("scheduled", 1)]
    assert_audit_is_clean(db, clock)


def test_what_is_shifted_is_let_out_then(db: store.Store, clock: Clock) -> None:
    outage(db, 3 * MINUTE)

    done = order(db, clock, SHIFT, to=NOON + 2 * HOUR, every=MINUTE)

    assert [run_of(db, made)["release_at"] for made in done.changed] == [
        NOON + 2 * HOUR + k * MINUTE for k in range(3)
    ]
    assert release_once(db, 100) == 0
    clock.now = NOON + 2 * HOUR + MINUTE
    assert release_once(db, 100) == 2
    [event] = select(db, "SELECT payload FROM events WHERE run_id = :r AND type = 'scheduled'",
                     r=done.changed[0])  # fmt: skip
    assert json.loads(event["payload"])["not before"] == "2026-11-21T14:00:00Z"


# -- what is held


def pause(db: store.Store, subject: str, at: datetime) -> None:
    execute(db, "INSERT INTO pauses (subject, since, reason, actor) VALUES (:s, :at, '', '')",
            s=subject, at=by_hand(at))  # fmt: skip


@pytest.fixture
def held(db: store.Store) -> str:
    """One that is due now, of a job that is paused."""
    put(db, definition(misfire="all"), now=NOON - SECOND)
    pause(db, f"job:{job_named(db).id}", NOON - MINUTE)
    work(db)
    [row] = board(db)
    assert (row["standing"], row["state"]) == ("held", "scheduled")
    return str(row["run_id"])


def test_run_lets_it_out_past_the_pause_of_its_job(db: store.Store, clock: Clock, held: str) -> None:
    done = order(db, clock, RUN)

    assert done.changed == [held]
    release_once(db, 100)
    assert (run_of(db, held)["state"], run_of(db, held)["attempt"]) == ("queued", 1)
    assert select(db, "SELECT * FROM parked") == []
    assert order(db, clock, RUN, [held]).changed == []
    assert_audit_is_clean(db, clock)


def test_skip_ends_it(db: store.Store, clock: Clock, held: str) -> None:
    order(db, clock, SKIP, [held])

    assert run_of(db, held)["state"] == "skipped"
    execute(db, "DELETE FROM pauses")
    work(db)
    assert (run_of(db, held)["state"], select(db, "SELECT * FROM parked")) == ("skipped", [])
    assert_audit_is_clean(db, clock)


def test_shift_gives_it_another_instant_which_the_end_of_the_pause_does_not_change(
    db: store.Store, clock: Clock, held: str
) -> None:
    order(db, clock, SHIFT, [held], to=NOON + HOUR)
    execute(db, "DELETE FROM pauses")
    work(db)
    assert run_of(db, held)["state"] == "scheduled"

    clock.now = NOON + HOUR
    release_once(db, 100)
    assert run_of(db, held)["state"] == "queued"


def test_nobody_passes_a_paused_queue(db: store.Store, clock: Clock) -> None:
    pause(db, "queue:default", NOON - MINUTE)
    put(db, definition(misfire="all"), now=NOON - SECOND)
    work(db)
    [row] = board(db)

    with pytest.raises(Conflict, match="waits for pause:queue:default, which nobody passes"):
        order(db, clock, RUN, [row["run_id"]])
    assert order(db, clock, RUN) == Done()
    assert len(order(db, clock, SHIFT, to=NOON + HOUR).changed) == 1


def test_one_that_waits_its_turn_after_an_outage_goes_at_once(db: store.Store, clock: Clock) -> None:
    clock.now = NOON + 10 * MINUTE
    put(db, *(definition(f"job {k}", schedule="0 * * * *") for k in range(3)), now=NOON - SECOND)
    expand_once(db, locked_by="host.1", window=2_000, publish_lease=2 * SECOND)
    assert {r["gate"] for r in board(db)} == {"rate:catch-up"}

    order(db, clock, RUN, every=timedelta(0))
    release_once(db, 100)

    assert len(instants(db, State.QUEUED)) == 3


# -- what is refused


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE jobs SET enabled = 0", "its job is disabled"),
        ("UPDATE jobs SET removed_at = '2026-11-21 12:00:00'", "its job was removed"),
        ("UPDATE jobs SET routing_key = 'no key!'", "its job can't run: routing_key"),
    ],
)
def test_what_can_not_run_is_told_so_and_can_be_skipped(
    db: store.Store, clock: Clock, change: str, why: str
) -> None:
    outage(db, 2 * MINUTE)
    ids = [r["run_id"] for r in board(db)]
    execute(db, change)

    with pytest.raises(Conflict, match=why):
        order(db, clock, RUN, ids)
    assert order(db, clock, RUN).changed == []
    assert len(order(db, clock, SKIP, ids).changed) == 2


def test_a_lost_run_is_decided_about_elsewhere(db: store.Store, clock: Clock) -> None:
    job_id = insert_job(db)
    lost = insert_run(db, job_id, State.LOST, at=NOON - MINUTE, needs_decision=True)

    with pytest.raises(Conflict, match="it may have run: decide about it"):
        order(db, clock, RUN, [lost])
    assert order(db, clock, RUN, Scope(since=SINCE)) == Done()


def test_a_run_that_nobody_knows_is_not_found_and_nothing_is_done(db: store.Store, clock: Clock) -> None:
    outage(db, 2 * MINUTE)
    before = runs_of(db)

    with pytest.raises(NotFound, match=r"no run has the id f{32}"):
        order(db, clock, RUN, [*(r["run_id"] for r in board(db)), "f" * 32])
    assert runs_of(db) == before


def test_an_instant_that_has_another_row_keeps_that_one(db: store.Store, clock: Clock) -> None:
    """Somebody set `next_run` back into what one row stands for."""
    outage(db, 3 * HOUR)
    execute(db, "UPDATE jobs SET next_run = :at", at=by_hand(NOON - MINUTE))
    work(db)
    rows = [r["run_id"] for r in runs_of(db) if r["scheduled_for"] == NOON - MINUTE]

    [summary] = [r for r in board(db) if r["missed_count"]]
    order(db, clock, RUN, [summary["run_id"]])

    assert [r["run_id"] for r in runs_of(db) if r["scheduled_for"] == NOON - MINUTE] == rows


@pytest.mark.parametrize("function", ["insert_events", "event_row"])
def test_what_breaks_in_the_middle_changes_nothing(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    outage(db, 3 * HOUR)
    before = runs_of(db), select(db, "SELECT * FROM events"), select(db, "SELECT * FROM parked")
    whole: Callable[..., Any] = getattr(missed_orders, function)

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    monkeypatch.setattr(missed_orders, function, breaks)
    with pytest.raises(RuntimeError, match="made up"):
        order(db, clock, RUN)

    assert (runs_of(db), select(db, "SELECT * FROM events"), select(db, "SELECT * FROM parked")) == before

"""What an outage leaves: each instant has its row, and those to run go at a set rate, by priority."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cronq import store
from cronq.domain import gate as gates
from cronq.domain.audit import Window
from cronq.domain.event import EventType
from cronq.domain.run import Denial, State
from cronq.injector import release
from cronq.injector.expand import expand_once
from cronq.injector.release import expire_once, release_once, set_free_once
from cronq.runtime import crash
from cronq.store import audits, doorbells, freeing, limits, line, runs
from cronq.store.audits import Scope
from cronq.store.claims import Granted
from tests.factories import (
    HOUR,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    Clock,
    ask,
    claim,
    definition,
    events_of,
    job_named,
    put,
    run_of,
    runs_of,
    said,
    select,
    tell,
)

LEASE = 2 * SECOND
WINDOW = 2_000
RATE = 10
HALF_HOURLY = "*/30 * * * *"


@pytest.fixture(autouse=True)
def after_noon(clock: Clock) -> Clock:
    """Ten minutes past noon: what was due at noon is late."""
    clock.now = NOON + 10 * MINUTE + timedelta(milliseconds=500)
    return clock


def outage(db: store.Store, count: int = 300, **fields: object) -> None:
    """Nobody has looked at so many jobs since eleven; every tenth is more urgent than the others."""
    common: dict[str, Any] = {"schedule": HALF_HOURLY, **fields}
    jobs = [definition(f"job {k}", priority=-1 if k % 10 == 0 else 0, **common) for k in range(count)]
    put(db, *jobs, now=NOON - HOUR - SECOND)


def expand_all(db: store.Store) -> None:
    while expand_once(db, locked_by="host.1", window=WINDOW, publish_lease=LEASE).jobs:
        pass


def let_out_once(db: store.Store, *, window: int = WINDOW) -> int:
    """A step of an injector; returns how many of the late ones it let through."""
    freed = set_free_once(db, catch_up_rate=RATE)
    release_once(db, window)
    return freed


def in_state(db: store.Store, state: State) -> list[dict[str, Any]]:
    return [r for r in runs_of(db) if r["state"] == state]


def assert_audit_is_clean(db: store.Store, clock: Clock) -> None:
    report = audits.audit(db, Window.of(NOON - 24 * HOUR, None, clock.now), Scope())
    assert (report.holes, report.doubles, report.unexpected) == ([], [], [])
    assert report.expected == report.found > 0


def test_an_hours_outage_of_300_jobs_is_let_out_at_the_set_rate_by_priority(
    db: store.Store, clock: Clock
) -> None:
    outage(db)
    expand_all(db)
    assert [len(in_state(db, s)) for s in (State.MISSED, State.SCHEDULED, State.QUEUED)] == [600, 300, 0]

    per_second = []
    for _ in range(35):
        freed = [let_out_once(db) for _ in range(3)]  # more steps than one in a second change nothing
        per_second.append(sum(freed))
        clock.tick()

    assert per_second == [RATE] * 30 + [0] * 5
    released = sorted(in_state(db, State.QUEUED), key=lambda r: r["queued_at"])
    assert [r["priority"] for r in released] == [-1] * 30 + [0] * 270
    assert {(r["triggered_by"], r["scheduled_for"]) for r in released} == {("catch-up", NOON)}
    assert select(db, "SELECT * FROM parked") == []
    assert_audit_is_clean(db, clock)


def test_injectors_side_by_side_release_no_more_than_the_rate(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has seen that there is room before the first one uses it."""
    outage(db, 50)
    expand_all(db)
    seen = freeing.open_gates
    freed_by_the_other: list[int] = []

    def both_saw_room(tx: store.Tx, *args: Any) -> list[str]:
        found = seen(tx, *args)
        if not freed_by_the_other:
            freed_by_the_other.append(0)
            freed_by_the_other[0] = in_another_process()
        return found

    def in_another_process() -> int:
        return db.transact(
            lambda tx: freeing.set_free(
                tx, [gates.CATCH_UP], gates.NOTHING_CLOSED, clock.now, most=500, catch_up_rate=RATE
            )
        )

    monkeypatch.setattr(freeing, "open_gates", both_saw_room)
    mine = set_free_once(db, catch_up_rate=RATE)

    assert (freed_by_the_other, mine) == ([RATE], 0)
    clock.tick(SECOND / 2)
    assert set_free_once(db, catch_up_rate=RATE) + set_free_once(db, catch_up_rate=RATE) == RATE // 2


def test_a_rate_that_somebody_set_wins_over_the_settings(db: store.Store, clock: Clock) -> None:
    outage(db, 20)
    expand_all(db)
    limit = gates.Limit(rate=2, period=MINUTE)
    db.transact(lambda tx: limits.set_limit(tx, gates.CATCH_UP, limit, "me", clock.now))

    freed = []
    for _ in range(4):
        freed.append(let_out_once(db))
        clock.tick(30 * SECOND)

    assert freed == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("module", "function"),
    [(freeing, "_free"), (limits, "spend"), (line, "let_out"), (line, "queue"), (doorbells, "ripen")],
)
def test_what_breaks_in_the_middle_of_the_release_loses_and_doubles_nothing(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    outage(db, 25)
    expand_all(db)
    whole: Callable[..., Any] = getattr(module, function)
    was = [select(db, f"SELECT * FROM {table}") for table in ("runs", "parked", "events")]

    def breaks(*args: Any, **named: Any) -> None:
        whole(*args, **named)
        raise RuntimeError("made up")

    monkeypatch.setattr(module, function, breaks)
    with pytest.raises(RuntimeError, match="made up"):
        let_out_once(db)
    if function in ("_free", "spend"):
        assert [select(db, f"SELECT * FROM {table}") for table in ("runs", "parked", "events")] == was
    monkeypatch.undo()
    monkeypatch.setattr(store, "now", lambda tx: clock.now)

    for _ in range(4):
        let_out_once(db)
        clock.tick()

    released = in_state(db, State.QUEUED)
    assert len(released) == 25
    assert all([e[0] for e in events_of(db, r["run_id"])] == ["queued"] for r in released)
    assert (select(db, "SELECT * FROM parked"), in_state(db, State.SCHEDULED)) == ([], [])
    assert_audit_is_clean(db, clock)


@pytest.mark.parametrize("point", ["injector.gate.freed", "injector.release.uncommitted"])
def test_a_crash_between_the_steps_of_a_release_loses_and_doubles_nothing(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    outage(db, 25)
    expand_all(db)

    def dies(at: str) -> None:
        if at == point:
            raise SystemExit(137)

    monkeypatch.setattr(crash, "reach", dies)
    with pytest.raises(SystemExit):
        let_out_once(db)
    monkeypatch.setattr(crash, "reach", lambda at: None)
    for _ in range(4):
        clock.tick()
        let_out_once(db)

    assert (len(in_state(db, State.QUEUED)), select(db, "SELECT * FROM parked")) == (25, [])
    assert_audit_is_clean(db, clock)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [({"misfire": "skip"}, 0), ({"misfire": "all"}, 3), ({"misfire": "all", "misfire_limit": 2}, 2)],
)
def test_each_rule_lets_as_many_run_as_it_says_and_the_audit_is_clean(
    db: store.Store, clock: Clock, rule: dict[str, object], kept: int
) -> None:
    outage(db, 4, **rule)
    expand_all(db)
    for _ in range(3):
        let_out_once(db)
        clock.tick()

    assert (len(in_state(db, State.QUEUED)), len(in_state(db, State.MISSED))) == (4 * kept, 4 * (3 - kept))
    assert_audit_is_clean(db, clock)


@pytest.mark.parametrize(
    ("rule", "runs_", "summaries"),
    [
        ({}, 1, [3 * 24 * 60 - 1]),
        # The last one is on time.
        ({"misfire": "skip"}, 1, [3 * 24 * 60 - 1]),
        ({"misfire": "all", "misfire_limit": 100}, 100, [3 * 24 * 60 - 100]),
    ],
)
def test_fault_44_three_days_of_outage_of_a_job_of_each_minute(
    db: store.Store, clock: Clock, rule: dict[str, object], runs_: int, summaries: list[int]
) -> None:
    put(db, definition(**{"schedule": "* * * * *", **rule}), now=NOON - 72 * HOUR)  # type: ignore[arg-type]  # no name
    clock.now = NOON + timedelta(milliseconds=500)

    expand_all(db)

    assert len(in_state(db, State.SCHEDULED)) + len(in_state(db, State.QUEUED)) == runs_
    assert [r["missed_count"] for r in in_state(db, State.MISSED)] == summaries
    report = audits.audit(db, Window.of(NOON - 80 * HOUR, None, clock.now), Scope())
    assert (report.is_clean(), report.expected) == (True, 3 * 24 * 60)


def test_the_next_occurrence_makes_one_that_still_waits_its_turn_pointless_unless_all_are_to_run(
    db: store.Store, clock: Clock
) -> None:
    put(db, definition("a", schedule=HALF_HOURLY), definition("b", schedule=HALF_HOURLY, misfire="all"),
        now=NOON - MINUTE)  # fmt: skip
    expand_all(db)
    clock.now = NOON + 30 * MINUTE + SECOND
    expand_all(db)

    by_job = {name: [r["state"] for r in runs_of(db, job_named(db, name).id)] for name in "ab"}
    assert by_job == {"a": ["missed", "queued"], "b": ["scheduled", "queued"]}
    assert let_out_once(db) == 1
    assert select(db, "SELECT * FROM parked") == []


def test_what_jitter_spreads_does_not_wait_for_its_turn_as_well(db: store.Store, clock: Clock) -> None:
    put(
        db,
        *(definition(f"job {k}", schedule=HALF_HOURLY, jitter="20m") for k in range(20)),
        now=NOON - MINUTE,
    )

    expand_all(db)

    found = in_state(db, State.SCHEDULED)
    waiting = [r for r in found if r["release_at"] != line.NEVER]
    assert all(clock.now < r["release_at"] <= NOON + 20 * MINUTE for r in waiting)
    parked = {r["run_id"] for r in select(db, "SELECT run_id FROM parked")}
    assert parked == {r["run_id"] for r in found} - {r["run_id"] for r in waiting}
    assert 0 < len(waiting) < 20


# -- the deadline to start


def one_run(db: store.Store, clock: Clock, **fields: Any) -> str:
    """On time, and to be started within 90 s."""
    clock.now = NOON + SECOND
    put(db, definition(schedule=HALF_HOURLY, start_deadline=90, **fields), now=NOON - SECOND)
    expand_all(db)
    [run] = runs_of(db)
    return str(run["run_id"])


def pass_deadline(db: store.Store, clock: Clock) -> int:
    clock.now = NOON + 91 * SECOND
    return expire_once(db)


def assert_expired(db: store.Store, made: str) -> None:
    run = run_of(db, made)
    assert (run["state"], run["reason"], run["publish_at"]) == ("expired", "deadline", None)
    assert run["recorded_at"] is not None
    assert events_of(db, made)[-1][0] == "expired"


def test_a_run_that_nobody_claimed_in_time_expires_also_when_it_was_published(
    db: store.Store, clock: Clock
) -> None:
    made = one_run(db, clock)
    [bell] = db.transact(lambda tx: doorbells.lease_unpublished(tx, clock.now + LEASE, clock.now + MINUTE, 9))
    db.transact(lambda tx: doorbells.mark_published(tx, [bell], clock.now, MINUTE, frozenset()))

    assert (expire_once(db), pass_deadline(db, clock), expire_once(db)) == (0, 1, 0)

    assert_expired(db, made)
    assert ask(db, claim(made), now=clock.now) == Denial("run is expired")
    assert select(db, "SELECT * FROM deadlines") == []
    assert_audit_is_clean(db, clock)


def test_one_that_waits_at_a_gate_expires_and_is_in_nobodys_way(db: store.Store, clock: Clock) -> None:
    put(db, definition("late", schedule=HALF_HOURLY, start_deadline="11m", priority=-1),
        definition("other", schedule=HALF_HOURLY), now=NOON - MINUTE)  # fmt: skip
    expand_all(db)
    clock.now = NOON + 11 * MINUTE + SECOND
    assert expire_once(db) == 1

    let_out_once(db)
    let_out_once(db)

    assert [r["state"] for r in runs_of(db, job_named(db, "late").id)] == ["expired"]
    assert [r["state"] for r in runs_of(db, job_named(db, "other").id)] == ["queued"]
    assert select(db, "SELECT * FROM parked") == []
    assert_audit_is_clean(db, clock)


def test_who_claims_too_late_is_denied_and_the_run_is_over(db: store.Store, clock: Clock) -> None:
    made = one_run(db, clock)

    assert ask(db, claim(made), now=NOON + 91 * SECOND) == Denial("expired")

    assert_expired(db, made)
    assert pass_deadline(db, clock) == 0


def test_one_that_was_claimed_in_time_may_take_as_long_as_it_likes(db: store.Store, clock: Clock) -> None:
    made = one_run(db, clock)
    assert isinstance(ask(db, claim(made), now=NOON + 89 * SECOND), Granted)

    assert pass_deadline(db, clock) == 0
    tell(db, said(EventType.STARTING, made, at=clock.now), now=clock.now)
    clock.tick(2 * MINUTE)
    assert expire_once(db) == 0

    assert run_of(db, made)["state"] == "running"
    assert select(db, "SELECT * FROM deadlines") == []


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_one_that_was_given_back_unstarted_after_its_deadline_expires(
    db: store.Store, clock: Clock, is_asked_for: bool
) -> None:
    made = one_run(db, clock)
    ask(db, claim(made), now=NOON + 89 * SECOND)
    pass_deadline(db, clock)
    tell(db, said(EventType.NOT_STARTED, made, at=clock.now), now=clock.now)
    assert (run_of(db, made)["state"], run_of(db, made)["attempt"]) == ("queued", 2)

    if is_asked_for:
        assert ask(db, claim(made, NEXT, attempt=2), now=clock.now) == Denial("expired")
    else:
        clock.tick(runs.LOOK_AGAIN + SECOND)
        assert expire_once(db) == 1

    assert_expired(db, made)


def test_a_retry_starts_though_the_deadline_of_its_run_has_passed(db: store.Store, clock: Clock) -> None:
    made = one_run(db, clock, max_attempts=2)
    ask(db, claim(made), now=NOON + 2 * SECOND)
    clock.now = NOON + 89 * SECOND
    tell(db, said(EventType.STARTING, made, at=clock.now), now=clock.now)
    tell(db, said(EventType.FINISHED, made, at=clock.now, return_code=1), now=clock.now)
    assert pass_deadline(db, clock) == 0
    clock.tick(10 * SECOND)
    release_once(db, WINDOW)

    assert isinstance(ask(db, claim(made, OURS, attempt=2), now=clock.now), Granted)


def test_no_more_expire_in_one_step_than_a_batch(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "BATCH", 3)
    put(db, *(definition(f"job {k}", start_deadline=90) for k in range(5)), now=NOON - SECOND)
    clock.now = NOON + SECOND
    expand_all(db)
    clock.now = NOON + 91 * SECOND

    assert [expire_once(db) for _ in range(3)] == [3, 2, 0]

"""Steps of the results service on a bus: events applied, poison set aside once, nothing lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, cast

import pytest

from cronq import bus, store
from cronq.bus import Bus, Confirm, Delivery, Message
from cronq.bus.messages import Event, encode_events
from cronq.bus.topology import shared_queues
from cronq.domain.errors import Unavailable
from cronq.domain.event import Canary, EventType, OutputChunk
from cronq.domain.run import State
from cronq.results.batch import Batch
from cronq.results.letters import DeadLetters
from cronq.results.service import Results
from cronq.store import facts, leases, outcomes
from tests.factories import (
    HOUR,
    LEASE,
    MINUTE,
    NEXT,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    Clock,
    boot,
    claimed_run,
    events_of,
    heartbeat,
    insert_job,
    insert_run,
    job_of,
    make_settings,
    open_alerts,
    run_of,
    running_run,
    said,
    select,
    states_of,
)

# The package's own name `service` is another module.
service = import_module("cronq.results.service")

GARBAGE = [
    b"",
    b"\x00\xff",
    b"not json",
    b"[]",
    b"7",
    b"{}",
    b'{"v": 2, "events": []}',
    b'{"v": 1, "events": {}}',
    b'{"type": "finished"}',
    b'{"type": "finished", "run_id": "' + b"0" * 32 + b'", "job_id": "x"}',
    b'{"v": 1, "events": [{"type": "heartbeat", "runner": 7}]}',
    b"[" * 20_000,
]


class Moody:
    """A bus whose publishing can be made to have no verdict."""

    def __init__(self, inner: Bus) -> None:
        self.inner = inner
        self.verdict: Confirm | None = None

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        if self.verdict is not None:
            return [self.verdict] * len(messages)
        return self.inner.publish(messages, timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Post:
    """What runners send, and what lies in the queues afterwards."""

    def __init__(self) -> None:
        self.url = f"memory:{secrets.token_hex(8)}"
        self.bus = bus.open(self.url, name="test")
        self.bus.declare(shared_queues())
        self._dead: list[Delivery] = []
        self._dead_consumer = self.bus.consume(["cronq_dead"], 65_535)

    def send(self, *bodies: bytes) -> None:
        verdicts = self.bus.publish([Message("cronq_results", body) for body in bodies])
        assert set(verdicts) <= {Confirm.CONFIRMED}

    def tell(self, *events: Event) -> None:
        """Each in a message of its own."""
        self.send(*(encode_events([event]) for event in events))

    def left(self, queue: str = "cronq_results") -> int:
        stats = self.bus.stats(queue)
        assert stats is not None
        return stats.ready

    def dead(self) -> list[Delivery]:
        self._dead += self._dead_consumer.take(65_535, 0)
        return self._dead


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.bus.close()


@pytest.fixture
def moody(post: Post) -> Moody:
    return Moody(bus.open(post.url, name="results"))


@pytest.fixture
def results(
    db: store.Store, moody: Moody, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Results]:
    monkeypatch.setattr(service, "WAIT_S", 0.01)
    monkeypatch.setattr(DeadLetters, "start", lambda _: None)  # they stay in their queue, for Post.dead
    made = Results(replace(make_settings(), lease_s=LEASE.total_seconds()), db, cast(Bus, moody))
    yield made
    made.close()


@pytest.fixture
def job_id(db: store.Store) -> int:
    return insert_job(db)


def work_off(results: Results, post: Post) -> None:
    """Step until nothing is left to take."""
    for _ in range(100):
        results.step()
        if not post.left():
            return
    raise AssertionError("there is always more")


def finished(made: str, code: int = 0, **fields: Any) -> Event:
    return said(EventType.FINISHED, made, return_code=code, **fields)


# -- events


def test_what_runners_tell_is_applied_and_acked(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = claimed_run(db, job_id)
    post.tell(said(EventType.STARTING, made), finished(made, 3))

    results.step()

    assert (run_of(db, made)["state"], run_of(db, made)["return_code"]) == ("failed", 3)
    results.close()
    assert (post.left(), post.dead()) == (0, [])


def test_many_messages_are_one_transaction(
    db: store.Store, results: Results, post: Post, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(60)]
    post.tell(*(said(EventType.STARTING, m) for m in made), *(finished(m) for m in made))
    calls: list[int] = []
    whole = service.apply_batch

    def counting(*args: Any) -> None:
        calls.append(1)
        whole(*args)

    monkeypatch.setattr(service, "apply_batch", counting)
    results.step()

    assert (len(calls), set(states_of(db))) == (1, {"succeeded"})


def test_more_events_than_one_transaction_takes_are_applied_in_several(
    db: store.Store, results: Results, post: Post, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_EVENTS", 50)
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(60)]
    sizes: list[int] = []
    whole = service.apply_batch

    def counting(tx: store.Tx, batch: Batch, lease: timedelta) -> None:
        sizes.append(len(batch.runs))
        whole(tx, batch, lease)

    monkeypatch.setattr(service, "apply_batch", counting)
    post.send(*(encode_events([said(EventType.STARTING, m), finished(m)]) for m in made))
    results.step()

    assert (sum(sizes), max(sizes) <= 52, set(states_of(db))) == (120, True, {"succeeded"})


def test_the_ancestors_messages_are_applied(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    ended, failed = (insert_run(db, job_id, at=NOON - k * MINUTE) for k in range(2))
    head = {"job_id": job_id, "x-host": "old.example.org", "x-send-datetime": "2026-11-21 11:59:00.5"}
    shapes: list[dict[str, object]] = [
        {**head, "run_id": ended, "type": "starting", "start_time": "2026-11-21 11:58:59"},
        {**head, "run_id": ended, "type": "finished", "return_code": 4, "run_time": 1.5},
        {**head, "run_id": failed, "type": "failed", "run_time": 0.1},
    ]
    bodies = [json.dumps(shape).encode() for shape in shapes]
    post.send(*bodies[::-1], *bodies)

    results.step()

    found = run_of(db, ended)
    assert (found["state"], found["return_code"], found["runner"]) == ("failed", 4, "old.example.org")
    assert (found["started_at"], found["duration_s"]) == (NOON - 61 * SECOND, 1.5)
    assert run_of(db, failed)["state"] == "launch_failed"
    assert sorted(e[0] for e in events_of(db, ended)) == ["finished", "queued", "starting"]
    job = job_of(db, job_id)
    assert (job.last_run_start, job.last_run_status, job.current_status) == (
        NOON - 61 * SECOND,
        "failed",
        "failed",
    )


def test_output_is_kept(db: store.Store, results: Results, post: Post, job_id: int) -> None:
    made = running_run(db, job_id)
    post.tell(
        OutputChunk(made, 1, OURS.lineage, 0, b"hello\n"), OutputChunk(made, 1, STRANGER.lineage, 6, b"x")
    )

    results.step()

    with db.read() as tx:
        assert outcomes.output(tx, made, 1) == [(0, b"hello\n")]


def test_heartbeats_extend_leases(
    db: store.Store, results: Results, post: Post, job_id: int, clock: Clock
) -> None:
    made = running_run(db, job_id)
    clock.tick(30 * SECOND)
    post.tell(heartbeat(OURS, (made, 1)))

    results.step()

    assert run_of(db, made)["lease_until"] == clock.now + LEASE
    with db.read() as tx:
        assert [r["name"] for r in leases.all_runners(tx)] == [OURS.runner]


def test_a_boot_adopts_what_lives_and_gives_back_what_never_started(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    live, told, unknown = running_run(db, job_id), running_run(db, job_id), claimed_run(db, job_id)
    post.tell(boot(NEXT, live=[(live, 1)], known=[(live, 1), (told, 1)]), finished(told))

    results.step()

    assert (run_of(db, live)["state"], run_of(db, live)["instance"]) == ("running", NEXT.instance)
    assert run_of(db, told)["state"] == "succeeded"
    assert (run_of(db, unknown)["state"], run_of(db, unknown)["attempt"]) == ("queued", 2)


@pytest.mark.parametrize(("sent", "noted"), [(NOON - 3 * SECOND, NOON - 3 * SECOND), (NOON + HOUR, NOON)])
def test_a_canary_is_noted_by_when_it_was_sent_but_never_as_of_the_future(
    db: store.Store, results: Results, post: Post, sent: datetime, noted: datetime
) -> None:
    """One from the future would prove the pipeline fresh until then."""
    post.tell(Canary("old", NOON - HOUR), Canary("host.1", sent))

    results.step()

    with db.read() as tx:
        assert facts.get(tx, facts.CANARY) == ("host.1", noted)


# -- losses


def test_an_interrupted_run_is_an_alert_until_its_end_is_known(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = running_run(db, job_id)
    post.tell(said(EventType.INTERRUPTED, made))
    results.step()
    assert open_alerts(db) == [("runner_lost", f"run {made}")]

    post.tell(finished(made))
    results.step()
    assert (open_alerts(db), run_of(db, made)["recovered"]) == ([], True)


def test_a_lost_run_that_was_never_started_waits_again_and_is_no_alert(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = running_run(db, job_id)
    post.tell(said(EventType.INTERRUPTED, made))
    results.step()
    post.tell(said(EventType.NOT_STARTED, made))
    results.step()

    assert (run_of(db, made)["state"], run_of(db, made)["attempt"]) == ("scheduled", 2)
    assert open_alerts(db) == []


# -- poison


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_goes_to_the_dead_letters_once_with_its_reason_and_stops_nobody(
    db: store.Store, results: Results, post: Post, job_id: int, body: bytes
) -> None:
    made = claimed_run(db, job_id)
    post.send(encode_events([said(EventType.STARTING, made)]), body, encode_events([finished(made)]))

    results.step()

    assert run_of(db, made)["state"] == "succeeded"
    [dead] = post.dead()
    assert (dead.body, dead.headers["x-queue"]) == (body, "cronq_results")
    assert dead.headers["x-reason"]
    results.close()
    assert post.left() == 0


def test_an_event_of_no_job_goes_alone(db: store.Store, results: Results, post: Post, job_id: int) -> None:
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(5)]
    poison = said(EventType.STARTING, "f" * 32, job_id=77)
    post.tell(*map(finished, made[:3]), poison, *map(finished, made[3:]))

    results.step()

    assert set(states_of(db)) == {"succeeded"}
    [dead] = post.dead()
    assert dead.headers["x-reason"] == "job_id: no job 77, and no run of this id"
    assert dead.body == encode_events([poison])


@pytest.mark.parametrize("inside", [0, 1, 2])
def test_poison_inside_a_message_goes_alone_too(
    db: store.Store, results: Results, post: Post, job_id: int, inside: int
) -> None:
    """A later release's runner may tell what this one has no word for, among much else."""
    made = claimed_run(db, job_id)
    message = json.loads(encode_events([said(EventType.STARTING, made), finished(made)]))
    poison = {"type": "from_the_future", "run_id": made}
    message["events"].insert(inside, poison)
    post.send(json.dumps(message).encode())

    results.step()

    assert run_of(db, made)["state"] == "succeeded"
    [dead] = post.dead()
    assert json.loads(dead.body) == {"v": 1, "events": [poison]}
    assert str(dead.headers["x-reason"]).startswith("type: 'from_the_future' is not one of ")


def test_several_poisons_of_one_message_stay_together(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = claimed_run(db, job_id)
    events = [
        said(EventType.STARTING, made),
        said(EventType.STARTING, "f" * 32, job_id=77),
        finished(made),
        said(EventType.FINISHED, "e" * 32, job_id=78),
    ]
    post.send(encode_events(events))

    results.step()

    assert run_of(db, made)["state"] == "succeeded"
    [dead] = post.dead()
    assert dead.body == encode_events([events[1], events[3]])
    assert dead.headers["x-reason"] == "job_id: no job 77, and no run of this id (and 1 more)"


def test_fault_48_a_thousand_garbage_messages_do_not_stop_the_others(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(10)]
    for k in range(10):
        post.send(*GARBAGE * 8, *(b"%d" % n for n in range(4)))
        post.tell(finished(made[k]))

    work_off(results, post)

    assert set(states_of(db)) == {"succeeded"}
    assert len(post.dead()) == 10 * (8 * len(GARBAGE) + 4)


def test_what_the_database_refuses_is_poison_too(
    db: store.Store, results: Results, post: Post, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = claimed_run(db, job_id)
    whole = leases.beat

    def picky(tx: store.Tx, beats: Any, *rest: Any) -> None:
        if any(b.runner == STRANGER.runner for b in beats):
            raise store.Refused("database: made up")
        whole(tx, beats, *rest)

    monkeypatch.setattr(leases, "beat", picky)
    post.tell(heartbeat(OURS), finished(made), heartbeat(STRANGER))

    results.step()

    assert run_of(db, made)["state"] == "succeeded"
    assert [d.headers["x-reason"] for d in post.dead()] == ["database: made up"]


def test_poison_stays_where_it_is_until_the_dead_letters_have_it(
    db: store.Store, results: Results, post: Post, moody: Moody, job_id: int
) -> None:
    made = claimed_run(db, job_id)
    moody.verdict = Confirm.UNKNOWN
    post.send(
        b"garbage",
        encode_events([finished(made)]),
        encode_events([said(EventType.FAILED, "f" * 32, job_id=7)]),
    )

    results.step()
    assert (run_of(db, made)["state"], post.left(), post.dead()) == ("succeeded", 2, [])

    moody.verdict = None
    results.step()
    assert (post.left(), len(post.dead())) == (0, 2)


def test_a_reason_of_any_length_is_no_harm(results: Results, post: Post) -> None:
    post.send(json.dumps({"type": "é" * 900}).encode(), b'{"v": "' + "日".encode() * 5_000 + b'"}')

    results.step()

    assert len(post.dead()) == 2
    assert all(len(str(d.headers["x-reason"]).encode()) <= 1024 for d in post.dead())


# -- a store that is away


def test_while_the_database_is_away_nothing_is_lost(
    db: store.Store, results: Results, post: Post, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = claimed_run(db, job_id)
    post.tell(said(EventType.STARTING, made), finished(made))

    def away(*_: object) -> None:
        raise Unavailable("made up")

    with monkeypatch.context() as patch:
        patch.setattr(service, "apply_batch", away)
        with pytest.raises(Unavailable):
            results.step()
    assert (results.is_ready()["database"], post.left()) == ("made up", 2)

    results.step()
    assert (run_of(db, made)["state"], results.is_ready()["database"], post.left()) == ("succeeded", None, 0)


def test_a_database_that_goes_away_in_the_middle_costs_only_copies(
    db: store.Store, results: Results, post: Post, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, for there is poison among them, and after the second it is gone."""
    made = [claimed_run(db, job_id, at=NOON + k * SECOND) for k in range(4)]
    post.tell(*map(finished, made), said(EventType.FINISHED, "f" * 32, job_id=77))
    whole = service.apply_batch
    left = [3]

    def dying(*args: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Unavailable("made up")
        whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(service, "apply_batch", dying)
        with pytest.raises(Unavailable):
            results.step()
    results.step()

    assert set(states_of(db)) == {"succeeded"}
    assert (post.left(), len(post.dead())) == (0, 1)


def test_closing_gives_back_what_was_not_applied(results: Results, post: Post) -> None:
    results.step()
    post.tell(heartbeat(OURS))

    results.close()

    assert post.left() == 1


def test_before_its_first_step_it_is_not_ready(results: Results) -> None:
    assert results.is_ready() == {"broker": None, "database": "not started"}

    results.step()

    assert results.is_ready() == {"broker": None, "database": None}


def test_states_of_the_ledger_are_words_of_the_domain(
    db: store.Store, results: Results, post: Post, job_id: int
) -> None:
    made = claimed_run(db, job_id)
    post.tell(said(EventType.FAILED, made, reason="no such file"))

    results.step()

    [row] = select(db, "SELECT state, reason FROM runs")
    assert (State(row["state"]), row["reason"]) == (State.LAUNCH_FAILED, "no such file")

"""Claims over the bus: each is answered on the asking runner's own queue, and one owner is granted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any

import pytest

from cronq import bus, store
from cronq.bus import Bus, Message
from cronq.bus.messages import Denied, Grant, Reply, decode_reply, encode_claim
from cronq.bus.topology import runner_queue, shared_queues
from cronq.domain.errors import Unavailable
from cronq.domain.run import Claim, Owner, State
from cronq.results.service import Results
from cronq.store import claims, facts
from tests.factories import (
    LEASE,
    MINUTE,
    NOON,
    OURS,
    SECOND,
    STRANGER,
    Clock,
    Row,
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
    select,
    states_of,
)
from tests.stack import wait_until

SOON_S = 5.0


class Asker:
    """A runner's side: its own queue, and claims sent with its name on them."""

    def __init__(self, url: str, owner: Owner) -> None:
        self.owner = owner
        self.bus = bus.open(url, name="asker")
        self.queue = runner_queue(owner.instance)
        self.bus.declare([*shared_queues(), self.queue])
        self.consumer = self.bus.consume([self.queue.name], 1_000)

    def send(self, *bodies: bytes, reply: bool = True) -> None:
        to = self.queue.name if reply else None
        self.bus.publish([Message("cronq_claims", body, reply_to=to) for body in bodies])

    def ask(self, *asked: Claim) -> list[Reply]:
        """In one go; the answers in the order in which they come."""
        self.send(*map(encode_claim, asked))
        return self.answers(len(asked))

    def answers(self, count: int) -> list[Reply]:
        deadline = time.monotonic() + SOON_S
        found: list[Reply] = []
        while len(found) < count and time.monotonic() < deadline:
            for delivery in self.consumer.take(count - len(found), 0.5):
                reply = decode_reply(delivery.body)
                assert isinstance(reply, Grant | Denied)
                found.append(reply)
                delivery.ack()
        assert len(found) == count
        return found


@pytest.fixture
def url() -> str:
    return f"memory:{secrets.token_hex(8)}"


@pytest.fixture
def opened(url: str) -> Bus:
    return bus.open(url, name="results")


@pytest.fixture
def results(db: store.Store, opened: Bus, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Results]:
    """Its claims are answered from now on."""
    monkeypatch.setattr(import_module("cronq.results.service"), "WAIT_S", 0.01)
    made = Results(replace(make_settings(), lease_s=LEASE.total_seconds()), db, opened)
    made.step()
    yield made
    made.close()


@pytest.fixture
def ours(url: str) -> Iterator[Asker]:
    asker = Asker(url, OURS)
    yield asker
    asker.bus.close()


@pytest.fixture
def stranger(url: str) -> Iterator[Asker]:
    asker = Asker(url, STRANGER)
    yield asker
    asker.bus.close()


@pytest.mark.usefixtures("results")
def test_a_grant_says_all_that_it_takes_to_run(db: store.Store, ours: Asker) -> None:
    put(db, definition("nightly dump", command="echo hi", timeout="90s", kill_grace="3s"), category="shop")
    made = insert_run(db, job_named(db, "nightly dump").id)

    [grant] = ours.ask(claim(made, nonce="n1"))

    assert grant == Grant(
        run_id=made,
        attempt=1,
        instance=OURS.instance,
        nonce="n1",
        command="echo hi",
        env={
            "CRONQ_JOB": "nightly dump",
            "CRONQ_CATEGORY": "shop",
            "CRONQ_RUN_ID": made,
            "CRONQ_ATTEMPT": "1",
            "CRONQ_SCHEDULED_FOR": "2026-11-21T12:00:00Z",
            "CRONQ_TRIGGER": "schedule",
            "CRONQ_FENCE": f"{made}:1",
            "CRONQ_REVISION": "1",
        },
        timeout_s=90.0,
        kill_grace_s=3.0,
        start_within_s=30.0,
    )
    assert run_of(db, made)["lease_until"] == NOON + LEASE


@pytest.mark.usefixtures("results")
def test_one_of_two_runners_is_granted_and_the_other_denied(
    db: store.Store, ours: Asker, stranger: Asker
) -> None:
    made = insert_run(db, insert_job(db))

    [granted] = ours.ask(claim(made))
    [denied] = stranger.ask(claim(made, STRANGER, nonce="x"))

    assert isinstance(granted, Grant)
    assert denied == Denied(made, 1, "x", "duplicate")


@pytest.mark.usefixtures("results")
def test_who_did_not_hear_asks_again_and_is_granted_again(db: store.Store, ours: Asker) -> None:
    made = insert_run(db, insert_job(db))

    first, second = ours.ask(claim(made, nonce="a"), claim(made, nonce="b"))

    assert isinstance(first, Grant)
    assert isinstance(second, Grant)
    assert [first.nonce, second.nonce] == ["a", "b"]


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(("state", "attempt", "reason"), [
    (State.MISSED, 1, "run is missed"), (State.QUEUED, 2, "superseded")
])  # fmt: skip
def test_a_denial_says_why(db: store.Store, ours: Asker, state: State, attempt: int, reason: str) -> None:
    made = insert_run(db, insert_job(db), state)

    assert ours.ask(claim(made, attempt=attempt)) == [Denied(made, attempt, "n", reason)]


@pytest.mark.usefixtures("results")
def test_a_message_without_a_granted_run_behind_it_is_denied(db: store.Store, ours: Asker) -> None:
    assert ours.ask(claim("f" * 32)) == [Denied("f" * 32, 1, "n", "unknown_run")]


def kept_letters(db: store.Store, count: int) -> list[Row]:
    """All letters, once there are so many."""
    found = select(db, "SELECT * FROM dead_letters")
    return found if len(found) == count else []


@pytest.mark.usefixtures("results")
def test_garbage_among_claims_goes_to_the_dead_letters_and_the_others_are_answered(
    db: store.Store, ours: Asker
) -> None:
    made = insert_run(db, insert_job(db))
    ours.send(
        b"garbage", b"{}", encode_claim(claim("e" * 32)), b'{"type": "claim"}', encode_claim(claim(made))
    )

    answers = ours.answers(2)

    assert [type(a) for a in answers] == [Denied, Grant]
    letters = wait_until("three dead letters are kept", lambda: kept_letters(db, 3))
    assert {row["queue"] for row in letters} == {"cronq_claims"}
    assert {bytes(row["body"]) for row in letters} == {b"garbage", b"{}", b'{"type": "claim"}'}


@pytest.mark.usefixtures("results")
def test_a_claim_without_an_address_gets_no_answer_and_harms_nobody(db: store.Store, ours: Asker) -> None:
    made = insert_run(db, insert_job(db))
    ours.send(encode_claim(claim(made)), reply=False)

    [answer] = ours.ask(claim(made, nonce="again"))

    assert isinstance(answer, Grant)
    assert answer.nonce == "again"


def test_while_the_database_is_away_a_claim_waits(
    db: store.Store, results: Results, ours: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = insert_run(db, insert_job(db))
    whole = claims.answer
    calls: list[int] = []

    def away_at_first(tx: store.Tx, *rest: Any, **more: Any) -> list[claims.Answer]:
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("made up")
        return whole(tx, *rest, **more)

    monkeypatch.setattr(claims, "answer", away_at_first)

    [answer] = ours.ask(claim(made))

    assert (type(answer), len(calls)) == (Grant, 2)


@pytest.mark.usefixtures("results")
def test_many_claims_are_answered_each_once(db: store.Store, ours: Asker) -> None:
    job_id = insert_job(db)
    made = [insert_run(db, job_id, at=NOON.replace(second=k)) for k in range(50)]

    answers = ours.ask(*(claim(m, nonce=m) for m in made))

    assert sorted(a.nonce for a in answers) == sorted(made)
    assert all(isinstance(a, Grant) and a.run_id == a.nonce for a in answers)


# -- a database that lost what was committed to it


@pytest.mark.usefixtures("results")
def test_nothing_is_granted_where_an_earlier_grant_is_forgotten(db: store.Store, ours: Asker) -> None:
    job_id = insert_job(db)
    first, second = insert_run(db, job_id), insert_run(db, job_id, at=NOON + SECOND)
    [answer] = ours.ask(claim(first))
    assert isinstance(answer, Grant)
    execute(db, "UPDATE runs SET state = 'queued' WHERE run_id = :made", made=first)

    answers = [*ours.ask(claim(second)), *ours.ask(claim(first))]

    assert [isinstance(a, Denied) and a.reason.startswith("held: ") for a in answers] == [True, True]
    assert states_of(db) == ["queued", "queued"]
    assert open_alerts(db) == [("database_older", "database")]


@pytest.mark.usefixtures("results")
def test_nothing_is_granted_where_injectors_did_more_than_the_database_knows(
    db: store.Store, ours: Asker, clock: Clock
) -> None:
    job_id = insert_job(db)

    def step(at: datetime) -> None:
        execute(db, "DELETE FROM cronq_facts WHERE name = 'injector_step'")
        with db.begin() as tx:
            facts.put(tx, facts.INJECTOR, "i", at)

    first, second = insert_run(db, job_id), insert_run(db, job_id, at=NOON + SECOND)
    ours.ask(claim("0" * 32))  # from now on it knows whose database this is
    step(clock.now)
    assert isinstance(ours.ask(claim(first))[0], Grant)
    step(clock.now - MINUTE)

    [answer] = ours.ask(claim(second))

    assert isinstance(answer, Denied)
    assert open_alerts(db) == [("database_older", "database")]

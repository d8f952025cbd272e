"""Dead letters on a real broker and database: set aside, seen, sent again, applied."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest

from cronq import bus, store
from cronq.bus import Bus, Message
from cronq.bus.messages import encode_events
from cronq.domain.event import EventType
from cronq.domain.run import Kind, State
from cronq.results.service import Results
from cronq.store import dead_letters, migrate, open_store, tables
from tests.factories import NOON, Row, insert_job, insert_run, make_settings, open_alerts, said, select
from tests.stack import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def db(mysql_url: str) -> Iterator[store.Store]:
    made = open_store(mysql_url)
    migrate.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def sender(amqp_url: str) -> Iterator[Bus]:
    made = bus.open(amqp_url, name="test")
    yield made
    made.close()


@pytest.fixture
def results(mysql_url: str, amqp_url: str, db: store.Store) -> Iterator[Results]:
    made = Results(make_settings(), open_store(mysql_url), bus.open(amqp_url, name="results"))
    with stepping(made):
        wait_until("results is ready", lambda: not any(made.is_ready().values()))
        yield made


@contextmanager
def stepping(service: Results) -> Iterator[None]:
    """Its loop on a thread of its own, and its end."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            service.step()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        service.close()


def kept(db: store.Store) -> list[Row]:
    return select(
        db, "SELECT id, message_id, queue, reason, LENGTH(body) AS size FROM dead_letters ORDER BY id"
    )


def want(db: store.Store, letter_id: int) -> None:
    db.transact(lambda tx: dead_letters.request_retry(tx, letter_id, "ann", store.now(tx)))


def is_empty(sender: Bus) -> bool:
    """Nothing lies in the queue of dead letters."""
    stats = sender.stats("cronq_dead")
    return stats is not None and stats.ready == 0


def state_of(db: store.Store, run_id: str) -> str:
    [row] = select(db, "SELECT state FROM runs WHERE run_id = :run_id", run_id=run_id)
    return str(row["state"])


@pytest.mark.usefixtures("results")
def test_what_was_poison_is_applied_when_it_is_sent_again_after_its_cause_is_gone(
    db: store.Store, sender: Bus
) -> None:
    """An event of a run that the database did not know (yet)."""
    job_id = insert_job(db)
    made = insert_run(db, job_id, State.QUEUED, at=NOON, kind=Kind.REQUEST)
    with db.begin() as tx:
        [hidden] = [dict(r) for r in tx.execute(tables.runs.select()).mappings()]
        tx.execute(tables.runs.delete())
    event = said(EventType.FAILED, made, job_id=0, attempt=None, reason="no such file")
    sender.publish([Message("cronq_results", encode_events([event]))])
    [letter] = wait_until("it is a dead letter", lambda: kept(db))
    assert letter["queue"] == "cronq_results"
    assert open_alerts(db) == [("dead_letter", "cronq_results")]

    with db.begin() as tx:
        tx.execute(tables.runs.insert(), [hidden])
    want(db, letter["id"])

    wait_until("it is applied", lambda: state_of(db, made) == "launch_failed")
    wait_until("the letter is gone", lambda: not kept(db))
    wait_until("and its alert", lambda: not open_alerts(db))


@pytest.mark.usefixtures("results")
def test_what_is_still_poison_comes_back_as_a_new_letter(db: store.Store, sender: Bus) -> None:
    sender.publish([Message("cronq_results", b"\xff garbage")])
    [first] = wait_until("it is a dead letter", lambda: kept(db))

    want(db, first["id"])

    def again() -> list[Row]:
        return [row for row in kept(db) if row["message_id"] != first["message_id"]]

    [second] = wait_until("it is one again", again)
    wait_until("the first is gone", lambda: len(kept(db)) == 1)
    assert (second["reason"], second["size"]) == (first["reason"], first["size"])


ODD_HEADERS: list[dict[str, Any] | None] = [
    None,
    {},
    {"x-queue": b"\xff\xfe", "x-reason": None},
    {"x-queue": ["a", {"b": 1}], "x-reason": {"deep": {"er": [1, 2]}}},
    {"x-queue": True, "x-reason": 2**40, "x-copy": -1},
    {"x-queue": "q" * 60_000, "x-reason": "\0\x1b" * 9_000},
]


def send_as_a_stranger(amqp_url: str, *messages: tuple[dict[str, Any] | None, bytes]) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        for headers, body in messages:
            make: Any = pika.BasicProperties
            channel.basic_publish("cronq", "cronq_dead", body, make(headers=headers), mandatory=True)
    finally:
        connection.close()


@pytest.mark.usefixtures("results")
def test_a_strangers_message_is_kept_whatever_it_is(db: store.Store, sender: Bus, amqp_url: str) -> None:
    bodies = [b"", b"\x00\xff", b"x" * 200_000]
    send_as_a_stranger(amqp_url, *((headers, body) for headers in ODD_HEADERS for body in bodies))

    # Headers of types that we never send are not read: there, messages of one body are one letter.
    expected = 3 * len(bodies)
    wait_until("all are kept", lambda: is_empty(sender) and len(kept(db)) == expected)
    assert {row["size"] for row in kept(db)} == {len(body) for body in bodies}


@pytest.mark.usefixtures("results")
def test_one_that_is_larger_than_any_statement_is_cut_and_does_not_come_again(
    db: store.Store, sender: Bus, amqp_url: str
) -> None:
    """The server would hang up, which looks as if it were away."""
    send_as_a_stranger(amqp_url, (None, b"\0" * 20_000_000), (None, b"small"))

    wait_until("both are kept", lambda: len(kept(db)) == 2)
    large, small = kept(db)
    assert (large["size"], small["size"]) == (64 * 1024, 5)
    assert "it is 20,000,000 bytes long" in large["reason"]
    wait_until("nothing is left to come again", lambda: is_empty(sender))


@pytest.mark.usefixtures("results")
def test_a_letter_whose_queue_is_gone_stays(db: store.Store, sender: Bus, amqp_url: str) -> None:
    send_as_a_stranger(amqp_url, ({"x-queue": "cronq_runner.gone", "x-reason": "late"}, b"reply"))
    [letter] = wait_until("it is kept", lambda: kept(db))

    want(db, letter["id"])

    wait_until("it says so", lambda: "no queue is there for it" in str(kept(db)[0]["reason"]))

"""The dead letters' steps on a bus: from the queue into the table, and back to where they came from."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from cronq import bus, store
from cronq.bus import Bus, Confirm, Message
from cronq.bus.dead import dead_message
from cronq.bus.topology import job_queue, shared_queues
from cronq.domain.errors import Unavailable
from cronq.results import letters, redrive
from cronq.results.letters import DeadLetters
from cronq.results.redrive import redrive_once
from cronq.results.service import Results
from cronq.store import dead_letters
from tests.factories import HOUR, NOON, Clock, make_settings, open_alerts, select
from tests.stack import wait_until

Row = dict[str, Any]


@pytest.fixture
def memory() -> Iterator[Bus]:
    made = bus.open(f"memory:{secrets.token_hex(8)}", name="test")
    made.declare([*shared_queues(), job_queue("gpu")])
    yield made
    made.close()


@pytest.fixture
def desk(
    db: store.Store, memory: Bus, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeadLetters]:
    monkeypatch.setattr(letters, "WAIT_S", 0.01)
    made = DeadLetters(db, memory)
    yield made
    made.close()


def send(memory: Bus, *bodies: bytes, headers: Mapping[str, str | int] | None = None) -> None:
    """As a stranger would."""
    memory.publish([Message("cronq_dead", body, headers=headers or {}) for body in bodies])


def ready(memory: Bus, queue: str = "cronq_dead") -> int:
    stats = memory.stats(queue)
    assert stats is not None
    return stats.ready


def kept(db: store.Store) -> list[Row]:
    """Oldest first, with their bodies."""
    rows = [dict(row) for row in select(db, "SELECT * FROM dead_letters ORDER BY id")]
    return [{**row, "body": bytes(row["body"])} for row in rows]


def want_all(db: store.Store) -> None:
    for row in kept(db):
        db.transact(lambda tx, r=row: dead_letters.request_retry(tx, r["id"], "ann", NOON))  # type: ignore[misc]


# -- into the table


def test_our_letters_are_kept_with_what_is_known_of_them(
    db: store.Store, desk: DeadLetters, memory: Bus
) -> None:
    memory.publish([dead_message("cronq_results", b"\xff garbage", "not JSON")])

    assert desk.keep_once()

    [row] = kept(db)
    assert (row["queue"], row["reason"], row["body"]) == ("cronq_results", "not JSON", b"\xff garbage")
    assert open_alerts(db) == [("dead_letter", "cronq_results")]


def test_what_is_kept_is_acked_and_there_may_be_nothing(
    db: store.Store, desk: DeadLetters, memory: Bus
) -> None:
    send(memory, b"one", b"two")
    desk.keep_once()
    assert desk._consumer is not None
    desk._consumer.close()

    assert ready(memory) == 0
    desk._consumer = None
    assert not desk.keep_once()


ODD_HEADERS: list[tuple[dict[str, str | int], tuple[str, str]]] = [
    ({}, ("cronq_dead", "no reason given")),
    ({"x-queue": 7, "x-reason": -1}, ("7", "-1")),
    ({"x-queue": "", "x-reason": ""}, ("cronq_dead", "no reason given")),
    ({"x-queue": "q" * 9_000, "x-reason": "日" * 9_000}, ("q" * 190, "日" * 1024)),
    ({"x-queue": "a\0b", "x-reason": "😀\x1b[31m'\""}, ("a\0b", "😀\x1b[31m'\"")),
    ({"x-copy": "not hex" * 99, "": "no name"}, ("cronq_dead", "no reason given")),
    ({f"x-{n}": n for n in range(300)}, ("cronq_dead", "no reason given")),
]


@pytest.mark.parametrize(("headers", "expected"), ODD_HEADERS)
def test_a_strangers_message_is_kept_whatever_its_headers(
    db: store.Store,
    desk: DeadLetters,
    memory: Bus,
    headers: dict[str, str | int],
    expected: tuple[str, str],
) -> None:
    send(memory, b"", headers=headers)

    desk.keep_once()

    [row] = kept(db)
    assert ((row["queue"], row["reason"]), row["body"]) == (expected, b"")


def test_a_letter_that_comes_again_after_a_crash_is_kept_once(
    db: store.Store, desk: DeadLetters, memory: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed, and then the ack was lost; strangers' messages too, which nothing marks."""
    memory.publish([dead_message("q", b"same", "same"), dead_message("q", b"same", "same")])
    send(memory, b"unmarked", b"other")

    whole = desk._db.transact

    def crash_afterwards(work: Callable[[store.Tx], object]) -> None:
        whole(work)
        raise RuntimeError("made up")

    with monkeypatch.context() as patch:
        patch.setattr(desk._db, "transact", crash_afterwards)
        with pytest.raises(RuntimeError):
            desk.keep_once()
    assert ready(memory) == 4
    desk.keep_once()

    assert sorted(row["body"] for row in kept(db)) == [b"other", b"same", b"same", b"unmarked"]
    assert ready(memory) == 0


def test_while_the_database_is_away_letters_stay_in_their_queue(
    db: store.Store, desk: DeadLetters, memory: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(memory, b"one", b"two")

    def away(*_: object) -> list[str]:
        raise Unavailable("made up")

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "keep", away)
        with pytest.raises(Unavailable):
            desk.keep_once()
    assert ready(memory) == 2

    desk.keep_once()
    assert len(kept(db)) == 2


def test_large_letters_are_kept_in_several_transactions(
    db: store.Store, desk: DeadLetters, memory: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "MOST_BYTES", 1_000)
    sizes: list[int] = []
    whole = dead_letters.keep

    def noting(tx: store.Tx, found: Sequence[Any], now: Any) -> list[str]:
        sizes.append(len(found))
        return whole(tx, found, now)

    monkeypatch.setattr(dead_letters, "keep", noting)
    send(memory, *(b"%d" % n * 600 for n in range(5)))

    desk.keep_once()

    assert (sizes, len(kept(db))) == ([2, 2, 1], 5)


def test_a_body_that_is_too_large_for_the_database_is_cut_and_says_so(
    db: store.Store, desk: DeadLetters, memory: Bus
) -> None:
    with db.read() as tx:
        most = dead_letters.most_body(tx)
    send(memory, b"\0" * (most + 1), b"small")

    desk.keep_once()

    large, small = kept(db)
    assert large["reason"].endswith("; only the head of the body is kept")
    assert (len(large["body"]), small["body"], ready(memory)) == (64 * 1024, b"small", 0)


def test_a_letter_that_the_database_refuses_is_cut_and_stops_nobody(
    db: store.Store, desk: DeadLetters, memory: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dead_letters.keep

    def picky(tx: store.Tx, found: Sequence[Any], now: Any) -> list[str]:
        if any(one.body.startswith(b"odd") and len(one.body) > 65_536 for one in found):
            raise store.Refused("database: made up")
        return whole(tx, found, now)

    monkeypatch.setattr(dead_letters, "keep", picky)
    send(memory, b"one", b"odd" * 30_000, b"two")

    desk.keep_once()

    assert [len(row["body"]) for row in kept(db)] == [3, 65_536, 3]
    assert ready(memory) == 0


def test_a_letter_that_is_refused_in_every_form_ends_in_the_log_and_never_comes_again(
    db: store.Store,
    desk: DeadLetters,
    memory: Bus,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = dead_letters.keep

    def picky(tx: store.Tx, found: Sequence[Any], now: Any) -> list[str]:
        if any(one.body.startswith(b"odd") for one in found):
            raise store.Refused("database: made up")
        return whole(tx, found, now)

    said: list[tuple[str, Row]] = []
    monkeypatch.setattr(dead_letters, "keep", picky)
    monkeypatch.setattr(letters.log, "error", lambda event, **fields: said.append((event, fields)))
    send(memory, b"one", b"odd", b"two")

    desk.keep_once()
    desk.keep_once()

    assert [row["body"] for row in kept(db)] == [b"one", b"two"]
    [(event, fields)] = said
    assert (event, fields["head"], ready(memory)) == ("letter.lost", "b2Rk", 0)


# -- and back


def test_a_letter_that_is_wanted_goes_back_to_its_queue_and_out_of_the_table(
    db: store.Store, desk: DeadLetters, memory: Bus
) -> None:
    ways = ("cronq_results", "cronq_claims", "cronq_jobs", "cronq_jobs.gpu")
    memory.publish([dead_message(queue, queue.encode(), "why") for queue in ways])
    desk.keep_once()
    assert not redrive_once(db, memory), "nobody wants it"
    want_all(db)

    assert redrive_once(db, memory)

    for queue in ways:
        [delivery] = memory.consume([queue], 10).take(10, 0)
        assert (delivery.body, delivery.queue) == (queue.encode(), queue)
    assert (kept(db), open_alerts(db)) == ([], [])
    assert not redrive_once(db, memory)


@pytest.mark.parametrize(
    ("queue", "why"),
    [
        ("cronq_jobs.nowhere", "no queue is there for it"),
        ("cronq_runner.gone", "no queue is there for it"),
        ("cronq_dead", "nobody knows which queue it came by"),
        ("日" * 190, "its queue can't be one: '日"),
    ],
)
def test_a_letter_for_which_there_is_no_queue_stays_and_says_so(
    db: store.Store, desk: DeadLetters, memory: Bus, queue: str, why: str
) -> None:
    memory.publish([dead_message(queue, b"body", "garbage"), dead_message("cronq_claims", b"good", "why")])
    desk.keep_once()
    want_all(db)

    redrive_once(db, memory)

    [row] = kept(db)
    assert (row["queue"], row["body"], row["retry_requested_at"]) == (queue, b"body", None)
    assert row["reason"].startswith(f"garbage; not sent again: {why}")
    assert (ready(memory, "cronq_claims"), ready(memory)) == (1, 0)
    assert not redrive_once(db, memory)


class Unsure:
    """A bus that confirms nothing, or is not connected."""

    def __init__(self, *, connected: bool) -> None:
        self._connected = connected
        self.published: list[Message] = []

    def is_connected(self) -> bool:
        return self._connected

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> list[Confirm]:
        self.published += messages
        return [Confirm.UNKNOWN] * len(messages)


def test_a_letter_that_is_not_confirmed_stays_and_says_so(
    db: store.Store, desk: DeadLetters, memory: Bus
) -> None:
    memory.publish([dead_message("cronq_results", b"body", "garbage")])
    desk.keep_once()
    want_all(db)
    unsure = Unsure(connected=True)

    redrive_once(db, cast(Bus, unsure))

    [row] = kept(db)
    assert row["reason"] == ("garbage; not sent again: the broker did not confirm it, so it may have arrived")
    assert [(m.persistent, m.expiration_ms) for m in unsure.published] == [(True, None)]
    assert open_alerts(db) == [("dead_letter", "cronq_results")]


def test_without_a_broker_wishes_wait(db: store.Store, desk: DeadLetters, memory: Bus) -> None:
    memory.publish([dead_message("cronq_results", b"body", "garbage")])
    desk.keep_once()
    want_all(db)

    assert not redrive_once(db, cast(Bus, Unsure(connected=False)))

    assert redrive_once(db, memory)
    assert kept(db) == []


def test_a_crash_before_the_letter_is_forgotten_sends_it_once_more(
    db: store.Store, desk: DeadLetters, memory: Bus, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.publish([dead_message("cronq_results", b"body", "garbage")])
    desk.keep_once()
    want_all(db)

    def crash(*_: object) -> None:
        raise RuntimeError("made up")

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "sent", crash)
        with pytest.raises(RuntimeError):
            redrive_once(db, memory)
    assert not redrive_once(db, memory), "it may still be on its way"
    clock.tick(HOUR)
    assert redrive_once(db, memory)

    assert (ready(memory, "cronq_results"), kept(db)) == (2, [])


def test_more_wishes_than_one_batch_takes_are_met_in_several(
    db: store.Store, desk: DeadLetters, memory: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "BATCH", 3)
    memory.publish([dead_message("cronq_results", b"%d" % n, "garbage") for n in range(7)])
    desk.keep_once()
    want_all(db)

    assert [redrive_once(db, memory) for _ in range(4)] == [True, True, True, False]
    assert (ready(memory, "cronq_results"), kept(db)) == (7, [])


# -- in the service


def test_garbage_ends_in_the_table_and_what_is_still_garbage_comes_back(
    db: store.Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory:{secrets.token_hex(8)}"
    sender = bus.open(url, name="test")
    results = Results(make_settings(), db, bus.open(url, name="results"))
    try:
        results.step()
        sender.publish([Message("cronq_results", b"garbage")])
        results.step()
        wait_until("it is in the table", lambda: kept(db))
        [first] = kept(db)
        want_all(db)

        def again() -> list[Row]:
            results.step()
            return [row for row in kept(db) if row["message_id"] != first["message_id"]]

        [second] = wait_until("it came back as a new letter", again)
        assert (second["body"], second["queue"], second["reason"]) == (
            b"garbage",
            "cronq_results",
            first["reason"],
        )
        assert len(kept(db)) == 1
        assert open_alerts(db) == [("dead_letter", "cronq_results")]
    finally:
        results.close()
        sender.close()

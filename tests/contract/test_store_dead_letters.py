"""Dead letters in the store: kept once each, sent again or dropped, and an alert as long as there are any."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from cronq import store
from cronq.domain.errors import Conflict, NotFound
from cronq.store import dead_letters
from cronq.store.dead_letters import CUT, HEAD_BYTES, Letter, Wanted
from tests.factories import MINUTE, NOON, SECOND, open_alerts, select

QUEUE = "cronq_results"


def letter(body: bytes = b"garbage", queue: str = QUEUE, reason: str = "it is garbage") -> Letter:
    return Letter(secrets.token_hex(16), queue, reason, body)


def keep(db: store.Store, *letters: Letter, after: int = 0) -> list[str]:
    return db.transact(lambda tx: dead_letters.keep(tx, letters, NOON + after * SECOND))


def listed(db: store.Store, **wanted: Any) -> list[dict[str, Any]]:
    with db.read() as tx:
        return dead_letters.listed(tx, **wanted)


def kept(db: store.Store, *, queue: str = QUEUE, reason: str = "it is garbage") -> int:
    """The id of a new letter."""
    keep(db, letter(queue=queue, reason=reason))
    return int(listed(db)[0]["id"])


def by_id(db: store.Store, letter_id: int) -> dict[str, Any]:
    with db.read() as tx:
        found = dead_letters.by_id(tx, letter_id)
    assert found is not None
    return found


def bodies(db: store.Store) -> list[bytes]:
    return [bytes(row["body"]) for row in select(db, "SELECT body FROM dead_letters ORDER BY id")]


def want(db: store.Store, letter_id: int, by: str = "ann", *, after: int = 0) -> None:
    db.transact(lambda tx: dead_letters.request_retry(tx, letter_id, by, NOON + after * SECOND))


def lease(db: store.Store, *, after: int = 0, limit: int = 10) -> list[Wanted]:
    now = NOON + after * SECOND
    return db.transact(lambda tx: dead_letters.lease_wanted(tx, now, now + MINUTE, limit))


def drop(db: store.Store, letter_id: int) -> str:
    return db.transact(lambda tx: dead_letters.drop(tx, letter_id, NOON))


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff\xfe'\\\"", bytes(range(256)) * 40, "日本😀".encode(), b"x" * 3_000_000],
    ids=["empty", "odd", "every byte", "text", "large"],
)
def test_a_body_is_kept_byte_for_byte(db: store.Store, body: bytes) -> None:
    keep(db, letter(body))

    [row] = listed(db)
    assert bodies(db) == [body]
    assert row["body_bytes"] == len(body)
    assert by_id(db, row["id"])["head"] == body[:HEAD_BYTES]


def test_a_letter_says_what_when_and_why(db: store.Store) -> None:
    keep(db, letter(queue="odd \0 日", reason="r" * 3_000))

    [row] = listed(db)
    assert (row["queue"], row["reason"], row["at"]) == ("odd \0 日", "r" * 1024, NOON)
    assert (row["retry_requested_at"], row["requested_by"], "body" in row) == (None, None, False)


def test_a_second_delivery_of_a_message_inserts_nothing(db: store.Store) -> None:
    first, second = letter(b"first"), letter(b"second")
    keep(db, first)
    keep(db, first, second, first, after=9)

    assert bodies(db) == [b"first", b"second"]
    assert [row["at"] for row in listed(db)] == [NOON + 9 * SECOND, NOON]


def test_a_thousand_letters_are_one_alert_that_counts(db: store.Store) -> None:
    for part in range(20):
        keep(db, *(letter() for _ in range(50)), after=part)
    keep(db, letter(queue="cronq_claims"), after=30)

    alerts = select(db, "SELECT subject, message FROM alerts WHERE kind = 'dead_letter' ORDER BY id")
    assert [(a["subject"], a["message"]) for a in alerts] == [
        (QUEUE, f"1,000 dead letters of {QUEUE}: cronq dead ls"),
        ("cronq_claims", "1 dead letter of cronq_claims: cronq dead ls"),
    ]


def test_counting_ends_somewhere(db: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MOST_COUNTED", 3)
    keep(db, *(letter() for _ in range(5)))

    [alert] = select(db, "SELECT message FROM alerts")
    assert alert["message"].startswith("3 or more dead letters")


def test_the_alert_ends_with_the_last_letter_of_its_queue(db: store.Store) -> None:
    one, other, alone = kept(db), kept(db), kept(db, queue="cronq_claims")
    assert keep(db, letter(queue="new"), letter()) == ["new"]
    for row in listed(db, limit=2):
        drop(db, row["id"])

    assert drop(db, one) == QUEUE
    assert open_alerts(db) == [("dead_letter", QUEUE), ("dead_letter", "cronq_claims")]
    drop(db, other)
    assert open_alerts(db) == [("dead_letter", "cronq_claims")]
    drop(db, alone)
    assert (open_alerts(db), listed(db)) == ([], [])


def test_lists_go_back_in_time_page_by_page(db: store.Store) -> None:
    keep(db, *(letter(b"%d" % n, queue="a" if n % 2 else "b") for n in range(7)))

    newest = listed(db, limit=3)
    rest = listed(db, before=newest[-1]["id"])
    ids = [row["id"] for row in [*newest, *rest]]

    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 7
    assert {row["queue"] for row in listed(db, queue="a")} == {"a"}
    assert (len(listed(db, queue="a")), listed(db, queue="A")) == (3, [])


def test_a_wish_is_handed_out_once_and_the_letter_goes_when_it_is_sent(db: store.Store) -> None:
    wanted_id, other = kept(db), kept(db)
    want(db, wanted_id)

    [wanted] = lease(db)
    assert (wanted.id, wanted.queue, wanted.body, wanted.requested_by) == (
        wanted_id,
        QUEUE,
        b"garbage",
        "ann",
    )
    assert lease(db) == []
    db.transact(lambda tx: dead_letters.sent(tx, [wanted], NOON))
    assert [row["id"] for row in listed(db)] == [other]
    assert open_alerts(db) == [("dead_letter", QUEUE)]


def test_sending_the_last_letter_ends_the_alert(db: store.Store) -> None:
    want(db, kept(db))
    found = lease(db)

    db.transact(lambda tx: dead_letters.sent(tx, found, NOON))

    assert (listed(db), open_alerts(db)) == ([], [])


def test_who_dies_with_a_letter_leaves_it_to_the_next_after_the_lease(db: store.Store) -> None:
    want(db, kept(db))
    [first] = lease(db)

    assert lease(db, after=59) == []
    [second] = lease(db, after=60)
    db.transact(lambda tx: dead_letters.sent(tx, [first], NOON))
    assert len(listed(db)) == 1, "the first one's lease is over"
    db.transact(lambda tx: dead_letters.sent(tx, [second], NOON))
    assert listed(db) == []


def test_asking_twice_is_one_wish(db: store.Store) -> None:
    letter_id = kept(db)
    want(db, letter_id)
    want(db, letter_id, "bob", after=5)
    assert (by_id(db, letter_id)["retry_requested_at"], by_id(db, letter_id)["requested_by"]) == (NOON, "ann")

    assert len(lease(db)) == 1
    want(db, letter_id, "carl", after=10)
    assert lease(db, after=10) == [], "it is on its way"


def test_what_could_not_be_sent_stays_and_says_so_once(db: store.Store) -> None:
    letter_id = kept(db)
    for why in ("no queue is there", "never confirmed"):
        want(db, letter_id)
        [wanted] = lease(db)
        db.transact(lambda tx, w=wanted, y=why: dead_letters.not_sent(tx, w, y))  # type: ignore[misc]

    row = by_id(db, letter_id)
    assert row["reason"] == "it is garbage; not sent again: never confirmed"
    assert (row["retry_requested_at"], row["requested_by"]) == (None, None)
    assert lease(db, after=3_600) == []


def test_a_long_reason_makes_room_for_why_it_was_not_sent(db: store.Store) -> None:
    letter_id = kept(db, reason="r" * 1024)
    want(db, letter_id)
    [wanted] = lease(db)

    db.transact(lambda tx: dead_letters.not_sent(tx, wanted, "no queue"))

    reason = by_id(db, letter_id)["reason"]
    assert (len(reason), reason[-8:]) == (1024, "no queue")


def test_the_oldest_wish_comes_first_and_no_more_than_asked_for(db: store.Store) -> None:
    ids = [kept(db) for _ in range(4)]
    for place, letter_id in enumerate(reversed(ids)):
        want(db, letter_id, after=place)

    assert {w.id for w in lease(db, after=9, limit=2)} == {ids[3], ids[2]}
    assert {w.id for w in lease(db, after=9, limit=5)} == {ids[1], ids[0]}


def test_a_letter_that_was_dropped_meanwhile_is_gone_whatever_became_of_it(db: store.Store) -> None:
    want(db, kept(db))
    [wanted] = lease(db)
    drop(db, wanted.id)

    db.transact(lambda tx: dead_letters.not_sent(tx, wanted, "no queue"))
    db.transact(lambda tx: dead_letters.sent(tx, [wanted], NOON))

    assert (listed(db), open_alerts(db)) == ([], [])


def test_what_is_not_there_can_be_neither_sent_nor_dropped(db: store.Store) -> None:
    with pytest.raises(NotFound, match="no dead letter has the id 7"):
        want(db, 7)
    with pytest.raises(NotFound, match="no dead letter has the id 7"):
        drop(db, 7)


def test_a_cut_letter_says_so_and_is_never_sent(db: store.Store) -> None:
    whole = letter(b"y" * (HEAD_BYTES + 5), reason="r" * 2_000)
    keep(db, whole.cut())

    [row] = listed(db)
    assert (row["body_bytes"], len(row["reason"])) == (HEAD_BYTES, 1024)
    assert row["reason"].endswith(f"; it is 65,541 bytes long{CUT}")
    with pytest.raises(Conflict, match="only the head of its body is kept"):
        want(db, row["id"])


def test_the_largest_body_that_is_not_cut_can_be_kept(db: store.Store) -> None:
    """Of zeros: on MySQL's way there each takes two bytes."""
    with db.read() as tx:
        most = dead_letters.most_body(tx)

    keep(db, letter(b"\0" * most))

    assert listed(db)[0]["body_bytes"] == most

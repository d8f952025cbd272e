"""Dead letters over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from cronq.store import Store, dead_letters, now
from cronq.store.dead_letters import CUT, Letter
from tests.integration.web_api.conftest import Connect
from tests.integration.web_api.support import Client

PATH = "/api/dead-letters"
TOKEN = "t0k3n-of-the-api-9Zq"


def keep(db: Store, *bodies: bytes, queue: str = "cronq_results", reason: str = "garbage") -> list[int]:
    """The ids of new letters, in order."""
    ids: list[int] = []
    for body in bodies:
        with db.begin() as tx:
            found = dead_letters.listed(tx, limit=1)
            made = Letter(f"{found[0]['id'] + 1 if found else 0:032x}", queue, reason, body)
            dead_letters.keep(tx, [made], now(tx))
            ids.append(int(dead_letters.listed(tx, limit=1)[0]["id"]))
    return ids


def shown(client: Client, letter_id: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"{PATH}/{letter_id}").json["data"]["dead_letter"]
    return found


def test_the_list_tells_all_but_the_bodies(client: Client, db: Store) -> None:
    old, new = keep(db, b"\xff\xfe", b"")

    told = client.get(PATH).json

    assert [letter["id"] for letter in told["data"]["dead_letters"]] == [new, old]
    assert told["next_cursor"] is None
    letter = told["data"]["dead_letters"][1]
    at = letter.pop("at")
    assert at.endswith("Z")
    assert letter == {
        "id": old,
        "queue": "cronq_results",
        "reason": "garbage",
        "body_bytes": 2,
        "retry_requested_at": None,
        "requested_by": None,
    }


def test_pages_follow_each_other_and_a_queue_can_be_picked(client: Client, db: Store) -> None:
    keep(db, b"1", b"2", b"3")
    others = keep(db, b"4", b"5", queue="cronq_claims")

    seen, path = [], f"{PATH}?limit=2"
    while path:
        page = client.get(path)
        seen += [letter["id"] for letter in page.json["data"]["dead_letters"]]
        cursor = page.json["next_cursor"]
        path = f"{PATH}?limit=2&cursor={cursor}" if cursor else ""
        assert ("Link" in page.headers) == bool(cursor)

    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    picked = client.get(f"{PATH}?queue=cronq_claims").json["data"]["dead_letters"]
    assert [letter["id"] for letter in picked] == others[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=x", "queue=a&queue=b", "nonsense=1"])
def test_a_list_that_is_not_asked_for_properly_is_422(lasting: Client, query: str) -> None:
    answer = lasting.get(f"{PATH}?{query}")

    assert answer.status_code == 422
    assert answer.json["errors"]


@pytest.mark.parametrize(
    ("body", "text", "is_whole"),
    [
        (b"", "", True),
        (b'{"v": 2}\x00\x1b[31m', '{"v": 2}\x00\x1b[31m', True),
        ("日本😀".encode(), "日本😀", True),
        (b"x" * 65_536, "x" * 65_536, True),
        (b"x" * 65_537, "x" * 65_536, False),
        (b"x" * 65_535 + "日".encode(), "x" * 65_535, False),
    ],
)
def test_a_body_of_text_is_shown_as_such(
    client: Client, db: Store, body: bytes, text: str, is_whole: bool
) -> None:
    letter = shown(client, *keep(db, body))

    assert (letter["body"], letter["body_is_whole"]) == (text, is_whole)
    assert (letter["body_bytes"], letter["body_base64"]) == (len(body), None)


def test_a_body_that_is_no_text_is_shown_byte_for_byte_too(client: Client, db: Store) -> None:
    body = b"a\xff\x00" + "日".encode()[:2]

    letter = shown(client, *keep(db, body))

    assert letter["body"] == "a\N{REPLACEMENT CHARACTER}\x00\N{REPLACEMENT CHARACTER}"
    assert base64.b64decode(letter["body_base64"]) == body


def test_a_retry_is_noted_with_who_wants_it(client: Client, db: Store) -> None:
    [letter_id] = keep(db, b"x")

    first = client.post(f"{PATH}/{letter_id}/retry", json={})
    second = client.post(f"{PATH}/{letter_id}/retry")

    assert (first.status_code, second.status_code) == (202, 202)
    told = first.json["data"]["dead_letter"]
    assert told["retry_requested_at"].endswith("Z")
    assert told["requested_by"] == "127.0.0.1 without login"
    assert second.json["data"]["dead_letter"] == told
    with db.begin() as tx:
        at = now(tx)
        assert [w.id for w in dead_letters.lease_wanted(tx, at, at, 10)] == [letter_id]


def test_a_letter_of_which_only_the_head_is_kept_is_not_sent_again(client: Client, db: Store) -> None:
    [letter_id] = keep(db, b"x", reason=f"too large{CUT}")

    answer = client.post(f"{PATH}/{letter_id}/retry")

    assert (answer.status_code, answer.json["type"]) == (409, "/docs/errors/conflict")


def test_a_dropped_letter_is_gone_and_its_alert_too(client: Client, db: Store) -> None:
    [letter_id] = keep(db, b"x")
    assert len(client.get("/api/alerts").json["data"]["alerts"]) == 1

    answer = client.open(f"{PATH}/{letter_id}", method="DELETE")

    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(PATH).json["data"]["dead_letters"] == []
    assert client.get("/api/alerts").json["data"]["alerts"] == []
    assert client.open(f"{PATH}/{letter_id}", method="DELETE").status_code == 404


@pytest.mark.parametrize("letter_id", ["999", "0", "-1", "1e3", "9" * 12, "x", "%00"])
def test_what_is_no_letter_is_404(lasting: Client, letter_id: str) -> None:
    for method, path in (("GET", ""), ("POST", "/retry"), ("DELETE", "")):
        answer = lasting.open(f"{PATH}/{letter_id}{path}", method=method)
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_an_order_takes_no_fields(client: Client, db: Store) -> None:
    [letter_id] = keep(db, b"x")

    assert client.post(f"{PATH}/{letter_id}/retry", json={"to": "elsewhere"}).status_code == 422
    assert client.post(f"{PATH}/{letter_id}/retry?force=1").status_code == 422
    assert client.open(f"{PATH}/{letter_id}?force=1", method="DELETE").status_code == 422
    assert shown(client, letter_id)["retry_requested_at"] is None


ASKED = [("GET", PATH), ("GET", f"{PATH}/1"), ("POST", f"{PATH}/1/retry"), ("DELETE", f"{PATH}/1")]


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_reading_letters_needs_the_right_to_write(connect: Connect, method: str, path: str) -> None:
    """They can hold anything, passwords too."""
    far = {"REMOTE_ADDR": "10.0.0.7"}
    open_here, with_token = connect(), connect(CRONQ_API_TOKEN=TOKEN)

    for_strangers = open_here.open(path, method=method, environ_overrides=far)
    without = with_token.open(path, method=method)
    wrong = with_token.open(path, method=method, headers={"Authorization": "Bearer x"})
    right = with_token.open(
        path, method=method, headers={"Authorization": f"Bearer {TOKEN}"}, environ_overrides=far
    )
    from_a_page = open_here.open(path, method=method, headers={"Sec-Fetch-Site": "cross-site"})

    assert (for_strangers.status_code, without.status_code, wrong.status_code) == (403, 401, 401)
    assert (right.status_code, from_a_page.status_code) == (200 if path == PATH else 404, 403)


@pytest.mark.parametrize("name", ["cronq.direct", "Cronq.Direct", "Cronq-Direct", "cronq_direct"])
def test_no_header_makes_a_stranger_the_command_line(connect: Connect, name: str) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    answer = client.get(PATH, headers={name: "root"}, environ_overrides={"REMOTE_ADDR": "10.0.0.7"})

    assert answer.status_code == 401

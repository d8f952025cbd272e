"""Maintenance windows: when one is on, and what is wrong with a document of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cronq.domain.errors import InvalidInput
from cronq.domain.window import Window, read_window, stored_window

ONCE = {"scope": "all", "from": "2026-12-24T22:00", "to": "2026-12-25T02:00", "timezone": "Europe/Berlin"}
SUNDAYS = {"scope": "queue:gpu", "schedule": "0 3 * * SUN", "duration": "2h", "reason": "backup"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def on_until(window: Window, at: str) -> str:
    found = window.on_until(utc(at))
    return "" if found is None else f"{found:%d %H:%M}"


def test_a_window_is_on_from_its_start_to_before_its_end() -> None:
    window = read_window(ONCE)
    assert on_until(window, "2026-12-24T20:59:59") == ""
    assert on_until(window, "2026-12-24T21:00") == "25 01:00"
    assert on_until(window, "2026-12-25T00:59:59") == "25 01:00"
    assert on_until(window, "2026-12-25T01:00") == ""
    assert window.next_start(utc("2026-12-24T20:00")) == utc("2026-12-24T21:00")
    assert window.next_start(utc("2026-12-24T21:00")) is None


def test_a_recurring_window_is_on_for_its_duration_again_and_again() -> None:
    window = read_window(SUNDAYS)
    assert on_until(window, "2026-11-22T02:59:59") == ""
    assert on_until(window, "2026-11-22T03:00") == "22 05:00"
    assert on_until(window, "2026-11-22T05:00") == ""
    assert on_until(window, "2026-11-29T04:00") == "29 05:00"
    assert window.next_start(utc("2026-11-22T04:00")) == utc("2026-11-29T03:00")


def test_a_scope_is_all_a_category_or_a_queue() -> None:
    assert [read_window(each).kind for each in (ONCE, SUNDAYS)] == ["all", "queue"]
    category = read_window({**ONCE, "scope": "category:a: b"})
    assert (category.kind, category.name) == ("category", "a: b")


def test_what_was_read_is_stored_and_read_back() -> None:
    window = read_window(SUNDAYS)
    assert stored_window(window.text) == window
    assert window.reason == "backup"


@pytest.mark.parametrize(
    ("changed", "pointer", "said"),
    [
        ({"scope": "everything"}, "/scope", "all, category:NAME and queue:KEY are"),
        ({"scope": "queue:a b"}, "/scope", '"a b" is not allowed'),
        ({"scope": "category:a/b"}, "/scope", "a name without /"),
        ({"scope": None}, "/scope", "null is not allowed"),
        ({"name": "x"}, "/name", "there is no such key"),
        ({"to": "2026-12-24T22:00"}, "/to", "must be later"),
        ({"to": "soon"}, "/to", "is not a date and time"),
        ({"duration": "2h"}, "", "either from and to"),
        ({"timezone": "Berlin"}, "/timezone", "unknown time zone"),
        ({"reason": "\n"}, "/reason", "only printable"),
    ],
)
def test_a_wrong_document_is_told_where_and_why(changed: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_window({**ONCE, **changed})
    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert said in problem.message


def test_a_window_needs_a_scope() -> None:
    with pytest.raises(InvalidInput, match="scope: is missing"):
        read_window({key: value for key, value in ONCE.items() if key != "scope"})

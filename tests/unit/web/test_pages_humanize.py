"""Instants, durations and sizes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.run import State
from cronq.web.pages import humanize
from cronq.web.pages.states import SIGNS, sign

NOW = datetime(2026, 3, 1, 14, 3, 22, 456_789, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0.000s"),
        (0.0042, "0.004s"),
        (0.34, "0.3s"),
        (41.29, "41.2s"),
        (59.99, "59.9s"),
        (60, "1m 00s"),
        (83.9, "1m 23s"),
        (3_599, "59m 59s"),
        (7_500, "2h 05m"),
        (86_400 * 3 + 3_600 * 4, "3d 04h"),
        (-0.25, "−0.2s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert humanize.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "just now"),
        (-0.9, "just now"),
        (1, "1s ago"),
        (59.9, "59s ago"),
        (60, "1m ago"),
        (3_600, "1h ago"),
        (86_400 * 400, "400d ago"),
        (-1, "in 1s"),
        (-3_599, "in 59m"),
        (-86_400, "in 1d"),
    ],
)
def test_relative_times_have_one_unit(seconds: float, text: str) -> None:
    assert humanize.relative(NOW - timedelta(seconds=seconds), NOW) == text


def test_absolute_times_name_their_zone() -> None:
    assert humanize.absolute(NOW) == "2026-03-01 14:03:22 UTC"
    assert humanize.precise(NOW) == "2026-03-01 14:03:22.456 UTC"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_900_000, "1.9 MB"), (10**10, "10.0 GB")],
)
def test_sizes_have_one_unit(count: int, text: str) -> None:
    assert humanize.size(count) == text


def test_counts_have_their_plural() -> None:
    assert [humanize.counted(n, "run") for n in (0, 1, 2_000)] == ["0 runs", "1 run", "2,000 runs"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 日本", "plain ünï 日本"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\x1b]0;x\a", "^[]0;x^G"),
        ("two\nlines", "two^Jlines"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
    ],
)
def test_unseen_characters_of_a_name_are_shown(text: str, shown: str) -> None:
    assert humanize.visible(text) == shown


def test_lines_of_a_command_stay_lines() -> None:
    assert humanize.visible_lines("a\n\tb\x1b") == "a\n\tb^["


def test_every_state_has_its_own_word_and_glyph() -> None:
    assert set(SIGNS) == set(State)
    assert len({s.word for s in SIGNS.values()}) == len({s.glyph for s in SIGNS.values()}) == len(SIGNS)


def test_a_state_of_a_later_release_is_shown_as_it_is() -> None:
    assert sign("pondering").word == "pondering"

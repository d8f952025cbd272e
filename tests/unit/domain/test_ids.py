"""Ids of runs: their shape, their order, and that chance alone keeps them apart."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.ids import before, made_at, run_id

NOW = datetime(2026, 11, 21, 10, 0, 0, 123_000, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.integers(0, 200 * 365 * 86_400_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))


@given(instants, st.randoms(use_true_random=False))
def test_an_id_is_32_hex_digits_in_the_shape_of_a_version_7_uuid(
    now: datetime, chance: random.Random
) -> None:
    made = run_id(now, chance.getrandbits)

    assert len(made) == 32
    assert uuid.UUID(hex=made).version == 7
    assert uuid.UUID(hex=made).variant == uuid.RFC_4122


@given(instants, st.integers(1, 10**9), st.randoms(use_true_random=False))
def test_a_later_id_sorts_after_an_earlier_one(now: datetime, later_ms: int, chance: random.Random) -> None:
    earlier = run_id(now, chance.getrandbits)
    later = run_id(now + timedelta(milliseconds=later_ms), chance.getrandbits)

    assert earlier < later


@given(instants, st.integers(0, 999), st.randoms(use_true_random=False))
def test_an_id_tells_its_millisecond(now: datetime, micros: int, chance: random.Random) -> None:
    assert made_at(run_id(now + timedelta(microseconds=micros), chance.getrandbits)) == now


@given(instants, st.integers(1, 10**9), st.randoms(use_true_random=False))
def test_a_bound_parts_ids_by_their_time(now: datetime, apart_ms: int, chance: random.Random) -> None:
    later = now + timedelta(milliseconds=apart_ms)

    assert run_id(now, chance.getrandbits) < before(later) < run_id(later, chance.getrandbits)


def test_ids_of_one_millisecond_differ_in_74_bits_of_chance() -> None:
    asked: list[int] = []

    def all_ones(bits: int) -> int:
        asked.append(bits)
        return (1 << bits) - 1

    first, second = run_id(NOW, lambda bits: 0), run_id(NOW, all_ones)

    assert sum(asked) == 74
    assert first[:12] == second[:12]
    assert (int(first, 16) ^ int(second, 16)).bit_count() == 74

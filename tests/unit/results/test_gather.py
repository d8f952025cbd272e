"""Batches wait for company in proportion to what the last one took."""

from __future__ import annotations

from typing import cast

import pytest

from cronq.bus.interface import Consumer
from cronq.results import gather
from cronq.results.gather import Gatherer


class Clock:
    """Its own time; each `take` gets what has arrived by then, one delivery a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.rests: list[float] = []
        self.taken = 0
        monkeypatch.setattr(gather, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def take(self, most: int, timeout_s: float) -> list[int]:
        if self.taken >= self.now and timeout_s:
            self.now = self.taken + 1.0
        found = list(range(self.taken, int(self.now)))[:most]
        self.taken += len(found)
        return found


def gatherer(clock: Clock, most: int = 100) -> Gatherer:
    return Gatherer(cast(Consumer, clock), most=most, wait_s=9, rest=2.0, pause_s=10.0)


def test_the_first_delivery_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    assert len(gatherer(clock).take()) == 1
    assert clock.rests == []


@pytest.mark.parametrize(("worked_s", "rest_s"), [(3.0, 6.0), (7.0, 10.0)])
def test_the_next_batch_rests_as_many_times_as_long_as_the_last_one_took_up_to_the_pause(
    monkeypatch: pytest.MonkeyPatch, worked_s: float, rest_s: float
) -> None:
    clock = Clock(monkeypatch)
    events = gatherer(clock)
    events.take()
    clock.now += worked_s

    found = events.take()

    assert (clock.rests, len(found)) == ([rest_s], worked_s + rest_s)


def test_a_full_batch_does_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    events = gatherer(clock, most=3)
    events.take()
    clock.now += 5

    assert (len(events.take()), clock.rests) == (3, [])


def test_time_spent_waiting_for_a_delivery_is_rest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    events = gatherer(clock)
    events.take()
    clock.now += 0.25
    clock.taken = 1

    events.take()

    assert clock.rests == []

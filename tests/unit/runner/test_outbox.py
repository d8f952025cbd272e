"""What waits to be told: one batch on its way at a time, in order, until the broker has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import cast

import pytest

from cronq.bus.interface import Bus, Confirm, Message
from cronq.bus.messages import decode_events
from cronq.domain.event import EventType, RunEvent
from cronq.runner import outbox
from cronq.runner.outbox import Outbox, Settled

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
OTHER = Message("cronq_claims", b"{}")


class SlowBus:
    """Keeps what is sent until the test settles it."""

    def __init__(self) -> None:
        self.sent: list[tuple[Sequence[Message], Callable[[list[Confirm]], None]]] = []

    def is_connected(self) -> bool:
        return True

    def send(self, messages: Sequence[Message], settled: Callable[[list[Confirm]], None]) -> None:
        self.sent.append((messages, settled))

    def settle(self, number: int, verdict: Confirm = Confirm.CONFIRMED) -> None:
        messages, settled = self.sent[number]
        settled([verdict] * len(messages))

    def told(self, number: int) -> list[str]:
        bodies = [m.body for m in self.sent[number][0] if m is not OTHER]
        return [e.run_id for body in bodies for e in decode_events(body) if isinstance(e, RunEvent)]


class Rig:
    def __init__(self) -> None:
        self.bus = SlowBus()
        self.news: list[object] = []
        self.done: list[str] = []
        self.outbox = Outbox(cast(Bus, self.bus), self.news.append)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            run_id = f"{number:032x}"
            event = RunEvent(EventType.STARTING, run_id, 1, AT, attempt=1, lineage="a" * 32)
            self.outbox.put(event, partial(self.done.append, run_id))

    def hear(self) -> None:
        for item in self.news:
            assert isinstance(item, Settled)
            self.outbox.on_settled(item)
        self.news.clear()


def ids(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def test_what_comes_while_a_batch_is_on_its_way_goes_together_with_the_next() -> None:
    rig = Rig()
    rig.put(1)
    rig.outbox.flush()
    rig.put(2, 3)
    rig.outbox.flush()

    rig.bus.settle(0)
    rig.hear()
    rig.outbox.flush()

    assert [rig.bus.told(n) for n in range(len(rig.bus.sent))] == [ids(1), ids(2, 3)]
    assert (rig.done, len(rig.outbox)) == (ids(1), 2)


def test_a_claim_never_waits_for_the_confirm_of_an_event() -> None:
    rig = Rig()
    rig.put(1)
    rig.outbox.flush()

    rig.outbox.flush([OTHER])

    assert list(rig.bus.sent[1][0]) == [OTHER]


def test_what_was_not_confirmed_is_told_again_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSE_S", 0.0)
    rig = Rig()
    rig.put(1)
    rig.outbox.flush()
    rig.put(2)

    rig.bus.settle(0, Confirm.UNKNOWN)
    rig.hear()
    rig.outbox.flush()

    assert (rig.done, rig.bus.told(1)) == ([], ids(1, 2))


def test_a_batch_without_verdicts_is_given_up_and_its_late_ones_count_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "TIMEOUT_S", -1.0)
    rig = Rig()
    rig.put(1)
    rig.outbox.flush()
    rig.put(2)
    rig.outbox.flush()

    rig.bus.settle(0)
    rig.hear()

    assert (rig.bus.told(1), rig.done, len(rig.outbox)) == (ids(1, 2), [], 2)


@pytest.mark.parametrize("verdict", [Confirm.CONFIRMED, Confirm.UNKNOWN])
def test_it_says_when_claims_have_arrived_or_are_lost(verdict: Confirm) -> None:
    rig = Rig()
    said: list[str] = []

    rig.outbox.flush([OTHER], lambda: said.append("sent"))
    before = list(said)
    rig.bus.settle(0, verdict)
    rig.hear()

    assert (before, said) == ([], ["sent"])

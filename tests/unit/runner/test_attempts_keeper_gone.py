from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from cronq.bus.interface import Bus, Confirm, Message
from cronq.bus.messages import Grant
from cronq.domain.errors import Unavailable
from cronq.domain.run import Owner
from cronq.runner import attempts
from cronq.runner.attempts import Attempts
from cronq.runner.folder import Folder
from cronq.runner.keeper_client import Finished, KeeperLost, Started
from cronq.runner.outbox import Outbox, Settled

RUN = "0" * 32
KEY = (RUN, 1)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
STARTED = Started(RUN, 1, pid=7, started_at=NOW)
FINISHED = Finished(
    RUN,
    1,
    return_code=0,
    signal=None,
    finished_at=NOW,
    duration_s=1.0,
    cpu_s=0.1,
    max_rss_kb=None,
    output_bytes=0,
    dropped_bytes=0,
    why=None,
    left=0,
)


class FakeKeeper:
    """Notes its orders; once dead it takes none."""

    def __init__(self, known: dict[tuple[str, int], object] | None = None) -> None:
        self.known = known or {}
        self.orders: list[str] = []
        self.is_dead = False
        self.is_closed = False

    def __getattr__(self, order: str) -> Callable[..., None]:
        def note(*_args: object, **_fields: object) -> None:
            if self.is_dead:
                raise Unavailable("it takes no orders")
            self.orders.append(order)

        return note

    def close(self) -> None:
        self.is_closed = True


class FakeBus:
    """Confirms everything."""

    def is_connected(self) -> bool:
        return True

    def send(self, messages: list[Message], settled: Callable[[list[Confirm]], None]) -> None:
        settled([Confirm.CONFIRMED] * len(messages))


class Rig:
    """Attempts on keepers that are handed out in turn; an exception in their place is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *keepers: FakeKeeper | Exception) -> None:
        left = list(keepers)

        def connect_or_spawn(_folder: Folder, **_: object) -> FakeKeeper:
            keeper = left.pop(0)
            if isinstance(keeper, Exception):
                raise keeper
            return keeper

        monkeypatch.setattr(attempts, "Keeper", SimpleNamespace(connect_or_spawn=connect_or_spawn))
        self.outbox = Outbox(cast(Bus, FakeBus()), self._settled)
        self.attempts = Attempts(
            cast(Folder, SimpleNamespace(path="")),
            Owner("r", "1" * 32, "2" * 32),
            host="h",
            environ={},
            outbox=self.outbox,
            tell=lambda _: None,
        )
        self.attempts.connect()

    def _settled(self, news: object) -> None:
        assert isinstance(news, Settled)
        self.outbox.on_settled(news)

    def start(self) -> None:
        self.attempts.start(Grant(RUN, 1, instance="2" * 32, nonce="n", command="true"), job_id=1)


def test_a_start_that_meets_a_dead_keeper_is_declined_at_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead, fresh = FakeKeeper(), FakeKeeper()
    rig = Rig(monkeypatch, dead, fresh)
    dead.is_dead = True

    rig.start()
    rig.attempts.on_news(KeeperLost("it died"))
    rig.attempts.mend()

    assert fresh.orders == ["tombstone"]
    assert rig.attempts.is_live(KEY), "until the keeper has answered"


def test_a_keeper_that_can_not_be_reached_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dead, fresh = FakeKeeper(), FakeKeeper({KEY: STARTED})
    rig = Rig(monkeypatch, dead, Unavailable("no process can be started"), fresh)

    rig.attempts.on_news(KeeperLost("it died"))
    with pytest.raises(Unavailable):
        rig.attempts.mend()
    rig.attempts.mend()

    assert rig.attempts.live_keys() == [KEY]


def test_a_keeper_is_replaced_once_and_the_connection_with_the_old_one_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead, fresh = FakeKeeper(), FakeKeeper()
    rig = Rig(monkeypatch, dead, fresh)

    rig.attempts.on_news(KeeperLost("it died"))
    rig.attempts.mend()
    rig.attempts.mend()

    assert (dead.is_closed, fresh.is_closed) == (True, False)


def test_an_end_told_by_a_keeper_that_died_since_is_acknowledged_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead, fresh = FakeKeeper({KEY: STARTED}), FakeKeeper({KEY: FINISHED})
    rig = Rig(monkeypatch, dead, fresh)
    rig.attempts.on_news(FINISHED)
    dead.is_dead = True

    rig.attempts.on_news(KeeperLost("it died"))
    rig.attempts.mend()
    rig.outbox.flush()

    assert fresh.orders == ["reported"]


def test_an_end_is_confirmed_while_the_keeper_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = FakeKeeper({KEY: STARTED})
    rig = Rig(monkeypatch, dead)
    rig.attempts.on_news(FINISHED)
    dead.is_dead = True

    rig.outbox.flush()

    assert len(rig.outbox) == 0


def test_the_end_of_the_runner_meets_a_dead_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = FakeKeeper()
    rig = Rig(monkeypatch, dead)
    dead.is_dead = True

    rig.attempts.close()

    assert dead.is_closed

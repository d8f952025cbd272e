"""The keeper's loop: deadlines, cancelled ones, and turns that leave nothing undone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cronq.runner.keeper.loop import Loop, Timer
from cronq.runner.keeper.service import Keeper
from cronq.runner.keeper.writer import Writer


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_deadlines_are_called_in_their_order_and_never_early(loop: Loop) -> None:
    called: list[tuple[str, float]] = []
    began = time.monotonic()
    for name, delay in (("b", 0.06), ("a", 0.02), ("c", 0.1)):
        loop.after(delay, lambda name=name: called.append((name, time.monotonic() - began)))  # type: ignore[misc]  # mypy can't infer a lambda with a default

    while len(called) < 3:
        loop.step(block=True)

    assert [name for name, _ in called] == ["a", "b", "c"]
    assert all(at >= delay for (_, at), delay in zip(called, (0.02, 0.06, 0.1), strict=True))


def test_a_cancelled_deadline_is_not_called(loop: Loop) -> None:
    called: list[str] = []
    timer = loop.after(0, lambda: called.append("cancelled"))
    loop.after(0.01, lambda: called.append("kept"))
    loop.cancel(timer)
    loop.cancel(timer)
    loop.cancel(None)

    while not called:
        loop.step(block=True)

    assert called == ["kept"]


def test_cancelled_deadlines_of_the_far_future_take_no_room(loop: Loop) -> None:
    """Each run with a timeout has one: an hour of short runs must not pile them up."""
    kept = loop.after(1000, lambda: None)
    for _ in range(10_000):
        loop.cancel(loop.after(3600, lambda: None))

    assert len(loop._timers) < 200
    assert kept in loop._timers


def test_a_descriptor_is_told_while_it_is_watched(loop: Loop) -> None:
    reading, writing = os.pipe()
    told: list[bytes] = []
    loop.watch(reading, lambda: told.append(os.read(reading, 10)))
    os.write(writing, b"x")

    assert loop.step(block=True)
    assert not loop.step(block=False)
    loop.unwatch(reading)
    os.write(writing, b"y")
    assert not loop.step(block=False)

    assert told == [b"x"]
    os.close(reading)
    os.close(writing)


class ScriptedLoop(Loop):
    """Does one thing per step (None: nothing was ready), and remembers whether it was allowed to block."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Callable[[], None] | None] = []
        self.blocked: list[bool] = []

    def step(self, *, block: bool) -> bool:
        self.blocked.append(block)
        what = self.script.pop(0) if self.script else None
        if what is not None:
            what()
        return what is not None

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        return Timer(delay_s, call)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[tuple[Keeper, ScriptedLoop, socket.socket]]:
    """A keeper on a scripted loop, and the runner's end of an accepted connection."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with listener, socket.socket(socket.AF_UNIX) as runner:
        runner.connect(str(tmp_path / "s"))
        runner.settimeout(10)
        loop = ScriptedLoop()
        yield (
            Keeper(str(tmp_path), Writer(str(tmp_path), "boot"), loop, listener, orphan_idle_s=9),
            loop,
            runner,
        )


def test_an_order_that_comes_in_the_last_step_of_a_turn_is_obeyed_in_it(
    scripted: tuple[Keeper, ScriptedLoop, socket.socket],
) -> None:
    keeper, loop, runner = scripted
    runner.sendall(b'{"type":"hello"}\n')

    def receive() -> None:
        keeper._links[0]._on_ready()

    loop.script = [keeper._accept, *[_nothing] * 6, receive]

    keeper._turn(block=True)

    assert b'"type":"hello"' in runner.recv(1000)
    assert loop.blocked == [True] + [False] * 7


def test_nothing_is_told_before_it_is_in_the_journal(
    scripted: tuple[Keeper, ScriptedLoop, socket.socket], tmp_path: Path
) -> None:
    keeper, loop, runner = scripted
    runner.sendall(
        b'{"type":"hello"}\n{"type":"tombstone","run_id":"%s","attempt":1,"reason":"x"}\n' % (b"0" * 32)
    )

    def receive() -> None:
        keeper._links[0]._on_ready()

    def look() -> None:
        receive()
        runner.setblocking(False)
        with pytest.raises(BlockingIOError):
            runner.recv(1000)
        assert "not_started" not in (tmp_path / "journal-1.log").read_text()

    loop.script = [keeper._accept, receive, look]
    keeper._turn(block=True)

    runner.settimeout(10)
    assert b"not_started" in runner.recv(1000)
    assert "not_started" in (tmp_path / "journal-1.log").read_text()


def test_a_keeper_with_more_to_tell_and_room_for_it_does_not_block(
    scripted: tuple[Keeper, ScriptedLoop, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, loop, runner = scripted
    runner.sendall(b'{"type":"hello"}\n')
    for number in range(3):
        keeper.remember((f"{number:032x}", 1), b'{"type":"interrupted"}\n')

    def receive() -> None:
        keeper._links[0]._on_ready()

    def leave() -> None:
        keeper._is_leaving = True

    monkeypatch.setattr("cronq.runner.keeper.link.FULL_BYTES", 30)  # one message fills it
    loop.script = [keeper._accept, receive, None, None, None, None, leave]
    keeper.run()

    told = runner.recv(10_000).splitlines()[1:]
    assert told == [b'{"type":"interrupted"}'] * 3
    assert loop.blocked[2:] == [False, False, False, True, True, False]


def test_a_turn_that_failed_is_followed_by_one_that_does_not_block(
    scripted: tuple[Keeper, ScriptedLoop, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, loop, _ = scripted

    def fail() -> None:
        raise ZeroDivisionError

    def leave() -> None:
        keeper._is_leaving = True

    monkeypatch.setattr("cronq.runner.keeper.service.ERROR_PAUSE_S", 0)
    loop.script = [None, fail, leave]
    keeper.run()

    assert loop.blocked == [False, True, False, False]


def _nothing() -> None:
    pass

"""Both ways to make a process are alike, and one that hangs in its making holds up nobody else."""

from __future__ import annotations

import _posixsubprocess
import os
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from cronq.runner.keeper import launch as launching
from cronq.runner.keeper.attempt import Attempt
from cronq.runner.keeper.launch import THREADS, Launch, Launchers
from cronq.runner.keeper.loop import Loop
from cronq.runner.keeper.spawn import Direct, Program, entries, start_by_popen
from tests.integration.keeper_support import signals_of_a_shell, wait_until

pytestmark = pytest.mark.integration

Start = Callable[[Program], int]


@pytest.fixture(params=["direct", "popen"])
def start(request: pytest.FixtureRequest) -> Start:
    return Direct().start if request.param == "direct" else start_by_popen


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def run(start: Start, pipe: tuple[int, int], *argv: str, **more: object) -> tuple[int, bytes]:
    """The exit code and the output of a program."""
    program = Program(list(argv), entries({"PATH": os.environ["PATH"], "A": "b"}), 0, pipe[1])
    for name, value in more.items():
        setattr(program, name, value)
    try:
        pid = start(program)
    finally:
        os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), "rb") as file:
        output = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output


def test_a_program_is_started_as_asked(start: Start, pipe: tuple[int, int]) -> None:
    script = "pwd; umask; echo $A; ps -o sid= -p $$; echo $$; exit 3"
    code, output = run(start, pipe, "sh", "-c", script, cwd="/usr", umask=0o27)

    folder, umask, value, session, pid = output.split()
    assert (code, folder, umask, value) == (3, b"/usr", b"0027", b"b")
    assert session == pid


def test_signals_that_python_ignores_are_not_ignored_there(start: Start, pipe: tuple[int, int]) -> None:
    _, output = run(start, pipe, "grep", "SigIgn", "/proc/self/status")

    assert signals_of_a_shell(output) == {"SigIgn": set()}


@pytest.mark.parametrize(
    ("program", "cwd", "error", "file"),
    [
        ("/nonexistent", None, FileNotFoundError, "/nonexistent"),
        ("nonexistent", None, FileNotFoundError, "nonexistent"),
        ("/etc/passwd", None, PermissionError, "/etc/passwd"),
        ("/bin/true", "/nonexistent", FileNotFoundError, "/nonexistent"),
        ("/bin/true", "/etc/passwd", NotADirectoryError, "/etc/passwd"),
    ],
)
def test_failures_are_told_alike(
    start: Start, pipe: tuple[int, int], *, program: str, cwd: str | None, error: type[OSError], file: str
) -> None:
    with pytest.raises(error) as caught:
        run(start, pipe, program, cwd=cwd)

    assert caught.value.filename == file


def test_one_direct_starter_serves_many_failures_and_successes() -> None:
    direct = Direct()
    for _ in range(20):
        with pytest.raises(FileNotFoundError):
            direct.start(Program(["/nonexistent"], {}, 0, 1))
        pid = direct.start(Program(["/bin/true"], {}, 0, 1))
        assert os.waitpid(pid, 0)[1] == 0


def test_an_interpreter_that_has_not_what_we_need_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Direct.works()

    def other_signature(*_: object) -> int:
        raise TypeError("fork_exec expected 22 arguments, got 23")

    monkeypatch.setattr(_posixsubprocess, "fork_exec", other_signature)
    assert not Direct.works()


@pytest.mark.parametrize("env", [{"A=B": "c"}, {"": "c"}, {"A": "\ud800"}])
def test_what_no_environment_can_hold_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"environment variable name|surrogates"):
        entries(env)


def test_starts_that_hang_hold_up_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a working directory on a file server that is gone."""
    release, launched = threading.Event(), []
    monkeypatch.setattr(launching, "STUCK_S", 0.05)
    monkeypatch.setattr(Launch, "run", lambda launch, _: launch.order.get("hangs") and release.wait(60))
    loop = Loop()
    launchers = Launchers(loop, lambda launch: launched.append(launch.order["name"]))
    for number in range(THREADS):
        launchers.submit(Launch({"name": number, "hangs": True}, {}, -1, cast(Attempt, None)))
    wait_until("all hang", lambda: launchers._stuck() == THREADS)

    launchers.submit(Launch({"name": "free"}, {}, -1, cast(Attempt, None)))
    loop.step(block=True)
    assert launched == ["free"]

    release.set()
    while len(launched) < THREADS + 1:
        loop.step(block=True)
    assert sorted(map(str, launched)) == [*map(str, range(THREADS)), "free"]

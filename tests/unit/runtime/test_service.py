from __future__ import annotations

import random
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from cronq.domain.errors import ConfigError, Unavailable
from cronq.runtime.config import load
from cronq.runtime.health import series
from cronq.runtime.service import Bell, Counting, Loop, Service, Stop, Waking, main, run
from cronq.runtime.settings import Settings

DEADLINE_S = 10.0
Step = Callable[[], bool]


class NoWait(random.Random):
    """Makes each backoff end at once."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class Scripted:
    """A service that does one scripted thing per step, then asks for the stop."""

    name = "scripted"

    def __init__(self, stop: Stop, *script: bool | Exception) -> None:
        self.stop = stop
        self.script = list(script)
        self.steps = 0
        self.closed = False
        self.problem: str | None = None

    def step(self) -> bool:
        self.steps += 1
        if len(self.script) == 1:
            self.stop.set("end of script")
        now = self.script.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    def is_ready(self) -> dict[str, str | None]:
        return {"store": self.problem}

    def close(self) -> None:
        self.closed = True


class Belled(Scripted):
    def __init__(self, stop: Stop, *script: bool | Exception) -> None:
        super().__init__(stop, *script)
        self.bell = Bell()


class Raising:
    """A service for `main` whose steps are given; a signal ends it."""

    name = "test"

    def __init__(self, step: Step, ready: Callable[[], str | None] = lambda: None) -> None:
        self.step = step
        self.ready = ready
        self.closed = False

    def is_ready(self) -> dict[str, str | None]:
        return {"bus": self.ready()}

    def close(self) -> None:
        self.closed = True

    def counters(self) -> Mapping[str, float]:
        return {"cronq_runs_published_total": 7}


def turned(*script: bool | Exception) -> tuple[Scripted, Loop, list[Any]]:
    stop = Stop()
    service = Scripted(stop, *script)
    loop = Loop(service, stop=stop, poll_s=0.0, rng=NoWait())
    with capture_logs() as lines:
        loop.run()
    return service, loop, list(lines)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(**environ: str) -> Settings:
    return load({"CRONQ_POLL_S": "0.01", **environ})


def terminate() -> bool:
    signal.raise_signal(signal.SIGTERM)
    return True


class TestLoop:
    def test_steps_until_stopped(self) -> None:
        service, _, lines = turned(True, False, True)
        assert service.steps == 3
        assert lines == []

    def test_stop_before_the_first_step_means_no_step(self) -> None:
        stop = Stop()
        stop.set("early")
        service = Scripted(stop, True)
        run(service, stop=stop, poll_s=0.01)
        assert service.steps == 0

    def test_busy_service_does_not_pause(self) -> None:
        stop = Stop()
        service = Scripted(stop, *[True] * 50)
        thread = threading.Thread(target=run, args=(service,), kwargs={"stop": stop, "poll_s": 60.0})
        thread.start()
        thread.join(DEADLINE_S)
        assert service.steps == 50

    def test_stop_wakes_an_idle_loop_at_once(self) -> None:
        stop = Stop()
        idle = threading.Event()

        def step() -> bool:
            idle.set()
            return False

        thread = threading.Thread(target=run, args=(Raising(step),), kwargs={"stop": stop, "poll_s": 3600.0})
        thread.start()
        assert idle.wait(DEADLINE_S)
        stop.set("test")
        thread.join(DEADLINE_S)
        assert not thread.is_alive()

    def test_bell_wakes_an_idle_loop_for_its_next_step(self) -> None:
        stop = Stop()
        service = Belled(stop, False, True)
        assert isinstance(service, Waking)
        thread = threading.Thread(target=run, args=(service,), kwargs={"stop": stop, "poll_s": 3600.0})
        thread.start()
        service.bell.ring()
        thread.join(DEADLINE_S)
        assert service.steps == 2

    def test_unavailable_is_logged_once_per_change_and_so_is_the_recovery(self) -> None:
        down = Unavailable("database: gone away")
        service, loop, lines = turned(down, down, down, Unavailable("bus: refused"), True, True)
        assert service.steps == 6
        assert [(line["event"], line.get("error")) for line in lines] == [
            ("service.unavailable", "database: gone away"),
            ("service.unavailable", "bus: refused"),
            ("service.recovered", None),
        ]
        assert loop.errors == 0

    def test_unexpected_error_is_counted_logged_and_survived(self) -> None:
        service, loop, lines = turned(ValueError("x"), ValueError("x"), KeyError("y"), True)
        assert service.steps == 4
        assert loop.errors == 3
        assert [(line["event"], line.get("error"), bool(line.get("exc_info"))) for line in lines[:3]] == [
            ("service.step_failed", "ValueError: x", True),
            ("service.step_failed", "ValueError: x", False),
            ("service.step_failed", "KeyError: 'y'", True),
        ]

    def test_trouble_says_what_is_wrong_until_it_is_over(self) -> None:
        stop = Stop()
        loop = Loop(
            Scripted(stop, Unavailable("bus: refused"), True, True), stop=stop, poll_s=0, rng=NoWait()
        )
        loop.turn()
        assert loop.trouble() == "bus: refused"
        loop.turn()
        assert loop.trouble() is None

    def test_backing_off_does_not_listen_to_the_bell(self) -> None:
        stop = Stop()
        service = Belled(stop, *[Unavailable("down")] * 3)
        loop = Loop(service, stop=stop, poll_s=0, rng=NoWait())
        service.bell.ring()
        loop.turn()
        assert service.bell.wait(0), "the ring is still there for the next idle pause"

    def test_wrong_setting_found_in_a_step_ends_the_loop(self) -> None:
        stop = Stop()
        with pytest.raises(ConfigError, match="db upgrade"):
            run(Scripted(stop, ConfigError("run `cronq db upgrade`")), stop=stop, poll_s=0)


class TestMain:
    def test_sigterm_finishes_the_step_closes_and_returns_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        finished: list[str] = []

        def step() -> bool:
            terminate()
            finished.append("step")
            return True

        service = Raising(step)
        assert main("test", lambda _: service, settings()) == 0
        assert finished == ["step"]
        assert service.closed
        assert "ready test\n" in capsys.readouterr().err

    def test_ready_is_printed_once_and_not_before_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        steps: list[str] = []

        def step() -> bool:
            steps.append(capsys.readouterr().err)
            return terminate() if len(steps) == 6 else True

        service = Raising(step, ready=lambda: None if len(steps) > 2 else "not connected")
        assert main("test", lambda _: service, settings(CRONQ_LOG_LEVEL="error")) == 0
        assert steps == ["", "", "", "ready test\n", "", ""]

    def test_wrong_setting_while_building_is_one_line_and_78(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def build(given: Settings) -> Service:
            given.require_database()
            raise AssertionError

        assert main("test", build, settings(CRONQ_HEARTBEAT="3")) == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("cronq: DATABASE_URL is not set; allowed: ")

    def test_building_is_repeated_while_something_is_unavailable(self) -> None:
        tries: list[int] = []

        def build(_settings: Settings) -> Service:
            tries.append(1)
            if len(tries) < 3:
                raise Unavailable("database: starting")
            return Raising(terminate)

        assert main("test", build, settings()) == 0
        assert len(tries) == 3

    def test_signal_ends_the_wait_for_something_unavailable(self) -> None:
        def build(_settings: Settings) -> Service:
            terminate()
            raise Unavailable("database: starting")

        assert main("test", build, settings()) == 0

    def test_notices_are_logged_once_the_service_is_built(self, capsys: pytest.CaptureFixture[str]) -> None:
        main("test", lambda _: Raising(terminate), settings(CRONQ_HEARTBEAT="3"))
        assert capsys.readouterr().err.count("did you mean CRONQ_HEARTBEAT_S?") == 1

    def test_service_is_closed_when_a_step_finds_a_wrong_setting(self) -> None:
        def step() -> bool:
            raise ConfigError("run `cronq db upgrade`")

        service = Raising(step)
        assert main("test", lambda _: service, settings()) == 78
        assert service.closed

    def test_health_port_answers_while_it_runs(self) -> None:
        port = free_port()
        seen: dict[str, str] = {}

        def fetch(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as reply:
                return str(reply.read().decode())

        def step() -> bool:
            seen.update({path: fetch(path) for path in ("/healthz", "/readyz", "/metrics")})
            return terminate()

        service = Raising(step)
        assert isinstance(service, Counting)
        assert main("test", lambda _: service, replace(settings(), health_port=port)) == 0
        assert seen["/healthz"] == '{"status": "ok"}\n'
        assert seen["/readyz"] == '{"status": "ready", "checks": {"bus": "ok", "loop": "ok"}}\n'
        assert "\ncronq_runs_published_total 7\n" in seen["/metrics"]
        assert f"\n{series('cronq_step_errors_total', service='test')} 0\n" in seen["/metrics"]

    def test_taken_health_port_is_one_line_and_78(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert main("test", lambda _: Raising(terminate), replace(settings(), health_port=port)) == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cronq: CRONQ_HEALTH_PORT: cannot listen on 127.0.0.1 port {port}: ")
        assert "EADDRINUSE" in line

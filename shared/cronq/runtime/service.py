"""The life of a service process: build, loop over its step, say when it is ready, stop on a signal."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from cronq.domain.errors import ConfigError, Unavailable
from cronq.runtime import crash, log
from cronq.runtime.backoff import Backoff
from cronq.runtime.config import report
from cronq.runtime.health import HealthServer, series
from cronq.runtime.settings import Settings
from cronq.runtime.stop import Bell, Stop, stop_on_signals

__all__ = ["Bell", "Counting", "Loop", "Service", "Stop", "Waking", "main", "run"]

_LONGEST_STEP_S = 60.0
_logger = log.get_logger()


class Service(Protocol):
    """What the loop asks of a service."""

    @property
    def name(self) -> str: ...

    def step(self) -> bool:
        """One unit of work, seconds at the most; whether there was any. Unavailable means: try again."""
        ...

    def is_ready(self) -> dict[str, str | None]:
        """Each thing it depends on: None if that is fine, else the problem. Thread-safe, must not block."""
        ...

    def close(self) -> None:
        """Let go of everything; blocks a few seconds at the most."""
        ...


@runtime_checkable
class Waking(Protocol):
    """A service whose loop other threads may wake, when something arrived."""

    bell: Bell


@runtime_checkable
class Counting(Protocol):
    """A service that counts; the names are built with `health.series`."""

    def counters(self) -> Mapping[str, float]: ...


def run(service: Service, *, stop: Stop, poll_s: float) -> None:
    """Step until `stop` is set; blocks. The caller closes the service. Raises ConfigError only."""
    Loop(service, stop=stop, poll_s=poll_s).run()


def _nothing() -> None:
    return None


class Loop:
    """The steps of one service and the pauses between them. `errors` counts steps that broke."""

    def __init__(
        self,
        service: Service,
        *,
        stop: Stop,
        poll_s: float,
        after_step: Callable[[], None] = _nothing,
        rng: random.Random | None = None,
    ) -> None:
        self.errors = 0
        self._service = service
        self._stop = stop
        self._poll_s = poll_s
        self._after_step = after_step
        self._backoff = Backoff(rng or random.Random())
        self._trouble: str | None = None
        self._last_turn_s = time.monotonic()
        self._bell = service.bell if isinstance(service, Waking) else Bell()
        stop.also_ring(self._bell)

    def run(self) -> None:
        """Turn until stopped."""
        while not self._stop.is_set():
            self.turn()

    def turn(self) -> None:
        """One step and the pause after it. Raises ConfigError: no retry would help."""
        try:
            worked = self._service.step()
        except ConfigError:
            raise
        except Unavailable as error:
            self._unavailable(error)
        except Exception as error:  # noqa: BLE001 - the outermost step: it records and goes on
            self._broken(error)
        else:
            self._went_well(worked=worked)
        self._last_turn_s = time.monotonic()

    def trouble(self) -> str | None:
        """Why the loop makes no progress, or None. Thread-safe."""
        silent_s = time.monotonic() - self._last_turn_s
        if silent_s > _LONGEST_STEP_S:
            return f"no step has ended for {silent_s:.0f} s"
        return self._trouble

    def _went_well(self, *, worked: bool) -> None:
        if self._trouble is not None:
            _logger.info("service.recovered", failures=self._backoff.failures)
            self._trouble = None
        self._backoff.reset()
        self._after_step()
        if not worked:
            self._bell.wait(self._poll_s)

    def _unavailable(self, error: Unavailable) -> None:
        if self._is_new(str(error)):
            _logger.warning("service.unavailable", error=str(error))
        self._back_off()

    def _broken(self, error: Exception) -> None:
        self.errors += 1
        text = f"{type(error).__name__}: {error}"
        is_new = self._is_new(text)
        _logger.error("service.step_failed", error=text, errors=self.errors, exc_info=is_new)
        self._back_off()

    def _is_new(self, trouble: str) -> bool:
        is_new, self._trouble = trouble != self._trouble, trouble
        return is_new

    def _back_off(self) -> None:
        # Not the bell: what arrives meanwhile must not turn the pause into a busy loop.
        self._last_turn_s = time.monotonic()
        self._stop.wait(self._backoff.next_s())


def main(name: str, build: Callable[[Settings], Service], settings: Settings) -> int:
    """Run one service as this process; returns the exit code: 0 after SIGTERM or SIGINT, 78 if misconfigured.

    `build` is called again while it raises Unavailable. Main thread only; blocks until the end.
    """
    log.configure(settings.log_level, settings.log_format, name)
    crash.arm(settings.crash_point)
    stop = Stop()
    with stop_on_signals(stop):
        try:
            _Process(name, settings, stop).run(build)
        except ConfigError as error:
            return report(error)
    return 0


class _Process:
    """One service, its loop and its health server."""

    def __init__(self, name: str, settings: Settings, stop: Stop) -> None:
        self._name = name
        self._settings = settings
        self._stop = stop
        self._service: Service | None = None
        self._loop: Loop | None = None
        self._is_announced = False

    def run(self, build: Callable[[Settings], Service]) -> None:
        health = self._open_health()
        try:
            service = self._built(build)
            if service:
                self._serve(service)
        finally:
            if health:
                health.close()

    def _built(self, build: Callable[[Settings], Service]) -> Service | None:
        backoff = Backoff(random.Random())
        while not self._stop.is_set():
            try:
                return build(self._settings)
            except Unavailable as error:
                if not backoff.failures:
                    _logger.warning("service.unavailable", error=str(error))
                self._stop.wait(backoff.next_s())
        return None

    def _serve(self, service: Service) -> None:
        try:
            # Not before: a wrong setting found while building must be the only line.
            for notice in self._settings.notices:
                _logger.warning("config.notice", notice=notice)
            poll_s = self._settings.poll_s
            self._loop = Loop(service, stop=self._stop, poll_s=poll_s, after_step=self._announce)
            self._service = service
            self._loop.run()
            _logger.info("service.stopping", reason=self._stop.reason)
        finally:
            service.close()

    def _announce(self) -> None:
        if not self._is_announced and self._service and not any(self._service.is_ready().values()):
            self._is_announced = True
            print(f"ready {self._name}", file=sys.stderr, flush=True)

    def _open_health(self) -> HealthServer | None:
        port = self._settings.health_port
        if port is None:
            return None
        host = self._settings.listen_interface or "127.0.0.1"
        return HealthServer(host, port, checks=self._checks, counters=self._counters)

    def _checks(self) -> Mapping[str, str | None]:
        if not self._service or not self._loop:
            return {self._name: "still starting"}
        return {**self._service.is_ready(), "loop": self._loop.trouble()}

    def _counters(self) -> Mapping[str, float]:
        if not self._service or not self._loop:
            return {}
        own = self._service.counters() if isinstance(self._service, Counting) else {}
        return {**own, series("cronq_step_errors_total", service=self._name): self._loop.errors}

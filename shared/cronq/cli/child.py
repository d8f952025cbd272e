"""Services as child processes of `cronq up`: started, restarted, and gone with their parent."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import click
import structlog

from cronq.runtime.backoff import Backoff

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
STOP_WITHIN_S = 15.0


class Child:
    """One service as a process of its own; `watch` starts it again when it ended."""

    def __init__(self, args: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = args[0]
        self._command = [sys.executable, "-m", "cronq.cli", "child", str(os.getpid()), *args]
        self._environ = dict(environ)
        self._backoff = Backoff(random.Random())
        self._again_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, now: float) -> None:
        """Start it if it does not run and its pause is over; `now` is monotonic seconds.

        Raises ChildRefused where it ended with a configuration error: no restart would help.
        """
        if self._process is None:
            if now >= self._again_at:
                self._process = subprocess.Popen(self._command, env=self._environ, start_new_session=True)
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        if code == os.EX_CONFIG:
            raise ChildRefused(self.name)
        self._again_at = now + self._backoff.next_s()
        log.warning("child.ended", service=self.name, code=code)

    def stop(self) -> None:
        """Ask it to end; does not wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def join(self, deadline: float) -> None:
        """Wait for its end until a monotonic deadline, then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ChildRefused(Exception):
    """A child said that its configuration is wrong; it has printed why."""


def stop_all(children: Sequence[Child]) -> None:
    """End them all; blocks up to STOP_WITHIN_S."""
    for child in children:
        child.stop()
    deadline = time.monotonic() + STOP_WITHIN_S
    for child in children:
        child.join(deadline)


@click.command("child", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("parent", type=int)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def child_command(parent: int, args: tuple[str, ...]) -> object:
    """Run a service that ends with its parent, however that ends."""
    from cronq.cli.services import run_service

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 0
    name, *rest = args
    return run_service(name).main(rest, prog_name=f"cronq {name}", standalone_mode=False)

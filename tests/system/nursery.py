"""Services as forks of one process that has imported them all: a start costs tenths of a second, not two.

From the fork on they are what `cronq …` is: a process of its own with its own environment, killed for real.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from tests.stack import DEADLINE_S, Process, Stack

_PR_SET_PDEATHSIG = 1
_IMPORTED = (
    "pytest",  # what the children of its process want
    __name__,
    "cronq.cli",
    "cronq.injector",
    "cronq.results",
    "cronq.runner",
    "cronq.web",
    "gunicorn.workers.gthread",
    "sqlalchemy.dialects.mysql.pymysql",
)


class ForkedStack(Stack):
    """A stack whose processes come from the nursery; its web's workers are not found by their mark."""

    def command(self, *args: str, name: str, env: Mapping[str, str]) -> Process:
        process = _Forked(name, args, env, self.folder / f"{name}.log")
        self.processes.append(process)
        return process


class _Forked(Process):
    """A `Process` in all that a test can see."""

    _child: ForkServerProcess | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        assert self._child.pid is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.is_alive()

    def start(self) -> Process:
        self.log.touch()
        self._log_from = self.log.stat().st_size
        self._child = _context().Process(target=_serve, args=(list(self._command), self._env, self.log))
        self._child.start()
        return self

    def exit_code(self, within_s: float = DEADLINE_S) -> int:
        assert self._child is not None
        self._child.join(within_s)
        code = self._child.exitcode
        assert code is not None, f"{self.name} goes on for {within_s:g} s"
        return code


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _serve(args: list[str], env: dict[str, str], log: Path) -> None:
    """The child: become `cronq <args>`, and die with the nursery whatever happens."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(env)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv = ["cronq", *args]
    from cronq.cli import cronq, main  # noqa: PLC0415 - the test's own process has no need of it

    main(cronq, args=args, prog_name="cronq")

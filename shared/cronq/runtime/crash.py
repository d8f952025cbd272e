"""Crash points: named places where a process can be made to kill itself, so that a test finds each window.

CRONQ_CRASH_POINT=<name> arms one of them, <name>:3 for the third time that it is reached. The keeper,
which imports nothing of ours, does the same in `cronq.runner.keeper.crash`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from cronq.runtime import log

_logger = log.get_logger()

# What is at stake where the process dies. A name begins with the service that reaches it.
POINTS: Mapping[str, str] = {
    "injector.expand.claimed": "due jobs are locked and nothing is written: the locks must go",
    "injector.expand.half": "runs are inserted, and `next_run` has not moved past them",
    "injector.expand.uncommitted": "runs are inserted, `next_run` has moved, no commit: all or nothing",
    "injector.expand.committed": "runs are there and leased, and nobody has rung for them",
    "injector.publish.sent": "the broker has the doorbells and no row says so: they come twice",
    "injector.publish.uncommitted": "the mark is written and not committed",
    "injector.publish.marked": "everything is done: nothing may be done again",
    "injector.gate.freed": "runs are back in line, and nobody has judged them",
    "injector.follow.uncommitted": "what ends of runs start is inserted, no commit: the ends still count",
    "injector.follow.committed": "ends of runs have started others, and are forgotten: no second time",
    "injector.release.uncommitted": "waiting runs are let out, no commit: they still wait",
    "injector.release.committed": "waiting runs were let out, and nobody has rung for them",
    "injector.republish.leased": "unclaimed runs are leased for another doorbell that never comes",
    "injector.reap.lost": "a silent runner's runs are lost, no commit: no loss without its alert",
    "injector.reap.asked": "the question is noted and was never sent: silence must not be its answer",
    "results.claim.taken": "claims are taken from the queue, and nothing is granted",
    "results.claim.uncommitted": "runs are claimed, no commit: nobody may start them",
    "results.claim.committed": "runs are granted, and the runner doesn't know",
    "results.claim.replied": "the runner knows, and its claims are queued still: granted again, to it only",
    "results.events.taken": "events of runs are taken from the queue, and nothing is applied",
    "results.events.uncommitted": "runs have moved, no commit: the events must come again",
    "results.events.committed": "events are applied, and in the queue still: a second time changes nothing",
    "results.poison.found": "a message that can't be applied is neither applied nor set aside",
    "results.poison.buried": "it is in `cronq_dead`, and in its own queue still",
    "results.letter.taken": "a dead letter is taken from `cronq_dead`, and nowhere else",
    "results.letter.kept": "a dead letter is in the table, and in `cronq_dead` still: one row",
    "runner.delivery.taken": "a doorbell was heard and not answered: it must ring for another",
    "runner.claim.sent": "the grant will find nobody",
    "runner.grant.received": "the permission is ours, and nothing of it is on the disk: not started",
    "runner.start.ordered": "the keeper has the order or not: one start, or the proof that there was none",
    "runner.start.recorded": "the keeper has its record, and the doorbell is not acked",
    "runner.delivery.acked": "the doorbell is gone, the process runs, and nobody was told",
    "runner.start.told": "the run is known to run, and loses its runner",
    "runner.output.received": "the keeper has told output that nobody else has",
    "runner.output.told": "the broker has output that the keeper still keeps: told twice, stored once",
    "runner.finish.received": "the end is known to the keeper alone",
    "runner.finish.told": "the broker has the end, and the keeper will tell it again",
    "runner.finish.reported": "the keeper may forget: nothing may be told again",
    "runner.boot.connected": "the successor has found the keeper, and told nobody",
    "runner.boot.told": "its boot report is out: what it adopted must not be lost",
    "keeper.start.ordered": "an order without a record: proof that it was not started",
    "keeper.start.recorded": "a record without a process: nobody can know, so lost",
    "keeper.start.forked": "a process without its `started`: found by its fence, and ended",
    "keeper.start.written": "the process runs, its record is written, nobody was told: ended, and lost",
    "keeper.finish.reaped": "the exit code was read, and is nowhere else",
    "keeper.finish.recorded": "the end is in the journal, and nobody was told",
    "keeper.finish.told": "the end is with the broker, and the journal will have it told again",
    "web.put.half": "some jobs of a category are written and others are not: all or nothing",
    "web.put.uncommitted": "all statements of a PUT ran, no commit: as if it never came",
    "web.put.committed": "the category is replaced, and the client doesn't know: asking again is safe",
}

_TEXT = re.compile(r"([a-z.]+)(?::([1-9][0-9]{0,5}))?")


@dataclass(frozen=True)
class Target:
    """Where to die: at the `nth` time that `point` is reached in this process, from 1."""

    point: str
    nth: int = 1

    def __str__(self) -> str:
        return self.point if self.nth == 1 else f"{self.point}:{self.nth}"


def parse(text: str) -> Target:
    """`name` or `name:n`. Raises ValueError, in words that follow the value."""
    match = _TEXT.fullmatch(text)
    point = match[1] if match else text.partition(":")[0]
    if point not in POINTS:
        nearest = difflib.get_close_matches(point, POINTS, n=1)
        raise ValueError(f"is no crash point{f'; did you mean {nearest[0]}?' if nearest else ''}")
    if match is None:
        raise ValueError("does not end in a number from 1 to 999999")
    return Target(point, int(match[2] or 1))


# What was handed to other threads before the point, an ack above all, goes out: else a step that comes too
# early would look as if it had not come at all.
PAUSE_S = 0.1

_target: Target | None = None
_count: Iterator[int] = itertools.count(1)  # its next() can't be interrupted by another thread's


def arm(target: Target | None) -> None:
    """Die at this point from now on, and warn of it; None: at none. Nothing has been reached yet."""
    global _target, _count
    _target, _count = target, itertools.count(1)
    if target is not None:
        _logger.warning("crash.armed", point=str(target), warning="this process will kill itself")


def reach(point: str) -> None:
    """Kill this process if it is to die here: SIGKILL, so that nothing more is done or said."""
    if _target is None:
        return
    if point == _target.point and next(_count) == _target.nth:
        die(point)


def die(point: str) -> NoReturn:
    """Leave word on stderr and end by SIGKILL, PAUSE_S later."""
    time.sleep(PAUSE_S)
    os.write(2, f"crash point {point}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")

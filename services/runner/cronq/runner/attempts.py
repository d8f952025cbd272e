"""The attempts that this runner's keeper has: started, adopted, told of, and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from cronq.bus.messages import Grant
from cronq.domain.errors import Unavailable
from cronq.domain.event import EventType, OutputChunk, RunEvent
from cronq.domain.ids import made_at
from cronq.domain.run import Owner
from cronq.runner import journal
from cronq.runner.claiming import Key
from cronq.runner.folder import Folder
from cronq.runner.keeper_client import (
    Duplicate,
    Finished,
    Interrupted,
    Keeper,
    KeeperLost,
    LaunchFailed,
    NotStarted,
    Output,
    Started,
    StartOrder,
)
from cronq.runner.keeper_events import instant
from cronq.runner.outbox import Outbox
from cronq.runtime import crash
from cronq.runtime.clock import utc_now

log = structlog.get_logger()

SHELL = ("/bin/sh", "-c")
DEFAULT_GRACE_S = 10.0
# A run made this long after the journal's beginning has all its attempts in it, skewed clocks included.
SKEW = timedelta(minutes=5)


@dataclass
class Live:
    """An attempt that runs, or is about to. `job_id` is 0 for one that an earlier process began."""

    job_id: int = 0
    grace_s: float = DEFAULT_GRACE_S


@dataclass(frozen=True)
class Known:
    """What the journal proves at boot."""

    keys: tuple[Key, ...]
    is_complete: bool
    since: datetime | None


class Attempts:
    """For one thread, but for the keeper's news, which its own thread hands to `tell`."""

    def __init__(
        self,
        folder: Folder,
        owner: Owner,
        *,
        host: str,
        environ: Mapping[str, str],
        outbox: Outbox,
        tell: Callable[[object], None],
    ) -> None:
        self._folder = folder
        self._owner = owner
        self._host = host
        self._environ = dict(environ)
        self._outbox = outbox
        self._tell = tell
        self._live: dict[Key, Live] = {}
        self._connected: Keeper | None = None
        self._is_lost = False

    # -- the keeper

    def connect(self) -> None:
        """Find this folder's keeper, or start one, and adopt what it has; blocks some seconds.

        Raises Unavailable when it does not answer.
        """
        if self._connected is not None:
            self._connected.close()
        self._connected = Keeper.connect_or_spawn(self._folder, on_event=self._tell)
        self._is_lost = False
        begun = self._live
        self._live = {}
        for key, event in self._connected.known.items():
            if isinstance(event, Started):
                self._live[key] = begun.get(key, Live())
                if key not in begun:
                    log.info("run.adopted", run_id=key[0], attempt=key[1])
        for key in begun.keys() - self._connected.known.keys():
            # The order to start it was lost with the keeper, or it has ended and been told.
            self._live[key] = begun[key]
            self.decline(key)

    def mend(self) -> None:
        """Connect again if the keeper was lost; blocks and raises as `connect`."""
        if self._is_lost:
            self.connect()

    def _order(self, give: Callable[[Keeper], None]) -> None:
        """Give an order to the keeper there is now. One that is gone can't be told, nor needs it be: its
        loss is news of its own, and the next connection settles what was under way."""
        assert self._connected is not None
        try:
            give(self._connected)
        except Unavailable as error:
            log.warning("keeper.deaf", error=str(error))

    def known(self) -> Known:
        """All attempts with a trace, reported ones too: their reports may still be on their way."""
        found = journal.read(self._folder.path)
        since = instant(found.since) if found.since else None
        return Known(tuple(found.known), found.is_complete, since)

    def close(self) -> None:
        """Leave the keeper to its processes; without any it ends."""
        if self._connected is not None:
            self._order(lambda keeper: keeper.quit_when_idle())
            self._connected.close()

    # -- what there is

    def is_live(self, key: Key) -> bool:
        return key in self._live

    def live_keys(self) -> list[Key]:
        return list(self._live)

    def live_count(self) -> int:
        return len(self._live)

    def longest_grace(self) -> float:
        return max((live.grace_s for live in self._live.values()), default=0.0)

    # -- orders

    def start(self, grant: Grant, job_id: int) -> None:
        """Have a granted attempt started. It is live from now on; news tell whether it came to that."""
        key = (grant.run_id, grant.attempt)
        self._live[key] = Live(job_id, grant.kill_grace_s)
        order = StartOrder(
            run_id=grant.run_id,
            attempt=grant.attempt,
            argv=(*SHELL, grant.command),
            env=grant.env,
            base_env=self._environ,
            timeout_s=grant.timeout_s,
            kill_grace_s=grant.kill_grace_s,
        )
        self._order(lambda keeper: keeper.start(order))

    def decline(self, key: Key) -> None:
        """See to it that this attempt never starts here; news tell whether it already had."""
        reason = "the runner gave the permission back"
        self._order(lambda keeper: keeper.tombstone(*key, reason=reason))

    def kill(self, key: Key, grace_s: float | None = None) -> None:
        """TERM to the process group, and KILL after the grace."""
        grace = self._live[key].grace_s if grace_s is None else grace_s
        self._order(lambda keeper: keeper.kill(*key, why="cancelled", grace_s=grace))

    def kill_all(self, grace_s: float | None = None) -> int:
        """Kill whatever lives; returns how many."""
        for key in self._live:
            self.kill(key, grace_s)
        return len(self._live)

    def report(self, key: Key) -> None:
        """Tell again what became of an attempt: somebody lost it, perhaps with the broker's data."""
        if self.is_live(key):
            return  # the next heartbeat says so
        entry = journal.read(self._folder.path).known.get(key)
        if entry is not None:
            self._tell_again(key, entry)
        elif self._would_be_known(key):
            self.decline(key)

    def _would_be_known(self, key: Key) -> bool:
        """Whether the lack of a trace is proof: the journal reaches back to before the run was made."""
        known = self.known()
        if known.is_complete:
            return True
        return known.since is not None and made_at(key[0]) > known.since + SKEW

    def _tell_again(self, key: Key, entry: journal.Entry) -> None:
        facts = entry.facts
        at = instant(facts["at"])
        if entry.state == "finished":
            self._put(
                EventType.FINISHED,
                key,
                finished_at=at,
                return_code=facts["return_code"],
                signal=facts["signal"],
                run_time_s=facts["duration_s"],
                why=facts["why"],
            )
        elif entry.state == "launch_failed":
            self._put(EventType.FAILED, key, finished_at=at, reason=facts["reason"])
        elif entry.state == "interrupted":
            self._put(EventType.INTERRUPTED, key)
        elif entry.state == "not_started":
            self._put(EventType.NOT_STARTED, key, reason=facts["reason"])

    # -- news

    def on_news(self, item: object) -> Key | None:
        """Pass a piece of the keeper's news on; returns the attempt that now has its trace, if any."""
        if isinstance(item, Output):
            self._on_output(item)
            return None
        if isinstance(item, KeeperLost):
            log.error("keeper.lost", reason=item.reason)
            self._is_lost = True
            return None
        if isinstance(item, Duplicate):
            self._on_duplicate(item)
        elif isinstance(item, Started):
            log.info("run.started", run_id=item.run_id, attempt=item.attempt, pid=item.pid)
            told = partial(crash.reach, "runner.start.told")
            self._put(EventType.STARTING, item.key, told, started_at=item.started_at, pid=item.pid)
        elif isinstance(item, Finished):
            self._on_finished(item)
        elif isinstance(item, LaunchFailed):
            self._end(item.key, EventType.FAILED, finished_at=item.failed_at, reason=item.reason)
        elif isinstance(item, NotStarted):
            self._end(item.key, EventType.NOT_STARTED, reason=item.reason)
        elif isinstance(item, Interrupted):
            self._end(item.key, EventType.INTERRUPTED)
        else:
            return None
        return item.key

    def _on_output(self, item: Output) -> None:
        crash.reach("runner.output.received")
        chunk = OutputChunk(item.run_id, item.attempt, self._owner.lineage, item.offset, item.data)
        upto = item.offset + len(item.data)
        self._outbox.put(chunk, partial(self._free_output, item.key, upto))

    def _free_output(self, key: Key, upto: int) -> None:
        crash.reach("runner.output.told")
        self._order(lambda keeper: keeper.ack_output(*key, upto))

    def _on_finished(self, item: Finished) -> None:
        crash.reach("runner.finish.received")
        log.info("run.finished", run_id=item.run_id, attempt=item.attempt, return_code=item.return_code)
        self._end(
            item.key,
            EventType.FINISHED,
            finished_at=item.finished_at,
            return_code=item.return_code,
            signal=item.signal,
            run_time_s=item.duration_s,
            why=item.why,
        )

    def _on_duplicate(self, item: Duplicate) -> None:
        """What was asked for is refused: the attempt's own news tell the rest, unless all is told."""
        log.warning("run.duplicate", run_id=item.run_id, attempt=item.attempt, state=item.state)
        if item.state != "live":
            self._live.pop(item.key, None)

    def _end(self, key: Key, kind: EventType, **facts: object) -> None:
        """Tell an end; the keeper forgets it once the broker has it."""
        self._put(kind, key, partial(self._forget, key), **facts)
        self._live.pop(key, None)

    def _forget(self, key: Key) -> None:
        crash.reach("runner.finish.told")
        self._order(lambda keeper: keeper.reported(*key))
        crash.reach("runner.finish.reported")

    def _put(
        self, kind: EventType, key: Key, done: Callable[[], None] | None = None, **facts: object
    ) -> None:
        live = self._live.get(key)
        event = RunEvent(
            type=kind,
            run_id=key[0],
            job_id=live.job_id if live else 0,
            at=utc_now(),
            attempt=key[1],
            runner=self._owner.runner,
            lineage=self._owner.lineage,
            instance=self._owner.instance,
            host=self._host,
            **facts,  # type: ignore[arg-type]  # the callers name RunEvent's own fields
        )
        self._outbox.put(event, done)

"""What the keeper does: obeys the latest runner that said hello, and records before it tells."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from itertools import zip_longest

from cronq.runner.journal import key_of
from cronq.runner.keeper import crash, processes, saved
from cronq.runner.keeper.attempt import Attempt, Story
from cronq.runner.keeper.launch import Launch, Launchers
from cronq.runner.keeper.link import Link
from cronq.runner.keeper.output import Output
from cronq.runner.keeper.spawn import entries
from cronq.runner.keeper.teller import Teller
from cronq.runner.keeper.wire import VERSION, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cronq.runner.journal import Key
    from cronq.runner.keeper.loop import Loop, Timer
    from cronq.runner.keeper.spawn import Environment
    from cronq.runner.keeper.wire import Message
    from cronq.runner.keeper.writer import Writer

STEPS_PER_TURN = 8
REQUIRED = {"argv", "env", "output_limit", "timeout_s", "kill_grace_s"}
ERROR_PAUSE_S = 0.1
SAVE_AGAIN_S = 30.0
ACCEPT_AGAIN_S = 1.0


class Keeper:
    """The attempts of one runner's folder, and who may command them."""

    def __init__(
        self, folder: str, journal: Writer, loop: Loop, listener: socket.socket, *, orphan_idle_s: float
    ) -> None:
        """It leaves when nothing runs and, for `orphan_idle_s`, no runner is connected."""
        self._folder = folder
        self._journal = journal
        self._loop = loop
        self._listener = listener
        self._orphan_idle_s = orphan_idle_s
        self._teller = Teller()
        self._census = processes.Census()
        self._launchers = Launchers(loop, self._on_launched)
        self._links: list[Link] = []
        self._live = 0
        self._orders: dict[Key, Message] = {}
        self._base_env: Environment = {}
        self._is_told_to_quit = False
        self._is_leaving = False
        self._leave: Timer | None = None
        self._journal_trouble = ""
        self._commands = {
            "base_env": self._set_base_env,
            "start": self._start,
            "kill": self._kill,
            "ack_output": self._ack_output,
            "reported": self._reported,
            "tombstone": self._tombstone,
            "quit_when_idle": self._quit_when_idle,
        }
        self._listen()

    def remember(self, key: Key, line: bytes) -> None:
        """Take over an attempt that ended under an earlier keeper and is still to be reported."""
        story = Story(key, saved.load(self._folder, key), line)
        story.is_saved = True
        self._teller.news(story)

    def run(self) -> None:
        """Work until there is nothing left to keep."""
        is_done = False
        while not self._is_leaving:
            try:
                self._turn(block=is_done and not self._teller.has_more)
                is_done = True
            except Exception:  # noqa: BLE001 whatever it is, the processes must not lose their keeper
                log(traceback.format_exc())
                time.sleep(ERROR_PAUSE_S)
                is_done = False

    def _turn(self, *, block: bool) -> None:
        """One round: wait for something to do, if asked to, and do it.

        What gets ready meanwhile is done too, so that the journal and the runner get it in one piece.
        """
        for number in range(STEPS_PER_TURN):
            was_ready = self._loop.step(block=block and number == 0)
            for link in self._links[:]:
                self._obey(link)
            if not was_ready:
                break
        self._launch_noted()
        self._teller.pump()
        self._write_journal()
        if self._teller.link is not None:
            self._teller.link.flush()
        self._consider_leaving()

    # Who commands

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log(f"no connection can be accepted for {ACCEPT_AGAIN_S:g} s: {error}")
            self._loop.unwatch(self._listener.fileno())
            self._loop.after(ACCEPT_AGAIN_S, self._listen)
        else:
            self._links.append(Link(self._loop, sock, self._on_lost))

    def _on_lost(self, link: Link) -> None:
        self._obey(link)
        self._drop(link)

    def _drop(self, link: Link) -> None:
        link.close()
        self._links.remove(link)
        if self._teller.link is link:
            self._teller.detach()

    def _obey(self, link: Link) -> None:
        while link.inbox:
            message = link.inbox.popleft()
            try:
                self._carry_out(message, link)
            except (LookupError, TypeError, ValueError) as error:
                log(f"an order makes no sense: {error!r} in one of type {message.get('type')!r}")

    def _carry_out(self, message: Message, link: Link) -> None:
        if message["type"] == "hello":
            self._hello(link)
        elif link is self._teller.link and message["type"] in self._commands:
            self._commands[message["type"]](message)

    def _hello(self, link: Link) -> None:
        """Obey this runner from now on, and nothing that an earlier one sent and nobody looked at."""
        self._launch_noted()
        for other in self._links[:]:
            if other is not link:
                self._drop(other)
        self._is_told_to_quit = False
        known = [decode(story.line) for story in self._teller.stories.values()]
        reply = {"type": "hello", "v": VERSION, "pid": os.getpid(), "journal_since": self._journal.since}
        link.send({**reply, "known": known})
        self._teller.attach(link)

    # Commands

    def _set_base_env(self, message: Message) -> None:
        """What the environment of each later order adds to."""
        self._launch_noted()
        self._base_env = entries(message["env"])

    def _start(self, order: Message) -> None:
        """Note the order; it is carried out at the end of the turn, when it is in the journal."""
        key = key_of(order)
        if missing := REQUIRED - order.keys():
            raise KeyError(*missing)
        if key in self._orders:
            self._launch_noted()
        if self._journal.has_trace(key):
            self._say_duplicate(key)
        else:
            self._orders[key] = order

    def _launch_noted(self) -> None:
        if not self._orders:
            return
        crash.reach("keeper.start.ordered")
        orders, self._orders = self._orders, {}
        lines = self._journal.append_now([_record("go", key, at=time.time()) for key in orders])
        crash.reach("keeper.start.recorded")
        for (key, order), line in zip_longest(orders.items(), lines):
            if line is None:
                self._not_started(key, f"the runner's journal can't be written: {self._journal.trouble}")
            else:
                self._launch(key, order, line)

    def _launch(self, key: Key, order: Message, line: bytes) -> None:
        try:
            reading, writing = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            reason = f"no pipe for its output: {(error.strerror or '').lower()}"
            self._end(key, _record("launch_failed", key, at=time.time(), reason=reason))
            return
        os.set_blocking(reading, False)
        attempt = Attempt(
            key,
            line,
            reading,
            output_limit=order["output_limit"],
            loop=self._loop,
            census=self._census,
            wrote=self._teller.news,
            ended=self._on_ended,
        )
        self._live += 1
        self._teller.stories[key] = attempt
        self._launchers.submit(Launch(order, self._base_env, writing, attempt))

    def _on_launched(self, launch: Launch) -> None:
        attempt, order = launch.attempt, launch.order
        if launch.error:
            attempt.fail()
            self._live -= 1
            failed = _record("launch_failed", attempt.key, at=launch.at, reason=launch.error)
            attempt.line = self._journal.append(failed)
            self._teller.news(attempt)
            return
        crash.reach("keeper.start.forked")
        started = _record("started", attempt.key, pid=launch.pid, at=launch.at, ticks=launch.ticks)
        attempt.line = self._journal.append(started)
        self._teller.say(attempt.line)
        attempt.begin(launch.pid, launch.pidfd, launch.began)
        crash.reach("keeper.start.written", self._journal.flush)
        if order["timeout_s"] is not None:
            attempt.limit_time(order["timeout_s"], order["kill_grace_s"])

    def _on_ended(self, attempt: Attempt, end: Message) -> None:
        self._live -= 1
        crash.reach("keeper.finish.reaped")
        attempt.line = self._journal.append(_record("finished", attempt.key, **end))
        crash.reach("keeper.finish.recorded", self._journal.flush)
        self._teller.news(attempt)

    def _end(self, key: Key, record: Message) -> None:
        """An attempt that has no process ended."""
        self._teller.news(Story(key, Output(0), self._journal.append(record)))

    def _not_started(self, key: Key, reason: str) -> None:
        self._end(key, _record("not_started", key, at=time.time(), reason=reason))

    def _kill(self, order: Message) -> None:
        self._launch_noted()
        story = self._teller.stories.get(key_of(order))
        if isinstance(story, Attempt) and story.is_live:
            story.kill(order["why"], order["grace_s"])

    def _ack_output(self, ack: Message) -> None:
        story = self._teller.stories.get(key_of(ack))
        if story is not None:
            story.output.ack(ack["upto"])

    def _reported(self, order: Message) -> None:
        """The runner's report has arrived for good: forget all but the trace."""
        key = key_of(order)
        story = self._teller.stories.get(key)
        if story is not None and not story.is_live:
            crash.reach("keeper.finish.told")
            self._journal.append(_record("reported", key))
            self._teller.forget(key)
            if story.is_saved:
                saved.drop(self._folder, key)

    def _tombstone(self, order: Message) -> None:
        """See to it that this attempt never starts, or say what became of it."""
        self._launch_noted()
        key = key_of(order)
        if self._journal.has_trace(key):
            self._say_duplicate(key)
        else:
            self._not_started(key, order["reason"])

    def _say_duplicate(self, key: Key) -> None:
        story = self._teller.stories.get(key)
        state = "reported" if story is None else "live" if story.is_live else decode(story.line)["type"]
        self._teller.say(encode(_record("duplicate", key, state=state)))

    def _quit_when_idle(self, _: Message) -> None:
        self._is_told_to_quit = True

    # The journal, and the end

    def _write_journal(self) -> None:
        self._journal.flush()
        trouble = self._journal.trouble
        if trouble != self._journal_trouble:
            self._journal_trouble = trouble
            log(f"the journal can't be written: {trouble}" if trouble else "the journal can be written again")

    def _consider_leaving(self) -> None:
        if self._live or (self._teller.link is not None and not self._is_told_to_quit):
            self._loop.cancel(self._leave)
            self._leave = None
        elif self._leave is None:
            self._leave = self._loop.after(
                0 if self._is_told_to_quit else self._orphan_idle_s, self._try_to_leave
            )

    def _try_to_leave(self) -> None:
        """Leave if all that is unreported is on the disk, for the next keeper to tell."""
        self._leave = None
        if self._live or self._orders or any(link.inbox for link in self._links):
            return
        try:
            self._save()
            if not self._journal.flush():
                raise OSError(self._journal.trouble)
        except OSError as error:
            log(f"staying, since what is unreported can't be saved: {error}")
            self._leave = self._loop.after(SAVE_AGAIN_S, self._try_to_leave)
        else:
            self._is_leaving = True

    def _save(self) -> None:
        for key, story in self._teller.stories.items():
            if story.output.has_bytes:
                saved.save(self._folder, key, story.output)
                story.is_saved = True
            elif story.is_saved:
                saved.drop(self._folder, key)


def log(text: str) -> None:
    """A line for whoever looks into `keeper.log`; none when it can't be written."""
    with contextlib.suppress(OSError):
        os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n".encode())


def _record(kind: str, key: Key, **fields: object) -> Message:
    return {"type": kind, "run_id": key[0], "attempt": key[1], **fields}

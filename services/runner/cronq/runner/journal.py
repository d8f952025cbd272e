"""The record of every attempt that a runner's folder has seen, as append-only files of JSON lines.

Only the keeper writes it. `go` is on disk before the process is forked, so an attempt without a trace
was never started, if it was granted after the journal's `since`. An attempt has a line for each of:
`go`, then `started` or `launch_failed`, then `finished`, or `interrupted` when the keeper itself died;
or else only `not_started`. `reported` follows once the broker has confirmed the runner's report.

Files are `journal-<n>.log`, begun anew at a size and at each boot of the machine: what is still open or
unreported is carried over into the new one, and only the newest few are kept. A line that doesn't parse
was torn by a full disk or a crash, before anybody acted on it. Instants are seconds since the epoch.
"""

from __future__ import annotations

import os

from cronq.runner.keeper.wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cronq.runner.keeper.wire import Message

    Key = tuple[str, int]  # run_id, attempt

LIVE = ("go", "started")


class Entry:
    """What is known of one attempt.

    `state` is live, finished, launch_failed, interrupted or not_started; `line` is the latest one that
    tells of it, and `facts` are the fields of all, later ones over earlier ones.
    """

    __slots__ = ("facts", "line", "reported", "state")

    def __init__(self) -> None:
        self.state = "live"
        self.reported = False
        self.facts: Message = {}
        self.line = b""

    def add(self, record: Message) -> None:
        if record["type"] == "reported":
            self.reported = True
            return
        self.line = encode(record)
        self.facts |= record
        self.state = "live" if record["type"] in LIVE else record["type"]


class Journal:
    """All that the kept files tell: `known` attempts, and `since` when none that got a `go` is missing.

    `since` is 0 and `boot_id` empty when there is no journal yet. `is_complete`: none is missing at all.
    """

    def __init__(self) -> None:
        self.known: dict[Key, Entry] = {}
        self.since = 0.0
        self.boot_id = ""
        self.is_complete = True


def read(folder: str | os.PathLike[str]) -> Journal:
    """Read the journal of a runner's folder, also while the keeper writes it. Raises OSError."""
    while True:
        numbers = segments(folder)
        try:
            return _read(folder, numbers)
        except FileNotFoundError:
            continue  # the oldest file was dropped meanwhile


def _read(folder: str | os.PathLike[str], numbers: list[int]) -> Journal:
    journal = Journal()
    journal.is_complete = numbers[:1] in ([], [1])
    for number in numbers:
        for record in records(segment_path(folder, number)):
            if record["type"] == "segment":
                journal.since = journal.since or record["since"]
                journal.since = max(journal.since, record["since"]) if record["gap"] else journal.since
                # The very first file begins with a gap too, but nothing came before it.
                journal.is_complete = number == 1 or (journal.is_complete and not record["gap"])
                journal.boot_id = record["boot_id"]
            else:
                journal.known.setdefault(key_of(record), Entry()).add(record)
    return journal


def segments(folder: str | os.PathLike[str]) -> list[int]:
    """The numbers of the journal's files, oldest first."""
    names = (name for name in os.listdir(folder) if name.startswith("journal-") and name.endswith(".log"))
    return sorted(int(name[8:-4]) for name in names if name[8:-4].isdigit())


def segment_path(folder: str | os.PathLike[str], number: int) -> str:
    return os.path.join(folder, f"journal-{number}.log")


def key_of(message: Message) -> Key:
    return message["run_id"], message["attempt"]


def records(path: str) -> Iterator[Message]:
    """The sound records of one file, in order. Raises OSError."""
    with open(path, "rb") as lines:
        for line in lines:
            try:
                record = decode(line)
            except ValueError:
                continue
            if line.endswith(b"\n") and _is_sound(record):
                yield record


def _is_sound(record: Message) -> bool:
    names = {"boot_id", "since", "gap"} if record.get("type") == "segment" else {"type", "run_id", "attempt"}
    return record.keys() >= names

"""The keeper's hand in the journal: appends, begins new files, and knows which attempts have a trace."""

from __future__ import annotations

import os
import time

from cronq.runner.journal import Entry, key_of, records, segment_path, segments
from cronq.runner.keeper.wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cronq.runner.journal import Key
    from cronq.runner.keeper.wire import Message

SEGMENT_BYTES = 8 << 20
SEGMENTS_KEPT = 4


class Writer:
    """Appends to the journal, and knows which attempts have a trace in it. For one process only."""

    def __init__(
        self,
        folder: str,
        boot_id: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segments_kept: int = SEGMENTS_KEPT,
    ) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self.is_same_boot = False  # as the last record that was found
        self.trouble = ""
        self._segment_bytes = segment_bytes
        self._segments_kept = segments_kept
        self._traces: dict[int, set[int]] = {}  # by segment
        self._open: dict[Key, list[bytes]] = {}  # lines of what is not reported, to be carried over
        self._since: dict[int, float] = {}  # by segment
        self._pending = bytearray()
        self._fd = -1
        self._size = self._rotate_at = 0
        self._load()

    @property
    def since(self) -> float:
        """The instant from which on every attempt that got a `go` has a trace here."""
        return next(iter(self._since.values()))

    def has_trace(self, key: Key) -> bool:
        number = _compact(key)
        return any(number in traces for traces in self._traces.values())

    def unreported(self) -> dict[Key, Entry]:
        """The attempts that still matter: running, or ended and not reported."""
        entries = {key: Entry() for key in self._open}
        for key, lines in self._open.items():
            for line in lines:
                entries[key].add(decode(line))
        return entries

    def append(self, record: Message) -> bytes:
        """Note a record, to be written by the next `flush`; returns its line."""
        line = encode(record)
        self._remember(record, line)
        self._pending += line
        return line

    def append_now(self, records: list[Message]) -> list[bytes]:
        """Write records before going on. Returns the lines that are written: all, or else the first few,

        and then the others don't count.
        """
        if not self.flush():
            return []
        lines = [self.append(record) for record in records]
        if self.flush():
            return lines
        count = self._count_written(lines)
        self._withdraw(records[count:])
        return lines[:count]

    def flush(self) -> bool:
        """Write what is pending. When that fails, `trouble` says why and the rest waits for the next time."""
        try:
            self._write()
        except OSError as error:
            self.trouble = (error.strerror or str(error)).lower()
            return False
        self.trouble = ""
        return True

    def _write(self) -> None:
        while self._pending:
            written = os.write(self._fd, self._pending)
            del self._pending[:written]
            self._size += written
        if self._size > self._rotate_at:
            self._rotate()

    def _count_written(self, lines: list[bytes]) -> int:
        """How many of the lines, which were the last to come, are in the file, but perhaps for a newline."""
        missing, count = len(self._pending), len(lines)
        while missing > 1 and count:
            count -= 1
            missing -= len(lines[count])
        return count

    def _remember(self, record: Message, line: bytes) -> None:
        key = key_of(record)
        if record["type"] == "reported":
            self._open.pop(key, None)
        else:
            self._open.setdefault(key, []).append(line)
            self._traces[self._number].add(_compact(key))

    def _withdraw(self, records: list[Message]) -> None:
        """Take back the last records, of attempts that have no other."""
        for record in records:
            self._open.pop(key_of(record))
            self._traces[self._number].discard(_compact(key_of(record)))
        # A part of the first may be in the file: what comes next must begin a line of its own.
        self._pending[:] = b"\n"

    @property
    def _number(self) -> int:
        return next(reversed(self._traces))

    def _load(self) -> None:
        boot_id = ""
        for number in segments(self._folder):
            boot_id = self._load_segment(number) or boot_id
        self.is_same_boot = boot_id == self._boot_id
        if self.is_same_boot:
            self._resume()
        else:
            self._begin(gap=True)

    def _load_segment(self, number: int) -> str:
        self._traces[number] = set()
        boot_id = ""
        for record in records(segment_path(self._folder, number)):
            if record["type"] == "segment":
                boot_id = record["boot_id"]
                self._since = {} if record["gap"] else self._since
                self._since[number] = record["since"]
            else:
                self._remember(record, encode(record))
        return boot_id

    def _resume(self) -> None:
        path = segment_path(self._folder, self._number)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND)
        self._size = os.fstat(self._fd).st_size
        self._rotate_at = self._segment_bytes
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._pending += b"\n"

    def _rotate(self) -> None:
        try:
            self._begin(gap=False)
        except OSError:
            # The present file still takes records: try again when it has grown by another part.
            self._rotate_at = self._size + self._segment_bytes // 8

    def _begin(self, *, gap: bool) -> None:
        """Start the next file with what is carried over, complete before it gets its name."""
        number, since = (self._number + 1 if self._traces else 1), time.time()
        header = encode({"type": "segment", "boot_id": self._boot_id, "since": since, "gap": gap})
        content = header + b"".join(line for lines in self._open.values() for line in lines)
        fd = _write_new(segment_path(self._folder, number), content)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, len(content)
        self._rotate_at = max(self._segment_bytes, 2 * len(content))
        self._traces[number] = {_compact(key) for key in self._open}
        self._since = {number: since} if gap else {**self._since, number: since}
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        for number in list(self._traces)[: -self._segments_kept]:
            os.unlink(segment_path(self._folder, number))
            del self._traces[number]
            self._since.pop(number, None)


def _compact(key: Key) -> int:
    """A key in 48 bytes: tens of thousands are remembered."""
    return int(key[0], 16) << 16 | key[1]


def _write_new(path: str, content: bytes) -> int:
    new = f"{path}.new"
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.rename(new, path)
    except OSError:
        os.close(fd)
        os.unlink(new)
        raise
    return fd

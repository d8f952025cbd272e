"""A run's output under a cap: the head as it comes, the last part at the end, the middle only counted."""

from __future__ import annotations

from cronq.runner.keeper.wire import decode, encode

PIECE_BYTES = 64 << 10


class Ring:
    """The last `size` bytes of what was put in."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = bytearray()
        self._at = 0  # where the oldest byte is, once full

    def put(self, data: bytes) -> None:
        if len(data) >= self._size:
            self._bytes[:] = data[len(data) - self._size :]
            self._at = 0
            return
        grown = min(len(data), self._size - len(self._bytes))
        self._bytes += data[:grown]
        self._overwrite(data[grown:])

    def take(self) -> bytes:
        """Everything, oldest byte first; the ring is empty then."""
        data = bytes(self._bytes[self._at :] + self._bytes[: self._at])
        self._bytes, self._at = bytearray(), 0
        return data

    def _overwrite(self, data: bytes) -> None:
        first = data[: self._size - self._at]
        self._bytes[self._at : self._at + len(first)] = first
        rest = data[len(first) :]
        self._bytes[: len(rest)] = rest
        self._at = (self._at + len(data)) % self._size


class Output:
    """The bytes of one run, by their offset in all it wrote; what the runner acked is freed.

    The first half of `limit` can be sent at once. Of what follows the last bytes are kept in the other
    half, and sent after `end()`: the jump in offsets is the dropped middle.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._head = bytearray()
        self._head_at = 0  # offset of the head's first byte that is still kept
        self._ring = Ring(limit - self._head_limit)
        self._tail = b""
        self._tail_at = 0
        self._sent_to = 0
        self.total = 0
        self.dropped = 0

    def append(self, data: bytes) -> None:
        room = self._head_limit - self.total
        self.total += len(data)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._ring.put(data)

    def end(self) -> None:
        """No more will be appended: the tail can be sent now."""
        self._tail = self._ring.take()
        self._tail_at = self.total - len(self._tail)
        self.dropped = self._tail_at - self._head_end

    def next_piece(self) -> tuple[int, bytes] | None:
        """The next bytes to send, with their offset; None when there are none now."""
        at = max(self._sent_to, self._head_at)
        if at < self._head_end:
            piece = bytes(self._head[at - self._head_at : at - self._head_at + PIECE_BYTES])
        else:
            at = max(at, self._tail_at)
            piece = self._tail[at - self._tail_at : at - self._tail_at + PIECE_BYTES]
        if not piece:
            return None
        self._sent_to = at + len(piece)
        return at, piece

    def rewind(self) -> None:
        """Send again, to the next runner, everything that is not acked."""
        self._sent_to = self._head_at

    def ack(self, upto: int) -> None:
        """The runner has every byte before the offset `upto`: they are freed."""
        freed = max(0, min(upto, self._head_end) - self._head_at)
        del self._head[:freed]
        self._head_at += freed
        freed = max(0, min(upto - self._tail_at, len(self._tail)))
        self._tail = self._tail[freed:]
        self._tail_at += freed

    @property
    def has_bytes(self) -> bool:
        """Whether any are kept that the runner hasn't acked."""
        return bool(self._head or self._tail)

    def dump(self) -> bytes:
        """An ended output as a file's content, for `load`."""
        sizes = {
            "total": self.total,
            "dropped": self.dropped,
            "head_at": self._head_at,
            "head": len(self._head),
            "tail": len(self._tail),
        }
        return encode(sizes) + self._head + self._tail

    @classmethod
    def load(cls, content: bytes) -> Output:
        """An ended output from what `dump` wrote. Raises ValueError or KeyError when it is torn."""
        line, _, data = content.partition(b"\n")
        sizes = decode(line)
        if len(data) != sizes["head"] + sizes["tail"]:
            raise ValueError(f"{len(data)} bytes of output saved, not {sizes['head'] + sizes['tail']}")
        output = cls(0)
        output.total, output.dropped = sizes["total"], sizes["dropped"]
        output._head, output._head_at = bytearray(data[: sizes["head"]]), sizes["head_at"]
        output._tail = data[sizes["head"] :]
        output._tail_at = output.total - len(output._tail)
        output.rewind()
        return output

    @property
    def _head_end(self) -> int:
        return self._head_at + len(self._head)

"""A run's output as one text: what is kept of it, and a line where something is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_BYTES = 2 * 1024 * 1024
_MOST_MARKER = 80


@dataclass(frozen=True)
class Output:
    """`next_offset` is where a reader goes on; `dropped` counts the bytes that are not in `body`."""

    body: bytes
    next_offset: int
    dropped: int

    @classmethod
    def of(cls, chunks: Sequence[tuple[int, bytes]], offset: int) -> Output:
        """From chunks (start, bytes) in order, at most 2 MiB with the lines that mark what was dropped."""
        parts: list[bytes] = []
        room, at, dropped = MOST_BYTES, offset, 0
        for start, data in chunks:
            if start > at:
                marker = f"\n… {start - at:,} bytes dropped …\n".encode()
                if room < _MOST_MARKER:
                    break
                parts.append(marker)
                room -= len(marker)
                dropped += start - at
                at = start
            taken = data[: max(0, room)]
            parts.append(taken)
            room -= len(taken)
            at += len(taken)
            if len(taken) < len(data):
                break
        return cls(b"".join(parts), at, dropped)

    def headers(self, *, has_ended: bool) -> dict[str, str]:
        """`X-Output-Ended` is about the run: until then there may be more at the next offset."""
        return {
            "X-Output-Next-Offset": str(self.next_offset),
            "X-Output-Dropped-Bytes": str(self.dropped),
            "X-Output-Ended": "true" if has_ended else "false",
        }

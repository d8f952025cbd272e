"""Frames between a runner and its keeper: a line of JSON, then as many raw bytes as its `size` says."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

Message = dict[str, "Any"]
VERSION = 1
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


def encode(message: Message) -> bytes:
    """One frame without raw bytes; the journal's lines have the same form."""
    return _to_json(message).encode("ascii") + b"\n"


def decode(line: bytes | bytearray) -> Message:
    """The message of one line; raises ValueError when it is torn or not an object."""
    message = _from_json(line.decode("ascii"))
    if not isinstance(message, dict):
        raise ValueError(f"not a JSON object: {line[:80]!r}")
    return message


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Message, bytes]]:
        """Yield each message that is complete by now, with its raw bytes. Raises ValueError for garbage."""
        self._buffer += data
        at = 0
        while (end := self._buffer.find(b"\n", at)) >= 0:
            message = decode(self._buffer[at:end])
            raw_end = end + 1 + int(message.get("size", 0))
            if len(self._buffer) < raw_end:
                break
            yield message, bytes(self._buffer[end + 1 : raw_end])
            at = raw_end
        del self._buffer[:at]

"""A run's kept output, rendered: whole, growing, its end, its last line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cronq import store
from cronq.domain.run import ENDED
from cronq.store import outcomes
from cronq.web.pages import ansi
from cronq.web.pages.humanize import size, visible

WHOLE_BYTES = 2_000_000
SHOWN_BYTES = 256_000
TAIL_BYTES = 8_000
LAST_LINE_LENGTH = 240
# Reading the end of a longer output only for one line of a list would cost more than it tells.
LAST_LINE_OF_AT_MOST = 500_000

_GAP = Markup('<span class="gap">… {} were dropped here …</span>\n')

Run = dict[str, Any]  # a row of the ledger
Chunk = tuple[int, bytes]


@dataclass(frozen=True)
class Piece:
    """A stretch of output: its HTML, where it begins, where the next one does and in what style."""

    html: Markup
    offset: int
    next_offset: int
    style: str


def first_piece(tx: store.Tx, run: Run, *, whole: bool) -> Piece:
    """What a page begins with: of a long output its end, unless the whole is asked for."""
    offset = max(0, run["output_bytes"] - WHOLE_BYTES) if _is_ended(run) and not whole else 0
    chunks = outcomes.output(tx, run["run_id"], run["attempt"], offset=offset, most=WHOLE_BYTES)
    if not _is_ended(run):
        chunks = list(_without_holes(chunks, 0))
    if not whole:
        chunks = _end_of(chunks, SHOWN_BYTES)
    begin = chunks[0][0] if chunks and not whole else 0
    return _rendered(chunks, begin, ansi.PLAIN, ended=_is_ended(run))


def next_piece(tx: store.Tx, run: Run, offset: int, style: str) -> Piece:
    """What follows from `offset` on. While the run lives it ends before a hole, which may still be filled."""
    chunks = outcomes.output(tx, run["run_id"], run["attempt"], offset=offset, most=SHOWN_BYTES)
    if not _is_ended(run):
        chunks = list(_without_holes(chunks, offset))
    return _rendered(chunks, offset, ansi.PLAIN.after(style), ended=_is_ended(run))


def _is_ended(run: Run) -> bool:
    return run["state"] in ENDED


def _without_holes(chunks: Iterable[Chunk], offset: int) -> Iterator[Chunk]:
    for start, data in chunks:
        if start != offset:
            return
        yield start, data
        offset += len(data)


def _end_of(chunks: Sequence[Chunk], most: int) -> list[Chunk]:
    """The last `most` bytes, beginning with a line."""
    kept: list[Chunk] = []
    for start, data in reversed(chunks):
        if len(data) > most:
            cut = data.find(b"\n", len(data) - most) + 1 or len(data) - most
            kept.append((start + cut, data[cut:]))
            break
        kept.append((start, data))
        most -= len(data)
    return kept[::-1]


def _rendered(chunks: Sequence[Chunk], offset: int, style: ansi.Style, *, ended: bool) -> Piece:
    parts: list[Markup] = []
    begin = offset
    for start, data in _joined(chunks):
        if start > offset:
            parts.append(_GAP.format(size(start - offset)))
            style = ansi.PLAIN
        length = len(data) if ended else ansi.finished_length(data)
        html, style = ansi.render(data[:length].decode(errors="replace"), style)
        parts.append(html)
        offset = start + length
    return Piece(Markup("").join(parts), begin, offset, style.code)


def _joined(chunks: Iterable[Chunk]) -> list[tuple[int, bytearray]]:
    """Neighbours become one: a character may lie across their border."""
    joined: list[tuple[int, bytearray]] = []
    for start, data in chunks:
        if joined and joined[-1][0] + len(joined[-1][1]) == start:
            joined[-1][1].extend(data)
        else:
            joined.append((start, bytearray(data)))
    return joined


def tail(tx: store.Tx, run: Run, lines: int) -> Markup:
    """The last lines, '' when there is no output."""
    return ansi.render("\n".join(_last_lines(tx, run, lines)))[0]


def last_line(tx: store.Tx, run: Run) -> str:
    """The last line with anything in it, in plain text; '' when there is none, or too much output."""
    if run["output_bytes"] > LAST_LINE_OF_AT_MOST:
        return ""
    for line in reversed(_last_lines(tx, run, lines=10)):
        text = visible(ansi.plain(line).replace("\t", " ").strip())
        if text:
            return text if len(text) <= LAST_LINE_LENGTH else text[:LAST_LINE_LENGTH] + "…"
    return ""


def _last_lines(tx: store.Tx, run: Run, lines: int) -> list[str]:
    if not run["output_bytes"]:
        return []
    offset = max(0, run["output_bytes"] - TAIL_BYTES)
    chunks = outcomes.output(tx, run["run_id"], run["attempt"], offset=offset)
    joined = _joined(chunks)
    text = joined[-1][1].decode(errors="replace") if joined else ""
    return text.rstrip("\r\n").split("\n")[-lines:]

"""A run's output under its cap: what comes through, at which offsets, before and after a restart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.runner.keeper.output import Output, Ring
from cronq.runner.keeper.wire import Decoder, encode

CHUNKS = st.lists(st.binary(max_size=40), max_size=30)


def drain(output: Output) -> list[tuple[int, bytes]]:
    pieces = []
    while (piece := output.next_piece()) is not None:
        pieces.append(piece)
    return pieces


def filled(limit: int, *chunks: bytes) -> Output:
    output = Output(limit)
    for chunk in chunks:
        output.append(chunk)
    return output


@given(size=st.integers(0, 50), chunks=CHUNKS)
def test_a_ring_keeps_the_last_bytes(size: int, chunks: list[bytes]) -> None:
    ring = Ring(size)
    for chunk in chunks:
        ring.put(chunk)

    everything = b"".join(chunks)
    assert ring.take() == everything[max(0, len(everything) - size) :]


@given(limit=st.integers(0, 200), chunks=CHUNKS)
def test_head_and_tail_come_at_their_offsets_and_the_rest_is_counted(limit: int, chunks: list[bytes]) -> None:
    output = filled(limit, *chunks)
    live = drain(output)
    output.end()
    pieces = live + drain(output)

    everything = b"".join(chunks)
    assert output.total == len(everything)
    assert sum(len(data) for _, data in pieces) == min(len(everything), limit)
    assert output.dropped == max(0, len(everything) - limit)
    assert all(everything[at : at + len(data)] == data for at, data in pieces)
    assert pieces == sorted(pieces)
    assert b"".join(data for _, data in live) == everything[: limit // 2]


@given(limit=st.integers(0, 200), chunks=CHUNKS, acked=st.integers(0, 1300))
def test_the_next_runner_gets_all_that_was_not_acked_also_from_a_file(
    limit: int, chunks: list[bytes], acked: int
) -> None:
    output = filled(limit, *chunks)
    drain(output)
    output.end()
    told = {at + i: byte for at, data in drain_again(output) for i, byte in enumerate(data)}
    output.ack(acked)

    output.rewind()
    again = {at + i: byte for at, data in drain(output) for i, byte in enumerate(data)}
    loaded = Output.load(output.dump())
    from_file = {at + i: byte for at, data in drain(loaded) for i, byte in enumerate(data)}

    assert again == from_file == {at: byte for at, byte in told.items() if at >= acked}
    assert (loaded.total, loaded.dropped) == (output.total, output.dropped)
    assert loaded.has_bytes == output.has_bytes == bool(again)


def drain_again(output: Output) -> list[tuple[int, bytes]]:
    output.rewind()
    return drain(output)


def test_acked_head_makes_no_room_for_more_head() -> None:
    output = filled(8, b"abcd")
    output.ack(4)
    output.append(b"efghijkl")
    output.end()

    assert drain(output) == [(8, b"ijkl")]
    assert output.dropped == 4


@pytest.mark.parametrize("cut", [0, 5, -1])
def test_a_torn_file_is_refused(cut: int) -> None:
    output = filled(8, b"abcdefghijkl")
    output.end()

    with pytest.raises((ValueError, KeyError)):
        Output.load(output.dump()[:cut])


@given(
    frames=st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=20)), max_size=8),
    cuts=st.lists(st.integers(1, 30), max_size=20),
)
def test_frames_come_out_whole_however_the_stream_is_cut(
    frames: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode({"type": kind, "size": len(raw)}) + raw for kind, raw in frames)
    decoder, found = Decoder(), []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        found += [(message["type"], raw) for message, raw in decoder.feed(piece)]

    assert found == frames


@pytest.mark.parametrize("garbage", [b"hello\n", b"[]\n", b"\xff\n", b"{\n"])
def test_a_stream_of_anything_else_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(Decoder().feed(garbage))

"""Output as one text."""

from __future__ import annotations

from cronq.web.api.output import MOST_BYTES, Output


def test_chunks_that_meet_are_one_text() -> None:
    output = Output.of([(0, b"abc"), (3, b"def")], 0)

    assert output == Output(b"abcdef", next_offset=6, dropped=0)


def test_a_gap_is_a_line_with_its_size() -> None:
    output = Output.of([(0, b"abc"), (10, b"xyz")], 0)

    assert output.body.decode() == "abc\n… 7 bytes dropped …\nxyz"
    assert (output.next_offset, output.dropped) == (13, 7)


def test_a_reader_whose_offset_fell_into_the_gap_is_told_the_rest_of_it() -> None:
    output = Output.of([(10, b"xyz")], 5)

    assert output.body.decode() == "\n… 5 bytes dropped …\nxyz"


def test_nothing_is_nothing_and_keeps_the_offset() -> None:
    assert Output.of([], 42) == Output(b"", next_offset=42, dropped=0)


def test_the_markers_count_towards_the_limit() -> None:
    output = Output.of([(0, b"a" * 1_000_000), (5_000_000, b"x" * 2_000_000)], 0)

    assert len(output.body) == MOST_BYTES
    assert output.next_offset == 5_000_000 + output.body.count(b"x")
    assert output.dropped == 4_000_000


def test_where_not_even_a_marker_fits_the_gap_is_left_for_the_next_portion() -> None:
    output = Output.of([(0, b"a" * MOST_BYTES), (MOST_BYTES + 100, b"b")], 0)

    assert (len(output.body), output.next_offset, output.dropped) == (MOST_BYTES, MOST_BYTES, 0)


def test_every_byte_is_read_when_portions_are_followed() -> None:
    chunks = [(0, b"z" * 3_000_000), (4_000_000, b"x" * 3_000_000)]
    offset, counted = 0, 0

    for _ in range(10):
        rest = [(max(start, offset), data[max(0, offset - start) :]) for start, data in chunks]
        output = Output.of([(start, data) for start, data in rest if data], offset)
        counted += output.body.count(b"x") + output.body.count(b"z")
        if output.next_offset == offset:
            break
        offset = output.next_offset

    assert counted == 6_000_000

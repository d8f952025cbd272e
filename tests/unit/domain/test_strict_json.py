"""Strict JSON: what is refused, and where the error says it stands."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.strict_json import loads, pointer, shown

MIB = 1024 * 1024
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
BAD_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1" * 31,
    pytest.param("9" * 5000, id="5000"),
]


def read(body: bytes, *, max_bytes: int = MIB, max_depth: int = 16) -> object:
    return loads(body, max_bytes=max_bytes, max_depth=max_depth)


def found_in(body: bytes, *, max_bytes: int = MIB, max_depth: int = 16) -> tuple[Problem, ...]:
    try:
        read(body, max_bytes=max_bytes, max_depth=max_depth)
    except InvalidInput as error:
        return error.problems
    return ()


def problems_of(body: bytes, *, max_bytes: int = MIB, max_depth: int = 16) -> tuple[Problem, ...]:
    problems = found_in(body, max_bytes=max_bytes, max_depth=max_depth)
    assert problems
    return problems


def only_problem_of(body: bytes) -> Problem:
    (problem,) = problems_of(body)
    return problem


@settings(max_examples=25, deadline=None)
@given(JSON_VALUES)
def test_valid_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    assert read(json.dumps(value).encode(), max_depth=100) == value
    assert read(json.dumps(value, ensure_ascii=False).encode(), max_depth=100) == value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}",:\\u0123456789eE.-dD \n', max_size=60).map(str.encode))
def test_any_bytes_are_refused_with_problems_or_read_as_the_standard_library_does(body: bytes) -> None:
    problems = found_in(body)
    assert all(problem.code and problem.message.isprintable() for problem in problems)
    assert problems or read(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "where", "expected"),
    [
        (b"", "line 1 column 1", "expected a value"),
        (b"hello", "line 1 column 1", "expected a value"),
        (b'{"jobs": [\n  1,\n    2 3]}', "line 3 column 7", "expected ','"),
        (b'{"jobs": []} trailing', "line 1 column 14", "expected the end of the document"),
        (b'{"jobs" []}', "line 1 column 9", "expected ':'"),
        (b"{'jobs': []}", "line 1 column 2", "expected a key in double quotes"),
        (b'{"jobs": "x', "line 1 column 10", "expected another double quote"),
        (b'"a\tb"', "line 1 column 3", "expected an escape"),
        (b'"\\x"', "line 1 column 2", "escape"),
    ],
)
def test_broken_json_is_refused_with_line_and_column(body: bytes, where: str, expected: str) -> None:
    problem = only_problem_of(body)
    assert (problem.code, problem.pointer) == ("invalid_json", "")
    assert problem.message.startswith(f"{where}: ")
    assert expected in problem.message


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\xfe\xff\x00{\x00}"])
def test_a_byte_order_mark_is_refused(body: bytes) -> None:
    problem = only_problem_of(body)
    assert problem.code == "invalid_json"
    assert "byte order mark" in problem.message


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"a": "\xff"}', "line 1 byte 8: the byte 0xff"),
        (b'{"a":\n "\xed\xa0\x80"}', "line 2 byte 3: the byte 0xed"),
        (b'["\xc0\xaf"]', "line 1 byte 3: the byte 0xc0"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_with_their_place(body: bytes, where: str) -> None:
    problem = only_problem_of(body)
    assert problem.code == "invalid_json"
    assert problem.message.startswith(where)


def test_half_a_surrogate_pair_is_refused_in_values_and_keys() -> None:
    problems = problems_of(b'{"a": ["\\ud83d\\ude00", "x\\ud800"], "\\udc00": 1}')
    assert [(p.code, p.pointer) for p in problems] == [("invalid_json", "/a/1"), ("invalid_json", "")]
    assert "\\ud800" in problems[0].message


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert read(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_repeated_keys_are_refused_with_their_objects_pointer() -> None:
    body = b'{"jobs": [{}, {"command": "a", "command": "b", "command": "c"}], "x/y": {"~": 1, "~": 2}}'
    problems = problems_of(body)
    assert [(p.code, p.pointer) for p in problems] == [
        ("duplicate_key", "/jobs/1"),
        ("duplicate_key", "/x~1y"),
    ]
    assert '"command" stands 3 times' in problems[0].message


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_number_that_is_not_finite_or_too_long_is_refused_with_its_pointer(number: str) -> None:
    problem = only_problem_of(f'{{"jobs": [{{"timeout": {number}}}]}}'.encode())
    assert (problem.code, problem.pointer) == ("invalid_number", "/jobs/0/timeout")
    assert number[:30] in problem.message
    assert len(problem.message) < 150


def test_a_long_fraction_is_refused_too() -> None:
    assert only_problem_of(b"[0." + b"1" * 40 + b"]").code == "invalid_number"


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "1e3", "9" * 30, "-" + "9" * 30])
def test_ordinary_numbers_pass(number: str) -> None:
    value = read(number.encode())
    assert isinstance(value, int | float)
    assert math.isclose(float(number), value)


def test_all_bad_numbers_and_keys_are_reported_at_once_up_to_a_hundred() -> None:
    assert len(problems_of(b"[NaN, 1e999, Infinity]")) == 3
    assert len(problems_of(b"[" + b"NaN," * 500 + b"1]")) == 100


def test_broken_syntax_after_a_bad_number_is_reported_as_broken_syntax() -> None:
    assert only_problem_of(b"[NaN, }").code == "invalid_json"


def test_a_body_over_the_limit_is_refused_unread() -> None:
    (problem,) = problems_of(b"x" * 1_001, max_bytes=1_000)
    assert problem.code == "too_large"
    assert "1,001" in problem.message
    assert "1,000" in problem.message
    assert read(b'"' + b"x" * 998 + b'"', max_bytes=1_000) == "x" * 998


@pytest.mark.parametrize(
    "body",
    [b"[" * 17 + b"]" * 17, b'{"a":' * 17 + b"1" + b"}" * 17, b"[" * 200_000],
    ids=["lists", "objects", "unclosed"],
)
def test_nesting_beyond_the_limit_is_refused(body: bytes) -> None:
    problem = only_problem_of(body)
    assert problem.code == "too_deep"
    assert "16" in problem.message


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 16 + b"]" * 16,
        b"[" + b"[]," * 400 + b"{}]",
        b'["' + b"[{" * 100 + b'"]',
        b'["\\"' + b"[" * 100 + b'"]',
        b'["\\\\", "' + b"[" * 100 + b'"]',
    ],
    ids=["sixteen", "side by side", "in text", "after a quote", "after a backslash"],
)
def test_brackets_side_by_side_or_inside_text_are_not_depth(body: bytes) -> None:
    assert read(body) == json.loads(body)


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * MIB, b'"' * (2 * MIB), b"[" * (2 * MIB)], ids=["escapes", "quotes", "brackets"]
)
def test_hostile_bodies_are_refused_in_linear_time(body: bytes) -> None:
    started = time.perf_counter()
    problems_of(body, max_bytes=4 * MIB)
    assert time.perf_counter() - started < 2


def test_a_pointer_escapes_its_tokens() -> None:
    assert pointer() == ""
    assert pointer("jobs", 3, "schedule") == "/jobs/3/schedule"
    assert pointer("a/b", "m~n", "") == "/a~1b/m~0n/"


def test_a_pointer_is_always_short_and_encodable() -> None:
    text = pointer("x" * 10_000, "\ud800")
    assert len(text.encode()) < 400


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ("a\x1b]0;x\x07\r\n\u202eb\ud800", '"a\\x1b]0;x\\x07\\r\\n\\u202eb\\ud800"'),
        ("x" * 100, '"' + "x" * 59 + '…"'),
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (1.5, "1.5"),
        ({"password": "x"}, "an object"),
        (["x"], "a list"),
        pytest.param(10**5000, "a number of more than 30 digits", id="5001 digits"),
    ],
)
def test_a_value_is_shown_as_one_short_printable_line(value: object, text: str) -> None:
    assert shown(value) == text

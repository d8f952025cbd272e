from __future__ import annotations

import json
from typing import Any

import pytest

from cronq.cli.output import print_fields, print_list, printable, table

LETTERS: list[dict[str, Any]] = [
    {"id": 1, "queue": "cronq_results", "reason": "not JSON"},
    {"id": 12, "queue": None, "reason": "two\nlines \x1b[31m"},
]
COLUMNS = {"id": "ID", "queue": "QUEUE", "reason": "REASON"}


def test_columns_are_aligned_and_the_last_ends_where_it_ends() -> None:
    assert table([["A", "B"], ["long one", 1], [None, ""]]) == "A         B\nlong one  1\n-         -"


def test_a_list_for_people_has_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(LETTERS, "table", COLUMNS)

    assert capsys.readouterr().out.splitlines() == [
        "ID  QUEUE          REASON",
        "1   cronq_results  not JSON",
        "12  -              two lines \\x1b[31m",
    ]


def test_a_list_for_programs_is_the_objects_as_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(iter(LETTERS), "json", {"id": "ID"})

    assert json.loads(capsys.readouterr().out) == LETTERS


def test_an_empty_list_is_its_headings_or_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_list([], "table", COLUMNS)
    print_list([], "json", COLUMNS)

    assert capsys.readouterr().out == "ID  QUEUE  REASON\n[]\n"


def test_one_object_has_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields(LETTERS[1], {"id": "id", "reason": "the reason"})

    assert capsys.readouterr().out == "id          12\nthe reason  two lines \\x1b[31m\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日\n\tx", "plain é 日\n\tx"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x00\r\x7f\x9b", "\\x00\\r\\x7f\\x9b"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_no_terminal_obeys_what_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown

"""The fault table names tests that exist, and every row of it has a test or a reason."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.system.fault_table import NOT_INJECTED, TESTS

HERE = Path(__file__).parents[1]
ROWS = {
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 33,
    34, 35, 37, 38, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 50,
}  # fmt: skip


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((HERE / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_each_row_has_a_test_or_a_reason_and_not_both() -> None:
    assert set(TESTS) | set(NOT_INJECTED) == ROWS
    assert not set(TESTS) & set(NOT_INJECTED)


@pytest.mark.parametrize("row", sorted(TESTS))
def test_the_tests_of_a_row_exist_and_have_its_number_in_their_names(row: int) -> None:
    for file, name in TESTS[row]:
        assert name in functions(file), name
        assert re.match(rf"test_fault_([0-9]{{2}}_)*{row:02}_", name), name

from __future__ import annotations

import pytest

from cronq.domain.overlap import Overlap, Rule, parse_overlap


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        ("allow", Overlap(Rule.ALLOW)),
        ("allow(3)", Overlap(Rule.ALLOW, 3)),
        ("skip", Overlap(Rule.SKIP, 1, 0)),
        ("queue(2)", Overlap(Rule.QUEUE, 1, 2)),
        ("replace", Overlap(Rule.REPLACE, 1)),
    ],
)
def test_a_rule_is_read(text: str, overlap: Overlap) -> None:
    assert parse_overlap(text) == overlap


@pytest.mark.parametrize(
    "text",
    [
        "",
        "forbid",
        "queue",
        "queue()",
        "queue(0)",
        "queue(1001)",
        "allow(-1)",
        "skip(1)",
        "Allow",
        "allow (1)",
    ],
)
def test_what_is_no_rule_is_none(text: str) -> None:
    assert parse_overlap(text) is None


def test_only_where_runs_may_overlap_a_newer_occurrence_makes_a_waiting_one_pointless() -> None:
    rules = {text: parse_overlap(text) for text in ("allow", "allow(2)", "skip", "queue(1)", "replace")}

    assert [text for text, rule in rules.items() if rule and rule.supersedes] == ["allow", "allow(2)"]

"""Limits as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.domain.errors import InvalidInput, NotFound, Problem
from cronq.domain.gate import Limit
from cronq.domain.limit import LimitKind, format_rate, gate_name, kind_of, read_kind, read_limit

MINUTE = timedelta(minutes=1)


def problem_of(kind: LimitKind, body: object) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        read_limit(kind, body)
    [problem] = caught.value.problems
    return problem


def test_a_queue_has_a_capacity_a_rate_or_both() -> None:
    both = {"capacity": 5, "rate": "100/1m"}
    assert read_limit(LimitKind.QUEUE, both) == Limit(5, 100, MINUTE)
    assert read_limit(LimitKind.QUEUE, {"capacity": 5, "rate": None}) == Limit(5)
    assert read_limit(LimitKind.QUEUE, {"rate": "1/90s"}) == Limit(None, 1, timedelta(seconds=90))


@pytest.mark.parametrize("kind", [LimitKind.CATEGORY, LimitKind.LOCK, LimitKind.HOST])
def test_what_has_no_rate_says_what_has_one(kind: LimitKind) -> None:
    problem = problem_of(kind, {"capacity": 5, "rate": "100/1m"})

    assert (problem.code, problem.pointer) == ("unsupported_field", "/rate")
    assert problem.message == (
        'rate: "100/1m" is not allowed: only a limit of kind queue or catch-up has a rate'
    )
    assert problem.hint == f"{kind} has capacity"


def test_a_catch_up_has_no_capacity() -> None:
    assert read_limit(LimitKind.CATCH_UP, {"rate": "10/1s"}).rate == 10
    assert "capacity: 5 is not allowed: only" in problem_of(LimitKind.CATCH_UP, {"capacity": 5}).message


@pytest.mark.parametrize("value", [0, 100_001, -1, True, "5", 1.5])
def test_a_capacity_is_a_whole_number_in_its_bounds(value: object) -> None:
    problem = problem_of(LimitKind.LOCK, {"capacity": value})

    assert problem.pointer == "/capacity"
    assert "1 to 100000 is" in problem.message or "must be a whole number" in problem.message
    assert read_limit(LimitKind.LOCK, {"capacity": 100_000}) == Limit(100_000)


@pytest.mark.parametrize(
    "value", ["100", "100/", "/1m", "0/1m", "100001/1m", "1/0s", "1/2d", "1/x", 5, "1.5/1m", "1/1m/1m"]
)
def test_a_rate_that_is_none_is_quoted_with_what_is_allowed(value: object) -> None:
    problem = problem_of(LimitKind.QUEUE, {"rate": value})

    assert problem.pointer == "/rate"
    assert "N/DURATION with N from 1 to 100,000" in problem.message
    assert str(value) in problem.message


@pytest.mark.parametrize("body", [{}, {"capacity": None}, {"rate": None}])
def test_a_limit_without_terms_says_what_is_missing(body: object) -> None:
    assert problem_of(LimitKind.QUEUE, body).message.endswith("has capacity or rate, or both")


def test_an_unknown_field_is_named_with_what_was_meant() -> None:
    problem = problem_of(LimitKind.LOCK, {"capasity": 5})

    assert (problem.code, problem.hint) == ("unknown_field", 'did you mean "capacity"?')
    assert problem_of(LimitKind.LOCK, [5]).code == "invalid_type"


def test_kinds_have_their_gates() -> None:
    assert gate_name(LimitKind.QUEUE, "gpu") == "queue:gpu"
    assert gate_name(LimitKind.LOCK, "db-main") == "lock:db-main"
    assert gate_name(LimitKind.HOST, "db1.example.com") == "host:db1.example.com"
    assert gate_name(LimitKind.CATCH_UP, "all") == "rate:catch-up"
    assert kind_of("rate:catch-up") == (LimitKind.CATCH_UP, "all")
    assert kind_of("category:7") == (LimitKind.CATEGORY, "7")
    assert kind_of("job:7") is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (LimitKind.QUEUE, "a b"),
        (LimitKind.QUEUE, "cronq_results"),
        (LimitKind.LOCK, "x" * 65),
        (LimitKind.HOST, "h\u00f6st"),
        (LimitKind.CATCH_UP, "some"),
    ],
)
def test_a_name_that_can_not_be_is_refused(kind: LimitKind, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gate_name(kind, name)
    assert caught.value.problems[0].code == "invalid_name"


def test_a_kind_that_is_none_is_named_with_what_was_meant() -> None:
    assert read_kind("lock") is LimitKind.LOCK
    with pytest.raises(NotFound, match='did you mean "queue"'):
        read_kind("queues")


def test_a_rate_is_written_as_it_is_read() -> None:
    assert format_rate(Limit(None, 100, MINUTE)) == "100/1m"
    assert format_rate(Limit(5)) is None

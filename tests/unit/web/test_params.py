"""Reading queries and ids: what is allowed, and all problems at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from werkzeug.datastructures import MultiDict

from cronq.domain.errors import InvalidInput, NotFound
from cronq.domain.run import State
from cronq.web.api.params import Params, job_id_in, run_id_in


def params(*pairs: tuple[str, str]) -> Params:
    return Params(MultiDict(pairs))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T14:00:00Z", datetime(2026, 1, 31, 14, tzinfo=UTC)),
        ("2026-01-31t14:00:00z", datetime(2026, 1, 31, 14, tzinfo=UTC)),
        ("2026-01-31 14:00:00Z", datetime(2026, 1, 31, 14, tzinfo=UTC)),
        ("2026-01-31T14:00:00.25+01:30", datetime(2026, 1, 31, 12, 30, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_an_instant_of_rfc_3339_is_read_as_utc(text: str, instant: datetime) -> None:
    assert params(("since", text)).instant("since") == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T14:00:00",
        "20260131T140000Z",
        "2026-01-31T14:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-31T14:00:00+25:00",
        "٢٠٢٦-01-31T14:00:00Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    reading = params(("since", text))

    assert reading.instant("since") is None
    with pytest.raises(InvalidInput, match="RFC 3339"):
        reading.done()


def test_states_are_a_list_with_commas() -> None:
    assert params(("state", "failed, lost,")).states("state") == {State.FAILED, State.LOST}
    assert params().states("state") == frozenset()


def test_a_flag_is_true_or_false_in_any_case() -> None:
    reading = params(("a", "TRUE"), ("b", "0"))

    assert [reading.flag(name) for name in "abc"] == [True, False, False]
    reading.done()


def test_all_problems_come_together_and_the_unknown_ones_name_the_known() -> None:
    reading = params(("limit", "0"), ("limt", "5"), ("sort", "x"), ("sort", "y"))
    reading.whole("limit", 1, 10)
    reading.choice("sort", ["id.asc"])

    with pytest.raises(InvalidInput) as refused:
        reading.done()

    told = [(problem.code, problem.message, problem.hint) for problem in refused.value.problems]
    assert told == [
        (
            "unknown_parameter",
            '"limt" is no parameter of this address; allowed: limit, sort',
            'did you mean "limit"?',
        ),
        ("invalid_parameter", 'limit: "0" is not allowed; a whole number from 1 to 10 is', ""),
        ("invalid_parameter", "sort: is given 2 times; once is allowed", ""),
        ("invalid_parameter", 'sort: "x" is not allowed; id.asc is', ""),
    ]


def test_a_flood_of_unknown_parameters_is_answered_with_a_hundred() -> None:
    with pytest.raises(InvalidInput) as refused:
        params(*((f"p{number}", "") for number in range(1_000))).done()

    assert len(refused.value.problems) == 100


@pytest.mark.parametrize("text", ["0", "-1", "+1", "01", " 1", "1 ", "1e3", "2147483648", "abc", "", "١"])
def test_what_can_be_no_jobs_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="Job not found for id"):
        job_id_in(text)


def test_ids_are_read() -> None:
    assert job_id_in("2147483647") == 2147483647
    assert run_id_in("0a" * 16) == "0a" * 16


@pytest.mark.parametrize("text", ["", "0A" * 16, "0a" * 15, "0a" * 16 + "\n", "g" * 32])
def test_what_can_be_no_runs_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="no run has the id"):
        run_id_in(text)

"""What a job comes after: how `after` is read, written back and told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.domain.after import After, AfterError, JobName, On, Upstream, read_after
from cronq.domain.category import parse_value
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job import JobSpec, read_job
from cronq.domain.run import State

HOUR = timedelta(hours=1)
WAITS = "not before 4h after it, not later than 7h after it"


def job(**fields: object) -> dict[str, object]:
    return {"name": "report", "command": "true", **fields}


def problems_of(value: dict[str, object], **defaults: object) -> list[Problem]:
    with pytest.raises(InvalidInput) as refused:
        parse_value({"jobs": [value], "defaults": defaults}, url_name="etl")
    return list(refused.value.problems)


@pytest.mark.parametrize(
    ("value", "upstreams"),
    [
        ("load", [Upstream("load")]),
        ({"job": "etl/load"}, [Upstream("etl/load", On.SUCCESS)]),
        ({"job": "load", "on": "failure"}, [Upstream("load", On.FAILURE)]),
        (["b", {"job": "a", "on": "end"}], [Upstream("a", On.END), Upstream("b")]),
    ],
)
def test_a_job_a_job_with_an_end_and_a_list_are_read(value: object, upstreams: list[Upstream]) -> None:
    assert read_after(value) == After(tuple(upstreams))


def test_a_join_is_read_with_its_waits() -> None:
    found = read_after(
        {"all": ["extract", {"job": "b/close", "on": "end"}], "not_before": "4h", "not_after": 25200}
    )

    assert found == After(
        (Upstream("b/close", On.END), Upstream("extract")),
        joined=True,
        not_before=4 * HOUR,
        not_after=7 * HOUR,
    )


@pytest.mark.parametrize(
    "value",
    [
        "load",
        {"job": "etl/load", "on": "end"},
        ["a", "b"],
        {"all": ["a"]},
        {"all": ["a", {"job": "b", "on": "failure"}], "not_before": "4h", "not_after": "7h"},
    ],
)
def test_what_is_written_back_reads_the_same_and_is_short(value: object) -> None:
    assert read_after(value).plain() == value


def test_the_order_of_the_jobs_means_nothing() -> None:
    one, other = (read_job(job(after=names)) for names in (["a", "b"], ["b", "a"]))
    assert one.content_hash == other.content_hash


def test_a_definition_has_it_and_no_schedule() -> None:
    spec = read_job(job(after={"all": ["a", "b"], "not_after": "1d"}))

    assert spec.definition() == {
        "name": "report",
        "command": "true",
        "after": {"all": ["a", "b"], "not_after": "1d"},
    }
    assert read_job(spec.definition()) == spec
    assert (spec.schedule, spec.parsed_schedule()) == (None, None)


@pytest.mark.parametrize(
    ("value", "code", "at", "said"),
    [
        (None, "invalid_type", "", "must be a job's name"),
        (7, "invalid_type", "", "must be a job's name"),
        ("", "invalid_name", "", "category/name"),
        ("a\nb", "invalid_name", "", "printable"),
        ("x" * 512, "invalid_name", "", "printable"),
        ([], "invalid_value", "", "0 jobs; 1 to 50"),
        (["a"] * 51, "invalid_value", "", "51 jobs"),
        (["a", 7], "invalid_type", "/1", "must be a job's name"),
        (["a", ["b"]], "invalid_type", "/1", "must be a job's name"),
        (["a", {"job": "a", "on": "failure"}], "invalid_value", "/1", "stands there twice"),
        ({"job": "a", "on": "sucess"}, "invalid_value", "/on", "success, failure, end"),
        ({"job": "a", "on": ["end"]}, "invalid_value", "/on", "success, failure, end"),
        ({"job": 7}, "invalid_type", "/job", "must be a job's name"),
        ({"on": "end"}, "unknown_field", "/on", "no key"),
        ({}, "invalid_value", "", "names no job"),
        ({"not_before": "4h"}, "invalid_value", "", "names no job"),
        ({"job": "a", "when": "end"}, "unknown_field", "/when", "no key"),
        ({"all": "a"}, "invalid_type", "/all", "must be a list"),
        ({"all": []}, "invalid_value", "/all", "0 jobs"),
        ({"all": ["a", {"job": "b", "on": "x"}]}, "invalid_value", "/all/1/on", "success, failure, end"),
        ({"all": ["a"], "not_befor": "1h"}, "unknown_field", "/not_befor", "no key"),
        ({"all": ["a"], "not_before": "06:00"}, "invalid_value", "/not_before", "not understood"),
        ({"all": ["a"], "not_before": True}, "invalid_type", "/not_before", "must be a duration"),
        ({"all": ["a"], "not_after": "0s"}, "invalid_value", "/not_after", "1s to"),
        ({"all": ["a"], "not_after": "32d"}, "invalid_value", "/not_after", "1s to 31d"),
        ({"all": ["a"], "not_before": "2h", "not_after": "1h"}, "invalid_value", "/not_after", "not earlier"),
        ({"all": ["a"], "not_before": 10**5000}, "invalid_value", "/not_before", ""),
    ],
)
def test_what_is_not_allowed_is_named_with_its_place(value: object, code: str, at: str, said: str) -> None:
    (problem,) = problems_of(job(after=value))
    assert (problem.code, problem.pointer) == (code, f"/jobs/0/after{at}")
    assert problem.message.startswith("after: ")
    assert said in problem.message
    assert problem.message.isprintable()
    assert len(problem.message) < 250


def test_a_time_of_day_is_answered_with_how_to_write_it() -> None:
    (problem,) = problems_of(job(after={"all": ["a"], "not_before": "06:00"}))
    assert problem.hint == "write how long after the slot, such as 4h"


def test_a_job_needs_a_schedule_or_something_to_come_after() -> None:
    (problem,) = problems_of(job())
    assert (problem.code, problem.pointer) == ("missing_field", "/jobs/0")
    assert problem.message == "schedule: is missing; exactly one of schedule and after is needed"


def test_a_job_has_not_both() -> None:
    (problem,) = problems_of(job(after="load", schedule="@daily"))
    assert (problem.code, problem.pointer) == ("conflicting_fields", "/jobs/0/after")
    assert "exactly one of schedule and after" in problem.message


def test_what_a_job_says_itself_overrules_the_other_one_of_the_defaults() -> None:
    wanted = parse_value(
        {"jobs": [job(name="load"), job(after="load")], "defaults": {"schedule": "@daily"}}, url_name="etl"
    )
    assert [(j.name, j.schedule, j.after) for j in wanted.jobs] == [
        ("load", "@daily", None),
        ("report", None, After((Upstream("load"),))),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("load", "after load succeeds"),
        (["a", {"job": "b", "on": "failure"}], "after a succeeds or b fails"),
        (
            {"all": ["a", {"job": "b", "on": "end"}], "not_before": "4h", "not_after": "7h"},
            f"after a succeeds and b ends, for the same slot, {WAITS}",
        ),
    ],
)
def test_it_is_told_in_words(value: object, words: str) -> None:
    spec = read_job(job(after=value))
    assert spec.schedule_words() == words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("load", JobName("etl", "load")),
        ("etl/load", JobName("etl", "load")),
        ("billing/close", JobName("billing", "close")),
        ("a/b/c", JobName("a", "b/c")),
        ("with/slash", JobName("etl", "with/slash")),
    ],
)
def test_a_name_means_a_job_of_the_own_category_first(text: str, found: JobName) -> None:
    assert Upstream(text).resolved("etl", {"load", "with/slash"}) == found


@pytest.mark.parametrize(
    ("state", "has_started", "met"),
    [
        (State.SUCCEEDED, True, {On.SUCCESS, On.END}),
        (State.FAILED, True, {On.FAILURE, On.END}),
        (State.TIMED_OUT, True, {On.FAILURE, On.END}),
        (State.LAUNCH_FAILED, False, {On.FAILURE, On.END}),
        (State.LOST, True, {On.FAILURE, On.END}),
        (State.CANCELLED, True, {On.END}),
        (State.CANCELLED, False, set()),
        (State.MISSED, False, set()),
        (State.SKIPPED, False, set()),
        (State.EXPIRED, False, set()),
    ],
)
def test_which_ends_are_which(state: State, has_started: bool, met: set[On]) -> None:
    assert {on for on in On if on.is_met(state, has_started=has_started)} == met


def test_an_error_is_ours_with_a_hint() -> None:
    with pytest.raises(AfterError) as refused:
        read_after({"job": "a", "on": "sucess"})
    assert refused.value.hint == 'did you mean "success"?'


def test_a_job_of_a_row_has_neither() -> None:
    assert JobSpec(name="by hand", command="true").definition() == {"name": "by hand", "command": "true"}

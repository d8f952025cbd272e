"""A category's document: what a valid one becomes, what is said of a bad one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.category import CategoryDocument, parse_document, parse_value
from cronq.domain.errors import InvalidInput, Problem

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# The request of the ancestor's README.
ANCESTORS = b"""
{
    "category": "example",
    "jobs": [{
        "name": "Test Job",
        "schedule": "R/2013-05-29T00:00:00/PT1M",
        "command": "sleep 10",
        "routing_key": "slow"
    }]
}"""


def job(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "schedule": "@daily", "command": "true", **fields}


def document(*jobs: object, **keys: object) -> dict[str, object]:
    return {"jobs": list(jobs), **keys}


def parse(value: object, url_name: str = "shop") -> CategoryDocument:
    return parse_document(json.dumps(value).encode(), url_name=url_name)


def problems_of(value: object, url_name: str = "shop") -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        parse(value, url_name)
    return caught.value.problems


def places_of(value: object, url_name: str = "shop") -> list[tuple[str, str]]:
    return [(problem.code, problem.pointer) for problem in problems_of(value, url_name)]


def test_the_ancestors_request_is_read() -> None:
    read = parse_document(ANCESTORS, url_name="example")
    (only,) = read.jobs
    assert (read.name, only.name, only.command, only.routing_key) == (
        "example",
        "Test Job",
        "sleep 10",
        "slow",
    )
    assert only.schedule == "R/2013-05-29T00:00:00/PT1M"


def test_category_is_optional_and_schema_is_ignored() -> None:
    read = parse({"$schema": "https://cronq.example/category.json", "jobs": [job("a")]})
    assert (read.name, len(read.jobs)) == ("shop", 1)


def test_no_jobs_is_a_document_that_removes_all() -> None:
    assert parse(document()).jobs == ()


def test_defaults_lie_under_every_job() -> None:
    defaults = {"timezone": "Europe/Berlin", "routing_key": "slow", "command": "make nightly"}
    one, other = parse(
        document({"name": "a", "schedule": "@daily"}, job("b", routing_key=None), defaults=defaults)
    ).jobs
    assert (one.timezone, one.routing_key, one.command) == ("Europe/Berlin", "slow", "make nightly")
    assert (other.timezone, other.routing_key, other.command) == ("Europe/Berlin", "default", "true")


def test_the_source_is_kept() -> None:
    source = {
        "repo": "shop/jobs",
        "ref": "main",
        "commit": "0a1b",
        "actor": "mira",
        "run_url": "https://ci.example/1",
    }
    assert parse(document(source=source)).source == source


@pytest.mark.parametrize("key", ["repo", "run_url"])
def test_credentials_in_a_refused_source_are_not_shown(key: str) -> None:
    (problem,) = problems_of(document(source={key: "https://ci:hunter2@git.example/\n"}))
    assert problem.pointer == f"/source/{key}"
    assert "hunter2" not in problem.message


@pytest.mark.parametrize("key", ["repo", "run_url"])
def test_credentials_in_a_source_are_not_kept(key: str) -> None:
    read = parse(document(source={key: "https://gitlab-ci-token:hunter2@git.example/shop/jobs.git?a=b@c"}))
    assert read.source == {key: "https://git.example/shop/jobs.git?a=b@c"}


@pytest.mark.parametrize(
    "body", [b"", b'{"jobs": []} x', b"\xef\xbb\xbf" + ANCESTORS, b'{"jobs": [{"command": NaN}]}', b"[" * 50]
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_document(body, url_name="example")
    assert caught.value.problems[0].code in ("invalid_json", "invalid_number", "too_deep")


def test_a_body_over_16_mib_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_document(b" " * (16 * 1024 * 1024 + 1), url_name="example")
    assert caught.value.problems[0].code == "too_large"


@pytest.mark.parametrize("value", [None, [], "jobs", 7, True])
def test_the_body_must_be_an_object_with_jobs(value: object) -> None:
    (problem,) = problems_of(value)
    assert (problem.code, problem.pointer) == ("invalid_type", "")
    assert "must be an object with the key jobs" in problem.message


def test_jobs_must_be_there() -> None:
    assert places_of({}) == [("missing_field", "")]
    assert places_of({"category": "shop", "jbos": []}) == [("unknown_field", "/jbos"), ("missing_field", "")]


@pytest.mark.parametrize("jobs", [None, {}, "a", 7])
def test_jobs_must_be_a_list(jobs: object) -> None:
    assert places_of({"jobs": jobs}) == [("invalid_type", "/jobs")]


@pytest.mark.parametrize("named", ["Shop", "shop ", "", None, 7, ["shop"]])
def test_a_category_that_differs_from_the_urls_is_refused(named: object) -> None:
    (problem,) = problems_of(document(category=named))
    assert (problem.code, problem.pointer) == ("category_mismatch", "/category")
    assert '"shop" in the URL' in problem.message


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", " a", "a ", "a\nb", "a\0", "x" * 256, "\u202ea"])
def test_a_category_name_that_a_url_cannot_carry_is_refused(name: str) -> None:
    (problem,) = problems_of(document(), url_name=name)
    assert (problem.code, problem.pointer) == ("invalid_name", "")
    assert problem.message.startswith("category: ")
    assert problem.message.isprintable()


@pytest.mark.parametrize("name", ["shop", "Shop Jobs", "a.b", "...", "x" * 255, "bücher", "-"])
def test_other_category_names_keep_their_freedom(name: str) -> None:
    assert parse(document(category=name), url_name=name).name == name


@pytest.mark.parametrize("key", ["env", "notify"])
def test_keys_of_later_releases_are_refused_as_such(key: str) -> None:
    (problem,) = problems_of(document(**{key: {}}))
    assert (problem.code, problem.pointer) == ("unsupported_field", f"/{key}")
    assert "this release" in problem.message


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    (problem,) = problems_of(document(default={}))
    assert (problem.code, problem.pointer, problem.hint) == (
        "unknown_field",
        "/default",
        'did you mean "defaults"?',
    )


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("main", ("invalid_type", "/source")),
        (None, ("invalid_type", "/source")),
        ({"commit": 7}, ("invalid_type", "/source/commit")),
        ({"comit": "0a"}, ("unknown_field", "/source/comit")),
        ({"ref": "a\nb"}, ("invalid_value", "/source/ref")),
        ({"ref": "x" * 501}, ("invalid_value", "/source/ref")),
        ({"run_url": "javascript:alert(1)"}, ("invalid_value", "/source/run_url")),
        ({"run_url": "//evil.example"}, ("invalid_value", "/source/run_url")),
    ],
)
def test_a_bad_source_is_refused(source: object, place: tuple[str, str]) -> None:
    assert places_of(document(source=source)) == [place]


@pytest.mark.parametrize(
    ("defaults", "place"),
    [
        ([], ("invalid_type", "/defaults")),
        (None, ("invalid_type", "/defaults")),
        ({"name": "x"}, ("invalid_value", "/defaults/name")),
        ({"timezone": "PST"}, ("unknown_zone", "/defaults/timezone")),
        ({"shedule": "@daily"}, ("unknown_field", "/defaults/shedule")),
        ({"env": {}}, ("unsupported_field", "/defaults/env")),
    ],
)
def test_a_problem_of_the_defaults_is_reported_once(defaults: object, place: tuple[str, str]) -> None:
    assert places_of(document(job("a"), job("b"), job("c"), defaults=defaults)) == [place]


def test_a_bad_default_schedule_is_reported_once_and_not_as_missing() -> None:
    jobs = [{"name": name, "command": "true"} for name in "abc"]
    assert places_of(document(*jobs, defaults={"schedule": "* *"})) == [
        ("invalid_schedule", "/defaults/schedule")
    ]


def test_two_jobs_of_one_name_are_refused_with_both_places() -> None:
    (problem,) = problems_of(document(job("x"), job("backup"), job("y"), job("backup")))
    assert (problem.code, problem.pointer) == ("duplicate_name", "/jobs/3/name")
    assert '"backup" is at /jobs/1/name and at /jobs/3/name' in problem.message


@pytest.mark.parametrize(
    ("one", "other"), [("Job", "job"), ("jób", "job"), ("j\u00f3b", "jo\u0301b"), ("STRASSE", "straße")]
)
def test_names_that_differ_only_in_case_or_accents_are_refused_with_both_places(one: str, other: str) -> None:
    (problem,) = problems_of(document(job(one), job("between"), job(other)))
    assert (problem.code, problem.pointer) == ("duplicate_name", "/jobs/2/name")
    assert "/jobs/0/name" in problem.message
    assert "differ only in case or accents" in problem.message


def test_a_name_that_is_there_three_times_gives_two_problems() -> None:
    assert places_of(document(job("a"), job("A"), job("a"))) == [
        ("duplicate_name", "/jobs/1/name"),
        ("duplicate_name", "/jobs/2/name"),
    ]


def test_all_problems_of_a_document_are_reported_at_once() -> None:
    value = document(
        job("a", timeout="soon"),
        7,
        job("b", schedule="60 * * * *"),
        job("A", dst="never"),
        category="other",
        env={},
        source={"run_url": "x"},
        defaults={"enabled": "yes"},
    )
    assert set(places_of(value)) == {
        ("category_mismatch", "/category"),
        ("unsupported_field", "/env"),
        ("invalid_value", "/source/run_url"),
        ("invalid_type", "/defaults/enabled"),
        ("invalid_duration", "/jobs/0/timeout"),
        ("invalid_type", "/jobs/1"),
        ("invalid_schedule", "/jobs/2/schedule"),
        ("invalid_dst", "/jobs/3/dst"),
        ("duplicate_name", "/jobs/3/name"),
    }


def test_only_the_first_hundred_problems_are_shown_and_the_others_counted() -> None:
    problems = problems_of(document(*(job(f"job {i}", enabled="no") for i in range(250))))
    assert len(problems) == 101
    assert problems[99].pointer == "/jobs/99/enabled"
    assert (problems[100].code, problems[100].message) == ("more_problems", "… and 150 more problems")


def test_reading_stops_when_there_are_a_thousand_problems() -> None:
    problems = problems_of(document(*(job(f"job {i}", enabled="no") for i in range(9_000))))
    assert problems[100].message == "… and at least 900 more problems"


def test_ten_thousand_jobs_are_the_most() -> None:
    jobs = [{"name": str(i)} for i in range(10_001)]
    (problem,) = problems_of(document(*jobs))
    assert (problem.code, problem.pointer) == ("too_many", "/jobs")
    assert "10,001" in problem.message
    assert "10,000" in problem.message


def test_the_hash_is_that_of_the_jobs_in_any_order() -> None:
    one = parse(document(job("a"), job("b", timeout="1m"), source={"commit": "1"}))
    same = parse(document(job("b", timeout=60), job("a", enabled=True), source={"commit": "2"}))
    assert one.content_hash == same.content_hash
    assert one.content_hash != parse(document(job("a"), job("b"))).content_hash
    assert one.content_hash != parse(document(job("a"))).content_hash


def test_a_document_is_read_back_from_its_definition() -> None:
    read = parse(
        document(job("a", tags=["x"]), job("b", timeout="90m"), defaults={"timezone": "Europe/Berlin"})
    )
    assert parse(read.definition()) == read


def test_warnings_name_the_job() -> None:
    read = parse(document(job("quiet"), job("loud", schedule="R/2013-05-29T00:00:00/PT1M")))
    warnings = read.warnings(NOW)
    assert warnings
    assert all(text.startswith('job "loud": ') for text in warnings)


def test_many_warnings_are_cut_and_counted() -> None:
    read = parse(document(*(job(f"job {i}", schedule="R/2013-05-29T00:00:00/PT1M") for i in range(150))))
    warnings = read.warnings(NOW)
    assert len(warnings) == 101
    assert warnings[100].endswith("more warnings")


NATURAL: Mapping[str, object] = document(job("a"), source={"ref": "main"}, defaults={"dst": "skip"})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*NATURAL, "category", "env"]) | st.integers(), ANYTHING, max_size=3),
    st.text(max_size=5),
)
def test_any_value_is_a_document_or_refused_with_printable_problems(
    changes: dict[object, object], name: str
) -> None:
    value = dict[object, object](NATURAL.items()) | changes
    found = read_or_problems(value, name)
    if isinstance(found, CategoryDocument):
        assert found.name == name
    else:
        assert found
        assert all(p.code and p.message.isprintable() and (p.pointer + " ").encode() for p in found)


def read_or_problems(value: object, name: str) -> CategoryDocument | tuple[Problem, ...]:
    try:
        return parse_value(value, url_name=name)
    except InvalidInput as error:
        return error.problems


# -- limits


def test_a_document_may_limit_its_category() -> None:
    limited = parse_value(document(limits={"concurrency": 5}), url_name="shop")
    silent = parse_value(document(), url_name="shop")
    open_ = parse_value(document(limits={"concurrency": None}), url_name="shop")

    assert limited.limits == {"concurrency": 5}
    assert parse_value(limited.definition(), url_name="shop") == limited
    assert parse_value(open_.definition(), url_name="shop") == open_
    assert len({limited.content_hash, silent.content_hash, open_.content_hash}) == 3
    assert parse_value(document(limits={}), url_name="shop").content_hash == silent.content_hash


@pytest.mark.parametrize(
    ("limits", "where", "message"),
    [
        ({"concurrency": 0}, "/limits/concurrency", "concurrency: 0 is not allowed; 1 to 100000 is"),
        ({"concurrency": "5"}, "/limits/concurrency", 'concurrency: "5" must be a whole number'),
        ({"concurency": 5}, "/limits/concurency", "concurency: there is no such key"),
        ([5], "/limits", "limits: a list must be an object with concurrency"),
    ],
)
def test_a_limit_that_is_none_is_refused(limits: object, where: str, message: str) -> None:
    (problem,) = problems_of(document(limits=limits))

    assert (problem.pointer, problem.message) == (where, message)

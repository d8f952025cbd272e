"""Bad jobs: each gets a code, the pointer of what is wrong, and words that say what is allowed."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job import read_job

MINIMAL = {"name": "Test Job", "schedule": "30 2 * * *", "command": "true"}
NUL, LONE, ESC, RTL = "\0", "\ud800", "\x1b", "\u202e"


def found_in(value: object) -> tuple[Problem, ...]:
    try:
        read_job(value, ("jobs", 3))
    except InvalidInput as error:
        return error.problems
    return ()


def problems_of(value: object) -> tuple[Problem, ...]:
    problems = found_in(value)
    assert problems
    return problems


def problem_of(field: str, value: object) -> Problem:
    (problem,) = problems_of({**MINIMAL, field: value})
    return problem


def check(field: str, value: object, code: str, said: str) -> Problem:
    problem = problem_of(field, value)
    assert (problem.code, problem.pointer) == (code, f"/jobs/3/{field}")
    assert problem.message.startswith(f"{field}: ")
    assert said in problem.message
    assert problem.message.isprintable()
    assert len(problem.message) < 220
    return problem


@pytest.mark.parametrize("value", [None, "backup", 7, True, ["a"]])
def test_a_job_must_be_an_object(value: object) -> None:
    (problem,) = problems_of(value)
    assert (problem.code, problem.pointer) == ("invalid_type", "/jobs/3")


def test_each_missing_field_is_named() -> None:
    problems = problems_of({})
    assert [(p.code, p.pointer) for p in problems] == [("missing_field", "/jobs/3")] * 3
    assert [p.message.split(":")[0] for p in problems] == ["name", "schedule", "command"]


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("shedule", 'did you mean "schedule"?'),
        ("Command", 'did you mean "command"?'),
        ("time_zone", 'did you mean "timezone"?'),
        ("max_attempt", 'did you mean "max_attempts"?'),
        ("run_at", ""),
        ("\N{GRINNING FACE}", ""),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(field: str, hint: str) -> None:
    assert check(field, "x", "unknown_field", "no such field").hint == hint


def test_an_unknown_field_is_shown_safely() -> None:
    (problem,) = problems_of({**MINIMAL, "a/b~" + ESC + LONE + "x" * 5000: 1})
    assert problem.pointer.startswith("/jobs/3/a~1b~0")
    assert problem.message.isprintable()
    assert len(problem.message) < 120
    assert problem.pointer.encode()


def test_a_job_of_very_many_fields_is_refused_as_a_whole() -> None:
    (problem,) = problems_of({f"field{i}": 1 for i in range(1_000)})
    assert (problem.code, problem.pointer) == ("too_many", "/jobs/3")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", {"A=B": "secret-value"}),
        ("argv", ["true"]),
        ("limits", {"cpu": 1}),
        ("cwd", "/"),
        ("previous_name", "old"),
    ],
)
def test_a_field_of_a_later_release_is_refused_as_such(field: str, value: object) -> None:
    problem = check(field, value, "unsupported_field", "this release")
    assert problem.hint == f"leave {field} out"
    assert "secret-value" not in problem.message


@pytest.mark.parametrize(
    ("field", "value", "code", "said"),
    [
        ("guarantee", "maybe", "invalid_value", "one of at_most_once, at_least_once, hold is"),
        ("guarantee", 1, "invalid_type", "must be text"),
        ("max_attempts", 0, "invalid_value", "1 to 100 is"),
        ("max_attempts", 101, "invalid_value", "1 to 100 is"),
        ("max_attempts", True, "invalid_type", "must be a whole number"),
        ("max_attempts", 1.0, "invalid_type", "must be a whole number"),
        ("max_attempts", "3", "invalid_type", "must be a whole number"),
        ("retry_delay", "-1s", "invalid_duration", "-1s"),
        ("retry_delay", "8d", "invalid_value", "0s to 7d is"),
        ("retry_backoff", "linear", "invalid_value", "one of constant, exponential is"),
    ],
)
def test_what_a_retry_may_not_be(field: str, value: object, code: str, said: str) -> None:
    check(field, value, code, said)


def test_a_field_at_its_default_says_nothing() -> None:
    said = {"overlap": "allow", "misfire": "latest", "guarantee": "at_most_once", "max_attempts": 1}
    assert read_job({**MINIMAL, **said}) == read_job(MINIMAL)


@pytest.mark.parametrize(
    ("schedules", "code", "where", "said"),
    [
        ([], "invalid_value", "", "0 schedules; 1 to 20 are allowed"),
        (["@daily"] * 21, "invalid_value", "", "21 schedules; 1 to 20 are allowed"),
        (["1," * 100 + "1 * * * *"] * 5, "invalid_value", "", "characters in all; at most 1,000"),
        (["@daily", 7], "invalid_type", "/1", "must be text"),
        (["@daily", ""], "invalid_value", "/1", "is empty"),
        (["@daily", "60 * * * *"], "invalid_schedule", "/1", "field minute: 60 not in 0-59"),
        (["0 0 30 2 *", "@daily"], "never_fires", "/0", "February has no day 30"),
        ([["@daily"]], "invalid_type", "/0", "must be text"),
    ],
)
def test_a_list_of_schedules_is_refused_at_the_one_that_is_wrong(
    schedules: object, code: str, where: str, said: str
) -> None:
    problem = problem_of("schedule", schedules)
    assert (problem.code, problem.pointer) == (code, f"/jobs/3/schedule{where}")
    assert problem.message.startswith("schedule: ")
    assert said in problem.message


@pytest.mark.parametrize("field", ["start", "end"])
@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("2026-01-01T00:00:00", "invalid_schedule", "has no offset"),
        ("2026-01-01", "invalid_schedule", "has no time of day"),
        ("2026-02-30T00:00:00Z", "invalid_schedule", "February 2026 has no day 30"),
        ("2026-01-01T00:00:60Z", "invalid_schedule", "leap second"),
        ("tomorrow", "invalid_schedule", "is not a date and time"),
        ("", "invalid_value", "is empty"),
        ("2" * 65, "invalid_value", "65 characters; at most 64"),
        (1767225600, "invalid_type", "must be text"),
    ],
)
def test_start_and_end_are_instants(field: str, value: object, code: str, said: str) -> None:
    problem = check(field, value, code, said.removesuffix("leap second"))
    assert said in problem.message + problem.hint


def test_a_local_start_needs_a_time_that_its_zone_has() -> None:
    (problem,) = problems_of({**MINIMAL, "timezone": "Pacific/Apia", "start": "2011-12-30T12:00:00"})
    assert problem.pointer == "/jobs/3/start"
    assert "does not exist in Pacific/Apia" in problem.message


def test_start_and_end_in_the_wrong_order_are_refused_at_the_end() -> None:
    bounds = {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    (problem,) = problems_of({**MINIMAL, **bounds})
    assert (problem.code, problem.pointer) == ("invalid_schedule", "/jobs/3/end")
    assert "end: 2026-01-01T00:00:00Z is before start 2026-02-01T00:00:00Z" in problem.message


def test_a_schedule_with_nothing_between_start_and_end_never_fires() -> None:
    bounds = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-01T02:29:59Z"}
    (problem,) = problems_of({**MINIMAL, **bounds})
    assert (problem.code, problem.pointer) == ("never_fires", "/jobs/3/schedule")
    assert "from start 2026-02-01T00:00:00Z to end 2026-02-01T02:29:59Z" in problem.message


def test_a_bad_zone_is_the_only_problem_of_a_local_start() -> None:
    (problem,) = problems_of({**MINIMAL, "timezone": "PST", "start": "2026-02-01T00:00:00"})
    assert problem.pointer == "/jobs/3/timezone"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("job ", "begins or ends with a space"),
        (" job", "begins or ends with a space"),
        ("x" * 256, "256 characters; at most 255"),
        ("a\nb", "U+000A as character 2"),
        ("a" + NUL, "U+0000"),
        (RTL + "bj", "U+202E as character 1"),
        ("a" + LONE, "U+D800"),
        ("a\u00a0b", "U+00A0"),
        (ESC + "]0;x\a", "U+001B"),
    ],
)
def test_names_are_printable_and_trimmed(name: str, said: str) -> None:
    check("name", name, "invalid_name", said)


def test_the_hint_for_a_name_with_a_space_is_the_name_without() -> None:
    assert problem_of("name", "job ").hint == 'write "job"'


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "is empty"),
        (" \t\n", "is empty"),
        ("x" * 65_536, "65,536 bytes; at most 65,535"),
        ("ü" * 32_768, "65,536 bytes"),
        ("echo hush" + NUL, "U+0000 as character 10"),
        ("echo " + LONE, "U+D800 as character 6"),
    ],
)
def test_commands_fit_the_database_and_a_shell(command: str, said: str) -> None:
    assert "hush" not in check("command", command, "invalid_value", said).message


@pytest.mark.parametrize("command", ["x" * 65_535, "a\n\tb\r\n", "echo \N{GRINNING FACE}" + ESC])
def test_other_commands_are_kept_as_they_are(command: str) -> None:
    assert read_job({**MINIMAL, "command": command}).command == command


@pytest.mark.parametrize("key", ["", "a b", "grün", "x" * 33, "a/b", "*", "gpu\n", "x" * 100_000])
def test_routing_keys_are_short_and_plain(key: str) -> None:
    check("routing_key", key, "invalid_value", "1 to 32 of A-Z, a-z, 0-9, _, . and -")


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("PST", "America/Los_Angeles"),
        ("UTC+2", "Etc/GMT-2"),
        ("europe/berlin", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        ("../../etc/passwd", "IANA"),
        ("x" * 100_000, "IANA"),
    ],
)
def test_time_zones_are_iana_names(zone: str, hint: str) -> None:
    assert hint in check("timezone", zone, "unknown_zone", "time zone").hint


def test_a_dst_rule_is_one_of_three() -> None:
    problem = check("dst", "skipp", "invalid_dst", "one of cron, skip, both")
    assert problem.hint == 'did you mean "skip"?'


@pytest.mark.parametrize("value", ["yes", "true", 1, 0, 1.0, [], "x" * 100_000])
def test_enabled_is_true_or_false_and_nothing_like_it(value: object) -> None:
    check("enabled", value, "invalid_type", "must be true or false, without quotes")


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (True, "invalid_type", "whole seconds"),
        (1.5, "invalid_type", "whole seconds"),
        (float("nan"), "invalid_type", "whole seconds"),
        ([], "invalid_type", "whole seconds"),
        (datetime.timedelta(1), "invalid_type", "whole seconds"),
        (0, "invalid_value", "1s to 365d"),
        (366 * 86400, "invalid_value", "1s to 365d"),
        (-5, "invalid_duration", "-5"),
        (10**29, "overflow", "100 years"),
        pytest.param(10**5000, "invalid_duration", "30 digits", id="5001 digits"),
        pytest.param("9" * 5000, "invalid_value", "at most 64", id="5000 nines"),
        ("5 minutes", "invalid_duration", "5 minutes"),
        ("P1M", "invalid_duration", "no fixed length"),
        ("-PT1M", "invalid_duration", "sign"),
        ("P1S", "invalid_duration", "P1S"),
        ("p1d", "invalid_duration", "lower case"),
        ("PT0.5S", "invalid_duration", "fractions"),
        ("\uff11\uff10m", "invalid_duration", "not understood"),
        ("P99999999999D", "overflow", "100 years"),
        ("10m" + NUL, "invalid_value", "U+0000"),
    ],
)
def test_a_timeout_is_a_sensible_duration(value: object, code: str, said: str) -> None:
    check("timeout", value, code, said)


def test_a_kill_grace_has_its_own_bounds() -> None:
    check("kill_grace", "25h", "invalid_value", "0s to 1d")


@pytest.mark.parametrize(
    ("value", "said"),
    [("x" * 2001, "2,001 characters; at most 2,000"), ("a" + ESC, "U+001B"), ("a" + LONE, "U+D800")],
)
def test_descriptions_are_short_text(value: str, said: str) -> None:
    check("description", value, "invalid_value", said)


@pytest.mark.parametrize(
    ("tags", "pointer", "code", "said"),
    [
        ("shop", "", "invalid_type", "list of texts"),
        ({"a": 1}, "", "invalid_type", "list of texts"),
        (["a"] * 21, "", "invalid_value", "21 tags; at most 20"),
        (["a", 3], "/1", "invalid_type", "3 must be text"),
        (["a", ["b"]], "/1", "invalid_type", "a list must be text"),
        (["a", ""], "/1", "invalid_value", "is empty"),
        (["x" * 65], "/0", "invalid_value", "at most 64"),
        (["a", "b", " c"], "/2", "invalid_value", "space"),
    ],
)
def test_tags_are_a_few_short_texts(tags: object, pointer: str, code: str, said: str) -> None:
    problem = problem_of("tags", tags)
    assert (problem.code, problem.pointer) == (code, f"/jobs/3/tags{pointer}")
    assert said in problem.message


@pytest.mark.parametrize(
    "field", ["name", "schedule", "command", "routing_key", "timezone", "dst", "description"]
)
@pytest.mark.parametrize("value", [7, True, 1.5, {"a": "b"}], ids=str)
def test_text_is_never_made_from_something_else(field: str, value: object) -> None:
    check(field, value, "invalid_type", "must be text")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("", "empty"),
        ("60 * * * *", "minute"),
        ("* * * *", "4"),
        ("* * * * * *", "6"),
        ("1-0 * * * *", "1"),
        ("*/0 * * * *", "0"),
        ("*/70 * * * *", "70"),
        ("0-59/61 * * * *", "61"),
        ("-1 * * * *", "-1"),
        ("\uff11 * * * *", "ASCII"),
        ("0 0 31 2 *", "February"),
        ("0 0 30 2 *", "February"),
        ("@reboot", "@reboot"),
        ("R0/2026-01-01T00:00:00Z/PT1M", "repeat"),
        ("R-1/2026-01-01T00:00:00Z/PT1M", "repeat"),
        ("R1e3/2026-01-01T00:00:00Z/PT1M", "repeat"),
        ("R99999999999999/2026-01-01T00:00:00Z/PT1M", "repeat"),
        ("R/2026-01-01T00:00:00Z/P", "P"),
        ("R/2026-01-01T00:00:00Z/PT", "PT"),
        ("R/2026-01-01T00:00:00Z/PT0S", "zero"),
        ("R/2026-01-01T00:00:00Z/-P1D", "-P1D"),
        ("R/2026-01-01T00:00:00Z/P1S", "P1S"),
        ("R/2026-01-01T00:00:00Z/p1d", "lower case"),
        ("R/2026-01-01T00:00:00Z/P1Y1Y", "repeated"),
        ("R/2026-01-01T00:00:00Z/P0.5M", "fraction"),
        ("R/2026-01-01T00:00:00Z/P\u0661D", "ASCII"),
        ("R/2026-01-01T00:00:00Z/P99999999999D", "100 years"),
        ("R/2026-02-30T00:00:00Z/P1D", "30"),
        ("R/2026-01-01T24:00:00Z/P1D", "24"),
        ("R/2016-12-31T23:59:60Z/P1D", "second"),
        ("R/0001-01-01T00:00:00Z/P1D", "0001"),
        ("R/9999-01-01T00:00:00Z/P1D", "9999"),
        ("R/2026-01-01T00:00:00+25:00/P1D", "25:00"),
        ("R/2026-W01-1T00:00:00Z/P1D", "W01"),
        ("x" * 100_000, "at most 1,000"),
        ("0 0 * * *" + NUL, "U+0000"),
    ],
)
def test_a_schedule_that_is_none_is_refused_at_its_field(schedule: str, said: str) -> None:
    problem = problem_of("schedule", schedule)
    assert problem.code in (
        "invalid_schedule",
        "never_fires",
        "overflow",
        "invalid_duration",
        "invalid_value",
    )
    assert problem.pointer == "/jobs/3/schedule"
    assert problem.message.startswith("schedule: ")
    assert said in problem.message
    assert problem.message.isprintable()


@pytest.mark.parametrize(
    "schedule",
    ["@daily", "*/5 8-18 * jan mon-fri", "R/2026-01-01T00:00:00/P1D", "R5/2020-01-01T00:00:00Z/P1D"],
)
def test_a_schedule_is_kept_as_it_is_written(schedule: str) -> None:
    assert read_job({**MINIMAL, "schedule": schedule}).schedule == schedule


def test_all_problems_of_a_job_are_reported_at_once() -> None:
    problems = problems_of({"name": "a ", "schedule": "60 * * * *", "enabled": "yes", "shedule": 1, "dst": 3})
    assert {(p.code, p.pointer) for p in problems} == {
        ("invalid_name", "/jobs/3/name"),
        ("invalid_schedule", "/jobs/3/schedule"),
        ("invalid_type", "/jobs/3/enabled"),
        ("unknown_field", "/jobs/3/shedule"),
        ("invalid_type", "/jobs/3/dst"),
        ("missing_field", "/jobs/3"),
    }


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELD_NAMES = [
    "name",
    "schedule",
    "command",
    "routing_key",
    "timezone",
    "dst",
    "enabled",
    "timeout",
    "tags",
    "env",
]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=6) | st.integers(), ANYTHING, max_size=6)
)
def test_anything_is_either_a_job_or_refused_with_printable_problems(value: dict[object, object]) -> None:
    problems = found_in(dict[object, object](MINIMAL.items()) | value)
    assert all(p.pointer.startswith("/jobs/3") for p in problems)
    assert all(p.code and p.message.isprintable() for p in problems)


@pytest.mark.parametrize(
    ("field", "value", "code", "said"),
    [
        ("misfire", "every", "invalid_value", '"every" is not allowed; one of latest, skip, all is'),
        ("misfire", "ALL", "invalid_value", "one of latest, skip, all is"),
        ("misfire", "", "invalid_value", "one of latest, skip, all is"),
        ("misfire", True, "invalid_type", "true"),
        ("misfire", ["all"], "invalid_type", "list"),
        ("misfire_limit", 0, "invalid_value", "1 to 1000 is"),
        ("misfire_limit", 1_001, "invalid_value", "1 to 1000 is"),
        ("misfire_limit", "10", "invalid_type", "must be a whole number"),
        ("misfire_limit", 1.5, "invalid_type", "must be a whole number"),
        ("misfire_limit", True, "invalid_type", "must be a whole number"),
        ("misfire_limit", None, "invalid_type", "must be a whole number"),
        ("start_deadline", 0, "invalid_value", "0 is not allowed; 1s to "),
        ("start_deadline", -5, "invalid_duration", "a sign is not allowed"),
        ("start_deadline", "soon", "invalid_duration", "not understood"),
        ("start_deadline", "P1M", "invalid_duration", "months and years have no fixed length"),
        ("start_deadline", "1d1d", "invalid_duration", "not understood"),
        ("start_deadline", True, "invalid_type", "true"),
        ("jitter", "-10m", "invalid_duration", "a sign is not allowed"),
        ("jitter", "9999d", "invalid_value", "0s to "),
        ("jitter", None, "invalid_type", "null"),
        ("jitter", 0.5, "invalid_type", "0.5"),
    ],
)
def test_what_becomes_of_missed_occurrences_is_read_strictly(
    field: str, value: object, code: str, said: str
) -> None:
    check(field, value, code, said)


@pytest.mark.parametrize(("word", "near"), [("lates", "latest"), ("skips", "skip"), ("al", "all")])
def test_a_misfire_rule_that_is_nearly_one_is_named(word: str, near: str) -> None:
    assert problem_of("misfire", word).hint == f'did you mean "{near}"?'


def test_no_deadline_may_be_written_out() -> None:
    fields = {"start_deadline": None, "jitter": 0, "misfire": "all", "misfire_limit": 1000}

    assert found_in({**MINIMAL, **fields}) == ()

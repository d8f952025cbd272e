"""A job's definition: what a valid one becomes, what is said of a bad one, when two are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronq.domain.calendar_document import read_calendar
from cronq.domain.calendar_remarks import calendar_remarks
from cronq.domain.calendar_rule import CalendarUse, JobCalendar, Rule
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job import JobSpec, changed_fields, name_key, read_defaults, read_job
from cronq.domain.job_fields import LATER_FIELDS, READERS

MINIMAL: Mapping[str, object] = {"name": "Test Job", "schedule": "30 2 * * *", "command": "true"}
FULL: Mapping[str, object] = {
    "name": "nightly dump",
    "schedule": "30 2 * * *",
    "command": "pg_dump shop | gzip > /backup/shop.gz",
    "routing_key": "slow",
    "timezone": "Europe/Berlin",
    "dst": "skip",
    "start": "2026-06-01T00:00:00Z",
    "end": "2026-12-31T23:00:00Z",
    "enabled": False,
    "description": "Dumps the shop.\nAsk the shop team.",
    "timeout": "90m",
    "kill_grace": 30,
    "tags": ["shop", "backup"],
}


def job(**changes: object) -> JobSpec:
    return read_job({**MINIMAL, **changes})


def problems_of(**changes: object) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        job(**changes)
    return caught.value.problems


def problem_of(**changes: object) -> Problem:
    (problem,) = problems_of(**changes)
    return problem


def test_a_minimal_job_has_the_documented_defaults() -> None:
    assert job() == JobSpec(
        name="Test Job",
        schedule="30 2 * * *",
        command="true",
        routing_key="default",
        timezone=None,
        dst="cron",
        enabled=True,
        description="",
        timeout=None,
        kill_grace=timedelta(seconds=10),
        tags=(),
    )


def test_every_field_is_read() -> None:
    assert read_job(FULL) == JobSpec(
        name="nightly dump",
        schedule="30 2 * * *",
        command="pg_dump shop | gzip > /backup/shop.gz",
        routing_key="slow",
        timezone="Europe/Berlin",
        dst="skip",
        start="2026-06-01T00:00:00Z",
        end="2026-12-31T23:00:00Z",
        enabled=False,
        description="Dumps the shop.\nAsk the shop team.",
        timeout=timedelta(minutes=90),
        kill_grace=timedelta(seconds=30),
        tags=("backup", "shop"),
    )


def test_the_readers_are_those_of_the_fields() -> None:
    assert list(READERS) == [f.name for f in fields(JobSpec) if f.compare]
    assert not LATER_FIELDS & set(READERS)


def test_a_job_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        job().command = "false"  # type: ignore[misc]  # the assignment is what is tested


@pytest.mark.parametrize(
    ("field", "expected"), [("routing_key", "default"), ("timezone", None), ("timeout", None)]
)
def test_null_stands_for_the_default_of_some_fields(field: str, expected: object) -> None:
    assert getattr(job(**{field: None}), field) == expected


@pytest.mark.parametrize(
    "field", ["name", "schedule", "command", "enabled", "description", "kill_grace", "tags"]
)
def test_null_is_refused_in_the_others(field: str) -> None:
    assert problem_of(**{field: None}).code == "invalid_type"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("PT1H30M", 5400)],
)
def test_a_timeout_is_read_in_every_form_of_a_duration(written: object, seconds: int) -> None:
    assert job(timeout=written).timeout == timedelta(seconds=seconds)


def test_a_kill_grace_of_zero_is_allowed() -> None:
    assert job(kill_grace=0).kill_grace == timedelta(0)


@pytest.mark.parametrize(
    "name", ["Test Job", "a", "x" * 255, "..", "a/b", "-rf", "con", "jób", "\N{GRINNING FACE}", "日報"]
)
def test_names_keep_their_freedom(name: str) -> None:
    assert job(name=name).name == name


def test_a_schedule_becomes_a_value_in_the_jobs_zone() -> None:
    schedule = read_job(FULL).parsed_schedule()
    assert schedule is not None
    assert schedule.next_after(datetime(2026, 7, 1, tzinfo=UTC)) == datetime(2026, 7, 1, 0, 30, tzinfo=UTC)


def test_a_stored_row_without_a_schedule_has_none_to_parse() -> None:
    row = replace(job(), schedule=None)
    assert row.parsed_schedule() is None
    assert row.warnings(datetime(2026, 1, 1, tzinfo=UTC)) == []


def test_a_start_without_a_zone_is_warned_about() -> None:
    start = job(schedule="R/2013-05-29T00:00:00/PT1M")
    assert any("UTC" in text for text in start.warnings(datetime(2026, 1, 1, tzinfo=UTC)))


def test_several_schedules_are_one_value() -> None:
    read = job(schedule=["0 3 * * *", "@at 2026-07-01T12:00:00Z"])
    assert read.schedule == ("0 3 * * *", "@at 2026-07-01T12:00:00Z")
    schedule = read.parsed_schedule()
    assert schedule is not None
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert schedule.next_after(datetime(2026, 7, 1, 4, tzinfo=UTC)) == noon
    assert schedule.next_after(noon) == datetime(2026, 7, 2, 3, tzinfo=UTC)
    assert json.loads(json.dumps(read.definition()))["schedule"] == list(read.schedule)


def test_a_list_of_one_schedule_is_that_schedule() -> None:
    assert job(schedule=["@daily"]) == job(schedule="@daily")


def test_start_and_end_limit_a_job() -> None:
    read = job(schedule="@daily", timezone="Europe/Berlin", start="2026-06-01T00:00", end="2026-06-02T00:00")
    schedule = read.parsed_schedule()
    assert schedule is not None
    found = list(schedule.between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))
    assert found == [datetime(2026, 5, day, 22, tzinfo=UTC) for day in (31,)] + [
        datetime(2026, 6, 1, 22, tzinfo=UTC)
    ]


def test_the_seed_decides_about_h_and_is_no_part_of_the_definition() -> None:
    one, other = (replace(job(schedule="H H * * *"), seed=seed) for seed in ("shop/a", "shop/b"))
    midnight = datetime(2026, 7, 1, tzinfo=UTC)
    first, second = (spec.parsed_schedule() for spec in (one, other))
    assert first
    assert second
    assert first.next_after(midnight) != second.next_after(midnight)
    assert (one == other, changed_fields(one, other), one.content_hash) == (True, (), other.content_hash)
    assert "seed" not in one.definition()


def test_words_say_what_a_schedule_means() -> None:
    weekdays = job(schedule="0 3 * * 1-5", timezone="Europe/Berlin")
    assert weekdays.schedule_words() == "at 03:00 on weekdays, Europe/Berlin"
    assert replace(weekdays, schedule=None).schedule_words() == ""
    assert replace(weekdays, schedule="nonsense").schedule_words() == ""


def test_a_definition_leaves_out_defaults_and_is_json() -> None:
    assert job().definition() == MINIMAL
    assert json.loads(json.dumps(read_job(FULL).definition())) == {
        **FULL,
        "timeout": "90m",
        "kill_grace": "30s",
        "tags": ["backup", "shop"],
    }


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "routing_key": st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,32}", fullmatch=True),
            "timezone": st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kolkata"]),
            "dst": st.sampled_from(["cron", "skip", "both"]),
            "enabled": st.booleans(),
            "description": st.text(st.characters(categories=["L", "N", "P"]), max_size=50),
            "timeout": st.none() | st.integers(1, 365 * 86400),
            "kill_grace": st.integers(0, 86400),
            "tags": st.lists(st.text("abc-", min_size=1, max_size=5), max_size=4),
        },
    )
)
def test_a_definition_is_read_back_as_the_same_job(given_fields: dict[str, object]) -> None:
    written = job(**given_fields)
    again = read_job(json.loads(json.dumps(written.definition())))
    assert again == written
    assert again.content_hash == written.content_hash


def test_jobs_that_say_the_same_in_other_words_have_one_hash() -> None:
    spelled_out = job(
        routing_key=None, timezone=None, dst="cron", enabled=True, kill_grace="PT10S", timeout=None, tags=[]
    )
    assert spelled_out.content_hash == job().content_hash
    assert job(tags=["a", "b"]).content_hash == job(tags=["b", "a", "b"]).content_hash
    assert job(timeout="60s").content_hash == job(timeout="1m").content_hash


@pytest.mark.parametrize(
    ("field", "value"),
    [item for item in FULL.items() if item[0] != "schedule"],
    ids=lambda v: str(v)[:12],
)
def test_a_change_of_any_field_changes_the_hash_and_is_named(field: str, value: object) -> None:
    changed = job(**{field: value})
    assert changed.content_hash != job().content_hash
    assert changed_fields(job(), changed) == (field,)


def test_several_changed_fields_are_named_in_their_own_order() -> None:
    assert changed_fields(job(), job(tags=["a"], command="x", schedule="@daily")) == (
        "schedule",
        "command",
        "tags",
    )
    assert changed_fields(job(), job()) == ()


def test_the_hash_is_over_the_canonical_json_of_what_is_not_default() -> None:
    # Hashes are stored: if this form moved, every job would look changed after an upgrade.
    canonical = (
        b'{"command":"true","enabled":false,"name":"Test Job","schedule":"30 2 * * *","timeout":"90s"}'
    )
    assert job(enabled=False, timeout=90).content_hash == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Job", "job"),
        ("jób", "job"),
        ("JÓB", "jo\u0301b"),
        ("Straße", "STRASSE"),
        ("ﬁle", "FILE"),
        ("İ", "i"),
    ],
)
def test_names_that_differ_in_case_accents_or_width_share_a_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_other_names_do_not_share_a_key() -> None:
    names = ["job", "job ", "job2", "j-ob", "\N{GRINNING FACE}", "\N{PILE OF POO}", "ж", "日報", "日本"]
    assert len({name_key(name) for name in names}) == len(names)


def test_defaults_lie_under_the_jobs_own_fields() -> None:
    defaults = read_defaults(
        {"timezone": "Europe/Berlin", "timeout": "1h", "schedule": "@daily"}, ("defaults",)
    )
    read = read_job({"name": "a", "command": "true", "timeout": None}, ("jobs", 0), defaults)
    assert (read.timezone, read.timeout, read.schedule) == ("Europe/Berlin", None, "@daily")


def test_a_zone_from_the_defaults_is_that_of_the_schedule() -> None:
    given_job = {**MINIMAL, "schedule": "R/2026-03-01T02:30:00/P1D"}
    defaults = read_defaults({"timezone": "Europe/Berlin"}, ("defaults",))
    schedule = read_job(given_job, (), defaults).parsed_schedule()
    assert schedule is not None
    assert schedule.next_after(datetime(2026, 3, 1, tzinfo=UTC)) == datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


def test_a_problem_of_the_defaults_stands_at_the_defaults() -> None:
    defaults = read_defaults({"timezone": "Europe/Berlni", "dst": 1, "schedule": "* * *"}, ("defaults",))
    with pytest.raises(InvalidInput) as caught:
        read_job({"name": "a", "command": "true"}, ("jobs", 0), defaults)
    assert {(p.pointer, p.code) for p in caught.value.problems} == {
        ("/defaults/timezone", "unknown_zone"),
        ("/defaults/dst", "invalid_type"),
        ("/defaults/schedule", "invalid_schedule"),
    }


def test_a_name_has_no_default() -> None:
    (problem,) = read_defaults({"name": "all of them"}, ("defaults",)).problems
    assert (problem.code, problem.pointer) == ("invalid_value", "/defaults/name")


# -- its calendar


@pytest.mark.parametrize(
    ("given_calendar", "expected"),
    [
        (None, None),
        ("de-holidays", CalendarUse("de-holidays", Rule.SKIP)),
        ({"name": "de-holidays"}, CalendarUse("de-holidays", Rule.SKIP)),
        ({"name": "de-holidays", "rule": "next"}, CalendarUse("de-holidays", Rule.NEXT)),
    ],
)
def test_a_calendar_is_a_name_or_a_name_and_a_rule(
    given_calendar: object, expected: CalendarUse | None
) -> None:
    read = job(calendar=given_calendar)
    assert read.calendar == expected
    assert read_job(read.definition()) == read


@pytest.mark.parametrize(
    ("given_calendar", "pointer", "said", "hint"),
    [
        (7, "/calendar", "7 must be text", ""),
        ("a b", "/calendar", '"a b" is not allowed', ""),
        ({}, "/calendar", "name is missing", '{"name": …'),
        ({"name": 7}, "/calendar/name", "name: 7 must be text", ""),
        ({"name": "a", "rule": "nxt"}, "/calendar/rule", "one of skip, only, next, previous is", '"next"'),
        ({"name": "a", "rules": "next"}, "/calendar/rules", "there is no such key", '"rule"'),
    ],
)
def test_a_wrong_calendar_is_told_where_and_why(
    given_calendar: object, pointer: str, said: str, hint: str
) -> None:
    problem = problem_of(calendar=given_calendar)
    assert problem.pointer == pointer
    assert said in problem.message
    assert hint in problem.hint


def remarks_of(rule: str, document: dict[str, object], **fields: object) -> list[str]:
    spec = job(calendar={"name": "days", "rule": rule}, **fields)
    assert spec.calendar is not None
    spec = replace(spec, job_calendar=JobCalendar(spec.calendar, 1, read_calendar(document)))
    return calendar_remarks(spec, datetime(2026, 12, 24, 12, 0, tzinfo=UTC))


def test_it_tells_which_of_the_next_occurrences_are_skipped() -> None:
    holidays: dict[str, object] = {"holidays": [{"date": "12-25", "name": "Christmas"}]}
    skipped = remarks_of("skip", holidays, schedule="0 9 * * *", timezone="Europe/Berlin")
    assert skipped == [
        "Fri 2026-12-25 09:00 CET is skipped (calendar days: Christmas)",
        "Sat 2026-12-26 09:00 CET is skipped (calendar days: Saturday)",
        "Sun 2026-12-27 09:00 CET is skipped (calendar days: Sunday)",
    ]
    assert len(remarks_of("only", holidays, schedule="0 9 * * *")) == 2


def test_it_tells_which_of_the_next_occurrences_move_and_where_to() -> None:
    freeze = {"from": "2026-12-28T00:00", "to": "2026-12-29T00:00", "name": "freeze"}
    said = remarks_of("next", {"blackouts": [freeze]}, schedule="0 9 * * SAT", end="2027-06-01T00:00:00Z")
    assert said[:2] == [
        (
            "Sat 2026-12-26 09:00 UTC moves to Mon 2026-12-28 09:00 UTC (Saturday)"
            " and is skipped (calendar days: freeze)"
        ),
        "Sat 2027-01-02 09:00 UTC moves to Mon 2027-01-04 09:00 UTC (Saturday)",
    ]


def test_without_a_calendar_it_tells_nothing() -> None:
    assert calendar_remarks(job(), datetime(2026, 12, 24, tzinfo=UTC)) == []

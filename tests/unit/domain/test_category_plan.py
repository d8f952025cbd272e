"""What a document would change, and the guard against removing most of a category by mistake."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq.domain.category import CategoryDocument, Plan, plan, removal_guard
from cronq.domain.errors import Conflict
from cronq.domain.job import JobSpec


def job(name: str, command: str = "true", timeout: timedelta | None = None) -> JobSpec:
    return JobSpec(name=name, schedule="@daily", command=command, timeout=timeout)


def change(current: list[JobSpec], wanted: list[JobSpec]) -> Plan:
    return plan({spec.name: spec for spec in current}, CategoryDocument("shop", tuple(wanted)))


def removing(count: int) -> Plan:
    return Plan(added=(), updated={}, removed=tuple(f"job {i}" for i in range(count)), unchanged=())


def test_jobs_are_added_updated_removed_or_left() -> None:
    current = [job("same"), job("gone"), job("changed"), job("away")]
    wanted = [job("new"), job("changed", command="false", timeout=timedelta(60)), job("same"), job("another")]
    assert change(current, wanted) == Plan(
        added=("new", "another"),
        updated={"changed": ("command", "timeout")},
        removed=("away", "gone"),
        unchanged=("same",),
    )


def test_the_same_jobs_make_an_empty_plan() -> None:
    assert change([job("a"), job("b")], [job("b"), job("a")]).is_empty


@pytest.mark.parametrize(
    ("current", "wanted"), [([], [job("a")]), ([job("a")], []), ([job("a")], [job("a", command="false")])]
)
def test_any_change_makes_a_plan_that_is_not_empty(current: list[JobSpec], wanted: list[JobSpec]) -> None:
    assert not change(current, wanted).is_empty


def test_a_name_in_another_case_is_another_job() -> None:
    planned = change([job("Backup")], [job("backup")])
    assert (planned.added, planned.removed) == (("backup",), ("Backup",))


@pytest.mark.parametrize(("removed", "existing"), [(0, 0), (4, 4), (1, 1), (5, 10), (5, 1_000), (500, 1_000)])
def test_few_removals_or_at_most_half_pass_the_guard(removed: int, existing: int) -> None:
    removal_guard(removing(removed), existing, None)


@pytest.mark.parametrize(("removed", "existing"), [(5, 5), (5, 9), (501, 1_000), (1_000, 1_000)])
def test_five_or_more_and_more_than_half_are_stopped_with_the_way_out(removed: int, existing: int) -> None:
    with pytest.raises(Conflict, match=rf"{removed} of {existing} jobs .*allow_removals={removed}$"):
        removal_guard(removing(removed), existing, None)


def test_the_guard_lets_pass_what_was_allowed_and_no_more() -> None:
    removal_guard(removing(7), 7, 7)
    removal_guard(removing(7), 7, 100)
    with pytest.raises(Conflict, match="allow_removals=7"):
        removal_guard(removing(7), 7, 6)


def test_the_guard_names_some_of_the_jobs_safely() -> None:
    planned = Plan(added=(), updated={}, removed=("a\x1b[2J", *(f"job {i}" for i in range(9))), unchanged=())
    with pytest.raises(Conflict) as caught:
        removal_guard(planned, 10, None)
    assert str(caught.value).isprintable()
    assert '"job 1"' in str(caught.value)

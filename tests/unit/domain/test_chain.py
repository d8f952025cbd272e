"""Judging chains: the faults of a document, and where a join stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronq.domain.after import After, JobName, On, Upstream, read_after
from cronq.domain.category import parse_value
from cronq.domain.chain import End, Fault, Joined, Wanted, cycle_faults, faults
from cronq.domain.errors import InvalidInput
from cronq.domain.run import State

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def found(**chains: object) -> list[Fault]:
    return list(faults("etl", {name: read_after(v) if v else None for name, v in chains.items()}))


def end(state: State = State.SUCCEEDED, run_id: str = "1", *, after_s: int = 0) -> End:
    is_over = state not in (State.RUNNING, State.SCHEDULED)
    return End(
        run_id, state, has_started=True, is_over=is_over, recorded_at=NOON + timedelta(seconds=after_s)
    )


def wanted(*runs: End, on: On = On.SUCCESS, name: str = "a") -> Wanted:
    return Wanted(JobName("etl", name), on, runs)


def test_a_chain_of_jobs_of_the_category_and_of_others_is_fine() -> None:
    assert found(extract=None, load="extract", report={"all": ["load", "billing/close"]}) == []


def test_an_unknown_job_of_the_category_is_named_with_the_nearest_one() -> None:
    [fault] = found(extract=None, load="extrct")
    assert (fault.job, fault.code) == ("load", "unknown_job")
    assert (fault.message, fault.hint) == ('the category has no job "extrct"', 'did you mean "extract"?')


def test_the_category_may_be_named_and_is_known_all_the_same() -> None:
    [fault] = found(extract=None, load="etl/extrct")
    assert fault.hint == 'did you mean "extract"?'


def test_one_job_by_two_names_is_one_job() -> None:
    [fault] = found(extract=None, load={"all": ["extract", "etl/extract"]})
    assert "stands there twice" in fault.message


def test_a_job_after_itself_is_refused() -> None:
    [fault] = found(load="load")
    assert (fault.code, fault.message) == ("cycle", 'it would start itself: "etl/load → etl/load"')


def test_a_circle_is_spelled_out_in_the_order_of_the_starts_and_told_once() -> None:
    [fault] = found(a="c", b="a", c={"all": ["b", "x"]}, x=None)
    assert fault.message == 'it would start itself: "etl/a → etl/b → etl/c → etl/a"'


def test_a_job_that_only_comes_after_a_circle_is_no_part_of_it() -> None:
    assert [fault.job for fault in found(a="b", b="a", later="b")] == ["a"]


def test_a_circle_over_categories_is_found() -> None:
    graph = {
        JobName("etl", "load"): [JobName("billing", "close")],
        JobName("billing", "close"): [JobName("etl", "load")],
    }
    [fault] = cycle_faults("billing", graph)
    assert fault.message == 'it would start itself: "billing/close → etl/load → billing/close"'


def test_a_document_is_refused_at_the_job_in_question() -> None:
    jobs = [
        {"name": "a", "command": "true", "schedule": "@daily"},
        {"name": "b", "command": "true", "after": "c"},
    ]
    with pytest.raises(InvalidInput) as refused:
        parse_value({"jobs": jobs}, url_name="etl")
    [problem] = refused.value.problems
    assert (problem.code, problem.pointer) == ("unknown_job", "/jobs/1/after")
    assert problem.message == 'after: the category has no job "c"'


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3)))
def test_a_circle_is_found_exactly_where_an_order_cannot_be(graph: dict[str, list[str]]) -> None:
    left = {name: set(upstreams) for name, upstreams in graph.items()}
    while ready := [name for name, upstreams in left.items() if not upstreams & left.keys()]:
        for name in ready:
            del left[name]

    named = {JobName("etl", n): [JobName("etl", u) for u in upstreams] for n, upstreams in graph.items()}
    assert bool(list(cycle_faults("etl", named))) == bool(left)


# -- joins


def test_a_join_is_complete_when_each_has_ended_as_wanted() -> None:
    joined = Joined((wanted(end(run_id="2", after_s=5)), wanted(end(State.FAILED, "3"), on=On.FAILURE)))
    assert (joined.is_complete, joined.refusal()) == (True, None)
    assert joined.causes == ["3", "2"]


@pytest.mark.parametrize("other", [(), (end(State.RUNNING),), (end(State.FAILED), end(State.SCHEDULED))])
def test_a_join_that_may_become_complete_is_no_refusal(other: tuple[End, ...]) -> None:
    joined = Joined((wanted(end()), wanted(*other)))
    assert (joined.is_complete, joined.is_begun, joined.refusal()) == (False, True, None)


@pytest.mark.parametrize("state", [State.FAILED, State.MISSED, State.SKIPPED, State.EXPIRED, State.CANCELLED])
def test_a_join_whose_parts_are_all_over_says_which_did_not_end_as_wanted(state: State) -> None:
    joined = Joined((wanted(end()), wanted(end(state), name="b")))
    assert joined.refusal() == f"etl/b was {state}, not succeeded"


def test_of_several_runs_of_a_slot_one_that_ended_as_wanted_is_enough() -> None:
    assert Joined((wanted(end(State.FAILED), end(run_id="2"), end(State.LOST, "3")),)).is_complete


def test_a_join_says_what_it_lacks() -> None:
    joined = Joined((wanted(end()), wanted(end(State.RUNNING), name="b"), wanted(name="c", on=On.END)))
    assert joined.lack() == "etl/b is running, not succeeded; etl/c is without a run, not ended"


def test_what_a_person_has_to_decide_about_is_not_over() -> None:
    held = End.of("1", "lost", started_at=NOON, needs_decision=True)
    assert (held.is_over, held.meets(On.FAILURE)) == (False, False)


def test_a_join_of_one_is_a_join() -> None:
    assert read_after({"all": ["a"]}) == After((Upstream("a"),), joined=True)

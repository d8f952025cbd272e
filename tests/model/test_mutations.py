"""Without any one of its rules the protocol breaks, and the model sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import Phase

from tests.model.machine import run_machine
from tests.model.mutations import MUTATIONS, Mutation
from tests.model.walk import Ground, memory_ground, plan_of, walk
from tests.model.watcher import Violation

MOST_WALKS = 150
STEPS = 40


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = memory_ground(tmp_path_factory.mktemp("hosts"))
    yield made
    made.close()


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=list(MUTATIONS))
def test_a_protocol_without_this_rule_breaks(
    ground: Ground, mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation.apply(monkeypatch)

    assert breaks(ground, mutation), f"nothing shows that {mutation.rule}"


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=list(MUTATIONS))
def test_with_the_rule_the_same_way_is_sound(ground: Ground, mutation: Mutation) -> None:
    wander(ground, replace(mutation, to_the_end=True), seed=0)


@pytest.mark.parametrize("name", ["start_unclaimed", "mark_blindly"])
def test_hypothesis_finds_a_way_too(ground: Ground, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name].apply(monkeypatch)

    with pytest.raises(Violation):
        run_machine(ground, max_examples=100, derandomize=True, phases=(Phase.generate,))


def breaks(ground: Ground, mutation: Mutation) -> bool:
    """Whether one of the walks finds a violation."""
    for seed in range(MOST_WALKS):
        try:
            wander(ground, mutation, seed)
        except Violation:
            return True
    return False


def wander(ground: Ground, mutation: Mutation, seed: int) -> None:
    walk(
        ground,
        replace(plan_of(seed), **mutation.plan),
        steps=STEPS,
        way=mutation.way,
        more=mutation.more,
        to_the_end=mutation.to_the_end,
    )

"""The protocol's real code, driven by an adversary who crashes, loses, doubles, delays and suspects.

MODEL_WALKS=2000 walks longer than a suite may, and lets Hypothesis look for the shortest way to its find,
which takes minutes. A walk that fails says its plan, with its seed, and the way that led there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase

from cronq.store import open_store
from tests.model.machine import run_machine
from tests.model.walk import Ground, memory_ground, plan_of, walk

WALKS = int(os.environ.get("MODEL_WALKS", "30"))
PARTS = 4
ON_MARIADB = max(6, WALKS // 10)
PHASES = (Phase.generate, Phase.shrink) if "MODEL_WALKS" in os.environ else (Phase.generate,)
EXAMPLES = max(15, WALKS // 4)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = memory_ground(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(120 + WALKS * 5)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_way_breaks_the_protocol(ground: Ground, part: int) -> None:
    for seed in range(part, WALKS, PARTS):
        walk(ground, plan_of(seed), steps=80)


@pytest.mark.timeout(120 + WALKS * 5)
def test_no_choice_of_steps_breaks_the_protocol(ground: Ground) -> None:
    run_machine(ground, max_examples=EXAMPLES, phases=PHASES)


@pytest.mark.timeout(120 + WALKS * 5)
def test_no_way_breaks_the_protocol_on_mariadb(mysql_url: str, tmp_path: Path) -> None:
    ground = Ground(open_store(mysql_url), tmp_path)
    for seed in range(ON_MARIADB):
        walk(ground, plan_of(seed), steps=60)
    ground.close()

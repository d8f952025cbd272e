"""The same actions as a state machine of Hypothesis, which finds short ways to whatever breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model.adversary import WEIGHTS, Adversary
from tests.model.drain import drain
from tests.model.mutation import CLAIMED, STARTED, TOLD
from tests.model.walk import KINDS, Ground, begin
from tests.model.world import Plan, World

MOST_PICKS = 1 << 32
# Hypothesis has no weights: what is to happen often is a rule several times.
OF_ONE_RULE = 4
LIVES = ((), CLAIMED, STARTED, TOLD)

plans = st.builds(
    Plan,
    guarantees=st.sampled_from(KINDS),
    max_attempts=st.sampled_from((1, 3)),
    hosts=st.integers(1, 3),
    are_twins=st.booleans(),
    skews=st.tuples(*[st.sampled_from((0, -200, 200))] * 3),
    jobs_take_s=st.sampled_from((0, 130)),
)


class Picks:
    """One large number as the answers to many questions; 0 is the simplest answer to all."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, count: int) -> int:
        self._left, answer = divmod(self._left, count)
        return answer


class Protocol(RuleBasedStateMachine):
    """Has a rule for each action; what is checked after each is the world's own matter."""

    ground: Ground  # set by whoever runs it

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._world: World | None = None

    @initialize(plan=plans, way=st.sampled_from(LIVES))
    def start(self, plan: Plan, way: tuple[str, ...]) -> None:
        folder = self._stack.enter_context(self.ground.fresh())
        self._world = self._stack.enter_context(World.lived_in(self.ground.db, folder, plan))
        begin(self._world)
        for name in way:
            self.act(name, 0)

    def act(self, name: str, picks: int) -> None:
        assert self._world is not None
        try:
            Adversary(self._world, Picks(picks)).act(name)
        except BaseException as error:
            self._world.explain(error)
            raise

    def teardown(self) -> None:
        with self._stack:
            if self._world is not None and not self._world.is_broken:
                drain(self._world)


def _rule_for(name: str) -> Callable[..., None]:
    def act(self: Protocol, picks: int) -> None:
        self.act(name, picks)

    act.__name__ = name
    has_world = precondition(lambda self: self._world is not None)
    return has_world(rule(picks=st.integers(0, MOST_PICKS))(act))


def run_machine(ground: Ground, **how: Any) -> None:
    """Let Hypothesis look for a way; `how` are its settings. Raises Violation when it finds one."""
    chosen = settings(
        stateful_step_count=50,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **how,
    )
    run_state_machine_as_test(_protocol_on(ground), settings=chosen)


def _protocol_on(ground: Ground) -> type[Protocol]:
    """The machine on this ground."""
    rules: Mapping[str, Any] = {
        f"{name}_{copy}": _rule_for(name)
        for name, weight in WEIGHTS.items()
        for copy in range(1 + round(weight / OF_ONE_RULE))
    }
    return type("ProtocolOnGround", (Protocol,), {**rules, "ground": ground})

"""What it takes to try the protocol without one of its rules.

A mutation patches one function of the real code for as long as its test lasts. With it comes the kind of
worlds and walks that meet soon what it breaks; the unmutated code has to stand the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

Patch = pytest.MonkeyPatch
MUTATIONS: dict[str, Mutation] = {}
# The life of a run, as far as its start, its end, and the word of its end.
CLAIMED = ("publish", "deliver", "step", "grant")
STARTED = (*CLAIMED, "deliver", "step", "obey")
# The runner tells in one step, and hears in the next that the broker has it.
TOLD = (*STARTED, "end", "step", "step")
# One job, and less of all that leads away from the life of a single run.
ONE = {
    "guarantees": ("at_most_once",), "max_attempts": 1, "hosts": 1, "are_twins": False, "jobs_take_s": 0,
}  # fmt: skip
CALM = {
    "step": 4, "wait": 1.5, "flow": 0.3, "expand": 0.5, "release": 1, "mark": 2, "lease": 2,
    "canary": 0, "reap": 0, "chores": 0, "suspect": 0, "silence": 0, "kill_keeper": 0, "reboot": 0,
    "lose_host": 0, "rotate": 0, "wipe": 0, "ring_again": 0.3, "edit": 0, "wish": 0.3, "cancel": 0,
    "decide": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """`apply` takes the rule out.

    `plan` changes fields of the worlds' plans, `way` is how walks begin, and `more` changes the weights of
    what happens then. A lack that only shows in what never comes to pass needs walks `to_the_end`.
    """

    rule: str
    apply: Callable[[Patch], None]
    plan: Mapping[str, Any]
    way: Sequence[str]
    more: Mapping[str, float]
    to_the_end: bool


def mutation(
    rule: str,
    *,
    plan: Mapping[str, Any] | None = None,
    way: Sequence[str] = (),
    more: Mapping[str, float] | None = None,
    to_the_end: bool = False,
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a way to take `rule` out, by the name of the function that does it."""

    def keep(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        found = Mutation(rule, apply, {**ONE, **(plan or {})}, way, {**CALM, **(more or {})}, to_the_end)
        MUTATIONS[apply.__name__] = found
        return apply

    return keep

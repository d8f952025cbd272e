"""Random walks through worlds, each to its fair end: seeded, so that the same seed meets the same fate."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from cronq.store import migrate, open_store
from cronq.store.engine import Store
from tests.factories import wipe
from tests.model.adversary import WEIGHTS, Adversary
from tests.model.drain import drain
from tests.model.world import Plan, World


class Ground:
    """A store that begins empty as often as it is asked to, and folders for the hosts of one world each."""

    def __init__(self, db: Store, folder: Path) -> None:
        self.db = db
        self._folder = folder
        self._empty = sqlite3.connect(":memory:") if db.is_sqlite() else None
        migrate.upgrade(db)
        if self._empty is not None:
            self._copy(self._empty, back=False)

    def _copy(self, empty: sqlite3.Connection, *, back: bool) -> None:
        raw = self.db.engine.raw_connection()
        ours = raw.driver_connection
        assert isinstance(ours, sqlite3.Connection)
        empty.backup(ours) if back else ours.backup(empty)
        raw.close()

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Empty tables; the folder is gone afterwards."""
        if self._empty is not None:
            self._copy(self._empty, back=True)
        else:
            wipe(self.db)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder)

    def close(self) -> None:
        self.db.close()
        if self._empty is not None:
            self._empty.close()


def memory_ground(folder: Path) -> Ground:
    """On SQLite, in memory: one connection, so for one thread."""
    return Ground(open_store("sqlite:///:memory:"), folder)


KINDS = (
    ("at_most_once",),
    ("at_most_once", "at_most_once"),
    ("at_most_once", "at_least_once"),
    ("at_most_once", "hold"),
    ("at_least_once",),
)


def plan_of(seed: int) -> Plan:
    """All kinds of worlds, in turn and by chance."""
    chance = random.Random(seed)
    guarantees = chance.choice(KINDS)
    return Plan(
        guarantees=guarantees,
        max_attempts=chance.choice((1, 1, 3)),
        hosts=chance.choice((1, 2, 2, 3)),
        are_twins=chance.random() < 0.25,
        skews=tuple(chance.choice((0, 0, -200, 200)) for _ in range(3)),
        jobs_take_s=chance.choice((0, 0, 0, 130)),
        seed=seed,
    )


def walk(
    ground: Ground,
    plan: Plan,
    *,
    steps: int = 60,
    more: Mapping[str, float] | None = None,
    way: Sequence[str] = (),
    to_the_end: bool = True,
) -> None:
    """One world from its beginning, and `to_the_end` or only until it becomes quiet. It begins with
    the actions of `way`; `more` has weights that differ. Raises Violation, with the way that led to it."""
    weights = {**WEIGHTS, **(more or {})}
    chance = random.Random(plan.seed)
    with ground.fresh() as folder, World.lived_in(ground.db, folder, plan) as world:
        adversary = Adversary(world, chance.randrange)
        try:
            begin(world)
            follow(world, way, chance)
            done = 0
            while done < steps:
                [name] = chance.choices(list(weights), list(weights.values()))
                done += adversary.act(name)
            if to_the_end:
                drain(world)
        except BaseException as error:
            world.explain(error)
            raise


def follow(world: World, way: Sequence[str], chance: random.Random) -> None:
    """The actions of `way`, most of them as if nobody meant ill."""

    def choose(count: int) -> int:
        return 0 if chance.random() < 0.85 else chance.randrange(count)

    adversary = Adversary(world, choose)
    for name in way:
        adversary.act(name)


def begin(world: World) -> None:
    """All runners are there, and the first occurrences are due."""
    for host in world.hosts:
        world.start_runner(host)
    world.wait(timedelta(seconds=55))
    world.expand()

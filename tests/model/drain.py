"""What a world comes to when no more faults happen: fair steps, and what must have become of every run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from cronq.bus.topology import CLAIMS_QUEUE, RESULTS_QUEUE
from cronq.domain.run import ENDED, State
from cronq.runner import journal
from tests.model.watcher import Violation

if TYPE_CHECKING:
    from tests.model.host import Host
    from tests.model.world import World

# Between two rounds, in which everybody has acted: no longer than between two heartbeats.
ROUND = timedelta(seconds=9)
# A silent pipeline (30 s) is trusted again after a lease (60 s), in which leases run out, and then answers
# are awaited for 30 s.
WITHIN = timedelta(seconds=180)
BOOT_WITHIN = 2 * ROUND


def flow(world: World) -> None:
    """Everybody does what there is to do, once, in the order of a run's life, and no message is lost."""
    world.release()
    world.lease_bells()
    while world.bells:
        world.publish(0)
    while world.publisher.marks:
        world.mark(0)
    _let_runners_work(world)
    world.chores()
    if world.network.queues[CLAIMS_QUEUE]:
        world.grant([0] * len(world.network.queues[CLAIMS_QUEUE]))
        _let_runners_work(world)
    if world.network.queues[RESULTS_QUEUE]:
        world.apply([0] * len(world.network.queues[RESULTS_QUEUE]))


def _let_runners_work(world: World) -> None:
    for host in world.hosts:
        if host.runner is None:
            continue
        while found := world.deliverable(host):
            world.deliver(host, *found[0])
        world.step_runner(host)
        if host.keeper is not None and host.keeper.orders:
            while host.keeper.orders:
                world.obey(host)
            world.step_runner(host)


def drain(world: World) -> None:
    """Let everything come to its end without faults, within WITHIN and the time that jobs take. Raises
    Violation when it does not, or a run is given up whose host has come back."""
    jobs_take = timedelta(seconds=world.plan.jobs_take_s)
    world.trace.append("-- no more faults")
    world.crash_injector()
    world.expand()
    booted = [host for host in world.hosts if host.runner is None and not host.is_gone]
    for host in booted:
        world.start_runner(host)
    world.ring_again()
    given_up = _given_up(world)
    began = world.clock.now
    while not _is_over(world):
        if world.clock.now - began > WITHIN + jobs_take:
            raise Violation(f"I4: not over after {WITHIN}: {_open(world)}")
        if world.clock.now - began >= jobs_take:
            _end_processes(world)
        flow(world)
        world.send_canary()
        world.reap()
        if world.clock.now - began > BOOT_WITHIN:
            _check_boots(world, booted)
        _check_given_up(world, given_up)
        world.wait(ROUND)


def _check_boots(world: World, booted: Sequence[Host]) -> None:
    """Soon after its start a runner's word has settled what an earlier process of it had been granted, and
    never started, as its journal proves."""
    for host in booted:
        told = journal.read(host.path)
        for row in world.watcher.runs.values():
            is_waiting = row["state"] == State.CLAIMED and row["lineage"] == host.lineage
            if not is_waiting or host.runner is None or row["instance"] == host.runner.instance:
                continue
            if told.is_complete and (row["run_id"], row["attempt"]) not in told.known:
                raise Violation(f"I4: {host.name} booted, and its earlier process is still waited for: {row}")


def _end_processes(world: World) -> None:
    for host in world.hosts:
        for key in list(host.processes):
            if host.keeper is not None:
                world.on_host(host, "a process ends with 0", partial(host.end, key, 0))


def _open(world: World) -> list[object]:
    return [row for row in world.watcher.runs.values() if State(row["state"]) not in ENDED]


def _is_over(world: World) -> bool:
    return not _open(world) and not any(host.processes for host in world.hosts if host.runner)


def _given_up(world: World) -> set[str]:
    return {run_id for run_id, row in world.watcher.runs.items() if row["state"] == State.LOST}


def _check_given_up(world: World, before: set[str]) -> None:
    """The hosts that are there have answered: of theirs nothing is lost that was not, but for what their
    keepers know to be cut off, and what a journal can't tell that has forgotten or missed something. Of two
    runners with one name only one is asked."""
    hosts = [host for host in world.hosts if not host.is_gone and not world.plan.are_twins]
    there = {host.lineage for host in hosts if journal.read(host.path).is_complete}
    for run_id in _given_up(world) - before:
        row = world.watcher.runs[run_id]
        if row["lineage"] in there and row["reason"] != "interrupted":
            raise Violation(f"I4: given up, though its host is there: {row}")

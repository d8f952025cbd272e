"""A process killed at each of its crash points: what it left is put right, by whoever comes next.

Leases and republishing have their long, default clocks wherever they are not the subject. They would
heal most of what a step in the wrong order loses, a minute later, and so hide it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cronq.runtime import crash
from tests.servers import MariaDB, RabbitMQ, free_port
from tests.stack import Api, Broker, Process, wait_until
from tests.system.nursery import ForkedStack

pytestmark = pytest.mark.system

JOBS = 3
WINDOW = 2  # so that one of the runs has to be released
SOON_S = 20.0
SHORT = {"CRONQ_HEARTBEAT_S": "1", "CRONQ_LEASE_S": "3"}
OUTPUT = b"out\n"
# Where nobody can know whether a process runs that is recorded, or how it ended: its run is lost.
LOSING = {"keeper.start.recorded", "keeper.start.forked", "keeper.start.written", "keeper.finish.reaped"}


class Burst:
    """Some jobs that become due at one instant, and what became of them."""

    def __init__(self, rig: Rig, count: int = JOBS) -> None:
        """Those that are made from now on, so many."""
        self.count = count
        self._rig, self._database = rig, rig.stack.database
        self._first = int(str(self._database.value("SELECT COALESCE(MAX(id), 0) + 1 FROM jobs")))
        self._at = ""

    def insert(self, command: str = "true") -> Burst:
        """Make them by hand, due now; `command` comes between a job's trace and its output."""
        self._database.insert_jobs(self.count, self.command(command))
        return self.make_due()

    def command(self, command: str = "true") -> str:
        return f"{self._rig.traces.command}; {command}; echo out"

    def make_due(self, last: int = 2**31 - 1) -> Burst:
        """All of them, or those up to the job of this id."""
        self._at = str(self._database.value("SELECT UTC_TIMESTAMP()"))
        between = "UPDATE jobs SET next_run = %s WHERE id BETWEEN %s AND %s"
        self._database.rows(between, self._at, self._first, last)
        return self

    def jobs(self) -> list[int]:
        found = self._database.rows("SELECT id FROM jobs WHERE id >= %s ORDER BY id", self._first)
        return [int(str(job_id)) for (job_id,) in found]

    def states(self) -> list[str]:
        return [state for *_, state in self._runs()]

    def wait_for(self, *states: str) -> None:
        """Until each of them has its run in one of these states."""

        def are_there() -> bool:
            found = self.states()
            return len(found) >= self.count and set(found) <= set(states)

        wait_until(f"every run is one of {states}", are_there, SOON_S)

    def check(self, *, may_lose: bool = False, may_lack_output: bool = False) -> None:
        """Each occurrence has its row, the ledger and the traces agree, and nothing started twice."""
        runs = self._runs()
        assert [(job, at) for job, at, *_ in runs] == [(job, self._at) for job in self.jobs()]
        assert len(runs) == self.count
        traces = self._rig.traces.all()
        assert len({run_id for run_id, _ in traces}) == len(traces), "a run started twice"
        succeeded = {(run_id, attempt) for _, _, run_id, attempt, state in runs if state == "succeeded"}
        assert succeeded <= set(traces), "a run succeeded that never started"
        told = {self._database.output(run_id) for run_id, _ in succeeded}
        assert told <= {OUTPUT} or (may_lack_output and told == {b""})
        lost = [run_id for _, _, run_id, _, state in runs if state == "lost"]
        assert len(succeeded) + len(lost) == self.count
        assert may_lose or not lost
        assert [self._rig.stack.job_pids(run_id) for run_id in lost] == [[]] * len(lost)

    def expire(self, *, asked: bool) -> None:
        """End the leases by hand, with the question of the injector behind them or not."""
        self._database.rows(
            "UPDATE runs SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND,"
            " asked_at = IF(%s, UTC_TIMESTAMP(6), NULL) WHERE job_id >= %s",
            asked,
            self._first,
        )

    def _runs(self) -> list[tuple[int, str, str, int, str]]:
        found = self._database.rows(
            "SELECT job_id, scheduled_for, run_id, attempt, state FROM runs"
            " WHERE job_id >= %s ORDER BY job_id",
            self._first,
        )
        return [
            (int(str(job)), str(at), str(run_id), int(str(attempt)), str(state))
            for job, at, run_id, attempt, state in found
        ]


class Rig:
    """One stack for all points: only the victim is started anew."""

    def __init__(self, stack: ForkedStack) -> None:
        self.stack = stack
        self.traces = stack.traces()
        self.services = {kind: self._service(kind) for kind in ("injector", "results", "runner")}
        stack.start(*self.services.values())

    def _service(self, kind: str, **env: str) -> Process:
        args = ("--name", "runner", "--slots", str(JOBS + 1)) if kind == "runner" else ()
        return self.stack.service(kind, *args, **env)

    def start(self, kind: str, **env: str) -> Process:
        """Another process of this kind, in the place of the one that is there."""
        self.services[kind].end()
        self.stack.processes.remove(self.services[kind])
        self.services[kind] = self._service(kind, **env)
        return self.services[kind].start()

    def web(self, **env: str) -> tuple[Process, Api]:
        """A web, ready, on a port of its own."""
        port = free_port()
        process = self.stack.service("web", PORT=str(port), **env)
        self.stack.start(process)
        return process, Api(f"http://127.0.0.1:{port}")

    def arm(self, point: str, **env: str) -> Process:
        """Put a process that will die at this point in the place of the one that is there."""
        return self.start(point.partition(".")[0], CRONQ_CRASH_POINT=point, **env)

    def bury(self, victim: Process, point: str, **env: str) -> None:
        """Wait until it has died, by this point, and start its successor."""
        assert victim.exit_code(SOON_S) == -signal.SIGKILL
        assert victim.output().endswith(f"crash point {point}\n")
        self.start(point.partition(".")[0], **env).ready_line()


class Rigs:
    """The rig that is up; one that a test failed on is not used again."""

    def __init__(self, folder: Path, mariadb: MariaDB, rabbitmq: RabbitMQ) -> None:
        self._folder, self._mariadb, self._rabbitmq = folder, mariadb, rabbitmq
        self._rig: Rig | None = None
        self._stack: ForkedStack | None = None
        self._made = 0

    @contextmanager
    def lent(self) -> Iterator[Rig]:
        try:
            self._rig = self._rig or self._new()
            yield self._rig
        except BaseException:
            if self._stack is not None:
                print(self._stack.story())
            self.end()
            raise

    def _new(self) -> Rig:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        broker = Broker(self._rabbitmq, self._rabbitmq.create_vhost())
        self._stack = ForkedStack(folder, database_url=self._mariadb.create_database(), broker=broker)
        self._stack.env["CRONQ_WINDOW"] = str(WINDOW)
        self._stack.migrate()
        return Rig(self._stack)

    def end(self) -> None:
        if self._stack is not None:
            self._stack.end()
            self._mariadb.drop_database(self._stack.database.url)
            self._rabbitmq.delete_vhost(self._stack.broker.url)
        self._rig = self._stack = None


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB, rabbitmq: RabbitMQ) -> Iterator[Rigs]:
    made = Rigs(tmp_path_factory.mktemp("crash"), mariadb, rabbitmq)
    yield made
    made.end()


@pytest.mark.parametrize("point", crash.POINTS)
def test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing(rigs: Rigs, point: str) -> None:
    with rigs.lent() as rig:
        _scenario(point)(rig, point)


def _scenario(point: str) -> Callable[[Rig, str], None]:
    """The longest beginning of its name that has one; a point that its scenario does not reach fails."""
    beginnings = [beginning for beginning in SCENARIOS if point.startswith(beginning)]
    return SCENARIOS[max(beginnings, key=len)]


def _in_a_burst(rig: Rig, point: str) -> None:
    victim = rig.arm(point)
    victim.ready_line()
    burst = Burst(rig).insert()
    rig.bury(victim, point)
    burst.wait_for("succeeded")
    burst.check()


def _at_a_gate(rig: Rig, point: str) -> None:
    """The jobs share a lock: each waits for the one before, and none is forgotten."""
    victim = rig.arm(point)
    victim.ready_line()
    burst = Burst(rig)
    rig.stack.database.insert_jobs(burst.count, burst.command())
    rig.stack.database.rows(
        "UPDATE jobs SET definition = %s WHERE id >= %s", '{"locks": ["one"]}', burst.jobs()[0]
    )
    burst.make_due()
    rig.bury(victim, point)
    burst.wait_for("succeeded")
    burst.check()


def _down_a_chain(rig: Rig, point: str) -> None:
    """Each job comes after the one before; only the first is due."""
    database = rig.stack.database
    victim = rig.arm(point)
    victim.ready_line()
    burst = Burst(rig)
    database.insert_jobs(burst.count, burst.command())
    database.rows("INSERT INTO categories (name) VALUES (%s)", point)
    first = burst.jobs()[0]
    for job_id in burst.jobs():
        database.rows(
            "UPDATE jobs SET category_id = (SELECT id FROM categories WHERE name = %s) WHERE id = %s",
            point,
            job_id,
        )
        if job_id > first:
            database.rows(
                "INSERT INTO chains (job_id, position, upstream_category, upstream_name, outcome)"
                " SELECT %s, 0, %s, name, 'success' FROM jobs WHERE id = %s",
                job_id,
                point,
                job_id - 1,
            )
    burst.make_due(last=first)
    rig.bury(victim, point)
    burst.wait_for("succeeded")
    burst.check()


def _while_nobody_claims(rig: Rig, point: str) -> None:
    """The runner is frozen until a second doorbell is due."""
    victim = rig.arm(point, CRONQ_REPUBLISH_S="1")
    victim.ready_line()
    rig.services["runner"].freeze()
    burst = Burst(rig).insert()
    rig.bury(victim, point)
    rig.services["runner"].thaw()
    burst.wait_for("succeeded")
    burst.check()


def _with_a_silent_runner(rig: Rig, point: str) -> None:
    """The leases are ended by hand; whoever is taken for lost meanwhile is found again."""
    release = rig.stack.folder / f"release-{point}"
    victim = rig.arm(point, **SHORT)
    victim.ready_line()
    burst = Burst(rig).insert(f"until [ -e {release} ]; do sleep 0.05; done")
    burst.wait_for("running")

    def expire() -> bool:
        burst.expire(asked=point == "injector.reap.lost")
        return not victim.is_running

    wait_until("the injector has looked at the leases", expire, SOON_S)
    assert set(burst.states()) == {"running"}
    assert "runner_lost" not in dict(rig.stack.database.open_alerts())
    rig.bury(victim, point, **SHORT)
    release.touch()
    burst.wait_for("succeeded")
    burst.check()


def _with_garbage(rig: Rig, point: str) -> None:
    victim = rig.arm(point)
    victim.ready_line()
    body = f"garbage for {point}".encode()
    rig.stack.broker.publish("cronq_results", body)
    rig.bury(victim, point)
    copies = partial(rig.stack.database.value, "SELECT COUNT(*) FROM dead_letters WHERE body = %s", body)
    wait_until("it is where people see it", copies, SOON_S)
    burst = Burst(rig).insert()
    burst.wait_for("succeeded")
    burst.check()
    # A burial that was not acked can't be told from one that never was.
    assert copies() in ({1, 2} if point == "results.poison.buried" else {1})


def _at_the_boot(rig: Rig, point: str) -> None:
    """Jobs run on and end while their runner is away."""
    release = rig.stack.folder / f"release-{point}"
    burst = Burst(rig).insert(f"until [ -e {release} ]; do sleep 0.05; done")
    burst.wait_for("running")
    rig.services["runner"].kill()
    release.touch()
    rig.bury(rig.arm(point), point)
    burst.wait_for("succeeded")
    burst.check()


def _of_the_keeper(rig: Rig, point: str) -> None:
    """It is started by a runner that has the variable, and lives on under one that hasn't.

    One job, since any other that runs at that moment would be lost as well.
    """
    rig.services["runner"].terminate()
    wait_until("the keeper has left", lambda: not rig.stack.keepers())
    rig.start("runner", CRONQ_CRASH_POINT=point).ready_line()
    keeper = rig.stack.keeper()
    rig.start("runner").ready_line()
    assert rig.stack.keeper() == keeper
    burst = Burst(rig, count=1).insert()
    wait_until("there is another keeper", lambda: rig.stack.keepers().keys() - {keeper}, SOON_S)
    [log] = rig.stack.state.glob("runners/*/keeper.log")
    assert log.read_text().count(f"crash point {point}\n") == 1
    burst.wait_for("lost" if point in LOSING else "succeeded")
    # Output is not in the journal: what the runner had not taken yet went with the keeper.
    burst.check(may_lose=point in LOSING, may_lack_output=point == "keeper.finish.recorded")


def _of_the_web(rig: Rig, point: str) -> None:
    """Its worker dies, and the client, who knows nothing, asks again."""
    burst = Burst(rig)
    jobs = [{"name": f"job {n}", "schedule": "0 0 1 1 *", "command": burst.command()} for n in range(JOBS)]
    name = point.replace(".", "-")
    victim, api = rig.web(CRONQ_CRASH_POINT=point)
    with pytest.raises(OSError):  # noqa: PT011 the connection ends, in any way
        api.ask("PUT", f"/api/category/{name}", {"jobs": jobs})
    victim.wait_for_log(f"crash point {point}\n")
    victim.end()
    is_done = point == "web.put.committed"
    assert len(burst.jobs()) == (JOBS if is_done else 0)

    web, api = rig.web()
    answer = api.ask("PUT", f"/api/category/{name}", {"jobs": jobs})
    assert (answer.json["changed"], answer.json["revision"]) == (not is_done, 1)
    web.end()
    burst.make_due().wait_for("succeeded")
    burst.check()


SCENARIOS: dict[str, Callable[[Rig, str], None]] = {
    "injector.": _in_a_burst,
    "injector.gate.": _at_a_gate,
    "injector.follow.": _down_a_chain,
    "injector.republish.": _while_nobody_claims,
    "injector.reap.": _with_a_silent_runner,
    "results.": _in_a_burst,
    "results.poison.": _with_garbage,
    "results.letter.": _with_garbage,
    "runner.": _in_a_burst,
    "runner.boot.": _at_the_boot,
    "keeper.": _of_the_keeper,
    "web.": _of_the_web,
}

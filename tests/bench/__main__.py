"""The first benchmark: what this machine can do, and what CronQ does on it in the same minutes.

Starts a private MariaDB and RabbitMQ, and the services as processes on the same machine. Prints one
JSON object; `python -m tests.bench next` measures schedules alone. The floor is spawning alone: eight
threads, each `Popen(['/bin/sh', '-c', 'true'])` with a pipe and a session of its own. Rates are of durable
work: rows committed, messages confirmed. Where other work goes on beside it, compare `…_cpu_ms_per_run` of
each process instead of rates.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymysql

from tests.bench import next_instant
from tests.bench.cpu import Meter, keeper_of
from tests.servers import MariaDB, RabbitMQ

FLOOR_SPAWNS = 1500
INJECT_JOBS = 10_000
E2E_JOBS = 2_000
SINGLES = 30
THREADS = 8
SLOTS = 32
WITHIN_S = 180


def main() -> None:
    """Measure in alternation: floor, inject, floor, end to end, floor."""
    database, broker = MariaDB(), RabbitMQ()
    database.start()
    broker.start()
    try:
        floors = [floor()]
        injected = inject(Bench(database, broker))
        floors.append(floor())
        whole = end_to_end(Bench(database, broker))
        floors.append(floor())
    finally:
        broker.close()
        database.close()
    floor_rate = statistics.median(floors)
    print(
        json.dumps(
            {
                "machine": f"{os.cpu_count()} cores, {platform.platform()}",
                "commit": _commit(),
                "floor_runs_s": round(floor_rate),
                "floors_runs_s": [round(f) for f in floors],
                **injected,
                **whole,
                "e2e_share_of_floor": round(whole["e2e_runs_s"] / floor_rate, 3),
                **next_instant.measure(),
            },
            indent=2,
        )
    )


def floor() -> float:
    """Processes per second that this machine starts and waits for, with nothing else to do."""

    def spawn(_: int) -> None:
        process = subprocess.Popen(["/bin/sh", "-c", "true"], stdout=subprocess.PIPE, start_new_session=True)
        process.communicate()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(spawn, range(100)))
        began = time.monotonic()
        list(pool.map(spawn, range(FLOOR_SPAWNS)))
        return FLOOR_SPAWNS / (time.monotonic() - began)


class Bench:
    """An empty database, a virtual host, and services as processes."""

    def __init__(self, database: MariaDB, broker: RabbitMQ) -> None:
        self.url = database.create_database()
        self.pids = {"mariadb": database.pid, "rabbitmq": broker.pid}
        self.folder = tempfile.TemporaryDirectory(prefix="cronq-bench-")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("CRONQ_", "RABBITMQ_"))} | {
            "DATABASE_URL": self.url,
            "RABBITMQ_URL": broker.create_vhost(),
            "CRONQ_STATE_DIR": self.folder.name,
            "CRONQ_LOG_LEVEL": "warning",
            "CRONQ_WINDOW": "1000000",
        }
        self.cronq("db", "upgrade")

    def cronq(self, *args: str) -> None:
        subprocess.run([sys.executable, "-m", "cronq.cli", *args], env=self.environ, check=True, stdout=2)

    @contextmanager
    def service(self, *args: str) -> Iterator[None]:
        """A service, from its ready line on."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cronq.cli", *args], env=self.environ, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("ready "):
                    break
            else:
                raise SystemExit(f"{args[0]} ended with {process.wait()}")
            self.pids[args[0]] = process.pid
            yield
        finally:
            self.pids.pop(args[0], None)
            process.terminate()
            process.wait(30)

    def query(self, text: str, *values: object) -> tuple[object, ...]:
        parsed = self.url.removeprefix("mysql+pymysql://").split("@")[1]
        address, name = parsed.split("/")
        host, port = address.split(":")
        connection = pymysql.connect(
            host=host, port=int(port), user="root", database=name.split("?")[0], autocommit=True
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchone() or ()

    def add_jobs(self, count: int) -> None:
        """Jobs with an hourly interval, due at the next whole second from now on."""
        rows = ",".join(
            f"('job {i}', '1970-01-01 01:00:00', '2100-01-01', 'true', 'default')" for i in range(count)
        )
        self.query(f"INSERT INTO jobs (name, `interval`, next_run, command, routing_key) VALUES {rows}")
        self.wait_for("SELECT COUNT(*) = 0 FROM jobs WHERE revision = 0")

    def make_due(self) -> None:
        self.query("UPDATE jobs SET next_run = UTC_TIMESTAMP() - INTERVAL 1 SECOND WHERE name LIKE 'job %%'")

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if self.query(condition)[0] == 1:
                return
            time.sleep(0.05)
        raise SystemExit(f"not within {WITHIN_S} s: {condition}")


def inject(bench: Bench) -> dict[str, Any]:
    """One injector: due jobs to runs on the ledger, published and confirmed."""
    with bench.service("injector"):
        bench.add_jobs(INJECT_JOBS)
        meter = Meter(bench.pids)
        bench.make_due()
        bench.wait_for(f"SELECT COUNT(*) = {INJECT_JOBS} FROM runs WHERE published_at IS NOT NULL")
        used = meter.ms_per(INJECT_JOBS)
    took = bench.query(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(created_at), MAX(published_at)) / 1e6,"
        " TIMESTAMPDIFF(MICROSECOND, MIN(created_at), MAX(created_at)) / 1e6 FROM runs"
    )
    return {
        "inject_jobs": INJECT_JOBS,
        "inject_runs_s": round(INJECT_JOBS / float(str(took[0]))),
        "inject_last_row_after_s": round(float(str(took[1])), 3),
        "inject_cpu_ms_per_run": used,
    }


def end_to_end(bench: Bench) -> dict[str, Any]:
    """Injector, results and runner: from due to the outcome in the database, as `sh -c true`."""
    with (
        bench.service("injector"),
        bench.service("results"),
        bench.service("runner", "--queue", "default", "--slots", str(SLOTS)),
    ):
        lags = [_single(bench, number) for number in range(SINGLES)]
        bench.add_jobs(E2E_JOBS)
        meter = Meter({**bench.pids, "keeper": keeper_of(bench.folder.name)})
        bench.make_due()
        total = E2E_JOBS + SINGLES
        bench.wait_for(f"SELECT COUNT(*) = {total} FROM runs WHERE state = 'succeeded'")
        used = meter.ms_per(E2E_JOBS)
    took = bench.query(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(created_at), MAX(recorded_at)) / 1e6"
        " FROM runs r JOIN jobs j ON j.id = r.job_id WHERE j.name LIKE 'job %%'"
    )
    lags.sort()
    return {
        "e2e_jobs": E2E_JOBS,
        "e2e_runs_s": round(E2E_JOBS / float(str(took[0]))),
        "e2e_cpu_ms_per_run": used,
        "start_lag_ms": {
            "p50": round(statistics.median(lags), 1),
            "p99": round(lags[min(len(lags) - 1, int(len(lags) * 0.99))], 1),
        },
    }


def _single(bench: Bench, number: int) -> float:
    """Milliseconds from `UPDATE jobs SET run_now = 1` to the process's start, with nothing else to do."""
    name = f"single {number}"
    bench.query(
        "INSERT INTO jobs (name, command, routing_key, run_now) VALUES (%s, 'true', 'default', 0)", name
    )
    began = time.time()
    bench.query("UPDATE jobs SET run_now = 1 WHERE name = %s", name)
    bench.wait_for(f"SELECT COUNT(*) = {number + 1} FROM runs WHERE state = 'succeeded'")
    started = bench.query(
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', started_at) / 1e6"
        " FROM runs r JOIN jobs j ON j.id = r.job_id WHERE j.name = %s",
        name,
    )
    return (float(str(started[0])) - began) * 1000


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "none"


if __name__ == "__main__":
    parts = {(): main, ("next",): next_instant.main}
    wanted = tuple(sys.argv[1:])
    if wanted not in parts:
        raise SystemExit("usage: python -m tests.bench [next]")
    parts[wanted]()

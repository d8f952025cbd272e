"""One soak from its servers to its verdict."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proxy import Proxy
from tests.servers import MariaDB, RabbitMQ
from tests.soak.check import Asked, Span, Verdict, Window, check, read_lines
from tests.soak.faults import PROCESSES, SERVERS, Faults, Targets, wait_until_well
from tests.soak.jobs import CATEGORY, Presence, make_jobs
from tests.stack import Api, Broker, Process, Stack, wait_until

DRAIN_S = 240.0
PAGE = 500
COMERS = 8  # every so manieth job comes and goes


@dataclass(frozen=True)
class Size:
    """How much of everything; `calm_s` is what follows the faults, before the jobs are paused."""

    seconds: float
    jobs: int
    starts_per_s: float
    longest_fault_s: float
    calm_s: float = 5.0


@dataclass
class Outcome:
    """What was done and what came of it."""

    seed: int
    size: Size
    verdict: Verdict
    faults: list[Window] = field(default_factory=list)
    puts: int = 0
    requests: int = 0
    audit: dict[str, Any] = field(default_factory=dict)


def soak(folder: Path, mariadb: MariaDB, rabbitmq: RabbitMQ, size: Size, seed: int) -> Outcome:
    """Run one on these servers, which it kills and starts. Blocks for its time and the drain after it."""
    rng = random.Random(seed)
    with _system(folder, mariadb, rabbitmq) as (targets, api):
        return _Soak(targets, api, size, rng).run(seed)


@contextmanager
def _system(folder: Path, mariadb: MariaDB, rabbitmq: RabbitMQ) -> Iterator[tuple[Targets, Api]]:
    """Two of each service, with a proxy on every way that may break."""
    with ExitStack() as ends:
        ways = {
            "runner 1 to broker": Proxy(rabbitmq.port),
            "runner 2 to broker": Proxy(rabbitmq.port),
            "injector 1 to database": Proxy(mariadb.port),
            "injector 2 to database": Proxy(mariadb.port),
            "results 1 to database": Proxy(mariadb.port),
        }
        for proxy in ways.values():
            ends.callback(proxy.close)
        url, broker = mariadb.create_database(), Broker(rabbitmq, rabbitmq.url)
        stack = Stack(folder, database_url=url, broker=broker).migrate()
        ends.callback(stack.end)
        stack.env |= {"CRONQ_HEARTBEAT_S": "1", "CRONQ_LEASE_S": "10", "CRONQ_REPUBLISH_S": "5"}
        services = [
            _on_database(stack.service("injector", name="injector-1"), ways["injector 1 to database"], url),
            _on_database(stack.service("injector", name="injector-2"), ways["injector 2 to database"], url),
            _on_database(stack.service("results", name="results-1"), ways["results 1 to database"], url),
            stack.service("results", name="results-2"),
        ]
        runners = [
            stack.runner(f"runner-{n}", slots=24, RABBITMQ_URL=way.url(rabbitmq.url))
            for n, way in ((n, ways[f"runner {n} to broker"]) for n in (1, 2))
        ]
        stack.start(*services, *runners)
        _, api = stack.web()
        yield Targets(stack, mariadb, rabbitmq, services, runners, ways, folder / "lines"), api


def _on_database(process: Process, proxy: Proxy, url: str) -> Process:
    process.set_env(DATABASE_URL=proxy.url(url))
    return process


class _Soak:
    def __init__(self, targets: Targets, api: Api, size: Size, rng: random.Random) -> None:
        self._targets = targets
        self._api = api
        self._log = targets.log
        self._size = size
        self._rng = rng
        self._jobs = make_jobs(size.jobs, size.starts_per_s, rng)
        self._comers = frozenset(job.name for job in self._jobs[::COMERS])
        self._presence = Presence()
        self._requests: list[str] = []
        self._puts = 0

    def run(self, seed: int) -> Outcome:
        # What a lane has started dies with the lane's thread: they are kept until the end.
        with ThreadPoolExecutor() as pool:
            return self._run(seed, pool)

    def _run(self, seed: int, pool: ThreadPoolExecutor) -> Outcome:
        since = self._put()
        is_over = threading.Event()
        editing = pool.submit(self._edit, is_over, random.Random(seed + 1))
        try:
            faults = self._run_faults(pool)
        finally:
            is_over.set()
        editing.result()
        wait_until_well(self._targets.stack, [*self._targets.services, *self._targets.runners], 60)
        # What the faults left behind is made good before the jobs are paused.
        last = max((window.until for window in faults), default=time.time())
        wait_until("things are calm", lambda: time.time() > last + self._size.calm_s, self._size.calm_s + 1)
        until = self._put(enabled=False)
        wait_until("every run has ended", self._is_drained, DRAIN_S)
        verdict = check(read_lines(self._log.read_text()), self._ledger(), self._asked(since, until, faults))
        audit = self._audit(since[1], until[0])
        return Outcome(seed, self._size, verdict, faults, self._puts, len(self._requests), audit)

    def _run_faults(self, pool: ThreadPoolExecutor) -> list[Window]:
        """All lanes, until the time is over; those that there were, by their beginning."""
        until, longest_s = time.monotonic() + self._size.seconds, self._size.longest_fault_s
        lanes = [
            Faults(self._targets, lane, random.Random(self._rng.random()), longest_s=longest_s)
            for lane in (PROCESSES, SERVERS)
        ]
        for running in [pool.submit(lane.run, until) for lane in lanes]:
            running.result()
        return sorted((w for lane in lanes for w in lane.windows), key=lambda w: w.since)

    def _asked(self, since: Span, until: Span, faults: list[Window]) -> Asked:
        presence = self._presence
        return Asked(
            self._jobs,
            since,
            until,
            faults,
            self._comers,
            presence.there,
            presence.gone,
            self._requests,
            self._targets.killed,
        )

    def _edit(self, is_over: threading.Event, rng: random.Random) -> None:
        """PUT the category again and again with other commands, as CI does: no occurrence may mind.

        Some jobs go and come back, and some are wanted at once.
        """
        ids = [job["id"] for job in self._listed_jobs() if job["name"] not in self._comers]
        while not is_over.wait(rng.uniform(1, 4)):
            self._put(with_comers=rng.random() < 0.7, is_needed=False)
            self._request(rng.choice(ids))

    def _listed_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        path: str | None = "/api/jobs?limit=100"
        while path:
            page = wait_until("jobs are listed", lambda p=path: self._asked_for(p))  # type: ignore[misc]
            found += page["data"]["jobs"]
            path = f"/api/jobs?limit=100&cursor={page['next_cursor']}" if page["next_cursor"] else None
        return found

    def _asked_for(self, path: str) -> Any:
        """The JSON of a page that is there, None while the web can't answer."""
        try:
            answer = self._api.ask("GET", path)
        except OSError:
            return None
        assert answer.status in (200, 404, 503), answer
        return answer.json if answer.status != 503 else None

    def _request(self, job_id: int) -> None:
        """One run now; asked again with the same key until there is an answer."""
        key = secrets.token_hex(8)

        def ask() -> str | None:
            try:
                answer = self._api.ask("POST", f"/api/jobs/{job_id}/run", **{"Idempotency-Key": key})
            except OSError:
                return None
            assert answer.status in (202, 503), answer
            return str(answer.json["run"]["id"]) if answer.status == 202 else None

        self._requests.append(wait_until("a run is asked for", ask) or "")

    def _put(
        self, *, enabled: bool = True, with_comers: bool = True, is_needed: bool = True
    ) -> tuple[float, float]:
        """Replace the category; returns between which instants that was."""
        self._puts += 1
        jobs = [
            {**job.definition(self._log, self._puts), "enabled": enabled}
            for job in self._jobs
            if with_comers or job.name not in self._comers
        ]

        def put() -> tuple[float, float] | None:
            path = f"/api/categories/{CATEGORY}"
            there_is = self._asked_for(path)
            if there_is is None:
                return None
            # Of one that got no answer it is not known when it will be carried out: not after this one.
            revision = there_is.get("data", {}).get("category", {}).get("revision")
            match = {"If-Match": f'"{revision}"'} if revision else {}
            before = time.time()
            self._presence.asked(before, there=with_comers and enabled)
            try:
                answer = self._api.ask("PUT", f"/api/category/{CATEGORY}", {"jobs": jobs}, **match)
            except OSError:
                return None
            assert answer.status in (200, 412, 503), answer
            if answer.status != 200:
                return None
            self._presence.answered(time.time(), there=with_comers and enabled)
            return before, time.time()

        if not is_needed:
            return put() or (0.0, 0.0)
        return wait_until("the category is PUT", put) or (0.0, 0.0)

    def _is_drained(self) -> bool:
        waiting = ("scheduled", "queued", "claimed", "running")
        return not self._api.runs(state=",".join(waiting), limit="1")

    def _ledger(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self._api.get(f"/api/runs?limit={PAGE}{f'&cursor={cursor}' if cursor else ''}")
            found += page["data"]["runs"]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def _audit(self, since: float, until: float) -> dict[str, Any]:
        """CronQ's own opinion."""
        query = f"since={_text(since)}&until={_text(until)}"
        found: dict[str, Any] = self._api.get(f"/api/audit/occurrences?{query}")["data"]
        return found


def _text(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

"""What the tests of the API share: settings, documents, and a runner's deeds without a runner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from flask import Flask
from werkzeug.datastructures import Headers

from cronq.domain.event import EventType, OutputChunk, RunEvent
from cronq.domain.run import Claim, Owner
from cronq.runtime import config
from cronq.runtime.settings import Settings
from cronq.store import Store, Tx, claims, now, outcomes, runs
from tests.factories import let_out

SECRET_KEY = "6f2d9a3c5b7e1408" * 2
OWNER = Owner("runner-1", "a" * 32, "b" * 32)


class Answer(Protocol):
    """What a test looks at; `json` is of the shape that the test says."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def data(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    @property
    def json(self) -> Any: ...


class Client(Protocol):
    """Flask's test client, with answers of that type."""

    @property
    def application(self) -> Flask: ...
    def open(self, path: str, *, method: str, **request: Any) -> Answer: ...
    def get(self, path: str, **request: Any) -> Answer: ...
    def head(self, path: str, **request: Any) -> Answer: ...
    def put(self, path: str, **request: Any) -> Answer: ...
    def post(self, path: str, **request: Any) -> Answer: ...
    def set_cookie(self, key: str, value: str = "") -> None: ...


def make_settings(url: str, home: Path, **environ: str) -> Settings:
    """Those of an environment with a database and a secret key."""
    return config.load({"DATABASE_URL": url, "CRONQ_SECRET_KEY": SECRET_KEY, "HOME": str(home), **environ})


class Runs:
    """Does to runs what injector and runner would."""

    def __init__(self, db: Store) -> None:
        self._db = db

    def queue(self, key: str = "default") -> None:
        self._db.transact(lambda tx: let_out(tx, key, now=now(tx)))

    def claim(self, run_id: str) -> None:
        """Queue and claim it, as OWNER."""
        self.queue()
        asked = [Claim(run_id, 1, OWNER, "nonce", host="h1")]
        self._db.transact(lambda tx: claims.answer(tx, asked, now(tx), now(tx) + timedelta(minutes=1)))

    def tell(self, run_id: str, kind: EventType, **fields: object) -> None:
        """One event of OWNER about it."""

        def work(tx: Tx) -> None:
            at = now(tx)
            row = runs.by_id(tx, run_id)
            job_id = 0 if row is None else row["job_id"]
            event = RunEvent(kind, run_id, job_id, at, attempt=1, runner=OWNER.runner, host="h1")
            event = replace(event, lineage=OWNER.lineage, instance=OWNER.instance, **fields)  # type: ignore[arg-type]  # the fields of RunEvent
            outcomes.apply(tx, [event], at)

        self._db.transact(work)

    def finish(self, run_id: str, return_code: int = 0, **fields: object) -> None:
        """Claim, start and end it; the fields are those of the end's event."""
        self.claim(run_id)
        self.tell(run_id, EventType.STARTING, pid=4411)
        self.tell(run_id, EventType.FINISHED, return_code=return_code, run_time_s=1.5, **fields)

    def write(self, run_id: str, *chunks: tuple[int, bytes]) -> None:
        """Output of its first attempt: (offset, bytes)."""
        told = [OutputChunk(run_id, 1, OWNER.lineage, offset, data) for offset, data in chunks]
        self._db.transact(lambda tx: outcomes.store_output(tx, told))


def job(name: str = "backup", **fields: object) -> dict[str, object]:
    """A valid job of a document."""
    return {"name": name, "schedule": "R/2013-05-29T00:00:00Z/PT1M", "command": "true", **fields}


def put_jobs(client: Client, *jobs: dict[str, object], category: str = "ops") -> None:
    """Make these the jobs of a category."""
    answer = client.put(f"/api/category/{category}", json={"jobs": list(jobs)})
    assert answer.status_code == 200, answer.text


def order(client: Client, job_id: int = 1) -> str:
    """A new run of the job; returns its id."""
    answer = client.post(f"/api/jobs/{job_id}/run")
    assert answer.status_code == 202, answer.text
    assert answer.json is not None
    return str(answer.json["run"]["id"])

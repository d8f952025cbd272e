"""The database, the broker and the web as somebody outside sees them: without our code."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers import RabbitMQ

FAR = "2099-01-01 00:00:00"


class Database:
    """A MariaDB database as somebody with an SQL prompt sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts = urllib.parse.urlsplit(url)

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement, committed; a connection of its own, so that restarts don't matter."""
        import pymysql  # noqa: PLC0415 - only these tests need the driver

        connection = pymysql.connect(
            host=self._parts.hostname,
            port=self._parts.port or 3306,
            user=self._parts.username,
            database=self._parts.path[1:],
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return [tuple(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    def value(self, statement: str, *values: object) -> object:
        """The first column of the first row, or None."""
        found = self.rows(statement, *values)
        return found[0][0] if found else None

    def insert_jobs(
        self,
        count: int,
        command: str,
        *,
        key: str = "default",
        interval: str = "01:00:00",
        next_run: str = FAR,
    ) -> None:
        """As the ancestor's operators did it: its columns, nothing else."""
        self.rows(
            "INSERT INTO jobs (name, `interval`, next_run, routing_key, command, run_now, category_id)"
            " SELECT CONCAT('job ', seq), CONCAT('1970-01-01 ', %s), %s, %s, %s, 0, NULL"
            f" FROM seq_1_to_{count}",
            interval,
            next_run,
            key,
            command,
        )

    def make_due(self, where: str = "TRUE") -> None:
        """All of these jobs, in the second that has just begun."""
        self.rows(f"UPDATE jobs SET next_run = UTC_TIMESTAMP() WHERE {where}")

    def run_now(self, where: str = "TRUE") -> None:
        self.rows(f"UPDATE jobs SET run_now = 1 WHERE {where}")

    def states(self) -> Counter[str]:
        return Counter({str(state): int(str(n)) for state, n in self.rows(
            "SELECT state, COUNT(*) FROM runs GROUP BY state")})  # fmt: skip

    def state(self) -> str:
        """Of the only run, '' while there is none."""
        states = [str(state) for (state,) in self.rows("SELECT state FROM runs")]
        assert len(states) <= 1, states
        return "".join(states)

    def run(self) -> Run:
        """The only run, which must be there."""
        found = self.rows(
            "SELECT run_id, state, attempt, reason, return_code, `signal`,"
            " UNIX_TIMESTAMP(started_at), UNIX_TIMESTAMP(finished_at), runner FROM runs"
        )
        assert len(found) == 1, found
        return Run(*found[0])  # type: ignore[arg-type]  # columns in their types

    def output(self, run_id: str) -> bytes:
        """What of a run's output has arrived."""
        found = self.rows("SELECT data FROM run_output WHERE run_id = %s ORDER BY start", run_id)
        return b"".join(bytes(data) for (data,) in found)  # type: ignore[call-overload]  # a BLOB

    def open_alerts(self) -> set[tuple[str, str]]:
        """(kind, subject)."""
        found = self.rows("SELECT kind, subject FROM alerts WHERE closing = ''")
        return {(str(kind), str(subject)) for kind, subject in found}

    def summary(self) -> str:
        """The ledger by state and reason, and the alerts that are open."""
        groups = self.rows(
            "SELECT state, attempt, reason, runner, COUNT(*) FROM runs GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC"
        )
        alerts = self.rows("SELECT kind, subject, message FROM alerts WHERE closing = ''")
        return "\n".join(["---- the ledger", *map(str, groups), "---- open alerts", *map(str, alerts)])


@dataclass(frozen=True)
class Run:
    """A row of the ledger; instants are seconds since the epoch."""

    run_id: str
    state: str
    attempt: int
    reason: str | None
    return_code: int | None
    signal: int | None
    started_at: float | None
    finished_at: float | None
    runner: str | None


class Broker:
    """A virtual host as somebody with the broker's console sees it."""

    def __init__(self, server: RabbitMQ, url: str) -> None:
        self.url = url
        self._server = server
        self._vhost = urllib.parse.unquote(url.rpartition("/")[2])

    def counts(self, queue: str) -> tuple[int, int]:
        """Messages of a queue: (ready, delivered and not acked)."""
        name = f'rabbit_misc:r(<<"{self._vhost}">>, queue, <<"{queue}">>)'
        said = self._server.evaluate(
            f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), "
            "rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged])"
        )
        ready, unacked = re.findall(r"\d+", said)
        return int(ready), int(unacked)

    def declare(self, queue: str, key: str, arguments: Mapping[str, object] | None = None) -> None:
        """A queue of somebody else's, bound to the exchange, which is made if it is not there."""
        with self._channel() as channel:
            channel.exchange_declare("cronq", "direct", durable=True)
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, "cronq", key)

    def publish(self, key: str, *bodies: bytes) -> None:
        """To the exchange, by anybody's client; blocks until the broker has them."""
        with self._channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("cronq", key, body, mandatory=True)

    def take_all(self, queue: str) -> list[tuple[Mapping[str, object], bytes]]:
        """Take every message that is ready out of a queue: (headers, body)."""
        taken = []
        with self._channel() as channel:
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                taken.append((got[1].headers or {}, got[2]))
        return taken

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        import pika  # noqa: PLC0415 - only these tests need it

        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            connection.close()


@dataclass(frozen=True)
class Answer:
    """Of the API; `json` is None where the body is none."""

    status: int
    text: str
    json: Any


class Api:
    """The web as a client without a login sees it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Any answer is one, errors too; raises OSError where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, method=method)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            asked.add_header(name, value)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return _answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.read())

    def get(self, path: str) -> Any:
        """The JSON of a page that must be there."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def put_category(self, name: str, *jobs: Mapping[str, object]) -> None:
        answer = self.ask("PUT", f"/api/category/{name}", {"category": name, "jobs": jobs})
        assert answer.status in (200, 201), answer

    def runs(self, **wanted: str) -> list[dict[str, Any]]:
        """The newest first."""
        query = urllib.parse.urlencode(wanted)
        found: list[dict[str, Any]] = self.get(f"/api/runs?{query}")["data"]["runs"]
        return found

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/runs/{run_id}")["data"]["run"]
        return found

    def output(self, run_id: str) -> str:
        return self.ask("GET", f"/api/runs/{run_id}/output").text


def _answer(status: int, body: bytes) -> Answer:
    text = body.decode(errors="replace")
    try:
        return Answer(status, text, json.loads(text))
    except ValueError:
        return Answer(status, text, None)

"""`cronq-web` as a process: how it begins, answers, refuses, and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from cronq.store import migrate, open_store
from tests.integration.web_api.support import SECRET_KEY, job

pytestmark = pytest.mark.system

DEADLINE_S = 30.0
CRONQ_WEB = [sys.executable, "-c", "from cronq.web import command; command()"]


class Web:
    """One process, and the lines of its stderr so far."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.popen = subprocess.Popen(
            command,
            env={**inherited, "HOME": str(folder), **environ},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        assert self.popen.stderr
        self._reader = threading.Thread(target=self._read, args=(self.popen.stderr,), daemon=True)
        self._reader.start()

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern: str) -> re.Match[str]:
        """The first line that matches; waits for it."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            found = [match for line in list(self.lines) if (match := re.search(pattern, line))]
            if found:
                return found[0]
            self._reader.join(0.02)
        raise AssertionError(f"no line {pattern!r} in: " + "\n".join(self.lines))

    def wait(self) -> int:
        """Its exit code; all its lines have been read then."""
        code = self.popen.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            self.wait()
        if self.popen.stderr:
            self.popen.stderr.close()


Start = Callable[..., Web]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a web process with a SQLite database and any free port; the arguments are its environment."""
    started: list[Web] = []
    standard = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/cronq.db",
        "CRONQ_SECRET_KEY": SECRET_KEY,
        "CRONQ_LOG_FORMAT": "json",
        "PORT": "0",
    }

    def make(command: list[str] | None = None, **environ: str) -> Web:
        merged = {name: value for name, value in {**standard, **environ}.items() if value}
        started.append(Web(command or CRONQ_WEB, merged, tmp_path))
        return started[-1]

    yield make
    for web in started:
        web.close()


@pytest.fixture
def migrated(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/cronq.db")
    migrate.upgrade(store)
    store.close()


def url_of(web: Web) -> str:
    return web.find(r'"url": "(http://[^"]+)/"')[1]


def test_it_says_ready_answers_on_loopback_and_ends_with_0_on_sigterm(
    start: Start, migrated: None, tmp_path: Path
) -> None:
    web = start()
    web.find("^ready web$")
    url = url_of(web)

    put = httpx.put(f"{url}/api/category/ops", json={"jobs": [job()]})
    ordered = httpx.post(f"{url}/api/jobs/1/run")
    page = httpx.get(f"{url}/")
    web.popen.send_signal(signal.SIGTERM)
    code = web.wait()

    assert url.startswith("http://127.0.0.1:")
    assert put.json()["status"] == "success"
    assert ordered.status_code == 202
    assert page.status_code == 200
    assert code == 0
    assert [line for line in web.lines if line.startswith("ready")] == ["ready web"]
    assert not (tmp_path / ".gunicorn").exists()


def test_sigint_ends_it_with_0(start: Start, migrated: None) -> None:
    web = start()
    web.find("^ready web$")

    web.popen.send_signal(signal.SIGINT)

    assert web.wait() == 0


def test_it_is_ready_only_when_the_tables_are_there(start: Start, tmp_path: Path) -> None:
    web = start()
    url = url_of(web)

    assert httpx.get(f"{url}/readyz", timeout=DEADLINE_S).status_code == 503
    assert "ready web" not in web.lines
    store = open_store(f"sqlite:///{tmp_path}/cronq.db")
    migrate.upgrade(store)
    store.close()

    web.find("^ready web$")
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_wrong_settings_end_it_with_78_and_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = {
            "CRONQ_SECRET_KEY is not set.*token_hex": {"CRONQ_SECRET_KEY": ""},
            "CRONQ_SECRET_KEY: .*placeholder": {"CRONQ_SECRET_KEY": "changeme-changeme"},
            "DATABASE_URL is not set": {"DATABASE_URL": ""},
            "PORT: 'http'": {"PORT": "http"},
            "PORT: cannot listen .*EADDRINUSE": {"PORT": str(taken.getsockname()[1])},
            "PORT: cannot listen on 192.0.2.1": {"LISTEN_INTERFACE": "192.0.2.1"},
            "CRONQ_AUTH: 'none' is allowed on a loopback": {
                "CRONQ_AUTH": "none",
                "LISTEN_INTERFACE": "0.0.0.0",
            },
        }
        webs = [(words, start(**environ)) for words, environ in cases.items()]
        for words, web in webs:
            assert web.wait() == 78, web.lines
            assert len(web.lines) == 1, web.lines
            assert re.search(words, web.lines[0]), web.lines


@pytest.mark.parametrize(
    "target", ["cronq.web:create_app()", "cronq.web:app", "cronq.web:make_application()"]
)
def test_gunicorn_serves_it_by_every_name(start: Start, migrated: None, target: str) -> None:
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", target]
    web = start(gunicorn)
    url = web.find(r"Listening at: (http://[^ ]+)")[1]

    answer = httpx.get(f"{url}/readyz", timeout=DEADLINE_S)

    assert answer.status_code == 200


def test_gunicorn_gives_up_where_the_secret_key_is_missing(start: Start) -> None:
    gunicorn = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        "127.0.0.1:0",
        "--no-control-socket",
        "cronq.web:app",
    ]
    web = start(gunicorn, CRONQ_SECRET_KEY="")

    assert web.wait() != 0
    assert any("CRONQ_SECRET_KEY is not set" in line for line in web.lines)


ODD_BYTES = {
    "overlong UTF-8": b"GET /api/jobs/%C0%AE%C0%AE HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "raw bytes in the path": b"GET /api/jobs/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control byte in the path": b"GET /api/jobs/\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /api/jobs HTTP/1.1\r\n\r\n",
    "an odd host": b"GET /api/jobs HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a port that is none": b"GET /api/jobs HTTP/1.1\r\nHost: localhost:abc\r\n\r\n",
    "an absolute form": b"GET http://evil.example/api/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a line that is too long": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": (
        b"PUT /api/category/x HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"
    ),
    "a length that is none": b"PUT /api/category/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "a body shorter than it says": (
        b"PUT /api/category/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"jobs": []}'
    ),
    "a broken chunk": (
        b"PUT /api/category/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    ),
    "a body that says it is far too long": (
        b"PUT /api/category/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999999\r\n\r\n{}"
    ),
}


def test_odd_bytes_on_the_wire_get_an_answer_below_500_and_break_nothing(
    start: Start, migrated: None
) -> None:
    web = start()
    web.find("^ready web$")
    url = url_of(web)
    port = int(url.rpartition(":")[2])

    for what, sent in ODD_BYTES.items():
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        first = answer.partition(b"\r\n")[0].split(b" ")
        assert not answer or int(first[1]) < 500, (what, answer[:300])
        assert b"Traceback" not in answer, what

    assert httpx.get(f"{url}/api/categories").json()["data"] == {"categories": []}
    assert not [line for line in web.lines if '"level": "error"' in line], web.lines


def test_a_body_in_chunks_is_read_and_its_limit_holds(start: Start, migrated: None) -> None:
    url = url_of(start())

    def chunks(size: int) -> Iterator[bytes]:
        yield json.dumps({"jobs": [job()]}).encode()
        for _ in range(size // 65_536):
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    small = httpx.put(f"{url}/api/category/ops", content=chunks(65_536), headers=headers, timeout=DEADLINE_S)
    large = httpx.put(
        f"{url}/api/category/ops", content=chunks(17 << 20), headers=headers, timeout=DEADLINE_S
    )

    assert small.json()["added"] == ["backup"]
    assert large.status_code == 413
    assert large.json()["type"] == "/docs/errors/too_large"

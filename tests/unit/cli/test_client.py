"""What the client makes of all that may stand at CRONQ_URL."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cronq.cli import client as client_module
from cronq.cli import main
from cronq.cli.client import connect
from cronq.domain.errors import ConfigError
from cronq.runtime import log
from cronq.runtime.table import known_names
from tests.servers import free_port

TOKEN = "t0k3n-of-the-api-9Zq"
PROBLEM = "application/problem+json"
LETTER = {"id": 3, "queue": "q", "reason": "r", "at": "2026-11-21T12:00:00Z", "body_bytes": 1}


class Site(ThreadingHTTPServer):
    """Answers every request alike, and remembers them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.kind, self.body = 200, "application/json", b"{}"
        self.extra: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int, body: object, kind: str = "application/json", **extra: str) -> None:
        self.status, self.kind, self.extra = status, kind, extra
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def _respond(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), sent))
        self.send_response(self.server.status)
        for name, value in self.server.extra.items():
            self.send_header(name, value)
        if self.server.status != 204:
            self.send_header("Content-Type", self.server.kind)
            self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        if self.server.status != 204:
            self.wfile.write(self.server.body)

    do_GET = do_POST = do_DELETE = _respond

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at `asked`."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line in an environment of these variables: its exit code, stdout and stderr."""
    monkeypatch.setattr(log, "configure", lambda *_: None)
    for name in known_names() | {"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}:
        monkeypatch.delenv(name, raising=False)

    def run(*args: str, **environ: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(args=list(args), prog_name="cronq")
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in err
        return ended.value.code, out, err

    return run


def test_the_token_and_the_query_are_sent_as_they_must_be(cli: Cli, site: Site) -> None:
    site.answer(200, {"data": {"dead_letters": [LETTER]}, "next_cursor": None})

    code, out, err = cli(
        "dead", "ls", "--queue", "a b&c", "-o", "json", CRONQ_URL=f"{site.url}/prefix/", CRONQ_TOKEN=TOKEN
    )

    assert (code, json.loads(out), err) == (0, [LETTER], "")
    [(method, path, headers, _)] = site.asked
    assert (method, path) == ("GET", "/prefix/api/dead-letters?queue=a+b%26c&limit=100")
    assert headers["Authorization"] == f"Bearer {TOKEN}"


def test_without_a_token_none_is_sent(cli: Cli, site: Site) -> None:
    site.answer(200, {"data": {"dead_letters": []}, "next_cursor": None})

    assert cli("dead", "ls", CRONQ_URL=site.url)[0] == 0
    assert "Authorization" not in site.asked[0][2]


def test_the_token_wins_over_a_name_in_the_address_which_nobody_sees(cli: Cli, site: Site) -> None:
    url = site.url.replace("//", "//ann:hunter2@")
    site.answer(500, b"<html>", "text/html")

    _, out, err = cli("dead", "ls", CRONQ_URL=url, CRONQ_TOKEN=TOKEN)

    assert site.asked[0][2]["Authorization"] == f"Bearer {TOKEN}"
    assert "hunter2" not in out + err


def test_an_answer_without_content_is_none(site: Site, cli: Cli) -> None:
    site.answer(204, b"")

    assert cli("dead", "drop", "7", CRONQ_URL=site.url) == (0, "1 dead letter dropped\n", "")
    assert [(method, path) for method, path, *_ in site.asked] == [("DELETE", "/api/dead-letters/7")]


def test_a_list_is_read_page_by_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRONQ_URL", site.url)
    site.answer(200, {"data": {"runs": [{"id": n} for n in range(100)]}, "next_cursor": "x"})

    with connect() as asking:
        found = list(asking.listed("/api/runs", "runs", {"state": None}, most=250))

    assert len(found) == 300, "the site does not heed the limit"
    assert [path for _, path, *_ in site.asked] == [
        "/api/runs?limit=100",
        "/api/runs?limit=100&cursor=x",
        "/api/runs?limit=50&cursor=x",
    ]


def problem(status: int, title: str, detail: str, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"status": status, "title": title, "detail": detail, "errors": list(errors)}


def wrong(message: str, pointer: str = "", hint: str = "") -> dict[str, str]:
    return {"code": "c", "pointer": pointer, "message": message, "hint": hint}


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        (problem(404, "Not there", "no letter 7", wrong("no letter 7")), ["cronq: Not there: no letter 7"]),
        (
            problem(403, "No", "not from here", wrong("not from here", hint="set it")),
            ["cronq: No: not from here; set it"],
        ),
        (
            problem(422, "Invalid", "a (the first of 2 problems)", wrong("a", "/x", "do b"), wrong("c")),
            ["cronq: Invalid", "  /x: a; do b", "  c"],
        ),
        (problem(409, "Conflict", "it is over"), ["cronq: Conflict: it is over"]),
        ({"errors": 7}, ["cronq: refused without a reason"]),
        ({"title": ["odd"], "errors": [None, "x"]}, ["cronq: ['odd']", "  ", "  "]),
        (problem(400, "Bad\x1b[31m", "two\nlines"), ["cronq: Bad\\x1b[31m: two lines"]),
    ],
)
def test_a_problem_is_told_in_its_own_words(
    cli: Cli, site: Site, told: dict[str, Any], lines: list[str]
) -> None:
    site.answer(int(told.get("status", 400)), told, PROBLEM)

    code, out, err = cli("dead", "show", "7", CRONQ_URL=site.url, CRONQ_TOKEN=TOKEN)

    assert (code, out, err.splitlines()) == (1, "", lines)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ({}, "wants a token; set CRONQ_TOKEN"),
        ({"CRONQ_TOKEN": TOKEN}, "does not accept this token; set CRONQ_TOKEN to a valid one"),
    ],
)
def test_a_wrong_token_is_one_line_that_does_not_show_it(
    cli: Cli, site: Site, token: dict[str, str], said: str
) -> None:
    site.answer(401, problem(401, "t", "d", wrong("d", hint=f"not {TOKEN}")), PROBLEM)

    code, _, err = cli("dead", "ls", CRONQ_URL=site.url, **token)

    assert (code, err) == (1, f"cronq: {site.url} {said}\n")


STRANGE: list[tuple[tuple[int, bytes, str], str]] = [
    ((502, b"<html>bad gateway", "text/html"), "answered 502 Bad Gateway with text/html, which is not"),
    ((200, b"<html>welcome", "text/html; charset=utf-8"), "answered 200 OK with text/html, which is not"),
    ((200, b"{", "application/json"), "answered 200 OK with application/json"),
    ((200, b"[]", "application/json"), "answered 200 OK with application/json"),
    ((200, b"[" * 100_000, "application/json"), "answered 200 OK with application/json"),
    ((200, b"\xff", "application/json"), "answered 200 OK with application/json"),
    ((500, b"no", PROBLEM), f"answered 500 Internal Server Error with {PROBLEM}"),
    ((200, b"{}", "application/json"), "has no dead_letters"),
    ((200, b'{"data": {"dead_letters": {}}}', "application/json"), "has no dead_letters"),
    ((200, b"x", "a\x1b[31mb/c"), "answered 200 OK with a\\x1b[31mb/c"),
]


@pytest.mark.parametrize(("answer", "said"), STRANGE)
def test_what_is_no_api_of_ours_is_one_line(
    cli: Cli, site: Site, answer: tuple[int, bytes, str], said: str
) -> None:
    site.answer(*answer)

    code, out, err = cli("dead", "ls", CRONQ_URL=site.url, CRONQ_TOKEN=TOKEN)

    assert (code, out, len(err.splitlines())) == (69, "", 1)
    assert said in err


def test_a_redirect_is_not_followed_with_the_token(cli: Cli, site: Site) -> None:
    site.answer(302, b"", "text/html", Location=f"{site.url}/elsewhere")

    code, _, err = cli("dead", "ls", CRONQ_URL=site.url, CRONQ_TOKEN=TOKEN)

    assert (code, len(site.asked)) == (69, 1)
    assert err == f"cronq: {site.url} leads elsewhere (302 Found); set CRONQ_URL to where CronQ is\n"


def test_where_nobody_listens_it_says_so(cli: Cli) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    code, _, err = cli("dead", "ls", CRONQ_URL=url, CRONQ_TOKEN=TOKEN)

    assert (code, err) == (69, f"cronq: {url} can't be reached: [Errno 111] Connection refused\n")


def test_a_name_that_nobody_knows_is_one_line(cli: Cli) -> None:
    code, _, err = cli("dead", "ls", CRONQ_URL="http://cronq.invalid", CRONQ_TOKEN=TOKEN)

    assert (code, len(err.splitlines())) == (69, 1)
    assert err.startswith("cronq: http://cronq.invalid can't be reached: ")


def test_one_that_never_answers_is_not_waited_for_for_ever(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        code, _, err = cli("dead", "ls", CRONQ_URL=url, CRONQ_TOKEN=TOKEN)

    assert (code, err) == (69, f"cronq: {url} does not answer in time\n")


def test_one_that_hangs_up_is_one_line(cli: Cli) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as rude:

        def hang_up() -> None:
            rude.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        code, _, err = cli("dead", "ls", CRONQ_URL=f"http://127.0.0.1:{rude.getsockname()[1]}")
        thread.join()

    assert (code, len(err.splitlines())) == (69, 1)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "neither CRONQ_URL nor DATABASE_URL is set"),
        ({"CRONQ_URL": "ftp://x"}, "CRONQ_URL: 'ftp://x' is not a web address"),
        ({"CRONQ_URL": "http://é..x"}, "CRONQ_URL: 'http://é..x' is not a web address"),
        ({"CRONQ_URL": "http://x", "CRONQ_TOKEN": f"{TOKEN} é"}, "CRONQ_TOKEN"),
    ],
)
def test_a_wrong_setting_is_one_line(cli: Cli, environ: dict[str, str], said: str) -> None:
    code, _, err = cli("dead", "ls", **environ)

    assert (code, len(err.splitlines())) == (78, 1)
    assert said in err
    assert TOKEN not in err


def test_with_no_address_nothing_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_names():
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigError, match="CRONQ_URL"):
        connect()


def test_over_http_no_server_library_is_needed(site: Site) -> None:
    site.answer(200, {"data": {"dead_letters": [LETTER]}, "next_cursor": None})
    hidden = ("alembic", "cryptography", "flask", "flask_wtf", "gunicorn", "pymysql", "sqlalchemy")
    script = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import cronq.cli; cronq.cli.main()"

    ran = subprocess.run(
        [sys.executable, "-c", script, "dead", "ls"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"CRONQ_URL": site.url},
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[1].split() == ["3", "2026-11-21T12:00:00Z", "q", "1", "r"]


@pytest.mark.parametrize(
    "args",
    [
        ("dead", "retry"),
        ("dead", "drop"),
        ("dead", "retry", "1", "--all"),
        ("dead", "drop", "1", "--queue", "q"),
        ("dead", "show", "x"),
        ("dead", "show", "0"),
        ("runs", "ls", "--job", "nightly"),
        ("runs", "ls", "--limit", "0"),
        ("cancel",),
    ],
)
def test_a_wrong_command_line_is_64_and_asks_nobody(cli: Cli, site: Site, args: tuple[str, ...]) -> None:
    code, _, err = cli(*args, CRONQ_URL=site.url)

    assert (code, site.asked) == (64, [])
    assert "Error: " in err

"""Commands that speak the API: through the application itself, and over HTTP to a served one."""

from __future__ import annotations

import io
import json
import pwd
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import getuid
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from structlog.testing import capture_logs

from cronq.cli import main
from cronq.domain.run import State
from cronq.runtime import log
from cronq.runtime.config import load
from cronq.runtime.table import known_names
from cronq.store import Store, dead_letters, migrate, now, open_store
from cronq.store.dead_letters import CUT, Letter
from cronq.web import create_app
from tests.factories import NOON, Row, definition, insert_run, job_named, put, select
from tests.servers import free_port

TOKEN = "t0k3n-of-the-api-9Zq"
USER = f"{pwd.getpwuid(getuid()).pw_name} on the command line"

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Store]:
    made = open_store(sqlite_url)
    migrate.upgrade(made)
    yield made
    made.close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served(db: Store, home: Path) -> Iterator[str]:
    """The URL of the application on a port of its own; it wants TOKEN."""
    environ = {"DATABASE_URL": "sqlite:///unused.db", "CRONQ_SECRET_KEY": "6f2d9a3c5b7e1408" * 2}
    settings = load({**environ, "CRONQ_API_TOKEN": TOKEN, "HOME": str(home)})
    port = free_port()
    server = make_server("127.0.0.1", port, create_app(settings, db), handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(params=["direct", "http"])
def way(request: pytest.FixtureRequest, db: Store, sqlite_url: str, tmp_path: Path) -> Iterator[Row]:
    """The environment of a command line that has the database, or of one that has the web's address."""
    if request.param == "direct":
        # A token that the web would ask for is nothing to who has the database.
        yield {"DATABASE_URL": sqlite_url, "CRONQ_API_TOKEN": TOKEN, "by": USER}
    else:
        with served(db, tmp_path) as url:
            yield {"CRONQ_URL": url, "CRONQ_TOKEN": TOKEN, "by": "api token"}


@pytest.fixture
def cli(way: Row, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line: its exit code, stdout and stderr."""
    monkeypatch.setattr(log, "configure", lambda *_: None)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)
    for name, value in way.items():
        if name != "by":
            monkeypatch.setenv(name, value)

    def run(*args: str) -> tuple[int, str, str]:
        with capture_logs(), pytest.raises(SystemExit) as ended:
            main(args=list(args), prog_name="cronq")
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert TOKEN not in out + err
        return ended.value.code, out, err

    return run


def keep(db: Store, count: int = 1, *, queue: str = "cronq_results", reason: str = "garbage") -> list[int]:
    """The ids of so many new letters."""
    with db.begin() as tx:
        before = {row["id"] for row in dead_letters.listed(tx, limit=10_000)}
        made = [Letter(f"{len(before) + n:032x}", queue, reason, b"a\xff\x1b[31m") for n in range(count)]
        dead_letters.keep(tx, made, now(tx))
        return sorted(row["id"] for row in dead_letters.listed(tx, limit=10_000) if row["id"] not in before)


def left(db: Store) -> list[int]:
    return [row["id"] for row in select(db, "SELECT id FROM dead_letters ORDER BY id")]


def wanted(db: Store) -> dict[int, str]:
    found = select(db, "SELECT id, requested_by FROM dead_letters WHERE retry_requested_at IS NOT NULL")
    return {row["id"]: row["requested_by"] for row in found}


def test_letters_are_listed(db: Store, cli: Cli) -> None:
    ids = keep(db, 130) + keep(db, 2, queue="cronq_claims", reason="odd \x1b[31m")

    code, out, err = cli("dead", "ls")
    assert (code, err, len(out.splitlines())) == (0, "", 133)
    assert out.splitlines()[0].split() == ["ID", "AT", "QUEUE", "BYTES", "REASON"]
    assert out.splitlines()[1].endswith("cronq_claims   7      odd \\x1b[31m")

    found = json.loads(cli("dead", "ls", "-o", "json")[1])
    assert [letter["id"] for letter in found] == ids[::-1]
    picked = json.loads(cli("dead", "ls", "--queue", "cronq_claims", "-o", "json")[1])
    assert [letter["id"] for letter in picked] == ids[:-3:-1]


def test_one_is_shown_so_that_no_terminal_obeys_it(db: Store, cli: Cli) -> None:
    [letter] = keep(db)

    code, out, _ = cli("dead", "show", str(letter))
    assert code == 0
    assert out.splitlines()[-1] == "a\N{REPLACEMENT CHARACTER}\\x1b[31m"
    assert out.splitlines()[2].split() == ["queue", "cronq_results"]

    found = json.loads(cli("dead", "show", str(letter), "-o", "json")[1])
    assert (found["id"], found["body_bytes"], found["body_base64"]) == (letter, 7, "Yf8bWzMxbQ==")


def test_letters_are_ordered_to_be_sent_again_by_whoever_asks(db: Store, cli: Cli, way: Row) -> None:
    one, two, three = keep(db, 3)

    assert cli("dead", "retry", str(one), str(three)) == (0, "2 dead letters will be sent again\n", "")

    assert wanted(db) == dict.fromkeys((one, three), way["by"])
    assert left(db) == [one, two, three]


def test_all_letters_or_those_of_a_queue_are_sent_again(db: Store, cli: Cli) -> None:
    results, claims = keep(db, 2), keep(db, 2, queue="cronq_claims")

    assert cli("dead", "retry", "--all", "--queue", "cronq_claims")[0] == 0
    assert sorted(wanted(db)) == claims
    assert cli("dead", "retry", "--all")[0] == 0
    assert sorted(wanted(db)) == results + claims


def test_what_can_not_be_sent_again_is_said_and_the_others_are(db: Store, cli: Cli) -> None:
    [cut], [good] = keep(db, reason=f"large{CUT}"), keep(db)

    code, out, err = cli("dead", "retry", "999", str(cut), str(good))

    assert (code, out) == (1, "1 dead letter will be sent again\n")
    assert [line.rpartition(": ")[2] for line in err.splitlines()] == [
        "no dead letter has the id 999",
        f"dead letter {cut} can't be sent again: only the head of its body is kept".rpartition(": ")[2],
    ]
    assert list(wanted(db)) == [good]


def test_letters_are_dropped(db: Store, cli: Cli) -> None:
    one, two, three = keep(db, 3)

    assert cli("dead", "drop", str(one), str(three)) == (0, "2 dead letters dropped\n", "")

    assert left(db) == [two]


def test_dropping_all_asks_first(db: Store, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = keep(db, 2)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, out, err = cli("dead", "drop", "--all")
    assert (code, left(db)) == (1, ids)
    assert "Drop 2 dead letters for good?" in out + err
    assert "nothing was dropped" in err

    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli("dead", "drop", "--all")[0] == 0
    assert left(db) == []


def test_dropping_all_with_yes_asks_nobody(db: Store, cli: Cli) -> None:
    keep(db, 2)

    assert cli("dead", "drop", "--all", "--yes") == (0, "2 dead letters dropped\n", "")
    assert cli("dead", "drop", "--all") == (0, "0 dead letters dropped\n", "")
    assert left(db) == []


# -- runs


def ordered(db: Store, name: str = "nightly / dump") -> str:
    """A run of a job that waits."""
    from cronq.domain.run import Trigger  # noqa: PLC0415 - of this helper alone
    from cronq.store import requests  # noqa: PLC0415

    put(db, definition("other"), definition(name), category="shop")
    job = job_named(db, name)
    return db.transact(lambda tx: requests.request_run(tx, requests.Wish(job.id, Trigger.API), now(tx)))


def test_runs_are_listed_by_job_and_state(db: Store, cli: Cli) -> None:
    run_id = ordered(db)
    job_id = job_named(db, "nightly / dump").id

    for job in ("shop/nightly / dump", str(job_id)):
        found = json.loads(cli("runs", "ls", "--job", job, "--state", "scheduled,queued", "-o", "json")[1])
        assert [run["id"] for run in found] == [run_id]
    assert json.loads(cli("runs", "ls", "--job", "shop/other", "-o", "json")[1]) == []
    code, out, _ = cli("runs", "ls", "--limit", "1")
    assert (code, len(out.splitlines())) == (0, 2)
    assert out.splitlines()[1].startswith(f"{run_id}  shop")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--job", "shop/nobody"), "there is no job 'nobody' in a category 'shop'"),
        (("--job", "nowhere/nobody"), "there is no job 'nobody' in a category 'nowhere'"),
        (("--state", "odd"), '"odd" is not allowed'),
    ],
)
def test_a_list_of_what_is_not_there_is_one_line(
    db: Store, cli: Cli, args: tuple[str, str], said: str
) -> None:
    ordered(db)

    code, _, err = cli("runs", "ls", *args)

    assert (code, len(err.splitlines())) == (1, 1)
    assert said in err


def test_a_run_is_cancelled_once(db: Store, cli: Cli, way: Row) -> None:
    run_id = ordered(db)

    assert cli("cancel", run_id) == (0, f"run {run_id} is cancelled\n", "")
    code, _, err = cli("cancel", run_id)

    assert (code, len(err.splitlines())) == (1, 1)
    assert f"run {run_id} is over: cancelled" in err
    [row] = select(db, "SELECT reason FROM runs")
    assert row["reason"] == f"cancelled_by {way['by']}"


@pytest.mark.parametrize("run", ["x", "../jobs", "0" * 32, "%2e"])
def test_what_is_no_run_can_not_be_cancelled(cli: Cli, run: str) -> None:
    code, out, err = cli("cancel", run)

    assert (code, out, len(err.splitlines())) == (1, "", 1)


# -- limits and why


def test_a_limit_is_set_listed_and_dropped(db: Store, cli: Cli, way: Row) -> None:
    assert cli("limits", "set", "lock", "db-main", "--capacity", "5") == (
        0,
        "lock db-main: 5 at once; 0 in use, 0 waiting\n",
        "",
    )
    code, out, _ = cli("limits", "set", "queue", "gpu", "--capacity", "3", "--rate", "100/1m", "-o", "json")
    assert (code, json.loads(out)["rate"]) == (0, "100/1m")

    code, out, _ = cli("limits", "ls")
    assert (code, out.splitlines()[0].split()[:3]) == (0, ["KIND", "NAME", "AT"])
    assert [line.split()[:4] for line in out.splitlines()[1:]] == [
        ["lock", "db-main", "5", "-"],
        ["queue", "gpu", "3", "100/1m"],
    ]
    found = json.loads(cli("limits", "ls", "-o", "json")[1])
    assert [limit["set_by"] for limit in found] == [way["by"]] * 2

    assert cli("limits", "drop", "queue", "gpu") == (0, "queue gpu has no limit any more\n", "")
    assert cli("limits", "drop", "queue", "gpu")[0] == 1
    assert [row["name"] for row in select(db, "SELECT name FROM gates WHERE capacity IS NOT NULL")] == [
        "lock:db-main"
    ]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("set", "lock", "x", "--capacity", "0"), 1, "capacity: 0 is not allowed; 1 to 100000 is"),
        (("set", "lock", "x", "--rate", "1/1m"), 1, "only a limit of kind queue or catch-up has a rate"),
        (("set", "category", "nowhere", "--capacity", "1"), 1, 'no category has the name "nowhere"'),
        (("set", "lock", "x"), 64, "give --capacity, --rate or both"),
        (("set", "lox", "x", "--capacity", "1"), 64, "'lox' is not one of"),
    ],
)
def test_a_limit_that_can_not_be_says_why(cli: Cli, args: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = cli("limits", *args)

    assert (ended, out) == (code, "")
    assert said in err


def test_why_answers_in_a_sentence(db: Store, cli: Cli) -> None:
    put(db, definition("nightly / dump", schedule="0 3 * * *"), category="shop")
    job_id = job_named(db, "nightly / dump").id

    code, out, err = cli("why", "shop/nightly / dump", "2199-01-01T03:30:00Z")
    assert (code, err) == (0, "")
    assert out == (
        "2199-01-01T03:30:00Z: It is no occurrence of the schedule: the last before is 2199-01-01T03:00:00Z,"
        " the next after is 2199-01-02T03:00:00Z.\n"
    )
    found = json.loads(cli("why", str(job_id), "2199-01-01T03:00:00", "-o", "json")[1])
    assert (found["job_id"], found["verdict"]) == (job_id, "not_due")
    assert cli("why", str(job_id), "2020-01-01T03:00:00Z")[1].startswith(
        "2020-01-01T03:00:00Z: The job did not exist then"
    )


def test_why_names_the_run_of_an_occurrence(db: Store, cli: Cli) -> None:
    put(db, definition(schedule="0 3 * * *"))
    run_id = insert_run(db, job_named(db).id, State.FAILED, at=NOON, return_code=3)

    assert cli("why", "cat/job", "2026-11-21T12:00:00Z") == (
        0,
        f"2026-11-21T12:00:00Z: It ran and failed with exit code 3.\nrun {run_id}\n",
        "",
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("cat/nobody",), "there is no job 'nobody'"),
        (("4711",), "Job not found for id 4711"),
        (("cat/job", "yesterday"), "is not a date and time"),
    ],
)
def test_why_of_what_is_not_there_is_one_line(db: Store, cli: Cli, args: tuple[str, ...], said: str) -> None:
    put(db, definition())

    code, out, err = cli("why", *args)

    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert said in err


# -- direct mode alone


def test_a_database_that_is_away_is_one_line() -> None:
    url = f"mysql+pymysql://u:hunter2@127.0.0.1:{free_port()}/x"

    ran = subprocess.run(
        [sys.executable, "-m", "cronq.cli", "dead", "ls"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"DATABASE_URL": url},
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "cronq: The database does not answer now: the database does not answer now;"
        " the same request may work later\n"
    )


@pytest.mark.parametrize("way", ["direct"], indirect=True)
def test_tables_that_are_not_there_are_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")

    code, _, err = cli("dead", "ls")

    assert (code, len(err.splitlines())) == (1, 1)
    assert "run `cronq db upgrade`" in err

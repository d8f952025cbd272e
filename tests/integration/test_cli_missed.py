"""`cronq missed` straight on a store: the outage board and orders about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cronq.cli import USAGE, main
from cronq.domain.run import State
from cronq.runtime.clock import utc_now
from cronq.store import Store, migrate, open_store
from tests.factories import HOUR, MINUTE, definition, insert_run, put, run_of, runs_of, states_of


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Cronq = Callable[..., Done]


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Store]:
    made = open_store(sqlite_url)
    migrate.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def cronq(
    db: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cronq:
    """Runs the command line, which has the database in its environment."""
    for name in [name for name in os.environ if name.startswith("CRONQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(args=["missed", *arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def ids(db: Store) -> list[str]:
    """Two occurrences that cat/a missed, one that cat/b did; an hour ago, by instant."""
    at = utc_now().replace(microsecond=0) - HOUR
    put(db, definition("a"), definition("b"), now=utc_now())
    return [
        insert_run(db, job_id, State.MISSED, at=at + k * MINUTE, reason="misfire")
        for job_id, k in ((1, 0), (1, 1), (2, 2))
    ]


def test_the_board_is_a_table_or_the_apis_objects(cronq: Cronq, ids: list[str]) -> None:
    heading, *lines = cronq().out.splitlines()

    assert heading.split()[:4] == ["RUN", "CATEGORY", "JOB", "SCHEDULED"]
    assert [line.split()[0] for line in lines] == sorted(ids, reverse=True)
    assert "misfire" in lines[0]
    found = json.loads(cronq("--job", "cat/a", "--since", "2h", "-o", "json").out)
    assert {row["run"] for row in found} == {*ids[:2]}
    assert json.loads(cronq("--since", "10m", "-o", "json").out) == []


def test_named_ones_run_and_the_same_again_says_why_not(cronq: Cronq, db: Store, ids: list[str]) -> None:
    done = cronq("run", *ids[:2])

    assert (done.code, done.out, done.err) == (0, "2 occurrences let out\n", "")
    assert states_of(db) == ["scheduled", "scheduled", "missed"]
    assert (run_of(db, ids[0])["actor"] or "").endswith(" on the command line")
    again = cronq("run", ids[0])
    assert again.code == 1
    assert f"{ids[0]}  it is scheduled: neither missed nor held" in again.out


def test_the_latest_of_each_job_runs(cronq: Cronq, db: Store, ids: list[str]) -> None:
    done = cronq("run", "--since", "2h", "--latest", "--every", "10s", "-o", "json")

    assert sorted(json.loads(done.out)["changed"]) == sorted(ids[1:])
    assert cronq("run", "--since", "2h", "--latest").out == "0 occurrences let out\n"


def test_all_of_a_category_is_skipped_with_a_reason(cronq: Cronq, db: Store, ids: list[str]) -> None:
    done = cronq("skip", "--since", "2h", "--category", "cat", "--all", "--reason", "done by hand")

    assert (done.code, done.out) == (0, "3 rows skipped\n")
    assert {r["reason"].partition(": ")[2] for r in runs_of(db)} == {"done by hand"}


def test_one_is_shifted(cronq: Cronq, db: Store, ids: list[str]) -> None:
    done = cronq("shift", ids[0], "--by", "2h")

    assert (done.code, done.out) == (0, "1 occurrence shifted\n")
    assert run_of(db, ids[0])["release_at"] > utc_now() + HOUR


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "name runs by their ids, or give --since"),
        (["run", "--since", "2h"], "give --latest or --all"),
        (["run", "a" * 32, "--since", "2h"], "not both"),
        (["shift", "a" * 32], "give either --by or --to"),
        (["shift", "a" * 32, "--by", "2h", "--to", "x"], "give either --by or --to"),
        (["--since", "2h", "run", "a" * 32], "options go behind run"),
    ],
)
def test_wrong_usage_exits_64(cronq: Cronq, arguments: list[str], said: str) -> None:
    done = cronq(*arguments)

    assert (done.code, done.out) == (USAGE, "")
    assert said in done.err


def test_what_the_api_refuses_exits_1(cronq: Cronq) -> None:
    assert cronq("run", "f" * 32).code == 1
    done = cronq("shift", "f" * 32, "--by", "soon")
    assert (done.code, "by: " in done.err) == (1, True)

"""`cronq audit` straight on a store: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from cronq.cli import USAGE, main
from cronq.runtime.clock import utc_now
from cronq.store import migrate, open_store
from tests.factories import MINUTE, insert_job, insert_run


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Cronq = Callable[..., Done]


@pytest.fixture
def cronq(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cronq:
    """Runs the command line, which has the database in its environment."""
    for name in [name for name in os.environ if name.startswith("CRONQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(args=["audit", *arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def first(sqlite_url: str) -> datetime:
    """Job 1 has occurrences at this instant and the two minutes after it, and rows for the last two."""
    db = open_store(sqlite_url)
    migrate.upgrade(db)
    at = utc_now().replace(microsecond=0) - 2 * MINUTE - timedelta(seconds=30)
    insert_job(db, interval=MINUTE, next_run=at, name="job", category_id=None)
    for k in (1, 2):
        insert_run(db, 1, at=at + k * MINUTE)
    db.close()
    return at


def written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_hole_is_named_and_exits_1(cronq: Cronq, first: datetime) -> None:
    done = cronq("--since", written(first), "-o", "json")

    report = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert (report["expected"], report["found"], report["doubles"]) == (3, 2, [])
    assert report["holes"] == [{"job_id": 1, "scheduled_for": written(first)}]


def test_without_a_finding_it_exits_0(cronq: Cronq, first: datetime) -> None:
    done = cronq("--since", written(first + MINUTE), "--until", written(first + 2 * MINUTE))

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("1 of 1 occurrences found, 0 missing, ")


def test_people_get_a_table_and_may_say_how_long_ago(cronq: Cronq, first: datetime) -> None:
    done = cronq("--since", "1h", "--job", "1")

    heading, hole, summary = done.out.splitlines()
    assert heading.split() == ["FINDING", "JOB", "ID", "SCHEDULED", "FOR", "RUNS"]
    assert hole.split() == ["HOLE", "1", written(first), "-"]
    assert summary.startswith("2 of 3 occurrences found, 1 missing, ")
    assert done.code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--since"),
        (("--since", "yesterday"), 'since: "yesterday" is not allowed; an RFC 3339 instant'),
        (("--since", "2026-01-01T00:00:00"), 'since: "2026-01-01T00:00:00" is not allowed'),
        (("--since", "1h", "--until", "2h"), "an instant up to until"),
        (("--since", "1h", "--job", "nope"), "names no job"),
        (("--since", "1h", "--job", "ops/nope"), "there is no job 'nope'"),
        (("--since", "1h", "--job", "99"), "Job not found for id 99"),
        (("--since", "1h", "--category", "nope"), "no category has the name"),
    ],
)
def test_a_question_that_makes_no_sense_is_wrong_usage(
    cronq: Cronq, first: datetime, arguments: tuple[str, ...], words: str
) -> None:
    done = cronq(*arguments)

    assert (done.code, done.out) == (USAGE, "")
    assert words in done.err

"""`cronq pause`, `snooze`, `resume`, `skip`, `pauses`: directly on the database, and over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from cronq.injector.expand import expand_once
from cronq.store import Store, now
from tests.factories import Row, by_hand, definition, execute, job_named, put
from tests.integration.test_cli_api import Cli, cli, db, way

__all__ = ["cli", "db", "way"]  # fixtures


@pytest.fixture
def jobs(db: Store) -> dict[str, int]:
    """Two jobs of a category."""
    put(db, definition("backup"), definition("report", routing_key="slow"), category="ops")
    return {name: job_named(db, name).id for name in ("backup", "report")}


def listed(cli: Cli) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(cli("pauses", "-o", "json")[1])
    return found


def expand(db: Store) -> None:
    """The injector comes back after ten minutes."""
    with db.read() as tx:
        at = by_hand(now(tx) - timedelta(minutes=10))
    execute(db, "UPDATE jobs SET next_run = :at, planned_run = :at", at=at)
    execute(db, "UPDATE pauses SET since = :at", at=at)
    expand_once(db, locked_by="host.1", window=10, publish_lease=timedelta(seconds=2))


def test_a_job_is_paused_and_its_resume_says_what_was_missed_and_what_runs(
    cli: Cli, db: Store, way: Row, jobs: dict[str, int]
) -> None:
    code, out, _ = cli("pause", "ops/backup", "--reason", "disk full")
    assert (code, out.partition(" since ")[0]) == (0, "job ops/backup is paused")
    assert out.endswith(", until it is resumed\n")
    expand(db)
    [pause] = listed(cli)
    assert (pause["name"], pause["reason"], pause["by"], pause["held"]) == (
        "ops/backup",
        "disk full",
        way["by"],
        1,
    )
    table = cli("pauses")[1].splitlines()
    assert table[0].split() == ["PAUSED", "SINCE", "UNTIL", "HELD", "BY", "REASON"]
    assert table[1].startswith("job ops/backup")
    assert table[1].endswith("disk full")

    code, out, _ = cli("resume", "ops/backup")

    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("job ops/backup is resumed; it was paused since ")
    assert second in [f"1 run goes on now; {n} occurrences missed, 0 skipped meanwhile" for n in (9, 10)]
    assert cli("resume", "ops/backup")[:2] == (0, "it was not paused\n")


def test_several_jobs_are_told_one_by_one(cli: Cli, db: Store, jobs: dict[str, int]) -> None:
    cli("pause", "--all")
    expand(db)

    _, out, _ = cli("resume", "--all")

    lines = out.splitlines()
    assert lines[1].startswith("2 runs go on now; ")
    assert [line.split()[0] for line in lines[2:]] == ["JOB", "ops/backup", "ops/report"]
    assert json.loads(cli("resume", "--all", "-o", "json")[1])["changed"] is False


@pytest.mark.parametrize(
    ("args", "subject", "what"),
    [
        (["--category", "ops"], "category:1", "category ops"),
        (["--queue", "slow"], "queue:slow", "queue slow"),
        (["--all"], "all", "everything"),
    ],
)
def test_more_than_a_job_is_paused(
    cli: Cli, jobs: dict[str, int], args: list[str], subject: str, what: str
) -> None:
    code, out, _ = cli("snooze", *args, "--for", "2h")

    assert code == 0
    assert out.startswith(f"{what} is paused since ")
    assert [p["subject"] for p in listed(cli)] == [subject]
    assert cli("resume", *args)[1].startswith(f"{what} is resumed")


def test_the_next_occurrences_are_skipped(cli: Cli, db: Store, jobs: dict[str, int]) -> None:
    assert cli("skip", str(jobs["backup"]))[1] == "the next 1 occurrence will be skipped\n"
    assert cli("skip", "--all", "-n", "3", "--reason", "holiday")[1] == (
        "the next 3 occurrences of each of 2 jobs will be skipped\n"
    )
    assert cli("skip", "ops/report", "-n", "0")[1] == "none is skipped\n"
    found = json.loads(cli("skip", "--category", "ops", "-n", "2", "-o", "json")[1])
    assert (found["remaining"], found["jobs"]) == (2, 2)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["pause"], 64, "name one: JOB, --category NAME, --queue KEY, or --all"),
        (["pause", "ops/backup", "--all"], 64, "name one"),
        (["skip"], 64, "name one: JOB, --category NAME, or --all"),
        (["skip", "ops/backup", "-n", "1001"], 64, "1001 is not in the range"),
        (["pause", "ops/nope"], 1, "there is no job 'nope'"),
        (["pause", "--category", "nope"], 1, "no category has the name"),
        (["pause", "--queue", "slwo"], 1, 'did you mean "slow"?'),
        (["pause", "ops/backup", "--until", "yesterday"], 1, 'until: "yesterday" is not allowed'),
        (["snooze", "ops/backup"], 1, "a snooze needs one of them"),
        (["snooze", "ops/backup", "--for", "2h", "--until", "2030-01-01T00:00:00Z"], 1, "both given"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cli: Cli, jobs: dict[str, int], args: list[str], code: int, said: str
) -> None:
    ended, _, err = cli(*args)

    assert ended == code
    assert said in err
    assert listed(cli) == []

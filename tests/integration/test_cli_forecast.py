"""`cronq forecast` straight on a store: the chart for people, the API's object for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cronq.cli import USAGE, main
from cronq.cli.forecast import _bar, _chart
from cronq.runtime.clock import utc_now
from cronq.store import Store, leases, migrate, now, open_store
from tests.factories import MINUTE, OURS, definition, heartbeat, put


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Cronq = Callable[..., Done]


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Store]:
    """Twenty-one jobs each hour, on a runner with four slots."""
    made = open_store(sqlite_url)
    migrate.upgrade(made)
    put(
        made,
        *(definition(f"j{n:02}", schedule="0 * * * *") for n in range(21)),
        category="ops",
        now=utc_now(),
    )
    with made.begin() as tx:
        at = now(tx)
        leases.beat(tx, [heartbeat(OURS, at=at, slots=4)], at, at + MINUTE)
    yield made
    made.close()


@pytest.fixture
def cronq(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cronq:
    """Runs the command line, which has the database in its environment."""
    for name in [name for name in os.environ if name.startswith("CRONQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(args=["forecast", *arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


def test_people_get_a_chart_with_the_worst_of_it_named(cronq: Cronq, db: Store) -> None:
    done = cronq("--hours", "48")

    first, unknown, _, queue, _, *rest = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert first.endswith(" UTC, 21 jobs")
    assert unknown == "each run of 21 jobs that never succeeded is taken to last 10 s"
    assert queue.startswith("default: 4 slots, ")
    assert "at most 21 runs at once, at " in queue
    assert sum(line.startswith("  20") for line in rest) in (2, 3)
    assert any(line.startswith("  ! 21 runs for 4 slots, ") for line in rest)
    [herd] = [line for line in rest if "herd" in line]
    assert ": 21 starts, 0." in herd
    assert herd.endswith("in a minute on average: ops/j00, ops/j01, ops/j02 and 18 more")
    assert rest[-1] == '    to spread them, write "H * * * *" for 21 of these jobs'


def test_programs_get_the_apis_object(cronq: Cronq, db: Store) -> None:
    done = cronq("--days", "2", "-o", "json")

    found = json.loads(done.out)
    assert found["step_s"] == 60
    assert len(found["queues"][0]["starts"]) == 2 * 24 * 60


def test_one_queue_is_shown_alone(cronq: Cronq, db: Store) -> None:
    assert "default:" in cronq("--queue", "default").out
    assert "default:" not in cronq("--queue", "slow").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--hours", "1", "--days", "1"), "exclude each other"),
        (("--hours", "0"), "--hours"),
        (("--days", "8"), "--days"),
        (("more",), "more"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(cronq: Cronq, arguments: tuple[str, ...], words: str) -> None:
    done = cronq(*arguments)

    assert (done.code, done.out) == (USAGE, "")
    assert words in done.err


def test_an_hour_stands_under_its_number() -> None:
    noon = utc_now().replace(hour=12, minute=0, second=0, microsecond=0)

    today, tomorrow = _chart([0] * 6 + [8] + [4] * 6, noon)

    axis = "  ".ljust(14) + "00    03    06    09    12    15    18    21"
    assert today.index("█") == axis.index("18")
    assert tomorrow.index("▄") == axis.index("00")
    assert today.endswith("at most 8")


def test_any_run_at_all_is_seen() -> None:
    assert [_bar(runs, 800) for runs in (0, 1, 100, 101, 800)] == ["·", "▁", "▁", "▂", "█"]

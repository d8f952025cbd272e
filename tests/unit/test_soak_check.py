"""The soak's checker finds what is wrong: it must not be able to be content with anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.soak.check import KEEPER_KILLED, Asked, Line, Window, check, read_lines
from tests.soak.jobs import KINDS, PERIODS_S, Job, Kind, make_jobs

BEGAN = 1_767_225_600.0  # 2026-01-01T00:00:00Z
QUICK, FAILING = (next(kind for kind in KINDS if kind.name == name) for name in ("quick", "failing"))
JOB = Job("a", QUICK, 10)
COUNT = 6

Rows = list[dict[str, Any]]
Spoil = Callable[[list[Line], Rows], None]


def asked(*faults: Window, kind: Kind = QUICK) -> Asked:
    """From the beginning on, until after COUNT occurrences."""
    end = BEGAN + 10 * COUNT + 5
    return Asked([Job("a", kind, 10)], (BEGAN - 1, BEGAN), (end, end + 1), faults)


def instant(at: float) -> str:
    minutes, seconds = divmod(int(at - BEGAN), 60)
    return f"2026-01-01T00:{minutes:02}:{seconds:02}Z"


def all_well(kind: Kind = QUICK) -> tuple[list[Line], Rows]:
    """What the jobs and the ledger say when nothing went wrong."""
    lines: list[Line] = []
    rows: Rows = []
    for n in range(1, COUNT + 1):
        at, run_id = BEGAN + 10 * n, f"run {n}"
        lines += [Line(what, "a", at, 1, run_id) for what in "SE"]
        rows.append(
            {
                "id": run_id,
                "job": "a",
                "state": "failed" if kind.code else "succeeded",
                "reason": None,
                "trigger": "schedule",
                "scheduled_for": instant(at),
                "last_scheduled_for": None,
                "created_at": instant(at),
                "claimed_at": instant(at),
                "finished_at": instant(at + 1),
                "recorded_at": instant(at + 1),
                "runner": "runner-1",
                "attempt": 1,
                "return_code": kind.code,
            }
        )
    return lines, rows


@pytest.mark.parametrize("kind", [QUICK, FAILING])
def test_where_all_is_well_it_is_content(kind: Kind) -> None:
    verdict = check(*all_well(kind), asked(kind=kind))

    assert verdict.violations == []
    assert (verdict.expected, verdict.started) == (COUNT, COUNT)


def not_run(state: str, reason: str, **columns: object) -> Spoil:
    def spoil(lines: list[Line], rows: Rows) -> None:
        lines[:] = [line for line in lines if line.run_id != "run 3"]
        rows[2] |= {"state": state, "reason": reason, "return_code": None, **columns}

    return spoil


# Made together with the next; ended when that was made.
misfire = not_run("missed", "misfire", created_at=instant(BEGAN + 40))
superseded = not_run("missed", "superseded", recorded_at=instant(BEGAN + 40))


def lose(lines: list[Line], rows: Rows) -> None:
    lines.remove(Line("E", "a", BEGAN + 30, 1, "run 3"))
    rows[2] |= {"state": "lost", "reason": "interrupted", "return_code": None}


def no_row(lines: list[Line], rows: Rows) -> None:
    lines[:] = [line for line in lines if line.run_id != "run 3"]
    del rows[2]


def no_row_for_a_start(_: list[Line], rows: Rows) -> None:
    del rows[2]


def a_second_start(lines: list[Line], _: Rows) -> None:
    lines.append(Line("S", "a", BEGAN + 30, 1, "run 3"))


def a_second_attempt(lines: list[Line], rows: Rows) -> None:
    lines += [Line(what, "a", BEGAN + 30, 2, "run 3") for what in "SE"]
    rows[2]["attempt"] = 2


def a_second_run(lines: list[Line], rows: Rows) -> None:
    lines += [Line(what, "a", BEGAN + 30, 1, "run 3 again") for what in "SE"]
    rows.append({**rows[2], "id": "run 3 again"})


def no_start(lines: list[Line], _: Rows) -> None:
    lines[:] = [line for line in lines if line.run_id != "run 3"]


def no_end(lines: list[Line], _: Rows) -> None:
    lines.remove(Line("E", "a", BEGAN + 30, 1, "run 3"))


def says(**columns: object) -> Spoil:
    def spoil(_: list[Line], rows: Rows) -> None:
        rows[2] |= columns

    return spoil


ALWAYS_WRONG = [
    no_row, no_row_for_a_start, a_second_start, a_second_attempt, a_second_run, no_start, no_end,
    says(state="failed", return_code=1), says(state="running"), says(state="queued"), says(state="missed"),
    not_run("missed", "paused"), not_run("missed", "misfire"), not_run("missed", "superseded"),
    not_run("skipped", "paused"), not_run("cancelled", "job removed"),
    says(scheduled_for=instant(BEGAN + 31)),
    says(trigger="api"), lose, not_run("lost", "the runner is silent"),
]  # fmt: skip


@pytest.mark.parametrize("spoil", ALWAYS_WRONG)
@pytest.mark.parametrize("faults", [(), (Window("f", BEGAN, BEGAN + 60),)])
def test_what_no_fault_explains_is_a_violation(spoil: Spoil, faults: tuple[Window, ...]) -> None:
    lines, rows = all_well()
    spoil(lines, rows)

    assert check(lines, rows, asked(*faults)).violations


@pytest.mark.parametrize("spoil", [misfire, superseded])
def test_a_miss_is_explained_by_a_fault_of_that_time_only(spoil: Spoil) -> None:
    lines, rows = all_well()
    spoil(lines, rows)

    assert check(lines, rows, asked()).violations
    assert check(lines, rows, asked(Window("later", BEGAN + 40, BEGAN + 50))).violations
    assert not check(lines, rows, asked(Window("then", BEGAN + 20, BEGAN + 25))).violations


def test_a_miss_in_place_of_another_miss_is_no_latest() -> None:
    """Of several that are due at once one has to run."""
    lines, rows = all_well()
    lines[:] = [line for line in lines if line.run_id not in ("run 3", "run 4")]
    for row in rows[2:4]:
        row |= {"state": "missed", "reason": "misfire", "created_at": instant(BEGAN + 40)}

    assert check(lines, rows, asked(Window("then", BEGAN + 20, BEGAN + 45))).violations


@pytest.mark.parametrize(
    ("window", "is_reason"),
    [
        (Window(KEEPER_KILLED, BEGAN + 30, BEGAN + 30, "runner-1"), True),
        (Window(KEEPER_KILLED, BEGAN + 30, BEGAN + 30, "runner-2"), False),
        (Window(KEEPER_KILLED, BEGAN + 20, BEGAN + 20, "runner-1"), False),
        (Window(KEEPER_KILLED, BEGAN + 40, BEGAN + 40, "runner-1"), False),
        (Window("kill -9 of a runner", BEGAN + 30, BEGAN + 30, "runner-1"), False),
    ],
)
def test_a_loss_is_explained_by_its_own_keepers_death_only(window: Window, is_reason: bool) -> None:
    lines, rows = all_well()
    lose(lines, rows)

    assert bool(check(lines, rows, asked(window)).violations) != is_reason


def test_what_was_due_when_the_jobs_were_paused_may_be_skipped() -> None:
    lines, rows = all_well()
    until = BEGAN + 32
    lines[:] = [line for line in lines if line.at < BEGAN + 30]
    del rows[3:]
    rows[2] |= {"state": "skipped", "reason": "paused", "recorded_at": instant(until), "return_code": None}
    paused = Asked([JOB], (BEGAN - 1, BEGAN), (until, until + 1))

    assert not check(lines, rows, paused).violations
    rows[2]["recorded_at"] = instant(BEGAN + 30)
    assert check(lines, rows, paused).violations


def comer(*requests: str) -> Asked:
    """A job that was there until 35 s and from 47 s on."""
    all_the_time = asked()
    there, gone = [(BEGAN, BEGAN + 35), (BEGAN + 47, all_the_time.until[0])], [(BEGAN + 37, BEGAN + 45)]
    return replace(all_the_time, comers=frozenset({"a"}), there=there, gone=gone, requests=requests)


def test_a_job_that_came_and_went_owes_only_what_was_due_while_it_was_there() -> None:
    lines, rows = all_well()
    assert "was not there" in check(lines, rows, comer()).violations[0]

    lines[:] = [line for line in lines if line.run_id != "run 4"]
    del rows[3]

    verdict = check(lines, rows, comer())
    assert (verdict.violations, verdict.expected) == ([], COUNT - 1)


def test_what_waited_when_its_job_was_removed_may_be_cancelled() -> None:
    lines, rows = all_well()
    lines[:] = [line for line in lines if line.run_id != "run 4"]
    del rows[3]
    not_run("cancelled", "job removed", recorded_at=instant(BEGAN + 36))(lines, rows)

    assert not check(lines, rows, comer()).violations
    rows[2]["recorded_at"] = instant(BEGAN + 31)
    assert check(lines, rows, comer()).violations


def test_what_was_asked_for_by_hand_starts() -> None:
    lines, rows = all_well()
    lines.append(Line("S", "a", BEGAN + 33, 1, "by hand"))
    lines.append(Line("E", "a", BEGAN + 33, 1, "by hand"))
    rows.append({**rows[2], "id": "by hand", "trigger": "api", "scheduled_for": instant(BEGAN + 33)})
    wanted = replace(asked(), requests=["by hand"])

    assert not check(lines, rows, wanted).violations
    assert check(lines, rows, asked()).violations
    assert check(lines[:-2], [*rows[:-1], rows[-1] | {"state": "missed"}], wanted).violations
    assert check(lines[:-2], rows[:-1], wanted).violations


def test_a_failing_job_that_succeeded_is_a_violation() -> None:
    lines, rows = all_well()

    assert len(check(lines, rows, asked(kind=FAILING)).violations) == COUNT


def test_a_job_that_was_killed_may_fail_without_its_last_line() -> None:
    lines, rows = all_well()
    no_end(lines, rows)
    rows[2] |= {"state": "failed", "return_code": None}

    assert check(lines, rows, asked()).violations
    assert not check(lines, rows, replace(asked(), killed=["run 3"])).violations


def test_a_summary_row_stands_for_all_its_instants() -> None:
    lines, rows = all_well()
    lines[:] = [line for line in lines if line.run_id not in ("run 2", "run 3", "run 4")]
    summary = {"state": "missed", "reason": "misfire", "last_scheduled_for": instant(BEGAN + 40)}
    summary["created_at"] = instant(BEGAN + 50)
    rows[1:4] = [{**rows[1], **summary}]

    assert not check(lines, rows, asked(Window("then", BEGAN + 10, BEGAN + 35))).violations
    rows[1]["last_scheduled_for"] = instant(BEGAN + 30)
    assert check(lines, rows, asked(Window("then", BEGAN + 10, BEGAN + 35))).violations
    rows[1]["last_scheduled_for"] = instant(BEGAN + 50)
    assert "two rows" in check(lines, rows, asked(Window("then", BEGAN + 10, BEGAN + 35))).violations[0]


def test_lines_are_read_as_jobs_write_them() -> None:
    assert read_lines(f"S a {instant(BEGAN + 10)} 1 run\n") == [Line("S", "a", BEGAN + 10, 1, "run")]


def test_jobs_are_of_every_kind_and_start_about_as_often_as_asked() -> None:
    jobs = make_jobs(300, 20, random.Random(1))

    assert {job.kind for job in jobs} == set(KINDS)
    assert 10 < sum(1 / job.period_s for job in jobs) < 30
    assert {job.period_s for job in jobs} <= set(PERIODS_S)
    assert list(replace(JOB, offset_s=3).due_between(BEGAN, BEGAN + 23)) == [BEGAN + 3, BEGAN + 13]
    assert len({job.name for job in jobs}) == 300

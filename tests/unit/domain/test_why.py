"""What became of an occurrence, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain import why
from cronq.domain.schedule import parse
from cronq.domain.waiting import Wait
from cronq.domain.why import Verdict

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OTHER = "b" * 32
SECOND = timedelta(seconds=1)


def row(state: str, **columns: object) -> dict[str, object]:
    return {
        "run_id": "a" * 32,
        "state": state,
        "reason": None,
        "attempt": 1,
        "scheduled_for": NOON,
        "last_scheduled_for": None,
        "missed_count": None,
        "started_at": None,
        "finished_at": None,
        "duration_s": None,
        "return_code": None,
        "signal": None,
        "runner": None,
        "host": None,
        "expires_at": None,
        **columns,
    }


RAN = {"started_at": NOON + 3 * SECOND, "host": "db1", "duration_s": 75.2}
STARTED = " on db1, started 2026-11-21T12:00:03Z, 3s after its instant"


@pytest.mark.parametrize(
    ("run", "verdict", "text"),
    [
        (row("succeeded", **RAN), Verdict.RAN, f"It ran and succeeded{STARTED}, for 1m 15s."),
        (
            row("failed", **RAN, return_code=7),
            Verdict.RAN,
            f"It ran and failed with exit code 7{STARTED}, for 1m 15s.",
        ),
        (
            row("failed", host="db1", signal=9, attempt=2),
            Verdict.RAN,
            "It ran and failed with signal 9 in attempt 2 on db1.",
        ),
        (row("timed_out", **RAN), Verdict.RAN, f"It ran and was killed by its timeout{STARTED}, for 1m 15s."),
        (
            row("cancelled", **RAN, reason="by ana"),
            Verdict.RAN,
            f"It ran and was cancelled{STARTED}, for 1m 15s: by ana.",
        ),
        (
            row("cancelled", reason="cancelled_by ana"),
            Verdict.CANCELLED,
            "It never started: cancelled_by ana.",
        ),
        (
            row("launch_failed", host="db1", reason="no such file"),
            Verdict.RAN,
            "It could not be launched on db1: no such file.",
        ),
        (
            row("lost", runner="db1/0", reason="silent"),
            Verdict.RAN,
            "It was granted to db1/0, and nobody knows its end: silent.",
        ),
        (
            row("running", started_at=NOON, host="db1"),
            Verdict.RUNS,
            "It runs on db1 since 2026-11-21T12:00:00Z, for 1h 30m.",
        ),
        (
            row("claimed", runner="db1/0"),
            Verdict.RUNS,
            "Runner db1/0 has claimed it and is about to start it.",
        ),
        (row("expired"), Verdict.EXPIRED, "It expired: no runner claimed it before its start_deadline."),
        (row("skipped", reason="paused"), Verdict.SKIPPED, "It was skipped: it was paused or disabled then."),
        (row("skipped", reason="calendar"), Verdict.SKIPPED, "It was skipped: calendar."),
        (
            row("missed", reason="deadline"),
            Verdict.MISSED,
            "It was missed: when it was taken up, its start_deadline had passed.",
        ),
        (
            row("missed", reason="misfire", missed_count=1200, last_scheduled_for=NOON + 2 * SECOND),
            Verdict.MISSED,
            (
                "It was missed: nobody took it up in time, and its misfire rule does not make up for it."
                " One row stands for 1,200 occurrences up to 2026-11-21T12:00:02Z."
            ),
        ),
    ],
)
def test_a_row_of_the_ledger_is_told(run: dict[str, object], verdict: Verdict, text: str) -> None:
    answer = why.of_run(run, None, None, NOON + timedelta(minutes=90))

    assert (answer.verdict, answer.text) == (verdict, text)


def test_a_run_that_waits_says_for_what_and_where() -> None:
    wait = Wait("lock db-main (1 at once)", "lock:db-main", 3, 12, since=NOON)

    answer = why.of_run(row("scheduled"), wait, None, NOON)

    assert answer.verdict is Verdict.WAITS
    assert answer.text == (
        "It waits for lock db-main (1 at once), at place 3 of 12, since 2026-11-21T12:00:00Z."
    )


def test_the_run_in_the_way_is_named() -> None:
    skipped = row("skipped", reason=f"overlap: run {OTHER} has not ended")
    other = row("succeeded", run_id=OTHER, scheduled_for=NOON - timedelta(hours=1), host="db1")

    answer = why.of_run(skipped, None, other, NOON)

    assert why.named_run(skipped) == OTHER
    assert answer.text == (
        f"It was skipped by its overlap rule: run {OTHER} has not ended;"
        " it is that of 2026-11-21T11:00:00Z, succeeded on db1."
    )


@pytest.mark.parametrize(
    ("expression", "before"),
    [
        ("* * * * *", NOON - timedelta(minutes=1)),
        ("0 3 * * *", datetime(2026, 11, 21, 3, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC)),
        ("@at 2026-11-21T12:00:00Z", None),
        ("@every 1s", NOON - SECOND),
    ],
)
def test_the_last_occurrence_before_an_instant_is_found(expression: str, before: datetime | None) -> None:
    assert why.last_before(parse(expression), NOON) == before


def test_no_occurrence_has_its_neighbours() -> None:
    answer = why.no_occurrence(NOON, parse("30 2 * * *", timezone="Europe/Berlin"), "Europe/Berlin", "cron")

    assert answer.text == (
        "It is no occurrence of the schedule: the last before is 2026-11-21T01:30:00Z"
        " (02:30:00 in Europe/Berlin), the next after is 2026-11-22T01:30:00Z (02:30:00 in Europe/Berlin)."
    )
    assert (answer.before, answer.remark) == (datetime(2026, 11, 21, 1, 30, tzinfo=UTC), "")
    assert why.no_occurrence(NOON, None, None, "cron").text.endswith("the job has no schedule.")


def test_a_change_of_clocks_nearby_is_remarked() -> None:
    spring = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)

    assert why.clocks(spring, "Europe/Berlin", "skip") == (
        "The clocks of Europe/Berlin went forward from 02:00 to 03:00 on 2026-03-29 (2026-03-29T01:00:00Z);"
        " by the DST rule skip what falls into a gap is not due, and what comes twice is due once."
    )
    assert "went back from 03:00 to 02:00 on 2026-10-25" in why.clocks(
        datetime(2026, 10, 25, 5, tzinfo=UTC), "Europe/Berlin", "cron"
    )
    assert why.clocks(NOON, "Europe/Berlin", "cron") == ""
    assert why.clocks(spring, "UTC", "cron") == ""
    assert why.clocks(spring, None, "cron") == ""

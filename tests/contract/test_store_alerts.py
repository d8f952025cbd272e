"""Alerts: one open one for each subject; facts and queues: the last word counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cronq import store
from cronq.store import alerts, facts
from tests.factories import MINUTE, NOON, SECOND, open_alerts, select


def alert(
    db: store.Store, kind: str = "kind", subject: str = "it", text: str = "is bad", *, after: int = 0
) -> bool:
    with db.begin() as tx:
        return alerts.raise_alert(tx, kind, subject, text, NOON + after * SECOND)


def clear(db: store.Store, *subjects: str, kind: str = "kind", after: int = 60) -> bool:
    with db.begin() as tx:
        return alerts.clear_all(tx, kind, subjects, NOON + after * SECOND)


def test_an_alert_is_new_once_and_then_still_holds(db: store.Store) -> None:
    assert alert(db, after=0)
    assert not alert(db, text="is worse", after=9)

    [row] = select(db, "SELECT * FROM alerts")
    with db.read() as tx:
        [found] = alerts.listed(tx)
    assert (found["since"], found["seen_at"], found["message"]) == (NOON, NOON + 9 * SECOND, "is worse")
    assert (found["id"], found["cleared_at"]) == (row["id"], None)


def test_each_kind_and_subject_has_its_own(db: store.Store) -> None:
    assert [alert(db), alert(db, "other"), alert(db, subject="Kind"), alert(db, subject="kind")] == [True] * 4
    assert len(open_alerts(db)) == 4


def test_a_cleared_alert_is_over_and_may_rise_again(db: store.Store) -> None:
    alert(db)

    assert clear(db, "it")
    assert not clear(db, "it")
    assert open_alerts(db) == []
    assert alert(db, after=120)
    assert clear(db, "it", after=180)

    with db.read() as tx:
        found = alerts.listed(tx, only_open=False)
    assert [(a["since"], a["cleared_at"]) for a in found] == [
        (NOON + 2 * MINUTE, NOON + 3 * MINUTE),
        (NOON, NOON + MINUTE),
    ]


def test_several_are_cleared_at_once(db: store.Store) -> None:
    for subject in "abc":
        alert(db, subject=subject)

    assert clear(db, "a", "c", "nobody")
    assert open_alerts(db) == [("kind", "b")]
    assert not clear(db)


@pytest.mark.parametrize(("still", "left"), [(set(), []), ({"b", "z"}, [("kind", "b")])])
def test_all_but_those_that_still_hold_are_cleared(
    db: store.Store, still: set[str], left: list[tuple[str, str]]
) -> None:
    for subject in "abc":
        alert(db, subject=subject)
    alert(db, "other", "a")

    with db.begin() as tx:
        alerts.clear_all_but(tx, "kind", still, NOON)

    assert open_alerts(db) == [*left, ("other", "a")]


def test_long_texts_are_cut(db: store.Store) -> None:
    assert alert(db, subject="s" * 300, text="é" * 2000)
    assert not alert(db, subject="s" * 300, text="é" * 2000)
    assert open_alerts(db) == [("kind", "s" * 190)]
    assert clear(db, "s" * 300)


def test_the_newest_alerts_come_first(db: store.Store) -> None:
    for subject in "abc":
        alert(db, subject=subject)

    with db.read() as tx:
        assert [a["subject"] for a in alerts.listed(tx, limit=2)] == ["c", "b"]


def test_a_fact_is_the_latest_that_was_said(db: store.Store) -> None:
    with db.begin() as tx:
        assert facts.get(tx, "f") is None
        for value, at in (("one", NOON), ("two", NOON + MINUTE), ("late", NOON)):
            facts.put(tx, "f", value, at)
        facts.put(tx, "g", "v" * 300, NOON)

    with db.read() as tx:
        assert facts.get(tx, "f") == ("two", NOON + MINUTE)
        assert facts.get(tx, "g") == ("v" * 255, NOON)


def test_queues_show_what_was_measured_last(db: store.Store) -> None:
    with db.begin() as tx:
        facts.put_queues(tx, [("cronq_jobs", 5, 1), ("cronq_jobs.gpu", 7, 0)], NOON)
        facts.put_queues(tx, [("cronq_jobs", 0, 2)], NOON + timedelta(seconds=5))

    with db.read() as tx:
        found = [(q["name"], q["ready"], q["consumers"], q["measured_at"]) for q in facts.all_queues(tx)]
    assert found == [("cronq_jobs", 0, 2, NOON + 5 * SECOND), ("cronq_jobs.gpu", 7, 0, NOON)]

"""The pages of runners, queues and alerts; each case on every kind of store."""

from __future__ import annotations

from pathlib import Path

import pytest

from cronq import store
from cronq.store import alerts, facts
from tests.browser.visitor import Visitor, links, text_of


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def raise_alert(visitor: Visitor, kind: str, subject: str, message: str) -> None:
    with visitor.samples.db.begin() as tx:
        alerts.raise_alert(tx, kind, subject, message, store.now(tx))


def test_a_runner_that_is_not_heard_of_is_silent(visitor: Visitor) -> None:
    visitor.samples.beat("web-01", ("default", "slow"), running=3)
    html = text_of(visitor.read("/runners"))
    assert "1 alive of 1" in html
    assert "web-01 ● alive" in html
    assert "3 of 4 slots default, slow" in html
    with visitor.samples.db.begin() as tx:
        tx.exec_driver_sql("UPDATE runners SET heartbeat_at = '2020-01-01 00:00:00', clock_skew_s = 77")
    html = text_of(visitor.read("/runners"))
    assert "0 alive of 1" in html
    assert "web-01 ○ silent" in html
    assert "its clock is 1m 17s off" in html


def test_a_queue_that_nobody_takes_from_says_what_to_start(visitor: Visitor) -> None:
    visitor.samples.queued(visitor.samples.job(routing_key="gpu"))
    with visitor.samples.db.begin() as tx:
        facts.put_queues(tx, [("cronq_jobs", 0, 2), ("cronq_jobs.slow", 3, 0)], store.now(tx))
    html = text_of(visitor.read("/runners"))
    assert "default 0 0 – – 0 2" in html
    assert "slow 0 0 – – 3 0" in html
    assert html.count("Nobody takes these:") == 2
    assert "cronq-runner --queue gpu" in html


def test_alerts_are_open_or_cleared(visitor: Visitor) -> None:
    assert "Nothing is wrong" in text_of(visitor.read("/alerts"))
    run_id = visitor.samples.ended(visitor.samples.job())
    raise_alert(visitor, "lost", f"run {run_id}", "it is lost")
    raise_alert(visitor, "late", "slow", "3 runs wait")
    with visitor.samples.db.begin() as tx:
        alerts.clear(tx, "late", "slow", store.now(tx))
    html = visitor.read("/alerts")
    assert "1 open" in text_of(html)
    assert f"/run/{run_id}" in links(html)
    assert html.index("it is lost") < html.index("<h2>Cleared") < html.index("3 runs wait")

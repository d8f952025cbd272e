"""Runners, queues and alerts over HTTP."""

from __future__ import annotations

from datetime import timedelta

from cronq.domain.event import Heartbeat
from cronq.store import Store, alerts, facts, leases, now
from tests.integration.web_api.support import OWNER, Client


def beat(name: str, **fields: object) -> Heartbeat:
    given = {
        "runner": name,
        "lineage": OWNER.lineage,
        "instance": OWNER.instance,
        "host": "h1",
        "pid": 77,
        "version": "1.0.0",
        "queues": ("cronq_jobs",),
        "slots": 4,
        "live": (("c" * 32, 1),),
        **fields,
    }
    return Heartbeat(**given)  # type: ignore[arg-type]  # the fields of Heartbeat


def test_a_runner_says_what_it_does_and_whether_it_is_heard(client: Client, db: Store) -> None:
    with db.begin() as tx:
        at = now(tx)
        leases.beat(tx, [beat("here", at=at, control_key="ctl")], at, at)
        past = at - timedelta(hours=1)
        leases.beat(tx, [beat("gone", at=past, control_key="ctl")], past, past)

    told = client.get("/api/runners").json

    gone, here = told["data"]["runners"]
    assert told["next_cursor"] is None
    assert set(here) == {
        "name", "state", "host", "pid", "version", "queues", "slots", "running", "draining",
        "started_at", "heartbeat_at", "clock_skew_s",
    }  # fmt: skip
    assert (gone["name"], gone["state"]) == ("gone", "silent")
    assert (here["name"], here["state"], here["queues"]) == ("here", "up", ["cronq_jobs"])
    assert (here["slots"], here["running"], here["draining"]) == (4, 1, False)
    assert here["heartbeat_at"].endswith("Z")


def test_queues_are_as_the_broker_was_last_heard(client: Client, db: Store) -> None:
    with db.begin() as tx:
        facts.put_queues(tx, [("cronq_jobs", 7, 2), ("cronq_jobs.gpu", 3, 0)], now(tx))

    found = client.get("/api/queues").json["data"]["queues"]

    assert [(q["name"], q["ready"], q["consumers"]) for q in found] == [
        ("cronq_jobs", 7, 2),
        ("cronq_jobs.gpu", 3, 0),
    ]
    assert found[0]["measured_at"].endswith("Z")


def test_alerts_are_the_open_ones_unless_all_are_wanted(client: Client, db: Store) -> None:
    with db.begin() as tx:
        alerts.raise_alert(tx, "no_queue", "gpu", "no queue for key gpu", now(tx))
        alerts.raise_alert(tx, "late", "default", "3 runs are late", now(tx))
        alerts.clear(tx, "no_queue", "gpu", now(tx))

    [still_open] = client.get("/api/alerts").json["data"]["alerts"]
    everything = client.get("/api/alerts?all=true").json["data"]["alerts"]

    assert (still_open["kind"], still_open["subject"]) == ("late", "default")
    assert set(still_open) == {"id", "kind", "subject", "message", "since", "seen_at", "cleared_at"}
    assert still_open["cleared_at"] is None
    assert [alert["kind"] for alert in everything] == ["late", "no_queue"]
    assert everything[1]["cleared_at"].endswith("Z")

"""Orders given on the pages: run now, cancel; each case on every kind of store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cronq import store
from cronq.store import leases, runs
from tests.browser.samples import spec
from tests.browser.visitor import Visitor, links, text_of


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def run_of(visitor: Visitor, run_id: str) -> dict[str, object]:
    with visitor.samples.db.read() as tx:
        run = runs.by_id(tx, run_id)
    assert run is not None
    return run


def test_run_now_makes_a_manual_run_and_leads_back(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    back = visitor.order(f"/job/{job_id}", on=f"/job/{job_id}", run_now="1")
    (run_id,) = visitor.samples.run_ids(job_id)
    run = run_of(visitor, run_id)
    assert (run["triggered_by"], run["state"]) == ("manual", "scheduled")
    assert "without login" in str(run["actor"])
    html = visitor.read(back.location)
    assert back.location == f"/job/{job_id}"
    assert "waits for a runner" in html
    assert f"/run/{run_id}" in links(html)
    assert "waits for a runner" not in visitor.read(back.location)


@pytest.mark.parametrize(
    ("back", "path"), [("jobs", "/"), ("failures", "/failures"), ("//evil.example", "/job/{}")]
)
def test_the_way_back_is_where_the_button_was(visitor: Visitor, back: str, path: str) -> None:
    job_id = visitor.samples.job()
    response = visitor.order(f"/job/{job_id}", run_now="1", back=back)
    assert response.location == path.format(job_id)


def test_pressing_twice_makes_two_runs(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    for _ in range(2):
        visitor.order(f"/job/{job_id}", run_now="1")
    assert len(visitor.samples.run_ids(job_id)) == 2


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_an_order_without_its_csrf_token_is_refused(visitor: Visitor, token: str | None) -> None:
    job_id = visitor.samples.job()
    run_id = visitor.samples.queued(job_id)
    form = {"run_now": "1"} | ({} if token is None else {"csrf_token": token})
    for path in (f"/job/{job_id}", f"/run/{run_id}/cancel"):
        assert visitor.client.post(path, data=form).status_code == 400
    assert visitor.samples.run_ids(job_id) == [run_id]
    assert visitor.samples.state_of(run_id) == "queued"


def test_an_order_of_another_site_is_refused(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    visitor.client.environ_base["HTTP_SEC_FETCH_SITE"] = "cross-site"
    visitor.order(f"/job/{job_id}", run_now="1", status=403)
    assert visitor.samples.run_ids(job_id) == []


def test_an_order_that_names_nothing_is_refused(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    assert "run_now" in visitor.order(f"/job/{job_id}", status=400).text
    assert visitor.samples.run_ids(job_id) == []


@pytest.mark.parametrize("job_id", ["4711", "99999999999999999999999999"])
def test_an_unknown_job_is_not_run(visitor: Visitor, job_id: str) -> None:
    visitor.samples.job()
    assert job_id in text_of(visitor.order(f"/job/{job_id}", run_now="1", status=404).text)


def test_a_removed_job_is_not_run(visitor: Visitor) -> None:
    ids = visitor.samples.put("first", spec("one"), spec("two"))
    visitor.samples.put("first", spec("one"))
    visitor.order(f"/job/{ids['two']}", run_now="1", status=404)


def test_a_paused_job_is_not_run_and_says_why(visitor: Visitor) -> None:
    job_id = visitor.samples.job(enabled=False)
    back = visitor.order(f"/job/{job_id}", run_now="1")
    assert "is disabled" in text_of(visitor.read(back.location))
    assert visitor.samples.run_ids(job_id) == []


def test_a_refresh_of_the_page_leaves_the_message_for_the_reader(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    back = visitor.order(f"/job/{job_id}", run_now="1")
    assert "waits for a runner" not in visitor.read(f"{back.location}?fragment=1")
    assert "waits for a runner" in visitor.read(back.location)


def test_cancel_ends_a_waiting_run_at_once(visitor: Visitor) -> None:
    run_id = visitor.samples.queued(visitor.samples.job())
    back = visitor.order(f"/run/{run_id}/cancel", on=f"/run/{run_id}")
    assert back.location == f"/run/{run_id}"
    html = text_of(visitor.read(back.location))
    assert "Cancelled before it started." in html
    assert "■ cancelled" in html
    assert visitor.samples.state_of(run_id) == "cancelled"


def test_cancel_asks_the_runner_of_a_live_run(visitor: Visitor) -> None:
    run_id = visitor.samples.running(visitor.samples.job())
    back = visitor.order(f"/run/{run_id}/cancel", on=f"/run/{run_id}")
    assert "the runner is asked to end it" in text_of(visitor.read(back.location))
    assert run_of(visitor, run_id)["cancel_requested_at"] is not None
    assert visitor.samples.state_of(run_id) == "running"


def test_cancel_of_an_ended_run_changes_nothing(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    run_id = visitor.samples.ended(job_id)
    back = visitor.order(f"/run/{run_id}/cancel", on=f"/job/{job_id}")
    html = visitor.read(back.location)
    assert "has ended already (succeeded)" in text_of(html)
    assert "/cancel" not in html


@pytest.mark.parametrize("run_id", ["0" * 32, "nope", "%C3%A9"])
def test_an_unknown_run_is_not_cancelled(visitor: Visitor, run_id: str) -> None:
    visitor.samples.job()
    visitor.order(f"/run/{run_id}/cancel", status=404)


def held_run(visitor: Visitor) -> str:
    """A run whose runner fell silent, of a job that asks for a person."""
    run_id = visitor.samples.running(visitor.samples.job(guarantee="hold"))
    with visitor.samples.db.begin() as tx:
        late = visitor.samples.now() + timedelta(hours=1)
        leases.ask_expired(tx, late, late, 10)
        assert leases.lose_unanswered(tx, late + timedelta(seconds=1), 10).held == [run_id]
    return run_id


@pytest.mark.parametrize("decision", ["succeeded", "failed"])
def test_a_person_says_what_became_of_a_held_run(visitor: Visitor, decision: str) -> None:
    run_id = held_run(visitor)
    before = visitor.read(f"/run/{run_id}")
    assert "a person to decide" in text_of(before)
    assert before.count('name="decision"') == 3

    back = visitor.order(f"/run/{run_id}/decide", on=f"/run/{run_id}", decision=decision)

    html = visitor.read(back.location)
    assert visitor.samples.state_of(run_id) == decision
    assert f"Decided: it {decision}." in text_of(html)
    assert 'name="decision"' not in html
    assert "Decided by" in html


def test_a_held_run_is_run_again(visitor: Visitor) -> None:
    run_id = held_run(visitor)

    back = visitor.order(f"/run/{run_id}/decide", on=f"/run/{run_id}", decision="rerun")

    assert back.location != f"/run/{run_id}"
    assert "rerun" in text_of(visitor.read(back.location))


def test_a_decision_that_is_none_or_nobodys_is_refused(visitor: Visitor) -> None:
    run_id = held_run(visitor)
    visitor.order(f"/run/{run_id}/decide", on=f"/run/{run_id}", status=404, decision="maybe")
    visitor.order(f"/run/{run_id}/decide", on=f"/run/{run_id}", status=404)
    visitor.order(f"/run/{'0' * 32}/decide", on=f"/run/{run_id}", status=404, decision="rerun")
    assert visitor.samples.state_of(run_id) == "lost"


def test_a_run_that_waits_for_its_next_attempt_says_so(visitor: Visitor) -> None:
    job_id = visitor.samples.job(max_attempts=3)
    run_id = visitor.samples.ended(job_id, return_code=7)
    html = visitor.read(f"/run/{run_id}")
    assert "attempt 1 failed with code 7" in text_of(html)
    assert "Waits for its time: attempt 2 at " in text_of(html)
    assert f"/api/runs/{run_id}/output?attempt=1" in links(html)
    assert "up to 3 attempts" in text_of(visitor.read(f"/job/{job_id}"))

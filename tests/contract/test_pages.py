"""What the pages show; each case on every kind of store."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cronq import store
from cronq.store import alerts
from tests.browser.samples import spec
from tests.browser.visitor import Visitor, links, text_of

PAGES = ("/", "/failures", "/runners", "/alerts")


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def by_hand(visitor: Visitor, statement: str) -> None:
    """What somebody does to the tables with a client of the database."""
    with visitor.samples.db.begin() as tx:
        tx.exec_driver_sql(statement)


def raise_alert(visitor: Visitor, kind: str, subject: str, message: str) -> None:
    with visitor.samples.db.begin() as tx:
        alerts.raise_alert(tx, kind, subject, message, store.now(tx))


# -- every page


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_navigation_a_clock_and_the_notice(visitor: Visitor, path: str) -> None:
    html = visitor.read(path)
    navigation = html[html.index("<nav") : html.index("</nav>")]
    assert links(navigation) == list(PAGES)
    assert navigation.count('aria-current="page"') == 1
    assert "UTC</time>" in html
    assert "Writes are open to this machine only" in html


@pytest.mark.parametrize("path", PAGES)
def test_a_fragment_is_the_page_without_its_head(visitor: Visitor, path: str) -> None:
    fragment = visitor.read(f"{path}?fragment=1")
    assert fragment.startswith("<title>")
    assert '<main id="live"' in fragment
    assert '<header id="top"' in fragment
    assert "<script" not in fragment
    assert "stylesheet" not in fragment


def test_a_token_is_asked_for_in_place_of_the_notice(db: store.Store, tmp_path: Path) -> None:
    visitor = Visitor(db, tmp_path, api_token="a-long-enough-token")
    job_id = visitor.samples.job()
    html = visitor.read(f"/job/{job_id}")
    assert "Writes are open" not in html
    assert f"/enter?next=/job/{job_id}" in links(html)
    assert 'disabled title="This needs a token"' in html


@pytest.mark.parametrize("run_id", ["nope", "0" * 32, "a'b", "%C3%A9", "x" * 300, "-- "])
def test_an_unknown_run_is_named(visitor: Visitor, run_id: str) -> None:
    assert "no run" in text_of(visitor.read(f"/run/{run_id}", status=404))
    visitor.read(f"/run/{run_id}/output", status=404)


@pytest.mark.parametrize("job_id", ["4711", "99999999999999999999999999"])
def test_an_unknown_job_is_named_with_the_next_step(visitor: Visitor, job_id: str) -> None:
    html = visitor.read(f"/job/{job_id}", status=404)
    assert f"There is no job {job_id}." in text_of(html)
    assert "/failures" in links(html[html.index("<main") :])


# -- the list of jobs


def test_jobs_are_listed_by_category_with_their_results(visitor: Visitor) -> None:
    ids = visitor.samples.put("billing", spec("close", routing_key="slow"), spec("dunning", enabled=False))
    visitor.samples.ended(ids["close"], return_code=1)
    html = visitor.read("/")
    assert {f"/job/{job_id}" for job_id in ids.values()} < set(links(html))
    assert "billing 2 close ✕ failed" in text_of(html)
    assert "dunning – never run – */5 * * * * ○ disabled" in text_of(html)
    assert "2 jobs in 1 category, 0 running now, 1 failed in the last 24 h." in text_of(html)


def test_the_path_from_the_list_leads_to_the_run(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    run_id = visitor.samples.ended(job_id)
    assert f"/job/{job_id}" in links(visitor.read("/"))
    assert f"/run/{run_id}" in links(visitor.read(f"/job/{job_id}"))
    assert f"/job/{job_id}" in links(visitor.read(f"/run/{run_id}"))


def test_rows_that_were_written_by_hand_are_shown(visitor: Visitor) -> None:
    by_hand(
        visitor,
        "INSERT INTO jobs (name, command, `interval`, next_run)"
        " VALUES ('old', 'true', '1970-01-01 00:05:00', '2000-01-01 00:00:00')",
    )
    html = visitor.read("/")
    assert "(none) 1 old – never run – every 5m ⚠\ufe0e overdue" in text_of(html)
    page = next(link for link in links(html) if link.startswith("/job/"))
    assert "every 5m" in text_of(visitor.read(page))


def test_a_result_from_before_the_ledger_is_shown(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    by_hand(
        visitor,
        "UPDATE jobs SET last_run_status = 'succeeded', last_run_stop = '2020-01-01 00:00:00'"
        f" WHERE id = {job_id}",
    )
    assert "hello ✓ ok" in text_of(visitor.read("/"))


def test_open_alerts_stand_above_the_jobs(visitor: Visitor) -> None:
    visitor.samples.job()
    raise_alert(visitor, "no_queue", "gpu", "no queue for key 'gpu': start a runner with --queue gpu")
    html = visitor.read("/")
    assert html.index("no queue for key") < html.index("<h1>Jobs")
    assert "Alerts 1" in text_of(html)


def test_jobs_are_found_by_text_and_category(visitor: Visitor) -> None:
    visitor.samples.put("a", spec("one"), spec("two", command="make Coffee"))
    visitor.samples.put("b", spec("three"))
    assert [name in text_of(visitor.read("/?q=coffee")) for name in ("one", "two", "three")] == [
        False,
        True,
        False,
    ]
    html = text_of(visitor.read("/?category=b"))
    assert ("three" in html, "one ▶" in html) == (True, False)
    assert "No job matches" in text_of(visitor.read("/?q=nothing"))


@pytest.mark.parametrize(
    "query", ["page=-1", "page=x", "page=99999999999", "q=%00", "category=%ff", "fragment=2"]
)
def test_odd_queries_get_a_page(visitor: Visitor, query: str) -> None:
    visitor.samples.job()
    visitor.read(f"/?{query}")


def test_the_list_takes_as_many_statements_for_two_thousand_jobs_as_for_two(visitor: Visitor) -> None:
    statements: list[str] = []
    sa.event.listen(
        visitor.samples.db.engine, "before_cursor_execute", lambda *given: statements.append(str(given[2]))
    )
    visitor.samples.put("many", *[spec(f"job-{n:04d}") for n in range(2)])
    visitor.read("/")
    statements.clear()
    visitor.read("/")
    of_two = len(statements)
    visitor.samples.put("many", *[spec(f"job-{n:04d}") for n in range(2_000)])
    statements.clear()
    began = time.monotonic()
    html = visitor.read("/")
    assert time.monotonic() - began < 1
    assert len(statements) == of_two
    assert "Page 1 of 10: 2,000 jobs, 200 on a page." in text_of(html)
    assert "job-1999" in visitor.read("/?page=10")


def test_an_empty_list_teaches_the_first_step(visitor: Visitor) -> None:
    html = text_of(visitor.read("/"))
    assert "curl -X PUT http://localhost/api/category/first" in html
    document = html[html.index("{") : html.rindex("'")]
    assert json.loads(document)["jobs"][0]["name"] == "hello"


# -- one job


def test_a_job_shows_its_definition_and_what_comes_next(visitor: Visitor) -> None:
    job_id = visitor.samples.job(
        schedule="30 2 * * *", timezone="Europe/Berlin", timeout=timedelta(minutes=30), tags=("money",)
    )
    html = text_of(visitor.read(f"/job/{job_id}"))
    assert "30 2 * * * Europe/Berlin" in html
    assert "30m, then TERM, and KILL after 10s" in html
    assert html.count(" 02:30 +0") in (9, 10)  # on one day of the year 02:30 does not exist
    assert "1 made" in html


def test_revisions_name_what_changed(visitor: Visitor) -> None:
    job_id = visitor.samples.job(command="true")
    visitor.samples.job(command="false", schedule="0 * * * *")
    assert "2 command, schedule" in text_of(visitor.read(f"/job/{job_id}"))


def test_runs_of_a_job_are_paged(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    ordered = [visitor.samples.ordered(job_id) for _ in range(60)]
    first = visitor.read(f"/job/{job_id}")
    older = next(link for link in links(first) if "before=" in link)
    shown = {
        link for page in (first, visitor.read(older)) for link in links(page) if link.startswith("/run/")
    }
    assert shown == {f"/run/{run_id}" for run_id in ordered}
    assert len([link for link in links(first) if "before=" in link]) == 1


def test_a_stored_schedule_that_is_none_is_explained(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    by_hand(visitor, f"UPDATE jobs SET schedule = 'every full moon' WHERE id = {job_id}")
    assert "The stored schedule is not valid" in text_of(visitor.read(f"/job/{job_id}"))
    assert "every full moon" in text_of(visitor.read("/"))


def test_a_removed_job_keeps_its_page_without_the_button(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    visitor.samples.ended(job_id)
    visitor.samples.put("first")
    html = visitor.read(f"/job/{job_id}")
    assert "This job was removed" in html
    assert "run_now" not in html
    assert f"/job/{job_id}" not in links(visitor.read("/"))


def test_a_job_shows_the_end_of_its_latest_output(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    visitor.samples.ended(job_id, output=b"".join(b"line %d\n" % n for n in range(40)))
    html = visitor.read(f"/job/{job_id}")
    assert "line 39</pre>" in html
    assert "line 20\n" not in html

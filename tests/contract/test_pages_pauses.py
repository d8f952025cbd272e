"""Pausing on the pages: the buttons' orders, the banners, the marks in the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from cronq import store
from cronq.domain import gate
from cronq.domain.pause import Pause
from cronq.store import jobs, pauses, skips
from tests.browser.samples import spec
from tests.browser.visitor import Visitor, text_of


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


def pause(visitor: Visitor, subject: str, reason: str = "") -> None:
    now = visitor.samples.now()
    with visitor.samples.db.begin() as tx:
        pauses.pause(tx, Pause(subject, now, None, reason, "ana"), now)


def paused(visitor: Visitor) -> list[tuple[str, str, bool]]:
    with visitor.samples.db.read() as tx:
        found = pauses.listed(tx, store.now(tx))
    return [(p.subject, p.reason, p.until is not None) for p in found]


def snooze(visitor: Visitor, page: str, form: dict[str, str]) -> None:
    visitor.order(f"{page}/pause", page, 302, **form)


def main_of(visitor: Visitor, path: str) -> str:
    html = visitor.read(path)
    return text_of(html[html.index("<main") :])


def test_a_job_is_paused_says_so_and_is_resumed(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    page = f"/job/{job_id}"
    assert visitor.order(f"{page}/pause", on=page, reason=" disk full ").location == page
    assert paused(visitor) == [(f"job:{job_id}", "disk full", False)]

    html = visitor.read(page)
    assert "Paused." in text_of(html)
    assert "It is paused by" in text_of(html)
    assert ": disk full; 0 occurrences held." in text_of(html)
    assert "‖ paused" in text_of(html)
    assert 'id="pause-form"' not in html
    assert "*/5 * * * * ‖ paused" in main_of(visitor, "/")

    visitor.order(f"{page}/resume", on=page)
    told = main_of(visitor, page)
    assert paused(visitor) == []
    assert "paused" not in told


def test_a_snooze_ends_by_itself(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    page = f"/job/{job_id}"
    snooze(visitor, page, {"for": "2h", "must_end": "1"})

    assert paused(visitor) == [(f"job:{job_id}", "", True)]
    html = text_of(visitor.read(page))
    assert "Paused for 2h." in html
    assert ", until 20" in html


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"must_end": "1"}, "a snooze needs one of them"),
        ({"must_end": "1", "for": "soon"}, "is not understood"),
        ({"reason": "x" * 300}, "at most 255 are allowed"),
    ],
)
def test_a_wrong_pause_is_told_and_changes_nothing(visitor: Visitor, form: dict[str, str], said: str) -> None:
    job_id = visitor.samples.job()
    page = f"/job/{job_id}"
    snooze(visitor, page, form)

    assert said in text_of(visitor.read(page))
    assert paused(visitor) == []


def test_the_page_tells_whose_pause_it_is(visitor: Visitor) -> None:
    job_id = visitor.samples.job(routing_key="slow")
    with visitor.samples.db.read() as tx:
        [category_id] = jobs.category_names(tx)
    for subject in (gate.of_category(category_id), gate.of_queue("slow"), gate.ALL):
        pause(visitor, subject, f"because of {subject}")
    told = main_of(visitor, f"/job/{job_id}")

    assert "Its category is paused by ana since" in told
    assert f": because of category:{category_id}; 0 occurrences held." in told
    assert ": because of queue:slow." in told
    assert "Everything is paused by ana" in told
    assert "Pause…" in told


@pytest.mark.parametrize("path", ["/", "/failures", "/runners", "/alerts", "/job/{}"])
def test_every_page_says_that_everything_is_paused(visitor: Visitor, path: str) -> None:
    path = path.format(visitor.samples.job())
    assert "Everything is paused" not in visitor.read(path)
    pause(visitor, gate.ALL, "<b>move</b>")

    html = visitor.read(path)
    assert "Everything is paused by ana since" in text_of(html)
    assert ": &lt;b&gt;move&lt;/b&gt;." in html

    back = visitor.order("/resume", on=path)
    assert paused(visitor) == []
    assert "Everything is paused" not in visitor.read(back.location)


def test_the_next_occurrences_are_skipped_or_none(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    page = f"/job/{job_id}"
    visitor.order(f"{page}/skip", on=page, count="2", reason="holiday")
    told = text_of(visitor.read(page))
    assert "The next 2 occurrences will be skipped." in told
    assert ": holiday. Skip none" in told

    visitor.order(f"{page}/skip", on=page, count="0")
    assert "will be skipped, says" not in visitor.read(page)
    with visitor.samples.db.read() as tx:
        assert skips.of_jobs(tx, [job_id]) == {}


@pytest.mark.parametrize("count", ["", "x", "-1", "1001"])
def test_a_wrong_count_is_told(visitor: Visitor, count: str) -> None:
    page = f"/job/{visitor.samples.job()}"
    visitor.order(f"{page}/skip", on=page, count=count)

    assert "count:" in text_of(visitor.read(page))


@pytest.mark.parametrize("order", ["pause", "resume", "skip"])
def test_orders_need_a_job_that_is_there_and_the_token_of_a_page(visitor: Visitor, order: str) -> None:
    job_id = visitor.samples.job()
    form = {"count": "1"} if order == "skip" else {}
    for unknown in ("4711", "99999999999999999999"):
        visitor.order(f"/job/{unknown}/{order}", on=f"/job/{job_id}", status=404, **form)
    assert visitor.client.post(f"/job/{job_id}/{order}", data=form).status_code == 400
    assert visitor.client.post("/resume").status_code == 400
    assert paused(visitor) == []


def test_a_removed_job_is_resumed_at_most(visitor: Visitor) -> None:
    ids = visitor.samples.put("first", spec("one"), spec("two"))
    pause(visitor, gate.of_job(ids["two"]))
    visitor.samples.put("first", spec("one"))
    page = f"/job/{ids['two']}"
    html = visitor.read(page)
    assert f'action="{page}/resume"' in html
    assert f'action="{page}/skip"' not in html

    visitor.order(f"{page}/pause", on=page, status=404)
    visitor.order(f"{page}/resume", on=page)
    assert paused(visitor) == []


def test_a_disabled_job_is_not_called_paused(visitor: Visitor) -> None:
    job_id = visitor.samples.job(enabled=False)
    html = visitor.read(f"/job/{job_id}")
    assert "○ disabled" in text_of(html)
    assert "‖ paused" not in text_of(html)

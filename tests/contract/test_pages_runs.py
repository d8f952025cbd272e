"""The pages of failures and of one run; each case on every kind of store."""

from __future__ import annotations

from pathlib import Path

import pytest

from cronq import store
from cronq.domain.after import read_after
from cronq.domain.event import OutputChunk
from cronq.injector.chains import Chains
from cronq.store import outcomes
from tests.browser.samples import OWNER, spec
from tests.browser.visitor import Visitor, links, text_of
from tests.factories import runs_of


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


# -- failures


def test_failures_lead_with_what_the_job_said_last(visitor: Visitor) -> None:
    ids = visitor.samples.put("billing", spec("close"), spec("fine"), spec("killed"))
    failed = visitor.samples.ended(
        ids["close"], return_code=3, output=b"trying\n\x1b[31mdeadlock found\x1b[0m\n\n"
    )
    fine = visitor.samples.ended(ids["fine"])
    killed = visitor.samples.ended(ids["killed"], return_code=-9, signal=9)
    html = visitor.read("/failures")
    shown = [link for link in links(html) if link.startswith("/run/")]
    assert shown == [f"/run/{killed}", f"/run/{failed}"]
    assert f"/run/{fine}" not in html
    assert "exit 3 deadlock found web-01" in text_of(html)
    assert "signal 9 (SIGKILL) no output" in text_of(html)
    assert "<title>(2) Failures" in html
    assert 'title="2 runs failed in the last 24 h"' in html


def test_failures_are_paged_over_all_their_states(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    ended = [visitor.samples.ended(job_id, return_code=1, why=("timeout", None)[n % 2]) for n in range(30)]
    first = visitor.read("/failures")
    older = next(link for link in links(first) if "before=" in link)
    shown = [
        link for page in (first, visitor.read(older)) for link in links(page) if link.startswith("/run/")
    ]
    assert shown == [f"/run/{run_id}" for run_id in reversed(ended)]


def test_no_failures_is_said_in_green(visitor: Visitor) -> None:
    assert "No run has ever failed here" in text_of(visitor.read("/failures"))


# -- one run


def test_a_run_shows_its_instants_and_how_it_ended(visitor: Visitor) -> None:
    job_id = visitor.samples.job(command="make coffee")
    run_id = visitor.samples.ended(job_id, return_code=3, output=b"out of beans\n")
    html = text_of(visitor.read(f"/run/{run_id}"))
    order = [
        html.index(step) for step in ("scheduled 2", "published 2", "claimed 2", "started 2", "finished 2")
    ]
    assert order == sorted(order)
    for part in (
        "✕ failed",
        "exit 3",
        "manual by ana",
        "make coffee",
        "out of beans",
        "web-01.example, pid 4411",
    ):
        assert part in html
    assert "return code 3, pid 4411" in html


def test_a_run_shows_the_command_of_its_own_revision(visitor: Visitor) -> None:
    job_id = visitor.samples.job(command="make tea")
    run_id = visitor.samples.ended(job_id)
    visitor.samples.job(command="make coffee")
    html = text_of(visitor.read(f"/run/{run_id}"))
    assert ("make tea" in html, "make coffee" in html) == (True, False)


def test_output_goes_on_where_the_page_stopped(visitor: Visitor) -> None:
    run_id = visitor.samples.running(visitor.samples.job())
    visitor.samples.write(run_id, "\x1b[31mré".encode()[:-1])
    first = visitor.open(f"/run/{run_id}/output").json
    assert first is not None
    assert (first["html"], first["next_offset"]) == ('<span class="fg1">r</span>', 6)
    visitor.samples.write(run_id, "é\x1b[0m<b>\n".encode()[1:], offset=7)
    more = visitor.open(f"/run/{run_id}/output?offset={first['next_offset']}&style={first['style']}").json
    assert more is not None
    assert more["html"] == '<span class="fg1">é</span>&lt;b&gt;\n'
    assert more["ended"] is False


def test_a_hole_may_be_filled_while_the_run_lives_and_is_marked_after(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    run_id = visitor.samples.running(job_id)
    visitor.samples.write(run_id, b"beginning\n")
    visitor.samples.write(run_id, b"ending\n", offset=5_000_000)
    assert "beginning\n</pre>" in visitor.read(f"/run/{run_id}")
    visitor.samples.end(job_id, run_id)
    html = visitor.read(f"/run/{run_id}?output=all")
    assert 'beginning\n<span class="gap">… 5.0 MB were dropped here …</span>\nending\n' in html


def test_of_a_long_output_the_end_is_shown(visitor: Visitor) -> None:
    job_id = visitor.samples.job()
    run_id = visitor.samples.running(job_id)
    with visitor.samples.db.begin() as tx:
        lines = b"".join(b"line %05d\n" % n for n in range(40_000))
        pieces = [
            OutputChunk(run_id, 1, OWNER.lineage, n, lines[n : n + 65_536])
            for n in range(0, len(lines), 65_536)
        ]
        outcomes.store_output(tx, pieces)
    visitor.samples.end(job_id, run_id)
    html = visitor.read(f"/run/{run_id}")
    assert "Only the end is shown" in html
    assert "line 39999\n" in html
    assert "line 00000\n" not in html
    assert "line 00000\n" in visitor.read(f"/run/{run_id}?output=all")


def test_a_run_without_a_queue_says_what_to_start(visitor: Visitor) -> None:
    run_id = visitor.samples.queued(visitor.samples.job(routing_key="gpu"))
    with visitor.samples.db.begin() as tx:
        tx.exec_driver_sql(f"UPDATE runs SET reason = 'no_queue' WHERE run_id = '{run_id}'")
    assert "cronq-runner --queue gpu" in text_of(visitor.read(f"/run/{run_id}"))


# -- what waits


def test_a_run_that_waits_at_a_lock_says_so_everywhere(visitor: Visitor) -> None:
    job_id = visitor.samples.job(locks=("db-main",), overlap="allow(2)", priority=-5)
    holder = visitor.samples.running(job_id)
    waiting = visitor.samples.queued(job_id)

    page = visitor.read(f"/run/{waiting}")
    assert "Waits for lock db-main (1 at once) , place 1 of 1, since" in text_of(page)
    assert f"In the way: run …{holder[-8:]} ." in text_of(page)
    assert f"/run/{holder}" in links(page)
    job = text_of(visitor.read(f"/job/{job_id}"))
    assert "waits for lock db-main (1 at once)" in job
    assert "When runs overlap 2 at once, the others wait" in job
    assert "Locks db-main" in job
    assert "Priority -5: before those of 0, whatever their age" in job
    assert "default 0 1" in text_of(visitor.read("/runners"))
    assert "Waits for" not in text_of(visitor.read(f"/run/{holder}"))


# -- chains


def test_a_job_and_a_run_lead_to_what_they_come_after_and_back(visitor: Visitor) -> None:
    etl = visitor.samples.put("etl", spec("load"))
    after = {"schedule": None, "after": read_after("etl/load")}
    billing = visitor.samples.put("billing", spec("close", **after))
    cause = visitor.samples.ended(etl["load"])
    Chains(visitor.samples.db).follow_once()
    [made] = [row["run_id"] for row in runs_of(visitor.samples.db, billing["close"])]

    html = visitor.read(f"/run/{made}")
    assert f"/run/{cause}" in links(html)
    assert f"Started by run …{cause[-8:]} of etl/load" in text_of(html)
    html = visitor.read(f"/run/{cause}")
    assert f"/run/{made}" in links(html)
    assert f"Then run …{made[-8:]} of billing/close" in text_of(html)
    html = visitor.read(f"/job/{billing['close']}")
    assert f"/job/{etl['load']}" in links(html)
    assert "It starts after etl/load succeeds." in text_of(html)
    html = visitor.read(f"/job/{etl['load']}")
    assert f"/job/{billing['close']}" in links(html)
    assert "Then billing/close when it succeeds" in text_of(html)


def test_a_job_that_is_not_there_yet_is_said_to_be_so(visitor: Visitor) -> None:
    job_id = visitor.samples.job(schedule=None, after=read_after("etl/<b>load</b>"))
    html = visitor.read(f"/job/{job_id}")
    assert "etl/<b>load</b> (not there yet)" in text_of(html)
    assert "<b>load" not in html

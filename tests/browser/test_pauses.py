"""Pausing, snoozing, skipping and resuming with the buttons of a job's page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from cronq import store
from cronq.domain import gate
from cronq.domain.pause import Pause
from cronq.store import pauses
from tests.browser.conftest import PATIENCE_MS, Visits
from tests.browser.samples import Samples

expect.set_options(timeout=PATIENCE_MS)


def paused(samples: Samples) -> list[tuple[str, str, bool]]:
    with samples.db.read() as tx:
        found = pauses.listed(tx, store.now(tx))
    return [(p.subject, p.reason, p.until is not None) for p in found]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_job_is_paused_with_a_reason_and_resumed(visit: Visits, samples: Samples, scripts: bool) -> None:
    job_id = samples.job()
    page = visit(f"/job/{job_id}", scripts=scripts)
    page.get_by_text("Pause…").click()
    page.locator("#pause-form").get_by_label("Reason").fill("disk full")
    page.get_by_role("button", name="Pause it").click()
    expect(page.get_by_role("status")).to_have_text("Paused.")
    expect(page.locator("#pause-1")).to_contain_text(
        re.compile(r"It is paused by .+: disk full; 0 occ.+ held")
    )
    assert paused(samples) == [(f"job:{job_id}", "disk full", False)]

    page.get_by_role("link", name="CronQ").click()
    expect(page.get_by_role("row", name="hello").locator(".chip", has_text="paused")).to_be_visible()
    page.get_by_role("link", name="hello", exact=True).click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("Resumed: 0 held runs let go")
    expect(page.locator("#pause-1")).to_have_count(0)
    assert paused(samples) == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_job_is_snoozed(visit: Visits, samples: Samples, scripts: bool) -> None:
    job_id = samples.job()
    page = visit(f"/job/{job_id}", scripts=scripts)
    page.get_by_text("Snooze…").click()
    page.get_by_label("For", exact=True).fill("30m")
    page.get_by_role("button", name="Snooze it").click()
    expect(page.get_by_role("status")).to_have_text("Paused for 30m.")
    expect(page.locator("#pause-1")).to_contain_text(", until ")
    assert paused(samples) == [(f"job:{job_id}", "", True)]


@pytest.mark.parametrize("scripts", [True, False])
def test_the_next_occurrences_are_skipped_and_then_none(
    visit: Visits, samples: Samples, scripts: bool
) -> None:
    page = visit(f"/job/{samples.job()}", scripts=scripts)
    page.get_by_text("Skip next…").click()
    page.get_by_label("Occurrences").fill("3")
    page.get_by_role("button", name="Skip them").click()
    expect(page.locator("#skip-next")).to_contain_text("The next 3 occurrences will be skipped")
    page.get_by_role("button", name="Skip none").click()
    expect(page.get_by_role("status")).to_have_text("None will be skipped.")
    expect(page.locator("#skip-next")).to_have_count(0)


def test_what_somebody_types_stays_while_the_page_refreshes_itself(visit: Visits, samples: Samples) -> None:
    job_id = samples.job()
    page = visit(f"/job/{job_id}", ticking=False)
    page.get_by_text("Pause…").click()
    page.locator("#pause-form").get_by_label("Reason").fill("half a rea")
    samples.put("first")  # the job is removed, and comes back
    with page.expect_response(re.compile("fragment=1")):
        page.clock.run_for(5_000)
    expect(page.get_by_text("This job was removed")).to_be_visible()
    assert samples.job() == job_id
    with page.expect_response(re.compile("fragment=1")):
        page.clock.run_for(5_000)
    expect(page.get_by_text("Pause…")).to_be_visible()
    page.get_by_text("Pause…").click()
    page.locator("#pause-form").get_by_label("Reason").fill("half a reason")
    with samples.db.begin() as tx:
        now = store.now(tx)
        pauses.pause(tx, Pause(gate.ALL, now, None, "move", "ana"), now)
    with page.expect_response(re.compile("fragment=1")):
        page.clock.run_for(5_000)
    expect(page.locator("#everything-paused")).to_be_visible()
    expect(page.locator("#pause-form").get_by_label("Reason")).to_have_value("half a reason")
    page.get_by_role("button", name="Resume everything").click()
    expect(page.locator("#everything-paused")).to_have_count(0)
    assert paused(samples) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_the_forms_fit_into_a_narrow_window(visit: Visits, samples: Samples, width: int) -> None:
    job_id = samples.job()
    with samples.db.begin() as tx:
        now = store.now(tx)
        pauses.pause(tx, Pause(gate.ALL, now, None, "x" * 255, "ana"), now)
    page = visit(f"/job/{job_id}", width=width)
    for label in ("Pause…", "Snooze…", "Skip next…"):
        page.get_by_text(label).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width

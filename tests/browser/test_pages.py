"""The pages in a real browser: they are found, they give orders, they stay up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from cronq.web.pages.humanize import relative
from tests.browser.conftest import PATIENCE_MS, Visits
from tests.browser.samples import Samples, spec

expect.set_options(timeout=PATIENCE_MS)

COLOURFUL = b"\x1b[32mgreen\x1b[0m <b>plain</b>\n"
PAGES = ("/", "/failures", "/runners", "/alerts")


def mark(page: Page) -> None:
    """So that a reload, which would forget it, is told from a refresh."""
    page.evaluate("window.marked = true")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


@pytest.mark.parametrize("scripts", [True, False])
def test_the_path_leads_from_the_list_over_the_job_to_the_run(
    visit: Visits, samples: Samples, scripts: bool
) -> None:
    job_id = samples.put("billing", spec("close"), spec("dunning"))["close"]
    run_id = samples.ended(job_id, return_code=1, output=COLOURFUL)
    page = visit("/", scripts=scripts)
    expect(page.get_by_role("row", name="close failed")).to_be_visible()
    page.get_by_role("link", name="close", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("close")
    page.get_by_role("row").get_by_role("link", name=f"…{run_id[-8:]}").click()
    assert page.url.endswith(f"/run/{run_id}")
    expect(page.locator("#output")).to_have_text("green <b>plain</b>\n")
    expect(page.locator("#output .fg2")).to_have_text("green")
    page.get_by_role("navigation").get_by_role("link", name="Failures").click()
    expect(page.get_by_role("row", name="exit 1 green <b>plain</b>")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_run_now_makes_a_run_that_is_listed(visit: Visits, samples: Samples, scripts: bool) -> None:
    job_id = samples.job()
    page = visit(f"/job/{job_id}", scripts=scripts)
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_contain_text("waits for a runner")
    expect(page.get_by_role("row", name="scheduled").filter(has_text="manual")).to_be_visible()
    (run_id,) = samples.run_ids(job_id)
    page.get_by_role("status").get_by_role("link").click()
    expect(page.get_by_text(run_id)).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_the_list_gives_orders_too(visit: Visits, samples: Samples, scripts: bool) -> None:
    job_id = samples.job()
    page = visit("/", scripts=scripts)
    page.get_by_role("button", name="Run: hello").click()
    expect(page.get_by_role("status")).to_contain_text("waits for a runner")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    assert len(samples.run_ids(job_id)) == 1


@pytest.mark.parametrize("scripts", [True, False])
def test_a_waiting_run_is_cancelled(visit: Visits, samples: Samples, scripts: bool) -> None:
    run_id = samples.queued(samples.job())
    page = visit(f"/run/{run_id}", scripts=scripts)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text("Cancelled before it started.")
    expect(page.locator("main .chip").first).to_have_text("■ cancelled")
    assert samples.state_of(run_id) == "cancelled"


def test_output_and_state_of_a_live_run_appear_without_a_reload(visit: Visits, samples: Samples) -> None:
    job_id = samples.job()
    run_id = samples.running(job_id)
    page = visit(f"/run/{run_id}")
    mark(page)
    samples.write(run_id, "\x1b[31mré".encode()[:-1])
    expect(page.locator("#output .fg1")).to_have_text("r")
    samples.write(run_id, "é\x1b[0m\n".encode()[1:], offset=7)
    expect(page.locator("#output")).to_have_text("ré\n")
    samples.write(run_id, b"<script>alert(1)</script> the end\n", offset=13)
    samples.end(job_id, run_id)
    expect(page.locator("#output")).to_contain_text("<script>alert(1)</script> the end")
    expect(page.locator("main .chip").first).to_have_text("✓ ok")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.locator(".steps")).to_contain_text("recorded")
    assert is_marked(page)


def test_following_output_stops_when_the_reader_scrolls_up(visit: Visits, samples: Samples) -> None:
    run_id = samples.running(samples.job())
    lines = b"".join(b"line %d\n" % n for n in range(300))
    samples.write(run_id, lines)
    page = visit(f"/run/{run_id}")
    follow = page.get_by_label("follow")
    expect(follow).to_be_checked()
    at_end = "(box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 4"
    assert page.locator("#output").evaluate(at_end)
    page.locator("#output").evaluate("(box) => { box.scrollTop = 0; }")
    expect(follow).not_to_be_checked()
    samples.write(run_id, b"more\n", offset=len(lines))
    expect(page.locator("#output")).to_contain_text("more")
    assert page.locator("#output").evaluate("(box) => box.scrollTop") == 0
    follow.check()
    assert page.locator("#output").evaluate(at_end)


def test_a_refresh_keeps_focus_typed_text_and_place(visit: Visits, samples: Samples) -> None:
    names = [f"job-{n:02d}" for n in range(60)]
    ids = samples.put("first", *map(spec, names))
    page = visit("/")
    mark(page)
    page.keyboard.press("/")
    page.keyboard.type("half a wo")
    page.evaluate(f"window.row = document.getElementById('job-{ids['job-30']}'); window.scrollTo(0, 700)")
    samples.ended(ids["job-30"], return_code=1)
    samples.put("first", *map(spec, names), spec("job-29b"))
    expect(page.get_by_role("row", name="job-30 failed")).to_have_count(1)
    expect(page.get_by_role("row", name="job-29b")).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("half a wo")
    expect(page).to_have_title(re.compile(r"^\(1\) Jobs"))
    assert page.evaluate("window.scrollY") == 700
    assert page.evaluate("window.row.isConnected && window.row.innerText.includes('failed')")
    assert is_marked(page)


def test_a_hidden_page_asks_for_nothing_until_it_is_seen(visit: Visits) -> None:
    page = visit(
        "/", before="Object.defineProperty(document, 'hidden', {get: () => window.isHidden})", ticking=False
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request(re.compile("fragment=1")):
        page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
        page.clock.run_for(100)


def test_a_paused_page_asks_for_nothing_until_it_goes_on(visit: Visits) -> None:
    page = visit("/", ticking=False)
    page.get_by_role("button", name="live ●").click()
    expect(page.get_by_role("button", name="live ‖")).to_have_attribute("aria-pressed", "false")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    page.get_by_role("button", name="live ‖").click()
    with page.expect_request(re.compile("fragment=1")):
        page.clock.run_for(100)


def test_a_server_that_is_gone_is_said_and_found_again(visit: Visits, samples: Samples) -> None:
    page = visit("/", ticking=False)
    page.route("**/*fragment=1*", lambda route: route.fulfill(status=503))
    page.clock.run_for(5_000)
    expect(page.locator("#live-toggle")).to_have_text("not live: status 503")
    assert [text for text in visit.complaints if "503" not in text] == []
    visit.complaints.clear()
    page.unroute("**/*fragment=1*")
    samples.job()
    page.clock.run_for(5_000)
    expect(page.locator("#live-toggle")).to_have_text("live ●")
    expect(page.get_by_role("link", name="hello")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_jobs_next_ten_stand_one_below_the_other(visit: Visits, samples: Samples, width: int) -> None:
    job_id = samples.job(schedule="30 2 * * *", timezone="America/Argentina/Buenos_Aires")
    page = visit(f"/job/{job_id}", width=width)
    table = page.get_by_role("table", name="The next occurrences, the soonest first")
    expect(table.get_by_role("row")).to_have_count(1 + 10)
    expect(table.get_by_role("columnheader")).to_have_text(["Due", "America/Argentina/Buenos_Aires", "UTC"])
    expect(table.get_by_role("row").nth(1)).to_contain_text("02:30 -03:00")
    expect(table.get_by_role("row").nth(1)).to_contain_text("05:30")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_its_window(visit: Visits, samples: Samples, width: int) -> None:
    long = "a-very-long-name-" * 8
    ids = samples.put(long, spec(long, command=f"echo {'x' * 300}", routing_key="k" * 32))
    run_id = samples.ended(ids[long], return_code=1, output=b"y" * 500)
    samples.beat(long, ("one", "two", "three"))
    page = visit("/", width=width)
    for path in (*PAGES, f"/job/{ids[long]}", f"/run/{run_id}", "/enter"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_hostile_texts_are_only_texts(visit: Visits, samples: Samples) -> None:
    name = "<img src=x onerror=alert(1)>{{7*7}}"
    job_id = samples.job(name, command="<script>alert(2)</script>\x1b]0;mine\a")
    run_id = samples.ended(job_id, return_code=1, output=b"\x1b]0;mine\x07<script>alert(3)</script>\n")
    page = visit("/")
    for path in ("/", f"/job/{job_id}", f"/run/{run_id}", "/failures"):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(name)
        assert "mine" not in page.title()
        assert page.locator("main img, main script").count() == 0


def test_the_script_says_times_as_the_server_does(visit: Visits, samples: Samples) -> None:
    now = datetime(2026, 3, 1, 14, 3, 22, tzinfo=UTC)
    seconds = [0, 0.5, 1, 59.9, 60, 3_599, 3_600, 86_399, 86_400, 10**7]
    instants = [now + timedelta(seconds=sign * s) for s in seconds for sign in (1, -1)]
    page = visit("/")
    said = page.evaluate(
        """async ([now, instants]) => {
            const { relative } = await import("/static/time.js");
            return instants.map((instant) => relative(instant, now));
        }""",
        [now.timestamp() * 1000, [i.timestamp() * 1000 for i in instants]],
    )
    assert said == [relative(instant, now) for instant in instants]


def test_a_waiting_run_leads_to_the_run_in_its_way(visit: Visits, samples: Samples) -> None:
    job_id = samples.job(locks=("db-main",))
    holder, waiting = samples.running(job_id), samples.queued(job_id)
    page = visit(f"/job/{job_id}")
    expect(page.get_by_role("cell", name="waits for lock db-main (1 at once)")).to_be_visible()

    page.get_by_role("link", name=f"…{waiting[-8:]}", exact=True).first.click()
    expect(page.get_by_text("Waits for lock db-main (1 at once), place 1 of 1")).to_be_visible()
    page.get_by_role("link", name=f"run …{holder[-8:]}").click()

    expect(page).to_have_url(re.compile(f"/run/{holder}$"))

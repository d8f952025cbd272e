"""A web server on a free port over a store of the test's own, and Chromium to visit it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from werkzeug.serving import make_server

from cronq.web import create_app
from tests.browser.samples import Samples, open_samples, web_settings

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000


@dataclass(frozen=True)
class Site:
    """A running web server and what it shows."""

    url: str
    samples: Samples


class Visits:
    """Opens pages of the site, and hears what they complain about."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self._browser = browser
        self._site = site
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def __call__(
        self,
        path: str = "/",
        *,
        scripts: bool = True,
        width: int = 1280,
        before: str = "",
        ticking: bool = True,
    ) -> Page:
        """A new page in a profile of its own.

        `before` is a script that runs before the page's own. Without `ticking` the page's clock
        stands until the test moves it.
        """
        context = self._browser.new_context(
            base_url=self._site.url, java_script_enabled=scripts, viewport={"width": width, "height": 800}
        )
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        if before:
            page.add_init_script(before)
        if not ticking:
            page.clock.install()
        page.goto(path)
        if not ticking:
            page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=1))
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type} {message.text}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session; each visit has a profile of its own."""
    if not os.access(CHROMIUM, os.X_OK):
        _missing(f"{CHROMIUM} is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def _missing(reason: str) -> None:
    if os.environ.get("CI") or os.environ.get("CRONQ_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty site."""
    samples = open_samples(f"sqlite:///{tmp_path}/cronq.db")
    server = make_server("127.0.0.1", 0, create_app(web_settings(tmp_path), samples.db), threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="web")
    thread.start()
    yield Site(f"http://127.0.0.1:{server.port}", samples)
    server.shutdown()
    thread.join()
    server.server_close()
    samples.db.close()


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end none of them may have complained, of the content policy for one."""
    visits = Visits(chromium, site)
    yield visits
    visits.close()
    assert visits.complaints == []


@pytest.fixture
def samples(site: Site) -> Samples:
    return site.samples

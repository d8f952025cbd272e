"""Texts that would like to be markup, templates, terminal orders or other texts; on every kind of store."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cronq import store
from cronq.store import alerts
from tests.browser.samples import spec
from tests.browser.visitor import Visitor

# Marked, so that each can be found again on a page, whatever became of the rest of it.
HOSTILE = [
    "zq<script>alert(1)</script>",
    'zq"><img src=x onerror=alert(1)>',
    "zq' onmouseover='alert(1)",
    "zq{{7*7}}{% raw %}",
    "zq\x1b]0;x\a",
    "zq\u202egnp.exe",
    "zq\u2066x\u200b",
    "zq</pre></code></main><h1>mine",
    "zqjavascript:alert(1)",
    "zq&lt;b&gt;",
]
UNSEEN_VALUE = re.compile(r'<(option|input type="hidden")[^>]*>')  # what a form sends must be exact
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def visitor(db: store.Store, tmp_path: Path) -> Visitor:
    return Visitor(db, tmp_path)


class Meaning(HTMLParser):
    """What a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.targets: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets |= {value or "" for name, value in attrs if name in ("href", "src", "action")}


def check(html: str, text: str) -> None:
    """The text is there, and nothing of it has a meaning."""
    meant = Meaning(html)
    assert "zq" in html
    assert "zq49" not in html
    assert "{{7*7}}" in html or "{{" not in text
    assert "img" not in meant.tags
    assert not {name for name in meant.attributes if name.startswith("on") or name == "style"}
    assert all(target.startswith(("/", "#")) and not target.startswith("//") for target in meant.targets)
    assert html.count("<script") <= 1
    assert html.count("<h1") <= 1
    assert not FORBIDDEN.search(UNSEEN_VALUE.sub("", html))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_job_full_of_it_is_harmless_on_every_page(visitor: Visitor, text: str) -> None:
    # A document's names may hold no control characters, but rows may; what is ours alone may not.
    ours = {"description": text, "tags": (text,)} if text.isprintable() else {}
    job_id = visitor.samples.put(text.replace("/", "_"), spec(text, command=text, **ours))[text]
    failed = visitor.samples.ended(job_id, return_code=1, output=text.encode())
    with visitor.samples.db.begin() as tx:
        alerts.raise_alert(tx, "late", text, text, store.now(tx))
    for path in (
        "/",
        f"/job/{job_id}",
        f"/run/{failed}",
        "/failures",
        "/alerts",
        f"/job/{job_id}?fragment=1",
    ):
        check(visitor.read(path), text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_runner_full_of_it_is_harmless(visitor: Visitor, text: str) -> None:
    visitor.samples.beat(text, (text,))
    check(visitor.read("/runners"), text)


@pytest.mark.parametrize("text", HOSTILE)
def test_fault_38_growing_output_full_of_it_is_harmless(visitor: Visitor, text: str) -> None:
    run_id = visitor.samples.running(visitor.samples.job())
    visitor.samples.write(run_id, f"{text}\n".encode())
    answer = visitor.open(f"/run/{run_id}/output").json
    assert answer is not None
    check(answer["html"], text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_query_full_of_it_is_harmless(visitor: Visitor, text: str) -> None:
    visitor.samples.job()
    html = visitor.client.get("/", query_string={"q": text, "category": text, "page": text}).text
    # A field's value is what was typed: a browser shows it as text, whatever is in it.
    check(re.sub(r'<input id="q"[^>]*>', "zq", html), "")


@pytest.mark.parametrize("style", ['"><script>', "1;31m<b>", "\x1b[31m", "9" * 500, ";" * 500])
def test_a_style_from_the_query_is_only_a_style(visitor: Visitor, style: str) -> None:
    run_id = visitor.samples.running(visitor.samples.job())
    visitor.samples.write(run_id, b"zq")
    response = visitor.client.get(f"/run/{run_id}/output", query_string={"style": style, "offset": "-5"})
    assert response.status_code == 200
    assert response.json is not None
    assert re.sub(r'</?span[a-z0-9 "=]*>', "", response.json["html"]) == "zq"


def test_what_an_address_holds_is_harmless_in_an_error(visitor: Visitor) -> None:
    html = visitor.read("/zq%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE%7B%7B7*7%7D%7D", status=404)
    check(html, "{{")

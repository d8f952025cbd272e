"""A reader of pages without a browser: Flask's test client, with the CSRF token of the page it is on."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import jinja2
from werkzeug.test import TestResponse

from cronq.store import Store
from cronq.web import create_app
from tests.browser.samples import Samples, web_settings

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_LINK = re.compile(r'<a\b[^>]*href="([^"]+)"')


class Visitor:
    """Reads pages of a store that `samples` fills."""

    def __init__(self, db: Store, folder: Path, **settings: object) -> None:
        self.samples = Samples(db)
        app = create_app(web_settings(folder, **settings), db)
        app.jinja_env.undefined = jinja2.StrictUndefined
        app.config["PROPAGATE_EXCEPTIONS"] = False
        self.client = app.test_client()

    def open(self, path: str, status: int = 200) -> TestResponse:
        response = self.client.get(path)
        assert response.status_code == status, response.text
        return response

    def read(self, path: str, status: int = 200) -> str:
        """The page's HTML."""
        return self.open(path, status).text

    def order(self, path: str, on: str = "/", status: int = 302, **form: str) -> TestResponse:
        """Send a form, with the token of the page `on`."""
        token = _TOKEN.search(self.read(on))
        assert token is not None, f"no form on {on}"
        response = self.client.post(path, data={"csrf_token": token[1], **form})
        assert response.status_code == status, response.text
        return response


def links(html: str) -> list[str]:
    """Where the page's links lead."""
    return [unescape(target) for target in _LINK.findall(html)]


def text_of(html: str) -> str:
    """What a person reads of it, with single blanks."""
    body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())

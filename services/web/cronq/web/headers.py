"""What every request and response has: an id, and the headers that keep browsers from mischief."""

from __future__ import annotations

import re
import secrets

import structlog
from flask import Flask, Response, g, request

from cronq.web.errors import HttpError

REQUEST_ID = "X-Request-Id"
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)

_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TOKEN_NAMES = ("token", "access_token")
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, with which browsers send `Origin: null` from our own forms.
    "Referrer-Policy": "same-origin",
}


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.before_request(_refuse_token_in_url)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if _ID.fullmatch(given) else secrets.token_hex(16)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _refuse_token_in_url() -> None:
    """A URL is kept in histories and logs."""
    for name in _TOKEN_NAMES:
        if name in request.args:
            message = f"{name}: a token in a URL is not read; send the header Authorization: Bearer <token>"
            raise HttpError(400, "token_in_url", message, "take it out of the URL, and make a new token")


def _finish(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.get("request_id", "")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if not (request.endpoint or "").endswith("static"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response

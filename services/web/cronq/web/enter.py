"""Logging in: with the token, or once with a link that the server printed; and logging out.

A one-time link is signed, lasts 15 minutes, and the database remembers that it was used.
"""

from __future__ import annotations

import secrets
import time
from collections import deque

from flask import Blueprint, Response, current_app, redirect, render_template, request
from flask.sansio.blueprints import BlueprintSetupState
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response as AnyResponse

from cronq import store
from cronq.store import facts
from cronq.web import auth
from cronq.web.context import web
from cronq.web.errors import HttpError

blueprint = Blueprint("enter", __name__)

LINK_LASTS_S = 15 * 60
MOST_TOKEN = 4_096
_SALT = "cronq one-time link"
_THROTTLE = "cronq_throttle"


class Throttle:
    """At most `most` failures of one address in `span_s` seconds, counted in this process."""

    def __init__(self, most: int, span_s: float) -> None:
        self._most = most
        self._span_s = span_s
        self._failures: deque[tuple[str, float]] = deque(maxlen=1_000)

    def wait_s(self, who: str, now: float) -> float:
        """Seconds until another attempt is allowed; 0 when it is. `now` is monotonic seconds."""
        failed = [at for address, at in self._failures if address == who and now - at < self._span_s]
        return failed[-self._most] + self._span_s - now if len(failed) >= self._most else 0.0

    def fail(self, who: str, now: float) -> None:
        self._failures.append((who, now))


@blueprint.record
def _give_throttle(state: BlueprintSetupState) -> None:
    state.app.extensions[_THROTTLE] = Throttle(10, 60.0)


def one_time_link(secret_key: str) -> str:
    """The path that logs in whoever opens it first, within 15 minutes."""
    return f"/enter/{_links(secret_key).dumps(secrets.token_hex(16))}"


@blueprint.get("/enter")
def show() -> str:
    return _form()


@blueprint.post("/enter")
def submit() -> AnyResponse:
    """The same answer to every wrong token."""
    _refuse_when_tried_often()
    token = request.form.get("token", "")
    if len(token) > MOST_TOKEN or not auth.is_token(token, web().settings):
        _throttle().fail(_who(), time.monotonic())
        return Response(_form("The token is not valid."), 401, content_type="text/html; charset=utf-8")
    auth.enter()
    return redirect(own_path(request.form.get("next", "")), 303)


@blueprint.get("/enter/<link>")
def follow(link: str) -> AnyResponse:
    """A HEAD, which programs send to look at a link, does not use it up."""
    nonce = _nonce_of(link)
    if request.method == "HEAD":
        return Response()
    if not web().db.transact(lambda tx: facts.claim(tx, f"entered:{nonce}", store.now(tx))):
        raise HttpError(
            403, "unauthenticated", "this link was used already", "print a new one, or log in at /enter"
        )
    auth.enter()
    return redirect("/", 303)


@blueprint.post("/leave")
def leave() -> AnyResponse:
    auth.leave()
    return redirect("/enter", 303)


def own_path(wanted: str) -> str:
    """The path if it is one of this site, else `/`: a login must not lead elsewhere."""
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_own and len(wanted) < 2_000 else "/"


def _form(problem: str = "") -> str:
    wanted = own_path(request.values.get("next", ""))
    return render_template("enter.html", problem=problem, next=wanted, is_entered=auth.is_entered())


def _refuse_when_tried_often() -> None:
    wait_s = _throttle().wait_s(_who(), time.monotonic())
    if wait_s:
        message = "too many wrong tokens; wait before you try again"
        raise HttpError(429, "too_many_requests", message, headers={"Retry-After": str(int(wait_s) + 1)})


def _throttle() -> Throttle:
    found: Throttle = current_app.extensions[_THROTTLE]
    return found


def _who() -> str:
    return request.remote_addr or ""


def _nonce_of(link: str) -> str:
    try:
        nonce = _links(str(current_app.secret_key)).loads(link, max_age=LINK_LASTS_S)
    except BadSignature:
        raise HttpError(403, "unauthenticated", "this link is not valid, or older than 15 minutes") from None
    return str(nonce)


def _links(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt=_SALT)

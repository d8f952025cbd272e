"""Who may write: holders of the token, people who entered with it, or else only this machine.

Reading is open, save of what may hold secrets. Without CRONQ_API_TOKEN a write must come from this very
machine: a loopback peer, no proxy in between, and a loopback name in Host, because a page of another site
can give its own name the address 127.0.0.1 (DNS rebinding). A browser's write must in addition come from
a page of ours.

A command line with access to the database calls the application in its own process, with DIRECT in the
environ: no server puts what a client sends under such a name.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Request, request, session

from cronq.runtime.settings import Settings
from cronq.web.context import web

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
API = "/api/"
DIRECT = "cronq.direct"  # names who runs the command line

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_ENTERED = "entered"
_SEND = "send Authorization: Bearer <the value of CRONQ_API_TOKEN>"
_SET = "set CRONQ_API_TOKEN on the server, and send it as Authorization: Bearer <token>"


@dataclass(frozen=True)
class Refusal:
    """Why a request may not write: 401 where a token would help, else 403."""

    status: int
    code: str
    message: str
    hint: str = ""


def may_write(asking: Request) -> Refusal | None:
    """None: it may. A session counts outside of the API only, because there a CSRF token guards it."""
    settings = web().settings
    if DIRECT in asking.environ or _shows_token(asking, settings):
        return None
    if settings.auth == "none":
        return _by_place(asking, anywhere=settings.auth_none_anywhere)
    if not asking.path.startswith(API) and is_entered():
        return _by_page(asking)
    if settings.api_token is not None:
        return _unauthenticated(asking)
    return _by_place(asking, anywhere=False)


def write_notice() -> str | None:
    """What a page should say about who may write; None when a token is asked for."""
    settings = web().settings
    if settings.auth == "none":
        if settings.auth_none_anywhere:
            return "writes are open to everybody: CRONQ_AUTH=none and CRONQ_AUTH_NONE_ANYWHERE=1 are set"
        return "writes are open to this machine only: CRONQ_AUTH=none is set"
    if settings.api_token is None:
        return "writes are open to this machine only: no CRONQ_API_TOKEN is set"
    return None


def actor(asking: Request) -> str:
    """Who asks, as a run or a revision says it."""
    if DIRECT in asking.environ:
        return str(asking.environ[DIRECT])
    if _shows_token(asking, web().settings):
        return "api token"
    has_entered = not asking.path.startswith(API) and is_entered()
    return "login" if has_entered else f"{asking.remote_addr or 'local'} without login"


def is_token(given: str, settings: Settings) -> bool:
    """Whether this is the token; takes the same time whatever is wrong with it."""
    expected = settings.api_token or ""
    return hmac.compare_digest(_digest(given), _digest(expected)) and bool(expected)


def enter() -> None:
    """Note in the session that its owner has shown the token or a one-time link."""
    session.clear()  # a session id or CSRF token planted before must not survive
    session[_ENTERED] = _stamp(web().settings)
    session.permanent = True


def leave() -> None:
    session.clear()


def is_entered() -> bool:
    """Whether this session's owner has entered; another token or secret key ends it."""
    stamp = session.get(_ENTERED)
    return isinstance(stamp, str) and hmac.compare_digest(stamp, _stamp(web().settings))


def _stamp(settings: Settings) -> str:
    key = settings.require_secret_key().encode()
    return hmac.new(key, _digest(settings.api_token or ""), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _shows_token(asking: Request, settings: Settings) -> bool:
    scheme, _, given = asking.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and is_token(given.strip(), settings)


def _unauthenticated(asking: Request) -> Refusal:
    shown = "Authorization" in asking.headers
    message = "the token is not valid" if shown else "this needs a token"
    hint = _SEND if asking.path.startswith(API) else "log in at /enter"
    return Refusal(401, "unauthenticated", message, hint)


def _by_place(asking: Request, *, anywhere: bool) -> Refusal | None:
    trouble = None if anywhere else _not_local(asking)
    if trouble:
        message = f"writes are open to this machine only, and {trouble}"
        return Refusal(403, "not_local", message, _SET)
    return _by_page(asking)


def _not_local(asking: Request) -> str | None:
    peer = asking.remote_addr or ""
    if not is_loopback(peer):
        return f"this request came from {peer or 'an unknown address'}"
    for name in _PROXY_HEADERS:
        if name in asking.headers:
            return f"this request came through a proxy: it has {name}"
    host = asking.headers.get("Host", "")
    if not _is_loopback_host(host):
        return f"this request is to the host {host[:100]!r}, not to localhost"
    return None


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone; also where IPv4 is written as IPv6."""
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _is_loopback_host(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def _by_page(asking: Request) -> Refusal | None:
    """Browsers tell which page made them send a request; other programs send neither header."""
    site, origin = asking.headers.get("Sec-Fetch-Site"), asking.headers.get("Origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or _place_of(origin) == asking.host
    if is_ours:
        return None
    return Refusal(403, "cross_origin", "this request was made by a page of another site")


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def refuse_unasked() -> Refusal | None:
    """For `before_request`: why this request may not write, where it does; anybody may log in."""
    if request.method in SAFE_METHODS or request.routing_exception or request.blueprint == "enter":
        return None
    return may_write(request)

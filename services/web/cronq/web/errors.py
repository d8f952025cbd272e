"""What goes wrong, as a response: a problem (RFC 9457) under /api, a page elsewhere; never a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Flask, Response, current_app, g, render_template, request
from flask_wtf.csrf import CSRFError
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from cronq.domain.category import MAX_BODY_BYTES
from cronq.domain.errors import (
    Conflict,
    CronqError,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Problem,
    Unavailable,
)
from cronq.runtime import log
from cronq.store import migrate
from cronq.web.auth import Refusal
from cronq.web.context import web

PROBLEM_TYPE = "application/problem+json"
MEANINGS = {
    "invalid": "The request is well formed, but something in it is not allowed",
    "invalid_json": "The body is not JSON",
    "duplicate_key": "An object of the body has one key twice",
    "invalid_number": "The body has a number that is not allowed",
    "too_deep": "The body's lists and objects lie too deep in each other",
    "too_large": "The body is too large",
    "bad_request": "The request is malformed",
    "csrf": "The form was not sent by a page of this site, or is too old",
    "token_in_url": "A token does not belong into a URL",
    "unauthenticated": "This needs a valid token",
    "not_local": "Writing is open to this machine only",
    "cross_origin": "The request was made by a page of another site",
    "not_found": "There is no such thing",
    "method_not_allowed": "This method is not for this address",
    "conflict": "What the request meets forbids it",
    "precondition_failed": "The category is not as the request expects it",
    "unsupported_media_type": "The body is of another type than is read here",
    "too_many_requests": "Too many attempts",
    "unavailable": "The database does not answer now",
    "internal": "Something broke that should not",
}

_NOT_JSON = ("invalid_json", "duplicate_key", "invalid_number", "too_deep")
_BY_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal",
}
_STATUSES: dict[type[CronqError], int] = {NotFound: 404, Conflict: 409, PreconditionFailed: 412}
_RETRY_AFTER_S = "5"
_MOST_SHOWN = 2_000
_logger = log.get_logger()


@dataclass(eq=False)
class HttpError(CronqError):
    """A refusal that only exists over HTTP. `code` is one of MEANINGS."""

    status: int
    code: str
    message: str
    hint: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def refused(refusal: Refusal) -> HttpError:
    """The error that says so."""
    headers = (
        {"WWW-Authenticate": 'Bearer realm="cronq"'} if refusal.status == HTTPStatus.UNAUTHORIZED else {}
    )
    return HttpError(refusal.status, refusal.code, refusal.message, refusal.hint, headers)


def install(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CronqError, lambda error: respond(*_described(error)))
    app.register_error_handler(ParseException, _broken_body)
    app.register_error_handler(Exception, _unexpected)


def respond(error: HttpError, problems: tuple[Problem, ...] = ()) -> Response:
    """The error as what its reader can use."""
    if request.path.startswith("/api/") or request.path == "/api":
        body = current_app.json.dumps(_problem(error, problems)) + "\n"
        return Response(body, error.status, error.headers, content_type=PROBLEM_TYPE)
    page = render_template(
        "error.html",
        status=error.status,
        title=MEANINGS[error.code],
        detail=error.message,
        hint=error.hint,
        request_id=g.get("request_id", ""),
    )
    return Response(page, error.status, error.headers, content_type="text/html; charset=utf-8")


def _problem(error: HttpError, problems: tuple[Problem, ...]) -> dict[str, object]:
    shown = problems or (Problem(error.code, "", error.message, error.hint),)
    return {
        "type": f"/docs/errors/{error.code}",
        "title": MEANINGS[error.code],
        "status": error.status,
        "detail": error.message,
        "instance": request.path,
        "request_id": g.get("request_id", ""),
        "errors": [
            {"code": p.code, "pointer": p.pointer, "message": p.message, "hint": p.hint} for p in shown
        ],
    }


def _described(error: CronqError) -> tuple[HttpError, tuple[Problem, ...]]:
    """Our errors by their meaning; one that no request can cause is as unexpected as any other."""
    if isinstance(error, HttpError):
        return error, ()
    if isinstance(error, InvalidInput):
        return _invalid(error), error.problems
    if isinstance(error, Unavailable):
        _logger.warning("http.unavailable", error=str(error))
        return _unavailable("the database does not answer now; the same request may work later"), ()
    if type(error) in _STATUSES:
        status = _STATUSES[type(error)]
        return HttpError(status, _BY_STATUS[status], str(error)), ()
    return _internal(error), ()


def _invalid(error: InvalidInput) -> HttpError:
    codes = {problem.code for problem in error.problems}
    first = error.problems[0]
    if "too_large" in codes:
        return HttpError(413, "too_large", first.message, first.hint)
    if not codes.isdisjoint(_NOT_JSON):
        return HttpError(400, first.code, first.message, first.hint)
    return HttpError(422, "invalid", _in_short(error))


def _in_short(error: InvalidInput) -> str:
    first, *others = error.problems
    text = first.message if not others else f"{first.message} (the first of {len(error.problems)} problems)"
    return text[:_MOST_SHOWN]


def _http(error: HTTPException) -> Response | HTTPException:
    """Those of Flask itself; a redirect is one too."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status < HTTPStatus.BAD_REQUEST or error.response is not None:
        return error
    if isinstance(error, CSRFError):
        return respond(HttpError(status, "csrf", "the form's CSRF token is missing or not of this session"))
    allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    headers = {"Allow": allowed} if allowed else {}
    words = _words(error, status, allowed)
    return respond(HttpError(status, _BY_STATUS.get(status, "bad_request"), words, headers=headers))


def _words(error: HTTPException, status: int, allowed: str) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return "there is nothing at this address"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method[:20]} is not allowed here; allowed: {allowed}"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"the body is too large; at most {MAX_BODY_BYTES:,} bytes are read"
    return (error.description or MEANINGS["bad_request"]).rstrip(".")


def _broken_body(_error: ParseException) -> Response:
    """gunicorn finds a malformed chunk while a view reads the body."""
    return respond(HttpError(400, "bad_request", "the body is not in the chunks that its header announces"))


def _unexpected(error: Exception) -> Response:
    behind = _behind()
    if behind:
        return respond(_unavailable(behind))
    return respond(_internal(error))


def _internal(error: Exception) -> HttpError:
    _logger.error("http.failed", path=request.path, method=request.method, exc_info=error)
    return HttpError(500, "internal", "this is our fault; the server's log has it under the request's id")


def _unavailable(message: str) -> HttpError:
    return HttpError(503, "unavailable", message, headers={"Retry-After": _RETRY_AFTER_S})


def _behind() -> str | None:
    """Tables that are not this release's break any query: that is worth its own words."""
    try:
        is_behind = migrate.is_behind(web().db)
    except Exception:  # noqa: BLE001 - the outermost step; what is reported is the error that led here
        return None
    return (
        "the database's tables are not those of this release; run `cronq db upgrade`" if is_behind else None
    )

"""The API as commands use it: over HTTP, or in this process where it has the database.

Needs neither Flask nor SQLAlchemy unless it is the latter.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import click

from cronq.cli.output import printable
from cronq.domain.errors import ConfigError, Unavailable
from cronq.runtime import log
from cronq.runtime.config import load
from cronq.runtime.secrets import MASK, mask_url
from cronq.runtime.settings import Settings

if TYPE_CHECKING:
    import httpx

# What an answer may take: a list of many runs, on a server that has much to do.
ANSWER_S = 30.0
CONNECT_S = 5.0
PAGE = 100  # that every list allows
_JSON = "application/json"
_PROBLEM = "application/problem+json"
_HERE = "http://localhost"

Json = Any
Wsgi = Callable[[dict[str, Any], Any], Any]


class ApiError(click.ClickException):
    """The API refuses, in its own words: one line, and one more for each thing that is wrong."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        super().__init__("\n".join(_lines(problem)))

    def show(self, file: Any = None) -> None:
        click.echo(f"cronq: {self.message}", file=file, err=True)


class Client:
    """One place to ask; each call blocks, up to ANSWER_S.

    Raises ApiError for a refusal, and Unavailable where no CronQ answers.
    """

    def __init__(self, http: httpx.Client, *, place: str, token: str | None = None) -> None:
        """`place` is what messages call it, without secrets."""
        self._http = http
        self._place = place
        self._token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: object) -> Json:
        """Parameters that are None are left out."""
        return self._ask("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, json: object = None) -> Json:
        return self._ask("POST", path, json=json)

    def put(self, path: str, json: object = None) -> Json:
        return self._ask("PUT", path, json=json)

    def put_body(self, path: str, body: bytes, *, kind: str, **params: object) -> Json:
        """Send a body of this Content-Type; parameters that are None are left out."""
        given = {k: v for k, v in params.items() if v is not None}
        return self._ask("PUT", path, content=body, headers={"Content-Type": kind}, params=given)

    def delete(self, path: str) -> Json:
        return self._ask("DELETE", path)

    def listed(
        self, path: str, name: str, params: Mapping[str, object] | None = None, *, most: int | None = None
    ) -> Iterator[Json]:
        """The items of a list, page after page as they are wanted; `most` of them, or all."""
        left, cursor = most, None
        while left is None or left > 0:
            limit = PAGE if left is None else min(left, PAGE)
            page = self.get(path, **{**(params or {}), "limit": limit, "cursor": cursor})
            items = _in_data(page, name, list)
            yield from items
            left = None if left is None else left - len(items)
            cursor = page.get("next_cursor")
            if cursor is None or not items:
                return

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        import httpx

        try:
            answer = self._http.request(method, path, **request)
        except httpx.TimeoutException:
            raise Unavailable(f"{self._place} does not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{self._place} can't be reached: {self._clean(str(error))}") from None
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Json:
        if answer.status_code == HTTPStatus.NO_CONTENT:
            return None
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        value = _parsed(answer) if kind in (_JSON, _PROBLEM) else None
        if answer.is_success and isinstance(value, dict):
            return value
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise ApiError(answer.status_code, {"title": self._unauthorized()})
        if kind == _PROBLEM and isinstance(value, dict):
            raise ApiError(answer.status_code, value)
        raise Unavailable(self._strange(answer, kind))

    def _unauthorized(self) -> str:
        if self._token is None:
            return f"{self._place} wants a token; set CRONQ_TOKEN"
        return f"{self._place} does not accept this token; set CRONQ_TOKEN to a valid one"

    def _strange(self, answer: httpx.Response, kind: str) -> str:
        """Something else stands there, or in between: a proxy, another site."""
        what = f"{answer.status_code} {answer.reason_phrase}".strip()
        if answer.is_redirect:
            return f"{self._place} leads elsewhere ({what}); set CRONQ_URL to where CronQ is"
        form = printable(kind) or "no type"
        return f"{self._place} answered {what} with {form}, which is not CronQ's API; is CRONQ_URL right?"

    def _clean(self, text: str) -> str:
        """Of an error's text one line, without the token."""
        shown = " ".join(printable(text).split()) or "no reason given"
        return shown.replace(self._token, MASK) if self._token else shown


def part(text: object) -> str:
    """One part of a path."""
    return quote(str(text), safe="")


def connect() -> Client:
    """The API that the environment names. Raises ConfigError where it names none; connects to nothing yet."""
    settings = load(os.environ)
    if settings.url is not None:
        return _over_http(settings, settings.url)
    if settings.database_url is not None:
        return _direct(settings)
    raise ConfigError(
        "neither CRONQ_URL nor DATABASE_URL is set; set CRONQ_URL to the address of CronQ's web "
        "(and CRONQ_TOKEN to its token), or DATABASE_URL on a host of its services"
    )


def _over_http(settings: Settings, url: str) -> Client:
    import httpx

    def bearer(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {settings.token}"
        return request

    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
    try:
        http = httpx.Client(base_url=url, auth=bearer if settings.token else None, timeout=timeout)
    except httpx.InvalidURL as error:
        raise ConfigError(f"CRONQ_URL: {mask_url(url)!r} is not a web address: {error}") from None
    return Client(http, place=mask_url(url), token=settings.token)


def _direct(settings: Settings) -> Client:
    """The web application without a web server, asked by the user of this process."""
    import httpx

    from cronq.web import create_app
    from cronq.web.auth import DIRECT

    log.configure("error", settings.log_format, "cronq")  # what goes wrong is told once, by the command
    # Sessions are not used here, so a key of the moment does.
    app: Wsgi = create_app(replace(settings, secret_key=settings.secret_key or secrets.token_hex(32)))
    user = f"{_user()} on the command line"

    def direct(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, DIRECT: user}, start_response)

    http = httpx.Client(base_url=_HERE, transport=httpx.WSGITransport(direct))
    return Client(http, place="the database")


def _user() -> str:
    """Of the process, whatever its environment says."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _parsed(answer: httpx.Response) -> Json:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def one(answer: Json, name: str) -> dict[str, Any]:
    """The object of that name in an answer. Raises Unavailable where there is none."""
    found: dict[str, Any] = _in_data(answer, name, dict)
    return found


def _in_data(answer: Json, name: str, kind: type) -> Json:
    data = answer.get("data") if isinstance(answer, dict) else None
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, kind):
        raise Unavailable(f"the answer has no {name}: it is not of the API of this release")
    return found


def _lines(problem: Mapping[str, Any]) -> Iterator[str]:
    """The problem in one line, then what is wrong one by one, where that says more."""
    title, detail = _texts(problem, "title", "detail")
    errors = problem.get("errors")
    wrong = (
        [_texts(each, "pointer", "message", "hint") for each in errors] if isinstance(errors, list) else []
    )
    if wrong and wrong[0][1] and detail.startswith(wrong[0][1]):  # it quotes the first of them
        if len(wrong) == 1 and not wrong[0][0]:
            yield _sentence(title, *wrong[0][1:])
            return
        detail = ""
    yield _sentence(title, detail, "") or "refused without a reason"
    for pointer, message, hint in wrong:
        yield f"  {_sentence(pointer, message, hint)}"


def _texts(value: object, *names: str) -> tuple[str, ...]:
    """These fields of what should be an object, on one line each."""
    found = value if isinstance(value, dict) else {}
    return tuple(" ".join(printable(str(found.get(name) or "")).split()) for name in names)


def _sentence(topic: str, text: str, hint: str) -> str:
    said = ": ".join(part for part in (topic, text) if part)
    return f"{said}; {hint}" if hint else said

"""The body of a request, where it is JSON."""

from __future__ import annotations

from collections.abc import Sequence

from flask import request

from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.strict_json import loads, pointer, shown
from cronq.web.errors import HttpError

JSON = "application/json"
_CHARSETS = ("utf-8", "utf8")
MAX_SMALL = 64 * 1024


def read_json() -> bytes:
    """The bytes of a body that says it is JSON in UTF-8, not read yet; blocks until all are here."""
    return read_as(JSON)[1]


def read_as(*kinds: str) -> tuple[str, bytes]:
    """Which of these types a body in UTF-8 says it is, and its bytes; blocks until all are here."""
    if request.mimetype not in kinds:
        given = request.headers.get("Content-Type")
        said = f"Content-Type {shown(given)}" if given else "a body without Content-Type"
        verb = "is" if len(kinds) == 1 else "are"
        raise _unsupported(f"{said} is not read here; {' and '.join(kinds)} {verb}", kinds[0])
    charset = request.mimetype_params.get("charset", "utf-8")
    if charset.lower() not in _CHARSETS:
        raise _unsupported(f"charset {shown(charset)} is not read here; utf-8 is", kinds[0])
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise _unsupported(
            f"Content-Encoding {shown(encoding)} is not read here; send the body as it is", kinds[0]
        )
    return request.mimetype, _whole_body()


def _whole_body() -> bytes:
    """Werkzeug does not notice that a client hung up early where the server ends the input itself."""
    body = request.get_data(cache=False)
    announced = request.content_length
    if announced is not None and len(body) < announced:
        message = f"the body breaks off after {len(body):,} of {announced:,} bytes"
        raise HttpError(400, "bad_request", message)
    return body


def read_small() -> object:
    """The value of a small body; none at all is an empty object."""
    is_empty = not request.content_length and "Transfer-Encoding" not in request.headers
    if request.mimetype != JSON and is_empty:
        return {}
    body = read_json()
    return loads(body, max_bytes=MAX_SMALL) if body.strip() else {}


def refuse_fields() -> None:
    """For an address that takes no body: an empty object is let pass, and anything that is not JSON."""
    if request.mimetype != JSON:
        return
    body = read_json()
    value = loads(body, max_bytes=MAX_SMALL) if body.strip() else {}
    if not isinstance(value, dict):
        message = f"{shown(value)} is not allowed; the body is empty or an object without fields"
        raise InvalidInput([Problem("invalid_type", "", message)])
    if value:
        raise InvalidInput([_unknown(str(name)) for name in value][:100])


def read_choice(name: str, allowed: Sequence[str]) -> str:
    """The only field of a small body, one of a few words; raises InvalidInput."""
    value = loads(read_json(), max_bytes=MAX_SMALL)
    words = ", ".join(allowed)
    if not isinstance(value, dict) or name not in value:
        message = f'{name}: is missing; the body is {{"{name}": …}} with one of {words}'
        raise InvalidInput([Problem("missing_field", "", message)])
    problems = [_unknown(str(other)) for other in value if other != name][:100]
    if value[name] not in allowed:
        message = f"{name}: {shown(value[name])} is not allowed; one of {words} is"
        problems.append(Problem("invalid_value", pointer(name), message))
    if problems:
        raise InvalidInput(problems)
    return str(value[name])


def _unknown(name: str) -> Problem:
    return Problem("unknown_field", pointer(name), f"{shown(name)}: there is no such field here")


def _unsupported(message: str, kind: str) -> HttpError:
    return HttpError(415, "unsupported_media_type", message, f"send Content-Type: {kind}")

"""One page of a list, and where the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from flask import Response, jsonify, request


def listed(name: str, items: Sequence[object], cursor: str | int | None = None) -> Response:
    """`{"data": {name: …}, "next_cursor": …}`, the next page also as a Link."""
    response = jsonify({"data": {name: items}, "next_cursor": None if cursor is None else str(cursor)})
    if cursor is not None:
        link_next(response, cursor=str(cursor))
    return response


def link_next(response: Response, **changed: str) -> None:
    """A Link (RFC 8288) to the same list with these parameters changed."""
    query = urlencode({**request.args.to_dict(), **changed})
    response.headers["Link"] = f'<{quote(request.path)}?{query}>; rel="next"'

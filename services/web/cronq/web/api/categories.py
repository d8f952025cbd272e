"""Categories: replacing one by a document, and reading them."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import ETags

from cronq import store
from cronq.domain import gate
from cronq.domain.category import MAX_JOBS, parse_document
from cronq.domain.errors import NotFound, PreconditionFailed
from cronq.domain.strict_json import printable, shown
from cronq.runtime import crash
from cronq.store import categories, pauses, skips
from cronq.store.categories import Author, Conditions, Put
from cronq.web import pausing, present
from cronq.web.api.body import read_json
from cronq.web.api.page import listed
from cronq.web.api.params import MAX_ID, Params, no_params
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("categories", __name__)


@blueprint.route("/api/category/<name>", methods=["PUT", "POST"])
def put_category(name: str) -> Response:
    """Make the category's jobs those of the body, all or none."""
    params = Params(request.args)
    dry_run, allowed = params.flag("dry_run"), params.whole("allow_removals", 0, MAX_JOBS)
    params.done()
    wanted = parse_document(read_json(), url_name=name)
    author = Author("put", actor(request))

    def replace(tx: store.Tx) -> Put:
        conditions = Conditions(_expected_revision(tx, name), allow_removals=allowed, dry_run=dry_run)
        put = categories.replace(tx, wanted, author, conditions, store.now(tx))
        crash.reach("web.put.uncommitted")
        return put

    done = web().db.transact(replace)
    crash.reach("web.put.committed")
    return _tagged(jsonify(present.put(done)), done.revision)


@blueprint.get("/api/categories")
def list_categories() -> Response:
    params = Params(request.args)
    category_id = params.whole("id", 1, MAX_ID)
    params.done()
    with web().db.read() as tx:
        found = _presented(tx, categories.all_categories(tx, category_id))
    return listed("categories", found)


@blueprint.get("/api/categories/<name>")
def show_category(name: str) -> Response:
    no_params()
    with web().db.read() as tx:
        row = categories.by_name(tx, name)
        if row is None:
            raise NotFound(f"no category has the name {shown(name)}")
        [told] = _presented(tx, [row])
    return _tagged(jsonify({"data": {"category": told}}), row["revision"])


def _presented(tx: store.Tx, rows: Sequence[present.Row]) -> list[present.Json]:
    """With what holds each back, and how many of its jobs skip what comes next."""
    names = {gate.of_category(row["id"]): row["name"] for row in rows}
    found = {each.subject: each for each in pauses.listed(tx, store.now(tx), [gate.ALL, *names])}
    skipping = skips.by_category(tx)
    told = []
    for row in rows:
        held = found.get(gate.of_category(row["id"])) or found.get(gate.ALL)
        count = skipping.get(row["id"])
        more: present.Json = {
            "paused": None if held is None else pausing.told(held, names),
            "skip_next": None if count is None else {"jobs": count},
        }
        told.append(present.category(row) | more)
    return told


def _tagged(response: Response, revision: int) -> Response:
    response.set_etag(str(revision))
    return response


def _expected_revision(tx: store.Tx, name: str) -> int | None:
    """The revision to insist on while the category is replaced, None for any.

    Raises PreconditionFailed where If-Match or If-None-Match does not hold.
    """
    row = categories.by_name(tx, name)
    if _has(request.if_none_match) and row is not None and _names(request.if_none_match, row["revision"]):
        raise PreconditionFailed(
            f"category {shown(name)} exists, at revision {row['revision']}; If-None-Match wants it not to"
        )
    if not _has(request.if_match):
        return 0 if row is None and _has(request.if_none_match) else None
    if row is None:
        raise PreconditionFailed(f"category {shown(name)} does not exist yet; If-Match wants it to")
    if not _names(request.if_match, row["revision"]):
        raise PreconditionFailed(
            f"category {shown(name)} is at revision {row['revision']}; If-Match wants"
            f" {printable(request.headers['If-Match'][:100])}"
        )
    return int(row["revision"])


def _has(tags: ETags) -> bool:
    return bool(tags.star_tag or tags.as_set(include_weak=True))


def _names(tags: ETags, revision: int) -> bool:
    """Strongly compared (RFC 9110, 13.1.1): a weak tag never matches."""
    return bool(tags.star_tag) or tags.is_strong(str(revision))

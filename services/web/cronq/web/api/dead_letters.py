"""Dead letters: listing them, one with its body, sending one again, dropping one.

A body can hold anything, passwords too, and a reason may quote it: reading needs the right to write.
"""

from __future__ import annotations

import base64
import codecs
import re

import structlog
from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.errors import NotFound
from cronq.domain.strict_json import shown
from cronq.store import dead_letters
from cronq.web import present
from cronq.web.api.body import refuse_fields
from cronq.web.api.page import listed
from cronq.web.api.params import MAX_ID, Params, no_params
from cronq.web.auth import actor, may_write
from cronq.web.context import web
from cronq.web.errors import refused

blueprint = Blueprint("dead_letters", __name__)
log = structlog.get_logger()

_ID = re.compile(r"[1-9][0-9]{0,9}")


@blueprint.before_request
def guard() -> None:
    refusal = may_write(request)
    if refusal:
        raise refused(refusal)


@blueprint.get("/api/dead-letters")
def list_letters() -> Response:
    """The newest first; `cursor` is the letter that the page before ended with."""
    params = Params(request.args)
    queue, before = params.text("queue"), params.whole("cursor", 1, MAX_ID)
    limit = params.whole("limit", 1, 500) or 50
    params.done()
    with web().db.read() as tx:
        found = dead_letters.listed(tx, queue=queue, before=before, limit=limit + 1)
    has_more = len(found) > limit
    letters = [_letter(row) for row in found[:limit]]
    return listed("dead_letters", letters, found[limit - 1]["id"] if has_more else None)


@blueprint.get("/api/dead-letters/<letter_id>")
def show_letter(letter_id: str) -> Response:
    no_params()
    wanted = _id_in(letter_id)
    with web().db.read() as tx:
        row = dead_letters.by_id(tx, wanted)
    if row is None:
        raise NotFound(f"no dead letter has the id {wanted}")
    body = _body(row["head"], is_whole=row["body_bytes"] == len(row["head"]))
    return jsonify({"data": {"dead_letter": {**_letter(row), **body}}})


@blueprint.post("/api/dead-letters/<letter_id>/retry")
def retry_letter(letter_id: str) -> tuple[Response, int]:
    """Results sends it again soon, and it is gone from here once its queue has it."""
    no_params()
    refuse_fields()
    wanted, by = _id_in(letter_id), actor(request)
    row = web().db.transact(lambda tx: _wanted_again(tx, wanted, by))
    log.info("letter.retry_requested", letter=wanted, queue=row["queue"], by=by)
    return jsonify({"data": {"dead_letter": _letter(row)}}), 202


@blueprint.delete("/api/dead-letters/<letter_id>")
def drop_letter(letter_id: str) -> tuple[str, int]:
    no_params()
    refuse_fields()
    wanted = _id_in(letter_id)
    queue = web().db.transact(lambda tx: dead_letters.drop(tx, wanted, store.now(tx)))
    log.info("letter.dropped", letter=wanted, queue=queue, by=actor(request))
    return "", 204


def _wanted_again(tx: store.Tx, letter_id: int, by: str) -> present.Row:
    dead_letters.request_retry(tx, letter_id, by, store.now(tx))
    row = dead_letters.by_id(tx, letter_id)
    if row is None:
        raise NotFound(f"no dead letter has the id {letter_id}")
    return row


def _letter(row: present.Row) -> present.Json:
    return {
        "id": row["id"],
        "queue": row["queue"],
        "reason": row["reason"],
        "at": present.instant(row["at"]),
        "body_bytes": row["body_bytes"],
        "retry_requested_at": present.instant(row["retry_requested_at"]),
        "requested_by": row["requested_by"],
    }


def _body(head: bytes, *, is_whole: bool) -> present.Json:
    """As text, where replacement characters stand for what is none; then also byte for byte."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head, final=is_whole)
    is_text = "\N{REPLACEMENT CHARACTER}" not in text
    return {
        "body": text,
        "body_is_whole": is_whole,
        "body_base64": None if is_text else base64.b64encode(head).decode(),
    }


def _id_in(path: str) -> int:
    """Raises NotFound for what can be no letter's id."""
    if _ID.fullmatch(path) and int(path) <= MAX_ID:
        return int(path)
    raise NotFound(f"no dead letter has the id {shown(path)}")

"""Pauses: of a job, a category, a queue or everything; and skipping what comes next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain import gate
from cronq.domain.errors import NotFound
from cronq.domain.strict_json import shown
from cronq.store import categories, jobs, pauses
from cronq.web import pausing
from cronq.web.api.body import read_small, refuse_fields
from cronq.web.api.page import listed
from cronq.web.api.params import job_id_in, no_params
from cronq.web.auth import actor
from cronq.web.context import web
from cronq.web.pausing import Find
from cronq.web.present import Json

blueprint = Blueprint("pauses", __name__)

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@blueprint.get("/api/pauses")
def list_pauses() -> Response:
    """Those in force, the oldest first, each with how many runs it holds."""
    no_params()
    with web().db.read() as tx:
        found = pauses.listed(tx, store.now(tx))
        held = pauses.held_by_gate(tx)
        names = pausing.names(tx, [each.subject for each in found])
    return listed(
        "pauses", [pausing.told(each, names) | {"held": held.get(each.subject, 0)} for each in found]
    )


# -- what a path names


def _everything() -> Find:
    return lambda _tx: gate.ALL


def _job(job_id: str) -> Find:
    wanted = job_id_in(job_id)

    def find(tx: store.Tx) -> str:
        record = jobs.by_id(tx, wanted)
        if record is None or (record.removed_at is not None and not _is_resume()):
            raise NotFound(f"Job not found for id {wanted}")
        return gate.of_job(wanted)

    return find


def _category(name: str) -> Find:
    def find(tx: store.Tx) -> str:
        row = categories.by_name(tx, name)
        if row is None:
            raise NotFound(f"no category has the name {shown(name)}")
        return gate.of_category(row["id"])

    return find


def _queue(key: str) -> Find:
    """A key that no job has is a mistyped one, mostly; a pause of it can be lifted all the same."""

    def find(tx: store.Tx) -> str:
        if not _KEY.fullmatch(key):
            raise NotFound(f"no queue has the key {shown(key)}")
        if not _is_resume():
            _check_key(tx, key)
        return gate.of_queue(key)

    return find


def _check_key(tx: store.Tx, key: str) -> None:
    known = pauses.keys_of_jobs(tx)
    if key not in known:
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise NotFound(f"no job has the routing key {shown(key)}{hint}")


def _is_resume() -> bool:
    return request.path.endswith("/resume")


# -- what is done with it


def _pause(find: Find, *, must_end: bool = False) -> Response:
    no_params()
    done = pausing.pause(find, read_small(), actor(request), must_end=must_end)
    with web().db.read() as tx:
        names = pausing.names(tx, [done.subject])
    return jsonify({"data": {"pause": pausing.told(done, names)}})


def _resume(find: Find) -> Response:
    no_params()
    refuse_fields()
    done = pausing.resume(find, actor(request))
    with web().db.read() as tx:
        subject = find(tx)
        names = pausing.names(tx, [subject, *(gate.of_job(share.job_id) for share in done.shares)])
    told_jobs: list[Json] = [
        {"job_id": share.job_id, "job": names.get(gate.of_job(share.job_id))} | pausing.told_share(share)
        for share in done.shares
    ]
    return jsonify({"data": {"resumed": pausing.told_resumed(subject, done, names, told_jobs)}})


def _skip(find: Find) -> Response:
    no_params()
    done = pausing.skip(find, read_small(), actor(request))
    return jsonify({"data": {"skip": pausing.told_skip(done.skip) | {"jobs": done.jobs}}})


_Order = Callable[[Find], Response]
_SUBJECTS: dict[str, Callable[..., Find]] = {
    "/api": _everything,
    "/api/jobs/<job_id>": _job,
    "/api/categories/<name>": _category,
    "/api/queues/<key>": _queue,
}
_ORDERS: dict[str, _Order] = {
    "pause": _pause,
    "snooze": partial(_pause, must_end=True),
    "resume": _resume,
    "skip": _skip,
}


def _view(subject: Callable[..., Find], order: _Order) -> Callable[..., Response]:
    return lambda **path: order(subject(**path))


for _path, _subject in _SUBJECTS.items():
    for _word, _order in _ORDERS.items():
        if (_path, _word) != ("/api/queues/<key>", "skip"):  # a queue has no occurrences
            blueprint.add_url_rule(
                f"{_path}/{_word}", f"{_word} {_path}", _view(_subject, _order), methods=["POST"]
            )

"""Maintenance windows: what there is and which are on, replacing one, dropping one."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.errors import InvalidInput, NotFound, Problem
from cronq.domain.job_fields import Refused
from cronq.domain.strict_json import shown
from cronq.domain.window import parse_window, read_window_name
from cronq.store import windows
from cronq.web import present
from cronq.web.api.body import read_json, refuse_fields
from cronq.web.api.page import listed
from cronq.web.api.params import no_params
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("windows", __name__)


@blueprint.get("/api/windows")
def list_windows() -> Response:
    """All of them by name."""
    no_params()
    with web().db.read() as tx:
        now = store.now(tx)
        found = [_window(row, now) for row in windows.listed(tx)]
    return listed("windows", found)


@blueprint.get("/api/windows/<name>")
def show_window(name: str) -> Response:
    no_params()
    with web().db.read() as tx:
        return jsonify({"data": {"window": _shown(tx, name)}})


@blueprint.put("/api/windows/<name>")
def put_window(name: str) -> Response:
    """Make or replace it; what its scope starts waits from now on while it is on."""
    no_params()
    _check_name(name)
    wanted, by = parse_window(read_json()), actor(request)

    def put(tx: store.Tx) -> present.Json:
        changed = windows.put(tx, name, wanted, by, store.now(tx))
        return {"status": "success", "changed": changed, "window": _shown(tx, name)}

    return jsonify(web().db.transact(put))


@blueprint.delete("/api/windows/<name>")
def drop_window(name: str) -> tuple[str, int]:
    """What it holds goes on."""
    no_params()
    refuse_fields()
    web().db.transact(lambda tx: windows.drop(tx, name))
    return "", 204


def _check_name(name: str) -> None:
    try:
        read_window_name(name)
    except Refused as refused:
        raise InvalidInput([Problem(refused.code, "", f"name: {refused}", refused.hint)]) from None


def _shown(tx: store.Tx, name: str) -> present.Json:
    row = windows.by_name(tx, name)
    if row is None:
        raise NotFound(f"no window has the name {shown(name)}")
    return _window(row, store.now(tx))


def _window(row: present.Row, now: datetime) -> present.Json:
    window, document = windows.read(row), _document(row)
    return {
        "name": row["name"],
        "scope": document.get("scope"),
        "reason": document.get("reason", ""),
        "on_until": present.instant(window.on_until(now)) if window else None,
        "next_start": present.instant(window.next_start(now)) if window else None,
        "document": document,
        "at": present.instant(row["at"]),
        "actor": row["actor"],
    }


def _document(row: present.Row) -> present.Json:
    """Nothing where somebody wrote with SQL what is none."""
    found = present.parsed(row["document"])
    return found if isinstance(found, dict) else {}

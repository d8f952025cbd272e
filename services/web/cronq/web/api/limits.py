"""Limits: how many runs at once, how many starts in a time; who set them, who uses them, how many wait."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain import gate
from cronq.domain.errors import NotFound
from cronq.domain.gate import LOCK_CAPACITY, Limit
from cronq.domain.job_fields import did_you_mean
from cronq.domain.limit import LimitKind, format_rate, gate_name, kind_of, read_kind, read_limit
from cronq.domain.strict_json import loads, shown
from cronq.store import categories, jobs, limits, uses
from cronq.store.uses import Use
from cronq.web import present
from cronq.web.api.body import MAX_SMALL, read_json, refuse_fields
from cronq.web.api.page import listed
from cronq.web.api.params import Params, no_params
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("limits", __name__)
log = structlog.get_logger()

_Named = tuple[LimitKind, str]


@blueprint.get("/api/limits")
def list_limits() -> Response:
    """By kind and name: those that somebody set, and locks in use, which have a limit without that."""
    params = Params(request.args)
    most, cursor = params.whole("limit", 1, 500) or 100, params.text("cursor", most=300)
    params.done()
    with web().db.read() as tx:
        given = {found.gate: found for found in limits.listed(tx)}
        named = _named(tx, {*given, *uses.locks_in_use(tx)})
        after = sorted(name for name in named if cursor is None or _cursor(name) > cursor)
        page = after[:most]
        used = uses.uses(tx, [named[name] for name in page])
    items = [_limit(name, given.get(named[name]), used[named[name]]) for name in page]
    return listed("limits", items, _cursor(page[-1]) if len(after) > most else None)


@blueprint.get("/api/limits/<kind>/<name>")
def show_limit(kind: str, name: str) -> Response:
    no_params()
    wanted = read_kind(kind)
    with web().db.read() as tx:
        of_it = _gate(tx, wanted, name)
        found, used = limits.of_gate(tx, of_it), uses.uses(tx, [of_it])[of_it]
        is_used = wanted is LimitKind.LOCK and bool(used.holders or used.waiting)
    if found is None and not is_used:
        raise _not_set(wanted, name)
    return jsonify({"data": {"limit": _limit((wanted, name), found, used)}})


@blueprint.put("/api/limits/<kind>/<name>")
def put_limit(kind: str, name: str) -> Response:
    """The whole limit: what the body leaves out has none. Runs that are under way count."""
    no_params()
    wanted = read_kind(kind)
    body = loads(read_json(), max_bytes=MAX_SMALL)
    by = actor(request)

    def work(tx: store.Tx) -> tuple[bool, present.Json]:
        of_it = _gate(tx, wanted, name)
        changed = limits.set_limit(tx, of_it, read_limit(wanted, body), by, store.now(tx))
        found = limits.of_gate(tx, of_it)
        return changed, _limit((wanted, name), found, uses.uses(tx, [of_it])[of_it])

    changed, shown_limit = web().db.transact(work)
    if changed:
        log.info("limit.set", limit=_cursor((wanted, name)), by=by, **_terms(shown_limit))
    return jsonify({"data": {"limit": shown_limit}, "changed": changed})


@blueprint.delete("/api/limits/<kind>/<name>")
def drop_limit(kind: str, name: str) -> tuple[str, int]:
    """A lock lets one run in then; of all others any number go."""
    no_params()
    refuse_fields()
    wanted, by = read_kind(kind), actor(request)

    def work(tx: store.Tx) -> bool:
        return limits.set_limit(tx, _gate(tx, wanted, name), Limit(), by, store.now(tx))

    if not web().db.transact(work):
        raise _not_set(wanted, name)
    log.info("limit.dropped", limit=_cursor((wanted, name)), by=by)
    return "", 204


def _gate(tx: store.Tx, kind: LimitKind, name: str) -> str:
    """Raises NotFound for a category that is not there, InvalidInput for what can be no name."""
    if kind is not LimitKind.CATEGORY:
        return gate_name(kind, name)
    row = categories.by_name(tx, name)
    if row is None:
        hint = did_you_mean(name, sorted(filter(None, jobs.category_names(tx).values())))
        raise NotFound(f"no category has the name {shown(name)}{f'; {hint}' if hint else ''}")
    return gate.of_category(row["id"])


def _named(tx: store.Tx, of_gates: set[str]) -> dict[_Named, str]:
    """Gates by what they are called; one of a category that somebody deleted with SQL is passed over."""
    names = {str(category_id): name or "" for category_id, name in jobs.category_names(tx).items()}
    found: dict[_Named, str] = {}
    for each in of_gates:
        kind, name = kind_of(each) or (None, "")
        if kind is LimitKind.CATEGORY and name in names:
            found[kind, names[name]] = each
        elif kind not in (None, LimitKind.CATEGORY):
            found[kind, name] = each
    return found


def _terms(limit: present.Json) -> present.Json:
    return {name: limit[name] for name in ("capacity", "rate")}


def _cursor(name: _Named) -> str:
    return "/".join(name)


def _not_set(kind: LimitKind, name: str) -> NotFound:
    default = f"; a lock without one lets {LOCK_CAPACITY} run in" if kind is LimitKind.LOCK else ""
    return NotFound(f"no limit is set for {kind} {shown(name)}{default}")


def _limit(name: _Named, found: limits.Set | None, used: Use) -> present.Json:
    """`capacity` of a lock is 1 without anybody's word; `set_by` and `set_at` are None then."""
    limit = found.limit if found else Limit(LOCK_CAPACITY)
    return {
        "kind": name[0],
        "name": name[1],
        "capacity": limit.capacity,
        "rate": format_rate(limit),
        "in_use": used.in_use,
        "waiting": used.waiting,
        "holders": list(used.holders),
        "origin": found.origin if found else None,
        "set_by": found.actor if found else None,
        "set_at": present.instant(found.at) if found else None,
    }

"""A database that lost what was committed to it: a person accepts it as it is."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.store import epoch
from cronq.web.api.body import refuse_fields
from cronq.web.api.params import no_params
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("failover", __name__)


@blueprint.get("/api/failover")
def show_failover() -> Response:
    """The epoch, and why nothing is started (null where all is well)."""
    no_params()
    with web().db.read() as tx:
        found = {"epoch": epoch.number(tx), "held": epoch.held(tx)}
    return jsonify({"data": {"failover": found}})


@blueprint.post("/api/failover/accept")
def accept_failover() -> Response:
    """Begin another epoch; what waits, and what was due until now, is missed."""
    no_params()
    refuse_fields()
    by = actor(request)
    done = web().db.transact(lambda tx: epoch.accept(tx, by, store.now(tx)))
    return jsonify({"data": {"failover": {"epoch": done.epoch, "held": None, "missed": done.missed}}})

"""Runners, queues and alerts: what the services wrote down about the installation."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, request

from cronq import store
from cronq.store import alerts, leases
from cronq.web import lines, present
from cronq.web.api.page import listed
from cronq.web.api.params import Params, no_params
from cronq.web.context import web

blueprint = Blueprint("fleet", __name__)


@blueprint.get("/api/runners")
def list_runners() -> Response:
    no_params()
    silent_after = timedelta(seconds=web().settings.lease_s)
    with web().db.read() as tx:
        now, found = store.now(tx), leases.all_runners(tx)
    shown = [present.runner(row, is_silent=now - row["heartbeat_at"] > silent_after) for row in found]
    return listed("runners", shown)


@blueprint.get("/api/queues")
def list_queues() -> Response:
    """By routing key: what waits for it, its limit, and what the broker last told the injector."""
    no_params()
    with web().db.read() as tx:
        found = lines.all_lines(tx, store.now(tx) - timedelta(seconds=web().settings.lease_s))
    return listed("queues", [present.queue(line) for line in found])


@blueprint.get("/api/alerts")
def list_alerts() -> Response:
    """The newest 200 that are open; with `all`, also those that are over."""
    params = Params(request.args)
    only_open = not params.flag("all")
    params.done()
    with web().db.read() as tx:
        found = alerts.listed(tx, only_open=only_open)
    return listed("alerts", [present.alert(row) for row in found])

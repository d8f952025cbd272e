"""What surrounds every page: navigation with its counts, the server's clock, the notice."""

from __future__ import annotations

import shlex
from datetime import timedelta

from flask import render_template, request

from cronq import store
from cronq.domain import gate
from cronq.store import alerts, leases, pauses
from cronq.web.auth import Refusal, is_entered, may_write, write_notice
from cronq.web.context import web
from cronq.web.pages import ledger

LATELY = timedelta(hours=24)


def render(tx: store.Tx, template: str, **values: object) -> str:
    """The page, or only its navigation and main part where the query says `fragment=1`."""
    now = store.now(tx)
    silent_after = timedelta(seconds=web().settings.lease_s)
    alive = [r for r in leases.all_runners(tx) if now - r["heartbeat_at"] < silent_after]
    return render_template(
        template,
        layout="fragment.html" if is_fragment() else "base.html",
        now=now,
        failed_lately=ledger.count_bad_since(tx, now - LATELY),
        open_alerts=alerts.listed(tx),
        runners_alive=len(alive),
        silent_after_s=web().settings.lease_s,
        write_notice=write_notice(),
        refusal=_refusal(),
        everything_paused=next(iter(pauses.listed(tx, now, [gate.ALL])), None),
        is_entered=is_entered(),
        **values,
    )


def _refusal() -> Refusal | None:
    """Why the reader's orders would be refused. A link on another site may lead here: that does not count."""
    refusal = may_write(request)
    return None if refusal is None or refusal.code == "cross_origin" else refusal


def is_fragment() -> bool:
    """Whether the page's own script asks, to refresh it."""
    return request.args.get("fragment") == "1"


def curl_url(path: str) -> str:
    """The address of `path` on this very host, as a shell reads it."""
    return shlex.quote(request.host_url.rstrip("/") + path)

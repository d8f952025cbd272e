"""`/alerts`: what is wrong now, and what was lately."""

from __future__ import annotations

from cronq.store import alerts
from cronq.web.context import web
from cronq.web.pages.frame import render

SHOWN = 200


def show_alerts() -> str:
    """Open alerts, then cleared ones, the newest first."""
    with web().db.read() as tx:
        listed = alerts.listed(tx, only_open=False, limit=SHOWN)
        cleared = [alert for alert in listed if alert["cleared_at"] is not None]
        return render(tx, "alerts.html", cleared=cleared)

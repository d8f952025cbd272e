"""`/`: every job by category, its last result, its next run."""

from __future__ import annotations

from flask import request

from cronq import store
from cronq.web.context import web
from cronq.web.pages.frame import render
from cronq.web.pages.listing import PER_PAGE, Wanted, listing

MOST_PAGES = 1_000


def show_jobs() -> str:
    """The list, filtered by `?q=` and `?category=`, one `?page=` of it."""
    wanted = Wanted(request.args.get("q", "").strip(), request.args.get("category", ""), _page())
    with web().db.read() as tx:
        found = listing(tx, wanted, store.now(tx))
        return render(tx, "jobs.html", listing=found, per_page=PER_PAGE)


def _page() -> int:
    page = request.args.get("page", 1, type=int)
    return page if 1 <= page <= MOST_PAGES else 1

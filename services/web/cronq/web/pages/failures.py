"""`/failures`: what ended badly, the newest first, with the last line that it wrote."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request

from cronq import store
from cronq.domain.run import BAD
from cronq.store import jobs
from cronq.store.rows import JobRecord
from cronq.web.context import web
from cronq.web.pages import ledger, output
from cronq.web.pages.frame import render
from cronq.web.pages.ledger import Run
from cronq.web.pages.listing import category_of

SHOWN = 25


@dataclass(frozen=True)
class Failure:
    """One bad run; `job` is None when its row was deleted by hand."""

    run: Run
    job: JobRecord | None
    category: str
    last_line: str


def show_failures() -> str:
    """One page; `?before=` is the run id that the page before ended with."""
    before = ledger.page_start(request.args.get("before"))
    with web().db.read() as tx:
        found = ledger.newest(tx, BAD, before, SHOWN + 1)
        more = found[SHOWN - 1]["run_id"] if len(found) > SHOWN else None
        failures = _failures(tx, found[:SHOWN])
        return render(tx, "failures.html", failures=failures, before=before, more_before=more)


def _failures(tx: store.Tx, found: list[Run]) -> list[Failure]:
    names = jobs.category_names(tx)
    known = jobs.by_ids(tx, {run["job_id"] for run in found})
    return [_failure(tx, run, known.get(run["job_id"]), names) for run in found]


def _failure(tx: store.Tx, run: Run, job: JobRecord | None, names: dict[int, str]) -> Failure:
    category = category_of(job, names) if job else ""
    return Failure(run, job, category, output.last_line(tx, run))

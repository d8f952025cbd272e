"""`/job/<id>`: one job, what comes next, what it did; and the order to run it now."""

from __future__ import annotations

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from cronq import store
from cronq.domain.errors import Conflict, NotFound
from cronq.domain.run import Trigger
from cronq.store import chains, jobs, requests, runs, waits
from cronq.store.requests import Wish
from cronq.store.rows import JobRecord
from cronq.web.auth import actor
from cronq.web.context import web
from cronq.web.errors import HttpError
from cronq.web.pages import job_facts, ledger, output
from cronq.web.pages.frame import render
from cronq.web.pages.listing import category_of, schedule_text, standing
from cronq.web.pages.pausing import standing_of

RUNS_SHOWN = 50
TAIL_LINES = 12
LARGEST_ID = 2**31 - 1


def show_job(job_id: int) -> str:
    """The page of a job, also of one that was removed; `?before=` pages through its runs."""
    before = ledger.page_start(request.args.get("before"))
    with web().db.read() as tx:
        job = _found(tx, job_id)
        return render(tx, "job.html", job=job, **_facts(tx, job), **_runs(tx, job, before))


def _found(tx: store.Tx, job_id: int) -> JobRecord:
    job = jobs.by_id(tx, _checked(job_id))
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def _checked(job_id: int) -> int:
    """The database would not take a larger number."""
    if job_id > LARGEST_ID:
        raise NotFound(f"there is no job {str(job_id)[:40]}")
    return job_id


def _facts(tx: store.Tx, job: JobRecord) -> dict[str, object]:
    now, held = store.now(tx), standing_of(tx, job)
    return {
        "category": category_of(job, jobs.category_names(tx)),
        "schedule": schedule_text(job),
        "overlap": job_facts.overlap_words(job.spec.overlap_rule),
        "locks": job_facts.lock_words(job.spec.lock_weights),
        "standing": standing(job, now, is_paused=bool(held.pauses)),
        "held": held,
        "coming": job_facts.next_of(job, now),
        "revisions": job_facts.history(jobs.revisions(tx, job.id)),
        "after": chains.edges_to(tx, [job.id]),
        "followers": chains.followers(tx, [job.id])[job.id],
    }


def _runs(tx: store.Tx, job: JobRecord, before: str | None) -> dict[str, object]:
    found = runs.listed(tx, job_id=job.id, before=before, limit=RUNS_SHOWN + 1)
    latest = found[0] if found and before is None else None
    return {
        "runs": found[:RUNS_SHOWN],
        "waiting_for": waits.in_short(tx, found),
        "before": before,
        "more_before": found[RUNS_SHOWN - 1]["run_id"] if len(found) > RUNS_SHOWN else None,
        "latest": latest,
        "tail": output.tail(tx, latest, TAIL_LINES) if latest else "",
    }


def order_run(job_id: int) -> Response:
    """POST with `run_now`: one run for each time it is sent."""
    if "run_now" not in request.form:
        raise HttpError(400, "bad_request", f"POST /job/{job_id} needs the form field run_now")
    wish = Wish(_checked(job_id), Trigger.MANUAL, actor(request))
    try:
        run_id = web().db.transact(lambda tx: requests.request_run(tx, wish, store.now(tx)))
    except Conflict as error:
        flash(str(error), "bad")
        return redirect(_back(job_id))
    flash(run_id, "run")
    return redirect(_back(job_id))


def _back(job_id: int) -> str:
    """Where the button was."""
    wanted = request.form.get("back", "")
    if wanted in ("jobs", "failures"):
        return url_for(f"pages.{wanted}")
    return url_for("pages.job", job_id=job_id)

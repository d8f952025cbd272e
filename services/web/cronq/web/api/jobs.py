"""Jobs: listing, one with its newest runs, its revisions, and ordering a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from flask import Blueprint, Response, jsonify, request, url_for

from cronq import store
from cronq.domain.calendar_remarks import calendar_remarks
from cronq.domain.errors import NotFound
from cronq.domain.run import Trigger
from cronq.domain.schedule import ScheduleError
from cronq.store import chains, history, jobs, requests
from cronq.store.requests import Wish
from cronq.store.rows import JobRecord
from cronq.web import present
from cronq.web.api.body import refuse_fields
from cronq.web.api.page import link_next, listed
from cronq.web.api.params import Params, idempotency_key, job_id_in, no_params
from cronq.web.api.runs import named_run
from cronq.web.api.wanted import WantedJobs
from cronq.web.auth import actor
from cronq.web.context import web
from cronq.web.pausing import Held

blueprint = Blueprint("jobs", __name__)

RUNS_SHOWN = 10


@blueprint.get("/api/jobs")
def list_jobs() -> Response:
    """In the ancestor's pages, or by our cursor where `limit` or `cursor` is given."""
    wanted = WantedJobs.of(Params(request.args))
    with web().db.read() as tx:
        found = wanted.find(tx)
        shown = _presented(tx, found[: wanted.limit])
    has_more = len(found) > wanted.limit
    if wanted.by_cursor:
        return listed("jobs", shown, found[wanted.limit - 1].id if has_more else None)
    response = jsonify({"data": {"jobs": shown}})
    if has_more:
        link_next(response, page=str(wanted.page + 1))
    return response


@blueprint.get("/api/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    no_params()
    with web().db.read() as tx:
        record = _existing(tx, job_id_in(job_id))
        [shown] = _presented(tx, [record])
    return jsonify({"data": {"job": shown}})


@blueprint.get("/api/jobs/<job_id>/revisions")
def list_revisions(job_id: str) -> Response:
    """Also those of a job that was removed."""
    no_params()
    wanted = job_id_in(job_id)
    with web().db.read() as tx:
        if jobs.by_id(tx, wanted) is None:
            raise NotFound(f"Job not found for id {wanted}")
        found = jobs.revisions(tx, wanted)
    return listed("revisions", [present.revision(row) for row in found])


@blueprint.post("/api/jobs/<job_id>/run")
def order_run(job_id: str) -> tuple[Response, int]:
    """One run more, or for a known Idempotency-Key the run that it stands for."""
    params = Params(request.args)
    force = params.flag("force")
    params.done()
    refuse_fields()
    wanted = job_id_in(job_id)
    wish = Wish(
        wanted, Trigger.API, actor(request), idempotency_key(), _fingerprint(wanted, force=force), force
    )
    run_id = web().db.transact(lambda tx: requests.request_run(tx, wish, store.now(tx)))
    with web().db.read() as tx:
        run = named_run(tx, run_id)
    response = jsonify({"success": {"message": f"Job submitted at {run['created_at']}"}, "run": run})
    response.headers["Location"] = url_for("runs.show_run", run_id=run_id)
    return response, 202


def _fingerprint(job_id: int, *, force: bool) -> str:
    """Of everything in the request that decides what is done."""
    return hashlib.sha256(f"POST /api/jobs/{job_id}/run force={force}".encode()).hexdigest()


def _existing(tx: store.Tx, job_id: int) -> JobRecord:
    record = jobs.by_id(tx, job_id)
    if record is None:
        raise NotFound(f"Job not found for id {job_id}")
    if record.removed_at is not None:
        at = present.instant(record.removed_at)
        raise NotFound(f"Job {job_id} was removed at {at}; its runs are at /api/runs?job.id={job_id}")
    return record


def _remarks(record: JobRecord, now: datetime) -> list[str]:
    """What its calendar makes of its next occurrences; nothing where its stored schedule is none."""
    with suppress(ScheduleError):
        return calendar_remarks(record.spec, now)
    return []


def _presented(tx: store.Tx, records: Sequence[JobRecord]) -> list[present.Json]:
    now = store.now(tx)
    names = jobs.category_names(tx)
    runs = history.of_jobs(tx, [record.id for record in records], RUNS_SHOWN)
    followers = chains.followers(tx, [record.id for record in records])
    edges = history.edges(tx, [row["run_id"] for rows in runs.values() for row in rows])
    held = Held.of(tx, records, names)
    return [
        present.job(
            record,
            names.get(record.category_id or 0),
            [
                present.ancestors_run(row, edges.get(row["run_id"], history.Edges()))
                for row in runs.get(record.id, [])
            ],
            followers.get(record.id, []),
        )
        | {"calendar_remarks": _remarks(record, now)}
        | held.told(record)
        for record in records
    ]

"""Why did it not run? What became of one occurrence of a job, or why an instant is none."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain import once
from cronq.domain.errors import InvalidInput, NotFound, Problem
from cronq.domain.recurrence import at as instant_of
from cronq.domain.schedule import ScheduleError
from cronq.store import jobs, why
from cronq.store.rows import JobRecord
from cronq.store.why import Told
from cronq.web import present
from cronq.web.api.params import Params, job_id_in
from cronq.web.api.runs import named_run
from cronq.web.context import web

blueprint = Blueprint("why", __name__)


@blueprint.get("/api/jobs/<job_id>/why")
def show_why(job_id: str) -> Response:
    """Of `at`, RFC 3339 or local in the job's timezone; by default of the last due one. Removed jobs too."""
    params = Params(request.args)
    text = params.text("at", most=64)
    params.done()
    wanted = job_id_in(job_id)
    with web().db.read() as tx:
        job = jobs.by_id(tx, wanted)
        if job is None:
            raise NotFound(f"Job not found for id {wanted}")
        at = None if text is None else _instant(text, job)
        told = why.explain(tx, job, at, store.now(tx))
        return jsonify({"data": {"why": _presented(tx, job, told)}})


def _instant(text: str, job: JobRecord) -> datetime:
    """Raises InvalidInput. A time that the clocks left out is the first after it."""
    try:
        return instant_of(once.instants(text, "at", timezone=job.spec.timezone or "UTC", dst="cron")[1][0])
    except ScheduleError as error:
        raise InvalidInput([Problem("invalid_parameter", "", error.message, error.hint)]) from None


def _presented(tx: store.Tx, job: JobRecord, told: Told) -> present.Json:
    answer = told.answer
    return {
        "job_id": job.id,
        "job": job.spec.name,
        "at": present.instant(told.at),
        "verdict": answer.verdict,
        "text": answer.text,
        "before": present.instant(answer.before),
        "after": present.instant(answer.after),
        "remark": answer.remark or None,
        "in_the_way": told.in_the_way,
        "run": None if told.run is None else named_run(tx, told.run["run_id"]),
    }

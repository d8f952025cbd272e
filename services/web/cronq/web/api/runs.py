"""Runs: the ledger, one run with its events and output, and cancelling."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response, jsonify, request, url_for

from cronq import store
from cronq.domain.errors import Conflict, NotFound
from cronq.domain.run import ENDED, State
from cronq.store import chains, jobs, lost, outcomes, runs, waits
from cronq.store.lost import Decision
from cronq.web import present
from cronq.web.api.body import read_choice, refuse_fields
from cronq.web.api.output import Output
from cronq.web.api.page import listed
from cronq.web.api.params import Params, no_params, run_id_in
from cronq.web.api.wanted import WantedRuns
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("runs", __name__)

MAX_OFFSET = 10**15
MAX_ATTEMPT = 10_000


@blueprint.get("/api/runs")
def list_runs() -> Response:
    wanted = WantedRuns.of(Params(request.args))
    with web().db.read() as tx:
        found = wanted.find(tx)
        shown = _named(tx, found[: wanted.limit])
    has_more = len(found) > wanted.limit
    return listed("runs", shown, found[wanted.limit - 1]["run_id"] if has_more else None)


@blueprint.get("/api/runs/<run_id>")
def show_run(run_id: str) -> Response:
    """With what it waits for."""
    no_params()
    with web().db.read() as tx:
        row = _existing(tx, run_id_in(run_id))
        waiting = waits.of_run(tx, row)
        return jsonify({"data": {"run": _named(tx, [row])[0] | {"waiting": present.waiting(waiting)}}})


@blueprint.get("/api/runs/<run_id>/events")
def list_events(run_id: str) -> Response:
    """Also those of a run of the ancestor, which has no row in the ledger."""
    no_params()
    wanted = run_id_in(run_id)
    with web().db.read() as tx:
        found = runs.events_of(tx, wanted)
        if not found:
            _existing(tx, wanted)
    return listed("events", [present.event(row) for row in found])


@blueprint.get("/api/runs/<run_id>/output")
def show_output(run_id: str) -> Response:
    """What is kept of it from byte `offset` on; where the middle was dropped, a line says so."""
    params = Params(request.args)
    offset = params.whole("offset", 0, MAX_OFFSET) or 0
    attempt = params.whole("attempt", 1, MAX_ATTEMPT)
    params.done()
    with web().db.read() as tx:
        row = _existing(tx, run_id_in(run_id))
        chunks = outcomes.output(tx, row["run_id"], attempt or row["attempt"], offset=offset)
    output = Output.of(chunks, offset)
    has_ended = State(row["state"]) in ENDED
    return Response(
        output.body, headers=output.headers(has_ended=has_ended), content_type="text/plain; charset=utf-8"
    )


@blueprint.post("/api/runs/<run_id>/cancel")
def cancel_run(run_id: str) -> tuple[Response, int]:
    """A waiting run is cancelled at once, a live one is killed soon."""
    no_params()
    refuse_fields()
    wanted, by = run_id_in(run_id), actor(request)
    was = web().db.transact(lambda tx: runs.request_cancel(tx, wanted, by, store.now(tx)))
    with web().db.read() as tx:
        shown = named_run(tx, wanted)
    if was in ENDED:
        at = shown["finished_at"] or shown["recorded_at"]
        raise Conflict(f"run {wanted} is over: {was} at {at}")
    return jsonify({"data": {"run": shown}}), 202


@blueprint.post("/api/runs/<run_id>/retry")
def retry_run(run_id: str) -> tuple[Response, int]:
    """Order the job of a run that is over once more, as a run of its own."""
    no_params()
    refuse_fields()
    wanted, by = run_id_in(run_id), actor(request)
    return _ordered(web().db.transact(lambda tx: lost.rerun(tx, wanted, by, store.now(tx))))


@blueprint.post("/api/runs/<run_id>/decide")
def decide_run(run_id: str) -> tuple[Response, int]:
    """Say of a held run what became of it, or order it once more."""
    no_params()
    wanted, by = run_id_in(run_id), actor(request)
    decision = Decision(read_choice("decision", tuple(Decision)))
    carried_on = web().db.transact(lambda tx: lost.decide(tx, wanted, decision, by, store.now(tx)))
    if decision is Decision.RERUN:
        return _ordered(carried_on)
    with web().db.read() as tx:
        return jsonify({"data": {"run": named_run(tx, wanted)}}), 200


def _ordered(run_id: str) -> tuple[Response, int]:
    with web().db.read() as tx:
        response = jsonify({"data": {"run": named_run(tx, run_id)}})
    response.headers["Location"] = url_for("runs.show_run", run_id=run_id)
    return response, 202


def named_run(tx: store.Tx, run_id: str) -> present.Json:
    """A run as it is shown; raises NotFound."""
    return _named(tx, [_existing(tx, run_id)])[0]


def _existing(tx: store.Tx, run_id: str) -> present.Row:
    row = runs.by_id(tx, run_id)
    if row is None:
        raise NotFound(f"no run has the id {run_id}")
    return row


def _named(tx: store.Tx, rows: Sequence[present.Row]) -> list[present.Json]:
    records = jobs.by_ids(tx, {row["job_id"] for row in rows})
    names = jobs.category_names(tx)
    waiting = waits.in_short(tx, rows)
    caused = chains.caused_by(tx, [row["run_id"] for row in rows])
    named = []
    for row in rows:
        record = records.get(row["job_id"])
        category = names.get(record.category_id or 0) if record else None
        shown = present.run(row, record, category, caused.get(row["run_id"], ()))
        named.append(shown | {"waiting_for": waiting.get(row["run_id"])})
    return named

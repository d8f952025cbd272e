"""`/run/<run_id>`: one run, its output as it grows, and the order to cancel it."""

from __future__ import annotations

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from cronq import store
from cronq.domain.errors import Conflict, NotFound
from cronq.domain.misfire import LATEST
from cronq.domain.missed import Standing
from cronq.domain.run import ENDED, Kind, State
from cronq.store import chains, jobs, lost, missed, runs, waits
from cronq.store.lost import Decision
from cronq.store.rows import JobRecord
from cronq.web.auth import actor
from cronq.web.context import web
from cronq.web.let_out import let_out
from cronq.web.pages import job_facts, ledger, output, run_facts
from cronq.web.pages.frame import is_fragment, render
from cronq.web.pages.ledger import Run
from cronq.web.pages.listing import category_of

MOST_CAUSED = 20


def show_run(run_id: str) -> str:
    """The page of a run; a fragment leaves the output to `more_output`."""
    whole = request.args.get("output") == "all"
    with web().db.read() as tx:
        run = _found(tx, run_id)
        shown = None if is_fragment() else output.first_piece(tx, run, whole=whole)
        return render(tx, "run.html", run=run, output=shown, **_facts(tx, run))


def _found(tx: store.Tx, run_id: str) -> Run:
    run = runs.by_id(tx, _checked(run_id))
    if run is None:
        raise _unknown(run_id)
    return run


def _checked(run_id: str) -> str:
    """The database would not compare other texts."""
    if not ledger.is_run_id(run_id):
        raise _unknown(run_id)
    return run_id


def _unknown(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id[:64]}")


def _facts(tx: store.Tx, run: Run) -> dict[str, object]:
    job = jobs.by_id(tx, run["job_id"])
    facts: dict[str, object] = {
        "job": job,
        "ended": run["state"] in ENDED,
        "waiting": waits.of_run(tx, run),
        "steps": run_facts.steps(run),
        "events": run_facts.told(runs.events_of(tx, run["run_id"])),
        **_board(tx, run, job),
    }
    facts |= _causes(tx, run)
    if job is not None:
        is_present = run["revision"] in (None, job.revision)
        revisions = [] if is_present else jobs.revisions(tx, job.id)
        facts["command"] = job_facts.command_of(job, run["revision"], revisions)
        facts["category"] = category_of(job, jobs.category_names(tx))
    return facts


def _causes(tx: store.Tx, run: Run) -> dict[str, object]:
    """The run that started it, and those that it started, each with its job's names."""
    caused = chains.caused_by(tx, [run["run_id"]])[run["run_id"]]
    named = chains.names_of(tx, [*caused[:MOST_CAUSED], *([run["caused_by"]] if run["caused_by"] else [])])
    return {
        "cause": (run["caused_by"], named.get(run["caused_by"])),
        "caused": [(run_id, named.get(run_id)) for run_id in caused[:MOST_CAUSED]],
        "more_caused": max(0, len(caused) - MOST_CAUSED),
    }


def _board(tx: store.Tx, run: Run, job: JobRecord | None) -> dict[str, object]:
    """What the outage board says of it, if it is there: why it did not run, and whether it can be run."""
    [row] = missed.with_gates(tx, [run["run_id"]])
    stands = missed.standing(row)
    if stands is None or stands is Standing.LOST or run["kind"] != Kind.SLOT:
        return {"why_not_run": "", "can_let_out": False}
    rule = job.spec.misfire_rule if job is not None else LATEST
    why = run_facts.why_not_run(run, rule, row["gate"])
    return {"why_not_run": why, "can_let_out": missed.refusal(row, job) is None}


def more_output(run_id: str) -> dict[str, object]:
    """What came after `?offset=`, for the script of the page: HTML, and how to ask for what follows."""
    offset = max(0, request.args.get("offset", 0, type=int))
    style = request.args.get("style", "")[:100]
    with web().db.read() as tx:
        run = _found(tx, run_id)
        more = output.next_piece(tx, run, offset, style)
    return {
        "html": more.html,
        "next_offset": more.next_offset,
        "style": more.style,
        "attempt": run["attempt"],
        "ended": run["state"] in ENDED,
    }


def cancel_run(run_id: str) -> Response:
    """POST: a waiting run is cancelled at once, a live one will be killed, an ended one is left alone."""
    wanted, by = _checked(run_id), actor(request)
    was = web().db.transact(lambda tx: runs.request_cancel(tx, wanted, by, store.now(tx)))
    if was is None:
        raise _unknown(run_id)
    flash(*_said(was))
    return redirect(url_for("pages.run", run_id=run_id))


def let_out_run(run_id: str) -> Response:
    """POST: a missed, expired, skipped or held occurrence runs now, in its own row."""
    wanted, by = _checked(run_id), actor(request)
    try:
        done = web().db.transact(lambda tx: let_out(tx, wanted, by))
    except Conflict as error:
        flash(str(error), "bad")
        return redirect(url_for("pages.run", run_id=wanted))
    if not done.changed:
        flash(f"Nothing was done: {done.unchanged[0][1]}.", "bad")
        return redirect(url_for("pages.run", run_id=wanted))
    flash("It runs as soon as a runner takes it.", "good")
    return redirect(url_for("pages.run", run_id=done.changed[0]))


def decide_run(run_id: str) -> Response:
    """POST: what became of a held run, or once more."""
    wanted, by = _checked(run_id), actor(request)
    decision = request.form.get("decision", "")
    if decision not in tuple(Decision):
        raise NotFound(f"there is no decision {decision[:64]!r}")
    carried_on = web().db.transact(lambda tx: lost.decide(tx, wanted, Decision(decision), by, store.now(tx)))
    flash("Runs again." if carried_on != wanted else f"Decided: it {decision}.", "good")
    return redirect(url_for("pages.run", run_id=carried_on))


def _said(was: State) -> tuple[str, str]:
    if was in ENDED:
        return f"This run has ended already ({was}): there is nothing to cancel.", "bad"
    if was in (State.SCHEDULED, State.QUEUED):
        return "Cancelled before it started.", "good"
    return "Asked the runner to end it: TERM first, KILL after the job's grace.", "good"

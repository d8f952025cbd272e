"""The audit: is every occurrence that was due accounted for, by one row of the ledger?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.audit import Finding, Report, Window
from cronq.domain.errors import NotFound
from cronq.domain.strict_json import shown
from cronq.store import audits, categories, jobs
from cronq.store.audits import Scope
from cronq.web import present
from cronq.web.api.params import MAX_ID, Params
from cronq.web.context import web

blueprint = Blueprint("audit", __name__)

_EXAMPLE = "an RFC 3339 instant such as 2026-01-31T14:00:00Z"


@blueprint.get("/api/audit/occurrences")
def audit_occurrences() -> Response:
    """Of all jobs, one, or those of a category; blocks for up to ten seconds or so."""
    wanted = _Wanted.of(Params(request.args))
    with web().db.read() as tx:
        window = Window.of(wanted.since, wanted.until, store.now(tx))
        scope = wanted.scope(tx)
    return jsonify({"data": _presented(audits.audit(web().db, window, scope), window)})


@dataclass(frozen=True)
class _Wanted:
    since: datetime
    until: datetime | None
    job_id: int | None
    category: str | None

    @classmethod
    def of(cls, params: Params) -> _Wanted:
        """Raises InvalidInput."""
        since, until = params.instant("since"), params.instant("until")
        if "since" not in request.args:
            params.problem(f"since: is missing; it must be {_EXAMPLE}")
        if since and until and since > until:
            after, before = present.instant(since), present.instant(until)
            params.problem(f"since: {after} is not allowed; an instant up to until, {before}, is")
        job_id, category = params.whole("job.id", 1, MAX_ID), params.text("category")
        params.done()
        assert since is not None  # `done` has refused what is missing or no instant
        return cls(since, until, job_id, category)

    def scope(self, tx: store.Tx) -> Scope:
        """Raises NotFound for a job or category that never was: it would be found without holes."""
        if self.job_id is not None and jobs.by_id(tx, self.job_id) is None:
            raise NotFound(f"Job not found for id {self.job_id}")
        if self.category is None:
            return Scope(self.job_id)
        row = categories.by_name(tx, self.category)
        if row is None:
            raise NotFound(f"no category has the name {shown(self.category)}")
        return Scope(self.job_id, row["id"])


def _presented(report: Report, window: Window) -> present.Json:
    return {
        "since": present.instant(window.since),
        "until": present.instant(window.until),
        "expected": report.expected,
        "found": report.found,
        "holes": [
            {"job_id": f.job_id, "scheduled_for": present.instant(f.scheduled_for)} for f in report.holes
        ],
        "doubles": _with_runs(report.doubles),
        "unexpected": _with_runs(report.unexpected),
        "not_named": report.not_named,
    }


def _with_runs(findings: Sequence[Finding]) -> list[present.Json]:
    return [
        {"job_id": f.job_id, "scheduled_for": present.instant(f.scheduled_for), "runs": list(f.run_ids)}
        for f in findings
    ]

"""The outage board: every missed or held occurrence since an instant, and orders about them in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.duration import format_duration
from cronq.domain.errors import NotFound
from cronq.domain.missed import (
    MOST,
    MOST_EVERY,
    MOST_SHIFT,
    ORDERED,
    SHOWN,
    Action,
    Order,
    Standing,
    Which,
)
from cronq.domain.strict_json import shown
from cronq.store import categories, jobs, missed, missed_orders
from cronq.store.missed import Scope
from cronq.store.missed_orders import Done
from cronq.store.rows import JobRecord
from cronq.web import present
from cronq.web.api.fields import Fields
from cronq.web.api.page import link_next
from cronq.web.api.params import MAX_ID, Params, no_params
from cronq.web.auth import actor
from cronq.web.context import web
from cronq.web.let_out import pace

blueprint = Blueprint("missed", __name__)

DEFAULT_SINCE = timedelta(hours=24)
_SELECTION = ("since", "until", "category", "job", "state")


@blueprint.get("/api/missed")
def list_missed() -> Response:
    """The newest first; on the first page also how many occurrences of each job stand how."""
    params = Params(request.args)
    since, until = params.instant("since"), params.instant("until")
    job_id, category = params.whole("job.id", 1, MAX_ID), params.text("category")
    standings = _standings(params)
    limit, cursor = params.whole("limit", 1, 500) or 50, params.run_id("cursor")
    if since and until and since > until:
        params.problem("since: is after until")
    params.done()
    with web().db.read() as tx:
        begin = since or store.now(tx) - DEFAULT_SINCE
        scope = Scope(since=begin, until=until, job_id=job_id, standings=standings)
        scope = _existing(tx, scope, category)
        found = missed.listed(tx, scope, before=cursor, limit=limit + 1)
        counts = missed.by_job(tx, scope) if cursor is None else []
        rows, heads = _presented(tx, found[:limit]), _counted(tx, counts)
    following = found[limit - 1]["run_id"] if len(found) > limit else None
    data = {"since": present.instant(begin), "until": present.instant(until), "jobs": heads, "missed": rows}
    response = jsonify({"data": data, "next_cursor": following})
    if following is not None:
        link_next(response, cursor=following, since=str(present.instant(begin)))
    return response


@blueprint.post("/api/missed/run")
def run_missed() -> tuple[Response, int]:
    """Let them out now, `every` so far apart, or else at the rate for catching up."""
    return _ordered(Action.RUN), 202


@blueprint.post("/api/missed/shift")
def shift_missed() -> tuple[Response, int]:
    """Let them out later: `by` so long from now, or from the instant `to` on."""
    return _ordered(Action.SHIFT), 202


@blueprint.post("/api/missed/skip")
def skip_missed() -> tuple[Response, int]:
    """Have them never run."""
    return _ordered(Action.SKIP), 200


def _ordered(action: Action) -> Response:
    no_params()
    fields = Fields.of_body()
    wanted = _Wanted.of(fields, action)
    by = actor(request)
    done = web().db.transact(lambda tx: wanted.carry_out(tx, by))
    unchanged = [{"run": run_id, "why": why} for run_id, why in done.unchanged]
    told = {"action": action, "changed": done.changed, "unchanged": unchanged, "left": done.left}
    return jsonify({"data": {"done": told}})


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """The body of an order: `runs`, or what is in a scope; and how it is done."""

    action: Action
    runs: Sequence[str] | None
    since: datetime | None
    until: datetime | None
    category: str | None
    job_id: int | None
    standings: frozenset[Standing]
    which: Which
    by: timedelta | None
    to: datetime | None
    every: timedelta | None
    why: str

    @classmethod
    def of(cls, fields: Fields, action: Action) -> _Wanted:
        """Raises InvalidInput."""
        is_shift, is_skip = action is Action.SHIFT, action is Action.SKIP
        named = fields.run_ids("runs", MOST)
        which = fields.choice("which", tuple(Which))
        states = fields.choices("state", tuple(sorted(ORDERED | {Standing.SKIPPED})))
        wanted = cls(
            action=action,
            runs=named,
            since=fields.instant("since"),
            until=fields.instant("until"),
            category=fields.text("category"),
            job_id=fields.whole("job", 1, MAX_ID),
            standings=ORDERED if states is None else frozenset(Standing(s) for s in states),
            which=Which(which or (Which.ALL if is_skip else Which.LATEST)),
            by=fields.duration("by", MOST_SHIFT) if is_shift else None,
            to=fields.instant("to") if is_shift else None,
            every=None if is_skip else fields.duration("every", MOST_EVERY),
            why=(fields.text("reason") if is_skip else None) or "",
        )
        wanted._check_selection(fields)
        if is_shift and fields.has("by") == fields.has("to"):
            fields.problem("to", f'give either "by" (up to {format_duration(MOST_SHIFT)}) or "to"')
        fields.done()
        return wanted

    def _check_selection(self, fields: Fields) -> None:
        if fields.has("runs"):
            for name in _SELECTION:
                if fields.has(name):
                    fields.problem(name, f"{name}: does not go with runs, which are named one by one")
            return
        for name, example in (("since", "an instant"), ("which", "latest or all")):
            if not fields.has(name):
                message = f"{name}: is missing; give it ({example}), or runs"
                fields.problem(name, message, code="missing_field")
        if self.since and self.until and self.since > self.until:
            fields.problem("since", "since: is after until")

    def carry_out(self, tx: store.Tx, by: str) -> Done:
        """Raises NotFound, Conflict, InvalidInput."""
        now = store.now(tx)
        order = Order(
            action=self.action,
            actor=by,
            which=self.which,
            to=self._first(now),
            every=self.every,
            why=self.why,
        )
        if self.runs is not None:
            return missed_orders.carry_out_on(tx, order, self.runs, now, pace(tx))
        assert self.since is not None  # `of` has refused its absence
        scope = Scope(since=self.since, until=self.until, job_id=self.job_id, standings=self.standings)
        return missed_orders.carry_out(tx, order, _existing(tx, scope, self.category), now, pace(tx))

    def _first(self, now: datetime) -> datetime | None:
        """Raises InvalidInput for an instant that is past or too far away."""
        if self.by is not None:
            return now + self.by
        if self.to is not None and not now < self.to <= now + MOST_SHIFT:
            fields = Fields({"to": present.instant(self.to)})
            fields.text("to")
            until = present.instant(now + MOST_SHIFT)
            fields.problem(
                "to", f"to: {present.instant(self.to)} is not allowed; an instant up to {until} is"
            )
            fields.done()
        return self.to


def _standings(params: Params) -> frozenset[Standing]:
    words = params.words("state", tuple(sorted(Standing)))
    return frozenset(Standing(word) for word in words) or SHOWN


def _existing(tx: store.Tx, scope: Scope, category: str | None) -> Scope:
    """Of this category, if any.

    Raises NotFound for a job or category that never was: nothing would seem to be missed.
    """
    if scope.job_id is not None and jobs.by_id(tx, scope.job_id) is None:
        raise NotFound(f"Job not found for id {scope.job_id}")
    if category is None:
        return scope
    row = categories.by_name(tx, category)
    if row is None:
        raise NotFound(f"no category has the name {shown(category)}")
    return replace(scope, category_id=row["id"])


def _presented(tx: store.Tx, rows: Iterable[present.Row]) -> list[present.Json]:
    found = list(rows)
    records, names = _named(tx, found)
    return [_row(row, records.get(row["job_id"]), names) for row in found]


def _row(row: present.Row, record: JobRecord | None, names: Mapping[int, str]) -> present.Json:
    why_not = missed.refusal(dict(row), record)
    return {
        "run": row["run_id"],
        **_of_job(row["job_id"], record, names),
        "scheduled_for": present.instant(row["scheduled_for"]),
        "last_scheduled_for": present.instant(row["last_scheduled_for"]),
        "count": row["missed_count"] or 1,
        "standing": missed.standing(dict(row)),
        "state": row["state"],
        "reason": row["reason"],
        "waits_for": row["gate"],
        "can_run": why_not is None,
        "why_not": why_not,
    }


def _counted(tx: store.Tx, counts: Iterable[present.Row]) -> list[present.Json]:
    found = list(counts)
    records, names = _named(tx, found)
    return [
        {
            **_of_job(row["job_id"], records.get(row["job_id"]), names),
            "standing": row["standing"],
            "count": int(row["count"]),
            "first": present.instant(row["first"]),
            "last": present.instant(row["last"]),
        }
        for row in found
    ]


def _named(tx: store.Tx, rows: Sequence[present.Row]) -> tuple[Mapping[int, JobRecord], Mapping[int, str]]:
    return jobs.by_ids(tx, {row["job_id"] for row in rows}), jobs.category_names(tx)


def _of_job(job_id: int, record: JobRecord | None, names: Mapping[int, str]) -> present.Json:
    if record is None:
        return {"job_id": job_id, "job": None, "category": None}
    category = names.get(record.category_id or 0) or present.NO_CATEGORY
    return {"job_id": job_id, "job": record.spec.name, "category": category}

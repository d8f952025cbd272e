"""What would come of a schedule that no job has yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Path, Refused, read_field
from cronq.domain.preview import Outlook
from cronq.domain.recurrence import LAST_YEAR
from cronq.domain.schedule import Schedule, needs_seed, parse
from cronq.domain.timing import timing_problems
from cronq.web import present
from cronq.web.api.params import Params
from cronq.web.context import web

blueprint = Blueprint("preview", __name__)

MOST_SHOWN = 1_000
DEFAULT_SHOWN = 10
_EXAMPLE = "write it as schedule=30+2+*+*+*"
_NO_SEED = "H is another value for each job: name the job with seed=CATEGORY/NAME"


@blueprint.get("/api/preview")
def preview_schedule() -> Response:
    """In words and in instants, the first ones after `after`, by default after now."""
    wanted = _Wanted.of(Params(request.args))
    with web().db.read() as tx:
        now = store.now(tx)
    return jsonify({"data": wanted.shown(now)})


@dataclass(frozen=True)
class _Wanted:
    schedule: Schedule
    outlook: Outlook
    hints: Sequence[str]
    after: datetime | None
    count: int

    @classmethod
    def of(cls, params: Params) -> _Wanted:
        """Raises InvalidInput."""
        schedules = params.texts("schedule")
        others = {name: params.text(name) for name in ("timezone", "dst", "start", "end")}
        seed, after = params.text("seed") or "", params.instant("after")
        count = params.whole("n", 1, MOST_SHOWN) or DEFAULT_SHOWN
        if not schedules:
            params.problem("schedule: is missing; the preview needs one or several", _EXAMPLE)
        params.done()
        given = {name: text for name, text in others.items() if text is not None}
        values = _checked({"schedule": schedules[0] if len(schedules) == 1 else schedules, **given})
        schedule = parse(values.pop("schedule"), seed=seed, **values)
        outlook = Outlook.of(schedule, values.get("timezone"), values.get("dst", "cron"))
        hints = [] if seed or not needs_seed(tuple(schedules)) else [_NO_SEED]
        return cls(schedule, outlook, hints, after, count)

    def shown(self, now: datetime) -> present.Json:
        begin = self.after or now
        end = begin.replace(year=LAST_YEAR + 1, month=1, day=1) if begin.year <= LAST_YEAR else begin
        coming = islice(self.schedule.between(begin, end), self.count)
        return {
            "text": self.schedule.describe(),
            "remarks": [*self.hints, *self.schedule.remarks(now)],
            "occurrences": [present.planned(each) for each in self.outlook.seen(coming, begin)],
        }


def _checked(given: Mapping[str, object]) -> dict[str, Any]:
    """The fields as a document would have them. Raises InvalidInput; each problem names its parameter."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in given.items():
        try:
            values |= read_field(name, value)
        except Refused as refused:
            problems.append(refused.problem(name))
    where: dict[str, Path] = {name: (name,) for name in given}
    problems += timing_problems(values, where)
    if problems:
        raise InvalidInput([_of_parameter(problem) for problem in problems])
    return values


def _of_parameter(problem: Problem) -> Problem:
    """A query has no document to point into: of several schedules the message says which."""
    name, _, index = problem.pointer.removeprefix("/").partition("/")
    message = problem.message
    if index:
        message = message.replace(name, f"{name} number {int(index) + 1}", 1)
    return Problem(problem.code, "", message, problem.hint)

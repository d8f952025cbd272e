"""The load to come, from schedules and past durations, queue by queue against the slots of its runners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain import crowd
from cronq.domain.crowd import Advice, Herd, Overload
from cronq.domain.forecast import MINUTE_S, Due, Forecast, QueueLoad, Window, forecast
from cronq.domain.routing import key_of_queue
from cronq.domain.schedule import ScheduleError
from cronq.store import forecasts, jobs
from cronq.store.rows import JobRecord
from cronq.web import present
from cronq.web.api.params import Params
from cronq.web.context import web

blueprint = Blueprint("forecast", __name__)

MOST_HOURS = 7 * 24
MOST_STEP_S = 3_600
# Reading so many takes two seconds; those due soonest are in it.
MOST_JOBS = 20_000
_MOST_QUEUES = 50
_MOST_LISTED = 20
_MOST_NAMES = 10


@blueprint.get("/api/forecast")
def show_forecast() -> Response:
    """For the next day unless the query says otherwise; blocks for some seconds where jobs are many."""
    wanted = _Wanted.of(Params(request.args))
    silent_after = timedelta(seconds=web().settings.lease_s)
    with web().db.read() as tx:
        now = store.now(tx)
        window = wanted.window(now)
        records = forecasts.due_before(tx, window.until, MOST_JOBS)
        due_in_all = forecasts.count_due_before(tx, window.until) if len(records) == MOST_JOBS else 0
        slots = forecasts.slots(tx, now - silent_after)
        names = jobs.category_names(tx)
        records = [record for record in records if wanted.has(record)]
        lasts_s = forecasts.durations(tx, [record.id for record in records])
    found = forecast(_due(records, names, lasts_s, now), window)
    unread = max(due_in_all - MOST_JOBS, 0)
    return jsonify({"data": {"forecast": _presented(found, slots, wanted.step_s // MINUTE_S, unread)}})


@dataclass(frozen=True)
class _Wanted:
    hours: int
    queue: str | None
    step_s: int

    @classmethod
    def of(cls, params: Params) -> _Wanted:
        """Raises InvalidInput."""
        hours, queue = params.whole("hours", 1, MOST_HOURS), params.text("queue", most=190)
        step_s = params.whole("step_s", MINUTE_S, MOST_STEP_S) or MINUTE_S
        if step_s % MINUTE_S or MOST_STEP_S % step_s:
            params.problem(f"step_s: {step_s} is not allowed; whole minutes into which an hour divides are")
        params.done()
        return cls(hours or 24, None if queue is None else key_of_queue(queue), step_s)

    def window(self, now: datetime) -> Window:
        """From the beginning of the present step on, so that its steps are those of the clock."""
        begin = now.replace(minute=0, second=0, microsecond=0)
        begin += (now - begin) // timedelta(seconds=self.step_s) * timedelta(seconds=self.step_s)
        return Window(begin, begin + timedelta(hours=self.hours))

    def has(self, record: JobRecord) -> bool:
        return self.queue is None or key_of_queue(record.key) == self.queue


def _due(
    records: Sequence[JobRecord], names: Mapping[int, str], lasts_s: Mapping[int, float], now: datetime
) -> list[Due]:
    """Without those that will not run: what is stored of them is not valid. What is overdue starts now."""
    found = (_of_record(record, names, lasts_s.get(record.id)) for record in records)
    return [replace(due, next_run=max(due.next_run, now)) for due in found if due is not None]


def _of_record(record: JobRecord, names: Mapping[int, str], lasts_s: float | None) -> Due | None:
    if record.next_run is None or record.problem is not None:
        return None
    try:
        schedule = record.due_job().parsed()
    except ScheduleError:
        return None
    written = record.spec.schedule
    category = names.get(record.category_id or 0, present.NO_CATEGORY)
    return Due(
        f"{category}/{record.spec.name}",
        key_of_queue(record.key),
        record.next_run,
        schedule,
        written if isinstance(written, str) else "",
        lasts_s,
    )


def _presented(found: Forecast, slots: Mapping[str, int], step: int, unread: int) -> present.Json:
    worst_first = sorted(found.queues, key=lambda load: (-max(load.alive, default=0), load.queue))
    shown = worst_first[:_MOST_QUEUES]
    return {
        "since": present.instant(found.window.since),
        "until": present.instant(found.window.until),
        "step_s": step * MINUTE_S,
        "jobs": {"counted": found.counted, "not_counted": found.cut + unread},
        "durations": {"unknown_jobs": found.unknown, "assumed_s": round(found.assumed_s, 1)},
        "queues": [_queue(load, slots.get(load.queue, 0), found.window, step) for load in shown],
        "queues_not_shown": len(found.queues) - len(shown),
    }


def _queue(load: QueueLoad, slots: int, window: Window, step: int) -> present.Json:
    peak = max(load.alive, default=0)
    # Without a runner everything waits: that is no overload, and `slots` says it.
    over = crowd.overloads(load, slots) if slots else []
    herds = crowd.herds(load)
    return {
        "queue": load.queue,
        "slots": slots,
        "peak": {"at": present.instant(window.at(load.alive.index(peak))), "alive": peak},
        "total": sum(load.starts),
        "starts": [sum(part) for part in _parts(load.starts, step)],
        "alive": [max(part) for part in _parts(load.alive, step)],
        "overload_minutes": sum(span.end - span.first for span in over),
        "overloads": [_overload(span, window) for span in _worst(over)],
        "herds": [_herd(herd, window) for herd in herds[:_MOST_LISTED]],
        "herds_not_shown": max(len(herds) - _MOST_LISTED, 0),
    }


def _parts(minutes: Sequence[int], step: int) -> Iterator[Sequence[int]]:
    return (minutes[begin : begin + step] for begin in range(0, len(minutes), step))


def _worst(spans: Sequence[Overload]) -> list[Overload]:
    """Those with the most runs, in order of time."""
    return sorted(sorted(spans, key=lambda span: -span.alive)[:_MOST_LISTED], key=lambda span: span.first)


def _overload(span: Overload, window: Window) -> present.Json:
    return {
        "since": present.instant(window.at(span.first)),
        "until": present.instant(window.at(span.end)),
        "alive": span.alive,
    }


def _herd(herd: Herd, window: Window) -> present.Json:
    """The first of its minutes, and how many are like it."""
    return {
        "at": present.instant(window.at(herd.minutes[0])),
        "times": len(herd.minutes),
        "starts": herd.starts,
        "usual": round(herd.usual, 2),
        "jobs": len(herd.jobs),
        "names": list(herd.jobs[:_MOST_NAMES]),
        "advice": [_advice(advice) for advice in herd.advice[:_MOST_LISTED]],
    }


def _advice(advice: Advice) -> present.Json:
    return {
        "schedule": advice.schedule,
        "jobs": len(advice.jobs),
        "names": list(advice.jobs[:_MOST_NAMES]),
        "text": f"{advice.schedule} for {len(advice.jobs)} of these jobs",
    }

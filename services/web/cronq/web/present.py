"""The shapes of jobs, runs and the rest in JSON.

The ancestor's fields keep its form, with instants in UTC that do not say so; all other instants are
RFC 3339 with Z.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cronq.domain.duration import format_duration
from cronq.domain.job import JobSpec
from cronq.domain.limit import format_rate
from cronq.domain.preview import Planned
from cronq.domain.run import LIVE, WAITING, State
from cronq.domain.waiting import Wait
from cronq.store.categories import Put
from cronq.store.chains import Follower
from cronq.store.history import Edges
from cronq.store.line import NEVER
from cronq.store.rows import JobRecord
from cronq.web.lines import Line

Row = Mapping[str, Any]  # a row of the database
Json = dict[str, object]

NO_CATEGORY = "(none)"

_RUN_INSTANTS = (
    "scheduled_for",
    "queued_at",
    "published_at",
    "claimed_at",
    "started_at",
    "finished_at",
    "recorded_at",
)
_TEXTS = {
    "started": "Running now",
    "starting": "Running now",
    "failed": "Last run failed",
    "finished": "Error",
    "succeeded": "About {} UTC",
}


def instant(value: datetime | None) -> str | None:
    """RFC 3339, of an aware UTC datetime."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def naive(value: datetime | None) -> str | None:
    """ISO 8601 without a zone, as the ancestor wrote it."""
    return None if value is None else value.replace(tzinfo=None).isoformat()


def category(row: Row) -> Json:
    return {"id": row["id"], "name": row["name"] or "", "revision": row["revision"]}


def put(done: Put) -> Json:
    """What a PUT did, or would do; `limits` is there when one changes."""
    limits = {name: {"from": old, "to": new} for name, (old, new) in done.plan.limits.items()}
    return {
        "status": "success",
        "changed": done.changed,
        "revision": done.revision,
        "added": list(done.plan.added),
        "updated": list(done.plan.updated),
        "removed": list(done.plan.removed),
        "warnings": list(done.warnings),
        **({"limits": limits} if limits else {}),
    }


def job(
    record: JobRecord, category_name: str | None, runs: Sequence[Json], followers: Sequence[Follower]
) -> Json:
    """A job: the ancestor's fields, then ours."""
    after: Json = {"followers": [_follower(each) for each in followers]}
    return _ancestors_job(record, category_name) | {"runs": list(runs)} | _our_job(record) | after


def _follower(follower: Follower) -> Json:
    return {
        "job_id": follower.job_id,
        "job": str(follower.job),
        "on": str(follower.on),
        "joined": follower.joined,
    }


def _ancestors_job(record: JobRecord, category_name: str | None) -> Json:
    spec = record.spec
    return {
        "id": record.id,
        "category_id": record.category_id,
        "category": {"id": record.category_id, "name": category_name or NO_CATEGORY},
        "name": spec.name,
        "interval": None if record.interval is None else record.interval.total_seconds(),
        "next_run": naive(record.next_run),
        "last_run_start": naive(record.last_run_start),
        "last_run_stop": naive(record.last_run_stop),
        "last_run_status": record.last_run_status,
        "last_run_text": _last_run_text(record),
        "current_status": record.current_status or "none",
        "routing_key": spec.routing_key,
        "command": spec.command,
        "locked_by": record.locked_by,
    }


def _last_run_text(record: JobRecord) -> str:
    """The ancestor's words, without its HTML."""
    stopped = record.last_run_stop
    at = "" if stopped is None else f"{stopped:%Y-%m-%d %H:%M:%S}"
    return _TEXTS.get(record.current_status or "", "Waiting...").format(at)


def _our_job(record: JobRecord) -> Json:
    spec = record.spec
    return {
        "schedule": spec.schedule,
        "schedule_text": spec.schedule_words(),
        "timezone": spec.timezone,
        "dst": spec.dst,
        "start": spec.start,
        "end": spec.end,
        "enabled": spec.enabled,
        "revision": record.revision,
        "description": spec.description,
        "tags": list(spec.tags),
        "timeout": None if spec.timeout is None else format_duration(spec.timeout),
        "kill_grace": format_duration(spec.kill_grace),
        "guarantee": spec.guarantee,
        "max_attempts": spec.max_attempts,
        "retry_delay": format_duration(spec.retry_delay),
        "retry_backoff": spec.retry_backoff,
        "calendar": _calendar(spec),
        "overlap": spec.overlap,
        "priority": spec.priority,
        "locks": list(spec.locks),
        "after": None if spec.after is None else spec.after.plain(),
        "misfire": spec.misfire,
        "misfire_limit": spec.misfire_limit,
        "start_deadline": None if spec.start_deadline is None else format_duration(spec.start_deadline),
        "jitter": format_duration(spec.jitter),
    }


def _calendar(spec: JobSpec) -> Json | None:
    """Its name, the rule, and the revision that is in force for the job."""
    if spec.calendar is None:
        return None
    revision = spec.job_calendar.revision if spec.job_calendar else None
    return {**spec.calendar.definition(), "revision": revision}


def ancestors_run(row: Row, edges: Edges) -> Json:
    """A run as the ancestor tells it: pending, succeeded or failed."""
    state = State(row["state"])
    has_ended = state not in WAITING | LIVE
    return {
        "id": row["run_id"],
        "job_id": row["job_id"],
        "status": _status(state),
        "started_at": naive(row["started_at"]),
        "started_event_id": edges.started,
        "completed_at": naive(row["finished_at"] or row["recorded_at"]) if has_ended else None,
        "completed_event_id": edges.completed,
        "return_code": row["return_code"],
        "host": row["host"],
    }


def _status(state: State) -> str:
    if state in WAITING | LIVE:
        return "pending"
    return "succeeded" if state is State.SUCCEEDED else "failed"


def run(
    row: Row, job_record: JobRecord | None, category_name: str | None, caused: Sequence[str] = ()
) -> Json:
    """A run with every field that is fixed by name, then what else there is to know.

    `caused` are the runs that its end made.
    """
    times: Json = {name: instant(row[name]) for name in _RUN_INSTANTS}
    return {
        "id": row["run_id"],
        "job_id": row["job_id"],
        "job": None if job_record is None else job_record.spec.name,
        "category": None if job_record is None else category_name or NO_CATEGORY,
        "state": row["state"],
        "reason": row["reason"],
        "trigger": row["triggered_by"],
        **times,
        "attempt": row["attempt"],
        "return_code": row["return_code"],
        "signal": row["signal"],
        "runner": row["runner"],
        "host": row["host"],
        "pid": row["pid"],
        "duration_s": row["duration_s"],
        "revision": row["revision"],
        "commit": row["commit"],
        **_more_of_run(row),
        "caused_by": row["caused_by"],
        "caused": list(caused),
    }


def _more_of_run(row: Row) -> Json:
    return {
        "routing_key": row["routing_key"],
        "created_at": instant(row["created_at"]),
        "actor": row["actor"],
        "recovered": bool(row["recovered"]),
        "cancel_requested_at": instant(row["cancel_requested_at"]),
        "cancelled_by": row["cancelled_by"],
        "output_bytes": row["output_bytes"],
        "last_scheduled_for": instant(row["last_scheduled_for"]),
        "missed_count": row["missed_count"],
        "release_at": None if row["release_at"] == NEVER else instant(row["release_at"]),
        "retries": row["retries"],
        "needs_decision": bool(row["needs_decision"]),
        "decided_by": row["decided_by"],
        "epoch": row["epoch"],
    }


def planned(occurrence: Planned) -> Json:
    """An occurrence that is to be, in UTC and as its schedule's wall clock shows it."""
    return {
        "at": instant(occurrence.at),
        "local": occurrence.local.isoformat(),
        "remark": occurrence.remark,
    }


def occurrence(planned_: Planned, row: Row | None, *, is_current: bool) -> Json:
    """One of the past with its run, or one to come: then state and the rest are null.

    Without `is_current` its remark is not known: it was due by an older schedule.
    """
    shown = planned(planned_) if is_current else planned(replace(planned_, remark=None))
    found = row or {}
    return shown | {
        "run": found.get("run_id"),
        "state": found.get("state"),
        "reason": found.get("reason"),
        "last_scheduled_for": instant(found.get("last_scheduled_for")),
        "missed_count": found.get("missed_count"),
    }


def waiting(wait: Wait | None) -> Json | None:
    """What a run waits for; None: it does not wait."""
    if wait is None:
        return None
    return {
        "for": wait.what,
        "gate": wait.gate,
        "position": wait.position,
        "of": wait.of,
        "held_by": list(wait.held_by),
        "since": instant(wait.since),
        "until": instant(wait.until),
    }


def event(row: Row) -> Json:
    return {
        "id": row["id"],
        "job_id": row["job_id"],
        "run_id": row["run_id"],
        "type": row["type"],
        "at": instant(row["datetime"]),
        "attempt": row["attempt"],
        "seq": row["seq"],
        "host": row["host"],
        "return_code": row["return_code"],
        "payload": parsed(row["payload"]),
    }


def revision(row: Row) -> Json:
    return {
        "revision": row["revision"],
        "at": instant(row["at"]),
        "origin": row["origin"],
        "actor": row["actor"],
        "source": parsed(row["provenance"]),
        "document": parsed(row["document"]),
        "removed": bool(row["removed"]),
        "next_run": instant(row["next_run"]),
    }


def runner(row: Row, *, is_silent: bool) -> Json:
    """A runner; it is silent when its last heartbeat is older than a lease."""
    state = "silent" if is_silent else "draining" if row["draining"] else "up"
    return {
        "name": row["name"],
        "state": state,
        "host": row["host"],
        "pid": row["pid"],
        "version": row["version"],
        "queues": parsed(row["queues"]),
        "slots": row["slots"],
        "running": row["running"],
        "draining": bool(row["draining"]),
        "started_at": instant(row["started_at"]),
        "heartbeat_at": instant(row["heartbeat_at"]),
        "clock_skew_s": row["clock_skew_s"],
    }


def queue(line: Line) -> Json:
    """A routing key; what only the broker knows is None where it has no queue for it."""
    return {
        "name": line.queue,
        "ready": line.ready,
        "consumers": line.consumers,
        "measured_at": instant(line.measured_at),
        "routing_key": line.key,
        "waiting": line.waiting,
        "parked": line.parked,
        "oldest_at": instant(line.oldest),
        "capacity": line.limit.capacity,
        "rate": format_rate(line.limit),
        "served": line.is_served,
    }


def alert(row: Row) -> Json:
    return {
        "id": row["id"],
        "kind": row["kind"],
        "subject": row["subject"],
        "message": row["message"],
        "since": instant(row["since"]),
        "seen_at": instant(row["seen_at"]),
        "cleared_at": instant(row["cleared_at"]),
    }


def parsed(text: str | None) -> object:
    """JSON of a column; one that somebody wrote by hand and that is none stays text."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text

"""Calendars: what there is, what one says of an instant, replacing one by JSON or iCalendar, dropping one."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify, request

from cronq import store
from cronq.domain.calendar import Calendar
from cronq.domain.calendar_document import parse_calendar, read_calendar
from cronq.domain.errors import Conflict, InvalidInput, NotFound, Problem
from cronq.domain.ical import read_ical
from cronq.domain.job_fields import Refused, read_calendar_name
from cronq.domain.recurrence import FIRST_YEAR, LAST_YEAR, epoch_second
from cronq.domain.strict_json import shown
from cronq.store import calendar_edits, calendars
from cronq.store.calendar_edits import Changed
from cronq.web import present
from cronq.web.api.body import JSON, read_as, refuse_fields
from cronq.web.api.page import listed
from cronq.web.api.params import Params, no_params
from cronq.web.auth import actor
from cronq.web.context import web

blueprint = Blueprint("calendars", __name__)

ICAL = "text/calendar"


@blueprint.get("/api/calendars")
def list_calendars() -> Response:
    """All of them by name; `limit` and `cursor` are let pass, there is one page."""
    params = Params(request.args)
    params.whole("limit", 1, 1_000)
    params.done()
    with web().db.read() as tx:
        found = calendars.listed(tx)
    return listed("calendars", [_summary(row) for row in found])


@blueprint.get("/api/calendars/<name>")
def show_calendar(name: str) -> Response:
    """With its document, and the jobs that go by it as category/name."""
    no_params()
    with web().db.read() as tx:
        row = _existing(tx, name)
        users = calendar_edits.users_of(tx, name)
    calendar = {**_summary(row), "document": present.parsed(row["document"]), "jobs": users}
    return _tagged(jsonify({"data": {"calendar": calendar}}), row["revision"])


@blueprint.get("/api/calendars/<name>/check")
def check_calendar(name: str) -> Response:
    """What it says of the instant `at`."""
    at = _instant_asked()
    with web().db.read() as tx:
        calendar = calendars.read(_existing(tx, name)["document"])
    if calendar is None:
        raise Conflict(f"the stored document of calendar {shown(name)} is none; PUT it again")
    day = calendar.day_of(epoch_second(at))
    following, before = calendar.next_business_day(day), calendar.previous_business_day(day)
    check = {
        "at": present.instant(at),
        "day": day.isoformat(),
        "closed": calendar.closed(at),
        "is_business_day": calendar.is_business_day(day),
        "next_business_day": following and following.isoformat(),
        "previous_business_day": before and before.isoformat(),
    }
    return jsonify({"data": {"check": check}})


@blueprint.put("/api/calendars/<name>")
def put_calendar(name: str) -> Response:
    """Make or replace it; `timezone` is that of an iCalendar file's times without one."""
    params = Params(request.args)
    timezone = params.text("timezone")
    params.done()
    _check_name(name)
    wanted, warnings = _wanted(timezone)
    by = actor(request)
    done = web().db.transact(lambda tx: calendar_edits.put(tx, name, wanted, by, store.now(tx)))
    return _tagged(jsonify(_put(done, warnings)), done.revision)


@blueprint.delete("/api/calendars/<name>")
def drop_calendar(name: str) -> tuple[str, int]:
    """Refused while a job goes by it."""
    no_params()
    refuse_fields()
    by = actor(request)
    web().db.transact(lambda tx: calendar_edits.drop(tx, name, by, store.now(tx)))
    return "", 204


def _instant_asked() -> datetime:
    params = Params(request.args)
    at = params.instant("at")
    params.done()
    if at is None or not FIRST_YEAR < at.year < LAST_YEAR:
        allowed = f"an RFC 3339 instant of the years {FIRST_YEAR + 1} to {LAST_YEAR - 1} is needed"
        raise InvalidInput([Problem("invalid_parameter", "", f"at: {allowed}")])
    return at


def _wanted(timezone: str | None) -> tuple[Calendar, list[str]]:
    kind, body = read_as(JSON, ICAL)
    if kind == ICAL:
        with web().db.read() as tx:
            year = store.now(tx).year
        imported = read_ical(body, year=year, timezone=timezone)
        return read_calendar(imported.document), list(imported.warnings)
    if timezone is not None:
        message = "timezone: goes with an iCalendar file only"
        raise InvalidInput([Problem("invalid_parameter", "", message, "put it into the document")])
    return parse_calendar(body), []


def _check_name(name: str) -> None:
    try:
        read_calendar_name(name)
    except Refused as refused:
        raise InvalidInput([Problem(refused.code, "", f"name: {refused}", refused.hint)]) from None


def _existing(tx: store.Tx, name: str) -> present.Row:
    row = calendars.by_name(tx, name)
    if row is None:
        raise NotFound(f"no calendar has the name {shown(name)}")
    return row


def _summary(row: present.Row) -> present.Json:
    document = present.parsed(row["document"])
    if not isinstance(document, dict):
        document = {}  # somebody wrote it with SQL
    return {
        "name": row["name"],
        "revision": row["revision"],
        "description": document.get("description", ""),
        "timezone": document.get("timezone") or "UTC",
        "at": present.instant(row["at"]),
        "actor": row["actor"],
    }


def _put(done: Changed, warnings: list[str]) -> present.Json:
    return {
        "status": "success",
        "changed": done.changed,
        "revision": done.revision,
        "jobs": done.jobs,
        "warnings": warnings,
    }


def _tagged(response: Response, revision: int) -> Response:
    response.set_etag(str(revision))
    return response

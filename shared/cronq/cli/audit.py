"""`cronq audit`: is every occurrence that was due accounted for?"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import click

from cronq.cli.client import ApiError, connect
from cronq.cli.output import output_option, print_json, table
from cronq.cli.runs import job_id
from cronq.domain.duration import parse_duration
from cronq.domain.errors import NotFound
from cronq.domain.schedule_error import ScheduleError
from cronq.runtime.clock import utc_now

_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_KINDS = {"holes": "HOLE", "doubles": "DOUBLE", "unexpected": "UNEXPECTED"}


@click.command("audit", short_help="Is every occurrence that was due accounted for?")
@click.option("--since", required=True, help="RFC 3339 instant, or how long ago: 24h, 7d.")
@click.option("--until", help="The same; occurrences before it are looked at. Default: now.")
@click.option("--job", help="Only this job: category/name, or its id.")
@click.option("--category", help="Only jobs of this category.")
@output_option
def audit_command(
    since: str, *, until: str | None, job: str | None, category: str | None, output: str
) -> int:
    """Work out from all schedules and their edits what was due, and find each in the ledger.

    Exits 1 when an occurrence has no row (a hole) or several (a double), or a row is of no occurrence.
    """
    wanted = {
        "since": as_instant(since),
        "until": None if until is None else as_instant(until),
        "category": category,
    }
    report = _ask(wanted, job)
    if output == "json":
        print_json(report)
    else:
        _print(report)
    return 1 if any(report[kind] for kind in _KINDS) else 0


def _ask(wanted: Mapping[str, str | None], job: str | None) -> Mapping[str, Any]:
    """Exit code 1 is a finding's alone: a question that makes no sense is wrong usage."""
    try:
        with connect() as client:
            of_job = None if job is None else job_id(client, job)
            answer = client.get("/api/audit/occurrences", **wanted, **{"job.id": of_job})
    except NotFound as error:
        raise click.UsageError(str(error)) from None
    except ApiError as error:
        if error.status not in _REFUSALS:
            raise
        raise click.UsageError(error.message) from None
    found: Mapping[str, Any] = answer["data"]
    return found


def as_instant(text: str) -> str:
    """Also of how long ago; what is no duration is left to the API to judge."""
    try:
        ago = parse_duration(text)
    except ScheduleError:
        return text
    return (utc_now() - ago).isoformat().replace("+00:00", "Z")


def _print(report: Mapping[str, Any]) -> None:
    rows = [
        [word, found["job_id"], found["scheduled_for"], " ".join(found.get("runs", ()))]
        for kind, word in _KINDS.items()
        for found in report[kind]
    ]
    if rows:
        click.echo(table([["FINDING", "JOB ID", "SCHEDULED FOR", "RUNS"], *rows]))
    if report["not_named"]:
        click.echo(f"… and {report['not_named']} more")
    missing = report["expected"] - report["found"]
    what = f"{report['found']} of {report['expected']} occurrences found, {missing} missing"
    click.echo(f"{what}, {report['since']} to {report['until']}")

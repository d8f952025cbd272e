"""`cronq calendars`: which days are business days, and when nothing may start."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cronq.cli.client import connect, one, part
from cronq.cli.output import Columns, output_option, print_fields, print_json, print_list

PATH = "/api/calendars"
JSON, ICAL = "application/json", "text/calendar"
_TYPES = {".json": JSON, ".ics": ICAL, ".ical": ICAL}
_COLUMNS: Columns = {
    "name": "NAME",
    "revision": "REVISION",
    "timezone": "TIMEZONE",
    "at": "CHANGED",
    "description": "DESCRIPTION",
}
_CHECKED: Columns = {
    "at": "at",
    "day": "day",
    "closed": "closed",
    "is_business_day": "business day",
    "next_business_day": "next business day",
    "previous_business_day": "previous business day",
}

_name = click.argument("name")


@click.group("calendars")
def calendars_group() -> None:
    """Calendars: business days, holidays, blackouts."""


@calendars_group.command("ls")
@output_option
def ls_command(output: str) -> None:
    """List them by name."""
    with connect() as client:
        print_list(client.get(PATH)["data"]["calendars"], output, _COLUMNS)


@calendars_group.command("show")
@_name
@output_option
def show_command(name: str, output: str) -> None:
    """Show one with its document and the jobs that go by it."""
    with connect() as client:
        found = one(client.get(f"{PATH}/{part(name)}"), "calendar")
    if output == "json":
        print_json(found)
        return
    print_fields(found | {"jobs": ", ".join(found["jobs"])}, {n: n for n in (*_COLUMNS, "actor", "jobs")})
    click.echo(f"\n{json.dumps(found['document'], indent=2)}")


@calendars_group.command("put")
@_name
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tz", "timezone", help="Of an iCalendar file's times without a zone.")
def put_command(name: str, file: Path, timezone: str | None) -> None:
    """Make or replace one from FILE: a .json document, or an .ics file of iCalendar."""
    kind = _TYPES.get(file.suffix.lower())
    if kind is None:
        raise click.UsageError(f"{file.name}: a name that ends in {', '.join(_TYPES)} is needed")
    with connect() as client:
        done = client.put_body(f"{PATH}/{part(name)}", file.read_bytes(), kind=kind, timezone=timezone)
    for warning in done["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if not done["changed"]:
        click.echo(f"{name} is unchanged, at revision {done['revision']}")
        return
    jobs = f"{done['jobs']} job{'' if done['jobs'] == 1 else 's'}"
    click.echo(f"{name} is at revision {done['revision']}; {jobs} go by it from now on")


@calendars_group.command("drop")
@_name
def drop_command(name: str) -> None:
    """Forget one that no job goes by."""
    with connect() as client:
        client.delete(f"{PATH}/{part(name)}")
    click.echo(f"{name} is dropped")


@calendars_group.command("check")
@_name
@click.argument("instant")
@output_option
def check_command(name: str, instant: str, output: str) -> int:
    """Say whether INSTANT (RFC 3339) is open; the exit code is 1 where it is closed."""
    with connect() as client:
        found = one(client.get(f"{PATH}/{part(name)}/check", at=instant), "check")
    if output == "json":
        print_json(found)
    else:
        print_fields(found | {"closed": found["closed"] or "no"}, _CHECKED)
    return 1 if found["closed"] else 0

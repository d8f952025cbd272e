"""`cronq windows`: maintenance windows, which hold what they are for."""

from __future__ import annotations

import json

import click

from cronq.cli.client import connect, part
from cronq.cli.output import Columns, output_option, print_list

PATH = "/api/windows"
_COLUMNS: Columns = {
    "name": "NAME",
    "scope": "SCOPE",
    "on_until": "ON UNTIL",
    "next_start": "NEXT START",
    "reason": "REASON",
}
# Names of options are those of the document; `from` is a word of Python.
_KEYS = {"begin": "from", "end": "to"}


@click.group("windows")
def windows_group() -> None:
    """Maintenance windows: what they are for waits while they are on."""


@windows_group.command("ls")
@output_option
def ls_command(output: str) -> None:
    """List them by name."""
    with connect() as client:
        print_list(client.get(PATH)["data"]["windows"], output, _COLUMNS)


@windows_group.command("put")
@click.argument("name")
@click.option("--scope", default="all", show_default=True, help="all, category:NAME or queue:KEY.")
@click.option("--from", "begin", metavar="INSTANT", help="Its start: 2026-12-24T22:00, with --to.")
@click.option("--to", "end", metavar="INSTANT", help="Its end, which is not in it any more.")
@click.option("--schedule", help="When it starts again and again, with --duration.")
@click.option("--duration", help="How long each takes: 90m, 8h.")
@click.option("--tz", "timezone", metavar="ZONE", help="Of times without an offset (UTC).")
@click.option("--reason", help="Why.")
def put_command(name: str, **given: str | None) -> None:
    """Make or replace one."""
    document = {_KEYS.get(key, key): value for key, value in given.items() if value is not None}
    with connect() as client:
        body = json.dumps(document).encode()
        done = client.put_body(f"{PATH}/{part(name)}", body, kind="application/json")
    window = done["window"]
    when = (
        f"on until {window['on_until']}"
        if window["on_until"]
        else f"starts {window['next_start'] or 'never'}"
    )
    click.echo(f"{name} {'is set' if done['changed'] else 'is unchanged'}: {when}")


@windows_group.command("drop")
@click.argument("name")
def drop_command(name: str) -> None:
    """Forget one; what it holds goes on."""
    with connect() as client:
        client.delete(f"{PATH}/{part(name)}")
    click.echo(f"{name} is dropped")

"""`cronq limits`: how many runs at once, and how many starts in a time."""

from __future__ import annotations

from typing import Any

import click

from cronq.cli.client import connect, one, part
from cronq.cli.output import Columns, output_option, print_json, print_list
from cronq.domain.limit import LimitKind

PATH = "/api/limits"
_COLUMNS: Columns = {
    "kind": "KIND",
    "name": "NAME",
    "capacity": "AT ONCE",
    "rate": "RATE",
    "in_use": "IN USE",
    "waiting": "WAITING",
    "set_by": "SET BY",
    "set_at": "SET AT",
}

_kind = click.argument("kind", metavar="KIND", type=click.Choice([kind.value for kind in LimitKind]))
_name = click.argument("name")


@click.group("limits")
def limits_group() -> None:
    """Limits of a category, queue, lock or host, and of what an outage left (catch-up all)."""


@limits_group.command("ls")
@output_option
def ls_command(output: str) -> None:
    """List them, with who uses them; locks in use too, of which one run at a time has each."""
    with connect() as client:
        print_list(client.listed(PATH, "limits"), output, _COLUMNS)


@limits_group.command("set")
@_kind
@_name
@click.option("--capacity", type=int, help="So many runs at once; of a lock, so much weight.")
@click.option("--rate", metavar="N/DURATION", help="So many starts in a time: 100/1m.")
@output_option
def set_command(kind: str, name: str, *, capacity: int | None, rate: str | None, output: str) -> None:
    """Limit KIND NAME: category, queue, lock, host or catch-up, whose only name is all.

    This is the whole limit: an option left out is no limit. Only a queue and catch-up have a rate.
    """
    given = {"capacity": capacity, "rate": rate}
    body = {field: value for field, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("give --capacity, --rate or both; cronq limits drop takes a limit away")
    with connect() as client:
        found = one(client.put(f"{PATH}/{kind}/{part(name)}", body), "limit")
    if output == "json":
        print_json(found)
    else:
        click.echo(_said(found))


@limits_group.command("drop")
@_kind
@_name
def drop_command(kind: str, name: str) -> None:
    """Take the limit of KIND NAME away; a lock lets one run in then."""
    with connect() as client:
        client.delete(f"{PATH}/{kind}/{part(name)}")
    click.echo(f"{kind} {name} has no limit any more")


def _said(limit: dict[str, Any]) -> str:
    terms = [f"{limit['capacity']} at once" if limit["capacity"] else "", limit["rate"] or ""]
    use = f"{limit['in_use']} in use, {limit['waiting']} waiting"
    return f"{limit['kind']} {limit['name']}: {', '.join(filter(None, terms))}; {use}"

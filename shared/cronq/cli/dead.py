"""`cronq dead`: messages that nobody could read."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import click

from cronq.cli.client import ApiError, Client, connect, one
from cronq.cli.output import Columns, output_option, print_fields, print_json, print_list, printable

PATH = "/api/dead-letters"
_COLUMNS: Columns = {"id": "ID", "at": "AT", "queue": "QUEUE", "body_bytes": "BYTES", "reason": "REASON"}
_FIELDS: Columns = {
    "id": "id",
    "at": "at",
    "queue": "queue",
    "reason": "reason",
    "body_bytes": "bytes",
    "retry_requested_at": "retry requested at",
    "requested_by": "requested by",
}

_ids = click.argument("ids", nargs=-1, metavar="ID...", type=click.IntRange(min=1))
_all = click.option("--all", "everything", is_flag=True, help="All letters instead of some.")
_queue = click.option("--queue", help="Only letters that came by this queue.")


@click.group("dead")
def dead_group() -> None:
    """Dead letters: messages that nobody could read."""


@dead_group.command("ls")
@_queue
@output_option
def ls_command(queue: str | None, output: str) -> None:
    """List them, the newest first."""
    with connect() as client:
        print_list(client.listed(PATH, "dead_letters", {"queue": queue}), output, _COLUMNS)


@dead_group.command("show")
@click.argument("letter", metavar="ID", type=click.IntRange(min=1))
@output_option
def show_command(letter: int, output: str) -> None:
    """Show one with its body (of a long one the first 64 KiB)."""
    with connect() as client:
        found = one(client.get(f"{PATH}/{letter}"), "dead_letter")
    if output == "json":
        print_json(found)
        return
    print_fields(found, _FIELDS)
    click.echo(f"\n{printable(found['body'])}{'' if found['body_is_whole'] else ' …'}")


@dead_group.command("retry")
@_ids
@_all
@_queue
def retry_command(ids: tuple[int, ...], *, everything: bool, queue: str | None) -> int:
    """Send them again to the queue that they came by."""
    _check(ids, everything=everything, queue=queue)
    with connect() as client:
        wanted = ids or _all_ids(client, queue)
        done = _each(wanted, lambda letter: client.post(f"{PATH}/{letter}/retry"), some=everything)
    click.echo(f"{_counted(done)} will be sent again")
    return 0 if done == len(wanted) else 1


@dead_group.command("drop")
@_ids
@_all
@_queue
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_command(ids: tuple[int, ...], *, everything: bool, queue: str | None, yes: bool) -> int:
    """Forget them for good."""
    _check(ids, everything=everything, queue=queue)
    with connect() as client:
        wanted = ids or _all_ids(client, queue)
        question = f"Drop {_counted(len(wanted))} for good?"
        if everything and wanted and not yes and not click.confirm(question, err=True):
            click.echo("nothing was dropped", err=True)
            return 1
        done = _each(wanted, lambda letter: client.delete(f"{PATH}/{letter}"), some=everything)
    click.echo(f"{_counted(done)} dropped")
    return 0 if done == len(wanted) else 1


def _check(ids: tuple[int, ...], *, everything: bool, queue: str | None) -> None:
    if bool(ids) == everything:
        raise click.UsageError("name the letters by their ids, or give --all")
    if queue is not None and not everything:
        raise click.UsageError("--queue goes with --all")


def _all_ids(client: Client, queue: str | None) -> tuple[int, ...]:
    return tuple(letter["id"] for letter in client.listed(PATH, "dead_letters", {"queue": queue}))


def _each(ids: tuple[int, ...], work: Callable[[int], Any], *, some: bool) -> int:
    """Do it for each, also after one that was refused; returns for how many it was done.

    With `some`, one that went meanwhile counts as done.
    """
    done = 0
    for letter in ids:
        try:
            work(letter)
        except ApiError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise
            if not (some and error.status == HTTPStatus.NOT_FOUND):
                error.show()
                continue
        done += 1
    return done


def _counted(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"

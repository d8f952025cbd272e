"""`cronq runs` and `cronq cancel`: the ledger, and ending a run."""

from __future__ import annotations

import click

from cronq.cli.client import Client, connect, one, part
from cronq.cli.output import Columns, output_option, print_list
from cronq.domain.errors import NotFound

_COLUMNS: Columns = {
    "id": "RUN",
    "category": "CATEGORY",
    "job": "JOB",
    "state": "STATE",
    "reason": "REASON",
    "scheduled_for": "SCHEDULED FOR",
    "attempt": "ATTEMPT",
    "return_code": "CODE",
    "host": "HOST",
    "waiting_for": "WAITS FOR",
}


@click.group("runs")
def runs_group() -> None:
    """Runs of jobs."""


@runs_group.command("ls")
@click.option("--job", help="Only those of this job: category/name, or its id.")
@click.option("--state", help="Only those in this state; several are separated by commas.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@output_option
def ls_command(job: str | None, state: str | None, limit: int, output: str) -> None:
    """List runs, the newest first."""
    with connect() as client:
        wanted = {"job.id": None if job is None else job_id(client, job), "state": state}
        print_list(client.listed("/api/runs", "runs", wanted, most=limit), output, _COLUMNS)


@click.command("cancel")
@click.argument("run")
def cancel_command(run: str) -> None:
    """Cancel RUN: at once while it waits, else its processes are killed soon."""
    with connect() as client:
        found = one(client.post(f"/api/runs/{part(run)}/cancel"), "run")
    if found["state"] == "cancelled":
        click.echo(f"run {found['id']} is cancelled")
    else:
        click.echo(f"run {found['id']} is {found['state']} and will be cancelled")


def job_id(client: Client, text: str) -> int:
    """The id of the job that a person names: `category/name`, or the id itself. Raises NotFound."""
    category, slash, name = text.partition("/")
    if not slash:
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
        raise click.BadParameter(f"{text!r} names no job; allowed: category/name, or an id")
    for job in client.listed("/api/jobs", "jobs", {"category.name": category}):
        if job["name"] == name:
            return int(job["id"])
    raise NotFound(f"there is no job {name!r} in a category {category!r}")

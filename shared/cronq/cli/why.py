"""`cronq why`: what became of one occurrence of a job."""

from __future__ import annotations

import click

from cronq.cli.client import connect, one
from cronq.cli.output import output_option, print_json, printable
from cronq.cli.runs import job_id


@click.command("why")
@click.argument("job")
@click.argument("instant", required=False)
@output_option
def why_command(job: str, instant: str | None, output: str) -> None:
    """Why did JOB not run at INSTANT? Or what became of that occurrence; by default of the last due one.

    JOB is category/name or an id, of a removed job its id. INSTANT is RFC 3339, or without an offset in the
    job's timezone.
    """
    with connect() as client:
        found = one(client.get(f"/api/jobs/{job_id(client, job)}/why", at=instant), "why")
    if output == "json":
        print_json(found)
        return
    at = f"{found['at']}: " if found["at"] else ""
    click.echo(printable(f"{at}{found['text']}"))
    if found["remark"]:
        click.echo(printable(found["remark"]))
    if found["run"]:
        click.echo(f"run {found['run']['id']}")

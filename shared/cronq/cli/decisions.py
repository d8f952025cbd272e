"""What only a person can say: run it again, what became of it, go on with this database."""

from __future__ import annotations

import click

from cronq.cli.client import connect, one, part

DECISIONS = ("rerun", "succeeded", "failed")


@click.command("retry")
@click.argument("run")
def retry_command(run: str) -> None:
    """Order the job of RUN, which is over, once more, as a run of its own."""
    with connect() as client:
        found = one(client.post(f"/api/runs/{part(run)}/retry"), "run")
    click.echo(f"run {found['id']} is {found['state']}")


@click.command("decide")
@click.argument("run")
@click.argument("decision", type=click.Choice(DECISIONS))
def decide_command(run: str, decision: str) -> None:
    """Say what became of RUN, a lost run of a job with guarantee "hold", or order it once more."""
    with connect() as client:
        answer = client.post(f"/api/runs/{part(run)}/decide", {"decision": decision})
        found = one(answer, "run")
    click.echo(f"run {found['id']} is {found['state']}")


@click.command("accept-failover")
def accept_failover_command() -> None:
    """Go on with a database that lost what was committed to it, after a restore or a failover.

    Until then nothing is started. What waits now, and what was due until now, may have run before: it
    is missed (reason "failover") and never starts by itself.
    """
    with connect() as client:
        done = one(client.post("/api/failover/accept"), "failover")
    click.echo(f"epoch {done['epoch']} began; {done['missed']} runs that waited are missed")

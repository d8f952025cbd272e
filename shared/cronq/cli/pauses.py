"""`cronq pause`, `snooze`, `resume`, `skip`, `pauses`: holding jobs back, and letting them go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from cronq.cli.client import Client, connect, one, part
from cronq.cli.output import Columns, output_option, print_json, print_list, printable, table
from cronq.cli.runs import job_id

_COLUMNS: Columns = {
    "what": "PAUSED",
    "since": "SINCE",
    "until": "UNTIL",
    "held": "HELD",
    "by": "BY",
    "reason": "REASON",
}

_job = click.argument("job", required=False)
_category = click.option("--category", metavar="NAME", help="All jobs of this category instead of one job.")
_queue = click.option("--queue", metavar="KEY", help="All runs of this routing key, those by hand too.")
_all = click.option("--all", "everything", is_flag=True, help="Everything.")
_reason = click.option("--reason", help="Why; shown wherever the pause is.")
_until = click.option("--until", metavar="INSTANT", help="It ends then: RFC 3339, as 2026-12-24T18:00:00Z.")
_for = click.option("--for", "lasting", metavar="DURATION", help="It ends after this: 90s, 10m, 2h, 1d.")


def _subject(command: Callable[..., Any]) -> Callable[..., Any]:
    """JOB, or one of the options that stand for several."""
    for option in (_all, _queue, _category, _job):
        command = option(command)
    return command


@click.command("pause")
@_subject
@_reason
@_until
@_for
@output_option
def pause_command(**given: Any) -> None:
    """Hold JOB back until it is resumed, or for a time; what runs already goes on.

    JOB is category/name, or an id. What is due meanwhile waits, or is missed, as the job's misfire rule says.
    """
    _hold("pause", given)


@click.command("snooze")
@_subject
@_reason
@_until
@_for
@output_option
def snooze_command(**given: Any) -> None:
    """Hold JOB back for a time: --for 2h, or --until an instant."""
    _hold("snooze", given)


def _hold(order: str, given: Mapping[str, Any]) -> None:
    wanted = {"reason": given["reason"], "until": given["until"], "for": given["lasting"]}
    with connect() as client:
        path = _path(client, given)
        found = one(
            client.post(f"{path}/{order}", {k: v for k, v in wanted.items() if v is not None}), "pause"
        )
    if given["output"] == "json":
        print_json(found)
        return
    end = f"until {found['until']}" if found["until"] else "until it is resumed"
    click.echo(printable(f"{_what(found)} is paused since {found['since']}, {end}"))


@click.command("resume")
@_subject
@output_option
def resume_command(output: str, **given: Any) -> None:
    """End the pause of JOB; tells what was missed meanwhile, and what runs now."""
    with connect() as client:
        path = _path(client, given)
        done = one(client.post(f"{path}/resume"), "resumed")
    if output == "json":
        print_json(done)
    else:
        _print_resumed(done)


def _print_resumed(done: Mapping[str, Any]) -> None:
    if not done["changed"]:
        click.echo("it was not paused")
        return
    pause = done["pause"]
    click.echo(printable(f"{_what(pause)} is resumed; it was paused since {pause['since']} by {pause['by']}"))
    least = "" if done["is_whole"] else "at least "
    held = f", {done['still_held']} stay held by another pause" if done["still_held"] else ""
    click.echo(
        f"{_counted(done['going_on'], 'run')} {'goes' if done['going_on'] == 1 else 'go'} on now{held}; "
        f"{least}{_counted(done['missed'], 'occurrence')} missed, {done['skipped']} skipped meanwhile"
    )
    names = ("job", "going_on", "still_held", "missed", "skipped")
    rows = [[job[name] for name in names] for job in done["jobs"]]
    if len(rows) > 1 or not done["is_whole"]:
        click.echo(table([["JOB", "GO ON", "STAY HELD", "MISSED", "SKIPPED"], *rows]))


@click.command("skip")
@_job
@_category
@_all
@click.option("-n", "--count", type=click.IntRange(0, 1_000), default=1, show_default=True, help="0 cancels.")
@_reason
@output_option
def skip_command(count: int, reason: str | None, output: str, **given: Any) -> None:
    """Skip the next occurrence of JOB, or the next N; of several jobs those of each.

    What was said before of the same job no longer holds.
    """
    wanted = {"count": count} | ({} if reason is None else {"reason": reason})
    with connect() as client:
        path = _path(client, given)
        found = one(client.post(f"{path}/skip", wanted), "skip")
    if output == "json":
        print_json(found)
        return
    of_jobs = "" if found["jobs"] == 1 else f" of each of {_counted(found['jobs'], 'job')}"
    click.echo(
        f"the next {_counted(count, 'occurrence')}{of_jobs} will be skipped" if count else "none is skipped"
    )


@click.command("pauses")
@output_option
def pauses_command(output: str) -> None:
    """List the pauses that are in force, the oldest first."""
    with connect() as client:
        found = client.get("/api/pauses")["data"]["pauses"]
    if output == "table":
        found = [pause | {"what": _what(pause)} for pause in found]
    print_list(found, output, _COLUMNS)


def _path(client: Client, given: Mapping[str, Any]) -> str:
    """Of what the command line names. Raises UsageError unless that is one thing."""
    named = [given["job"], given["category"], given.get("queue"), given["everything"] or None]
    if sum(each is not None for each in named) != 1:
        queue = "--queue KEY, " if "queue" in given else ""
        raise click.UsageError(f"name one: JOB, --category NAME, {queue}or --all")
    if given["job"] is not None:
        return f"/api/jobs/{job_id(client, given['job'])}"
    if given["category"] is not None:
        return f"/api/categories/{part(given['category'])}"
    return "/api" if given["everything"] else f"/api/queues/{part(given['queue'])}"


def _what(pause: Mapping[str, Any]) -> str:
    return "everything" if pause["kind"] == "all" else f"{pause['kind']} {pause['name']}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""`cronq missed`: the outage board, and orders about what is on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from cronq.cli.audit import as_instant
from cronq.cli.client import Client, connect, one
from cronq.cli.output import Columns, output_option, print_json, print_list, table
from cronq.cli.runs import job_id

PATH = "/api/missed"
_COLUMNS: Columns = {
    "run": "RUN",
    "category": "CATEGORY",
    "job": "JOB",
    "scheduled_for": "SCHEDULED FOR",
    "last_scheduled_for": "TO",
    "count": "COUNT",
    "standing": "STANDING",
    "reason": "REASON",
    "waits_for": "WAITS FOR",
    "why_not": "CAN'T RUN",
}
Options = Callable[[Any], Any]

_since = click.option("--since", help="RFC 3339 instant, or how long ago: 24h, 7d.")
_until = click.option("--until", help="The same; occurrences before it. Default: now.")
_category = click.option("--category", help="Only jobs of this category.")
_job = click.option("--job", help="Only this job: category/name, or its id.")
_every = click.option("--every", help="How far apart, as 10s. Default: the rate for catching up.")


def _selection(command: Any) -> Any:
    """RUN…, or which of what was missed since an instant."""
    options: list[Options] = [
        click.argument("runs", nargs=-1, metavar="[RUN]..."),
        _since,
        _until,
        _category,
        _job,
        click.option("--latest", "which", flag_value="latest", help="Only the newest of each job."),
        click.option("--all", "which", flag_value="all", help="Every one, up to 1,000 in one order."),
        output_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group("missed", invoke_without_command=True, short_help="What was missed or is held; run or skip it.")
@_since
@_until
@_category
@_job
@click.option("--state", help="Only missed, expired, held, lost or skipped; several are separated by commas.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@output_option
@click.pass_context
def missed_group(
    context: click.Context,
    *,
    since: str | None,
    until: str | None,
    category: str | None,
    job: str | None,
    state: str | None,
    limit: int,
    output: str,
) -> None:
    """The outage board: every missed or held occurrence, by default since a day ago."""
    if context.invoked_subcommand is not None:
        if any(given is not None for given in (since, until, category, job, state)):
            raise click.UsageError(f"options go behind {context.invoked_subcommand}")
        return
    wanted: dict[str, object] = {
        "since": _at(since),
        "until": _at(until),
        "category": category,
        "state": state,
    }
    with connect() as client:
        wanted["job.id"] = _job_id(client, job)
        print_list(client.listed(PATH, "missed", wanted, most=limit), output, _COLUMNS)


@missed_group.command("run")
@_selection
@_every
def run_command(every: str | None, **selection: Any) -> int:
    """Let them out now; RUN that stands for many: its latest occurrence, or with --all each."""
    return _order("run", selection, {"every": every})


@missed_group.command("skip")
@_selection
@click.option("--reason", help="Why; their rows say it.")
def skip_command(reason: str | None, **selection: Any) -> int:
    """Have them never run."""
    return _order("skip", selection, {"reason": reason})


@missed_group.command("shift")
@_selection
@click.option("--by", help="How long from now, as 2h.")
@click.option("--to", help="From this RFC 3339 instant on.")
@_every
def shift_command(by: str | None, to: str | None, every: str | None, **selection: Any) -> int:
    """Let them out later."""
    if (by is None) == (to is None):
        raise click.UsageError("give either --by or --to")
    return _order("shift", selection, {"by": by, "to": to, "every": every})


def _order(action: str, selection: Mapping[str, Any], how: Mapping[str, str | None]) -> int:
    """Exits 1 where something that was named is left as it was."""
    _check(selection)
    with connect() as client:
        body = {
            "runs": list(selection["runs"]) or None,
            "since": _at(selection["since"]),
            "until": _at(selection["until"]),
            "category": selection["category"],
            "job": _job_id(client, selection["job"]),
            "which": selection["which"],
            **how,
        }
        sent = {name: value for name, value in body.items() if value is not None}
        done = one(client.post(f"{PATH}/{action}", sent), "done")
    if selection["output"] == "json":
        print_json(done)
    else:
        _print(done)
    return 1 if selection["runs"] and done["unchanged"] else 0


def _check(selection: Mapping[str, Any]) -> None:
    narrowed = [n for n in ("since", "until", "category", "job") if selection[n] is not None]
    if selection["runs"] and narrowed:
        raise click.UsageError(f"name runs by their ids, or give --{narrowed[0]}, not both")
    if selection["runs"]:
        return
    if selection["since"] is None:
        raise click.UsageError("name runs by their ids, or give --since")
    if selection["which"] is None:
        raise click.UsageError("give --latest or --all with --since")


def _print(done: Mapping[str, Any]) -> None:
    changed, left = len(done["changed"]), done["left"]
    what = {"run": "let out", "skip": "skipped", "shift": "shifted"}[done["action"]]
    unit = "row" if done["action"] == "skip" else "occurrence"  # a row that stands for many is skipped as one
    counted = f"{changed} {unit}{'' if changed == 1 else 's'} {what}"
    click.echo(f"{counted}, {left} rows are left" if left else counted)
    if done["unchanged"]:
        rows = [[each["run"], each["why"]] for each in done["unchanged"]]
        click.echo(table([["LEFT AS IT IS", "WHY"], *rows]))


def _job_id(client: Client, job: str | None) -> int | None:
    return None if job is None else job_id(client, job)


def _at(text: str | None) -> str | None:
    return None if text is None else as_instant(text)

"""`cronq next`: when an expression would fire."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import click

from cronq.domain.schedule import DST_RULES, Schedule, needs_seed, parse
from cronq.runtime.clock import utc_now

# `-5 * * * *` is a wrong expression and no option.
_DASHED = re.compile(r"-[0-9*]\S*\s.*", re.DOTALL)


class ExpressionCommand(click.Command):
    """Takes an expression that begins with a dash for an argument, so that it gets its own error."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        dashed = [each for each in args if _DASHED.fullmatch(each)]
        if dashed and "--" not in args:
            args = [*(each for each in args if each not in dashed), "--", *dashed]
        return super().parse_args(ctx, args)


@click.command("next", cls=ExpressionCommand)
@click.argument("expression")
@click.option("--tz", "timezone", help="IANA zone of the expression's wall time; default UTC.")
@click.option("--dst", type=click.Choice(DST_RULES), default="cron", show_default=True)
@click.option("--after", help="RFC 3339 instant; only later ones are shown. Default: now.")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True)
@click.option("--seed", default="", metavar="CATEGORY/NAME", help="The job for which H is worked out.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def next_command(
    expression: str, *, timezone: str | None, dst: str, after: str | None, count: int, seed: str, output: str
) -> None:
    """Show the next occurrences of EXPRESSION, in UTC."""
    schedule = parse(expression, timezone=timezone, dst=dst, seed=seed)
    if needs_seed(expression) and not seed:
        click.echo("H is another value for each job: name the job with --seed CATEGORY/NAME", err=True)
    begin = read_instant(after) if after else utc_now()
    for remark in schedule.remarks(begin):
        click.echo(f"remark: {remark}", err=True)
    found = following(schedule, begin, count)
    if output == "json":
        click.echo(json.dumps(found))
        return
    click.echo(f"{expression}: {schedule.describe()}", err=True)
    for instant in found:
        click.echo(instant)


def following(schedule: Schedule, after: datetime, count: int) -> list[str]:
    """The next occurrences after an instant, RFC 3339 in UTC."""
    found: list[str] = []
    at = schedule.next_after(after)
    while at is not None and len(found) < count:
        found.append(at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        at = schedule.next_after(at)
    return found


def read_instant(text: str) -> datetime:
    """An option's instant, in UTC unless it has an offset; raises click's BadParameter."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an RFC 3339 instant, as 2026-01-31T12:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at

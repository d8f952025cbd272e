"""`cronq next`: when an expression would fire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import click

from cronq.domain.preview import Outlook, Planned
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
    """Show the next occurrences of EXPRESSION: in UTC, in its zone, and what is odd about them."""
    schedule = parse(expression, timezone=timezone, dst=dst, seed=seed)
    if needs_seed(expression) and not seed:
        click.echo("H is another value for each job: name the job with --seed CATEGORY/NAME", err=True)
    begin = read_instant(after) if after else utc_now()
    for remark in schedule.remarks(begin):
        click.echo(f"remark: {remark}", err=True)
    coming = islice(following(schedule, begin), count)
    if output == "json":
        click.echo(json.dumps([utc_text(at) for at in coming]))
        return
    found = Outlook.of(schedule, timezone, dst).seen(coming, begin)
    click.echo(f"{expression}: {schedule.describe()}", err=True)
    for planned in found:
        click.echo(_line(planned, with_local=timezone is not None))


def _line(planned: Planned, *, with_local: bool) -> str:
    """UTC, the zone's own time where one is named, and the remark if there is one."""
    local = planned.local.isoformat() if with_local else ""
    return "  ".join(part for part in (utc_text(planned.at), local, planned.remark) if part)


def utc_text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def following(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The occurrences after an instant."""
    at = schedule.next_after(after)
    while at is not None:
        yield at
        at = schedule.next_after(at)


def read_instant(text: str) -> datetime:
    """An option's instant, in UTC unless it has an offset; raises click's BadParameter."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an RFC 3339 instant, as 2026-01-31T12:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at

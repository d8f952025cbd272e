"""`cronq next`: when an expression would fire."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from cronq.domain.schedule import parse
from cronq.runtime.clock import utc_now


@click.command("next")
@click.argument("expression")
@click.option("--tz", "timezone", help="IANA zone of the expression's wall time; default UTC.")
@click.option("--dst", type=click.Choice(["cron", "skip", "both"]), default="cron", show_default=True)
@click.option("--after", help="RFC 3339 instant; only later ones are shown. Default: now.")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True)
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def next_command(
    expression: str, *, timezone: str | None, dst: str, after: str | None, count: int, output: str
) -> None:
    """Show the next occurrences of EXPRESSION, in UTC."""
    schedule = parse(expression, timezone=timezone, dst=dst)
    at: datetime | None = _instant(after) if after else utc_now()
    found: list[str] = []
    while at is not None and len(found) < count:
        at = schedule.next_after(at)
        if at is not None:
            found.append(at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    click.echo(json.dumps(found) if output == "json" else "\n".join(found))


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an RFC 3339 instant, as 2026-01-31T12:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)

"""`cronq explain`: what an expression means, and what its author may not expect of it."""

from __future__ import annotations

from datetime import datetime, tzinfo
from itertools import islice

import click

from cronq.cli.next import ExpressionCommand, following, read_instant, utc_text
from cronq.cli.output import output_option, print_json, table
from cronq.domain.cron import Cron
from cronq.domain.explain import notes, zone_of
from cronq.domain.schedule import DST_RULES, Schedule, needs_seed, parse
from cronq.runtime.clock import utc_now

_SHOWN = 5


@click.command("explain", cls=ExpressionCommand)
@click.argument("expression", metavar="EXPR")
@click.option("--tz", "timezone", help="IANA zone of the expression's wall time; default UTC.")
@click.option("--dst", type=click.Choice(DST_RULES), default="cron", show_default=True)
@click.option("--after", help="RFC 3339 instant to look ahead from. Default: now.")
@click.option("--seed", default="", metavar="CATEGORY/NAME", help="The job for which H is worked out.")
@output_option
def explain_command(
    expression: str, *, timezone: str | None, dst: str, after: str | None, seed: str, output: str
) -> None:
    """Tell EXPR in words, field by field, with what may surprise in it and its next five instants."""
    schedule = parse(expression, timezone=timezone, dst=dst, seed=seed)
    now = read_instant(after) if after else utc_now()
    remarks = notes(schedule, now)
    if needs_seed(expression) and not seed:
        remarks.insert(0, "H is another value for each job: name the job with --seed CATEGORY/NAME")
    instants = [utc_text(each) for each in islice(following(schedule, now), _SHOWN)]
    if output == "json":
        print_json(_as_json(schedule, remarks, instants))
        return
    click.echo("\n\n".join(_paragraphs(schedule, remarks, instants)))


def _as_json(schedule: Schedule, remarks: list[str], instants: list[str]) -> dict[str, object]:
    return {
        "expression": schedule.text,
        "words": schedule.describe(),
        "fields": [{"name": name, "text": text, "words": words} for name, text, words in _fields(schedule)],
        "remarks": remarks,
        "next": [{"local": _local(each, zone_of(schedule)).isoformat(), "utc": each} for each in instants],
    }


def _paragraphs(schedule: Schedule, remarks: list[str], instants: list[str]) -> list[str]:
    found = [f"{schedule.text}: {schedule.describe()}"]
    if fields := _fields(schedule):
        found.append(table(fields))
    if remarks:
        found.append("\n".join(f"- {remark}" for remark in remarks))
    home = zone_of(schedule)
    rows = [[f"{_local(each, home):%a %Y-%m-%d %H:%M:%S %Z}", each] for each in instants]
    found.append(table([["NEXT", "UTC"], *rows]) if rows else "nothing is due any more")
    return found


def _fields(schedule: Schedule) -> list[tuple[str, str, str]]:
    return schedule.fields() if isinstance(schedule, Cron) else []


def _local(instant: str, home: tzinfo) -> datetime:
    return datetime.fromisoformat(instant).astimezone(home)

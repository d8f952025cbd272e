"""`cronq forecast`: how many runs the schedules will have at once, and where they crowd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import click

from cronq.cli.client import connect, one
from cronq.cli.output import output_option, print_json, printable

_HOUR_S = 3_600
_BARS = "▁▂▃▄▅▆▇█"
_MOST_TOLD = 3
_AXIS = "00    03    06    09    12    15    18    21"
# Two columns an hour, so that the hours of the axis stand above theirs.
_WIDTH = 2
_MOST_DAYS = 7

Json = Mapping[str, Any]


@click.command("forecast", short_help="How many runs will there be at once, and where do they crowd?")
@click.option("--hours", type=click.IntRange(1, 24 * _MOST_DAYS), help="So many from now. Default: 24.")
@click.option("--days", type=click.IntRange(1, _MOST_DAYS), help="The same in days.")
@click.option("--queue", metavar="KEY", help="Only jobs of this routing key.")
@output_option
def forecast_command(*, hours: int | None, days: int | None, queue: str | None, output: str) -> None:
    """Work out from schedules and past durations what will run, against the slots of the runners.

    A chart of each queue has the most runs at once in each hour of a day, in UTC.
    """
    if hours is not None and days is not None:
        raise click.UsageError("--hours and --days exclude each other")
    step_s = None if output == "json" else _HOUR_S
    with connect() as client:
        wanted = {"hours": hours or (days or 1) * 24, "queue": queue, "step_s": step_s}
        found = one(client.get("/api/forecast", **wanted), "forecast")
    if output == "json":
        print_json(found)
        return
    for line in _lines(found):
        click.echo(printable(line))


def _lines(found: Json) -> Iterator[str]:
    jobs, durations = found["jobs"], found["durations"]
    yield f"{_minute(found['since'])} to {_minute(found['until'])} UTC, {_counted(jobs['counted'], 'job')}"
    if jobs["not_counted"]:
        yield f"! without {_counted(jobs['not_counted'], 'job')}: there are too many, and these are due last"
    if durations["unknown_jobs"]:
        of_jobs = f"of {_counted(durations['unknown_jobs'], 'job')} that never succeeded"
        yield f"each run {of_jobs} is taken to last {durations['assumed_s']:.0f} s"
    for queue in found["queues"]:
        yield ""
        yield from _of_queue(queue, datetime.fromisoformat(found["since"]))
    if found["queues_not_shown"]:
        yield f"… and {_counted(found['queues_not_shown'], 'queue')} with less"


def _of_queue(queue: Json, since: datetime) -> Iterator[str]:
    slots = _counted(queue["slots"], "slot") if queue["slots"] else "no runner"
    peak = queue["peak"]
    yield (
        f"{queue['queue']}: {slots}, {_counted(queue['total'], 'start')},"
        f" at most {_counted(peak['alive'], 'run')} at once, at {_minute(peak['at'])}"
    )
    yield f"  {'':10}  {_AXIS}"
    yield from _chart(queue["alive"], since)
    yield from _over(queue)
    yield from _herds(queue)


def _chart(alive: Sequence[int], since: datetime) -> Iterator[str]:
    """A line for each day."""
    most = max(alive)
    hours = [(since + timedelta(hours=number), runs) for number, runs in enumerate(alive)]
    for day, of_day in groupby(hours, key=lambda hour: hour[0].date()):
        drawn = list(of_day)
        bars = " " * _WIDTH * drawn[0][0].hour + "".join(_bar(runs, most).ljust(_WIDTH) for _, runs in drawn)
        yield f"  {day}  {bars.ljust(24 * _WIDTH)}  at most {max(runs for _, runs in drawn)}"


def _bar(runs: int, most: int) -> str:
    return _BARS[-(-runs * len(_BARS) // most) - 1] if runs else "·"


def _over(queue: Json) -> Iterator[str]:
    worst = sorted(queue["overloads"], key=lambda span: -span["alive"])[:_MOST_TOLD]
    for span in worst:
        more = f"{_counted(span['alive'], 'run')} for {_counted(queue['slots'], 'slot')}"
        yield f"  ! {more}, {_minute(span['since'])} to {_minute(span['until'])}"
    if queue["overload_minutes"]:
        yield f"  ! more runs than slots in {_counted(queue['overload_minutes'], 'minute')} in all"


def _herds(queue: Json) -> Iterator[str]:
    for herd in queue["herds"][:_MOST_TOLD]:
        like = f" and {_counted(herd['times'] - 1, 'minute')} like it" if herd["times"] > 1 else ""
        starts = f"{_counted(herd['starts'], 'start')}, {herd['usual']:g} in a minute on average"
        yield f"  ! herd at {_minute(herd['at'])}{like}: {starts}: {_names(herd)}"
        advice = [f'"{one["schedule"]}" for {one["jobs"]:,} of these jobs' for one in herd["advice"]]
        if advice:
            yield f"    to spread them, write {', '.join(advice[:_MOST_TOLD])}"
    more = len(queue["herds"][_MOST_TOLD:]) + queue["herds_not_shown"]
    if more:
        yield f"  ! {_counted(more, 'smaller herd')} more"


def _names(herd: Json) -> str:
    rest = herd["jobs"] - _MOST_TOLD
    names = [" ".join(name.split()) for name in herd["names"][:_MOST_TOLD]]
    return ", ".join(names) + (f" and {rest:,} more" if rest > 0 else "")


def _minute(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

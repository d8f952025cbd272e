"""`cronq import crontab`: the jobs of a crontab, and what became of each of its lines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import click

from cronq.cli.output import print_json, table
from cronq.domain import zone
from cronq.domain.category import MAX_BODY_BYTES, read_category_name
from cronq.domain.crontab import Crontab, ImportedJob, Result, Row, read_crontab
from cronq.domain.job_fields import Refused
from cronq.domain.schedule_error import ScheduleError

_SUMMARY = {
    Result.IMPORTED: "imported",
    Result.NEEDS_DECISION: "to be decided",
    Result.REFUSED: "refused",
}


class _Source(NamedTuple):
    """A crontab's text, and what its place says: a name, and whether it has a user column."""

    text: str
    name: str
    has_user: bool = False


@click.group("import")
def import_group() -> None:
    """Jobs from elsewhere, as documents to be PUT."""


@import_group.command("crontab", short_help="The jobs of a crontab.")
@click.argument("file", required=False)
@click.option("--user", metavar="NAME", help="Read this user's crontab, by crontab -l -u NAME.")
@click.option(
    "--system", is_flag=True, help="The lines have a user column; known of /etc/crontab and cron.d."
)
@click.option("--tz", "timezone", metavar="ZONE", help="IANA zone of the jobs before any CRON_TZ.")
@click.option("--category", metavar="NAME", help="Of the document; default: the file's name.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "document"]), default="table", show_default=True
)
def crontab_command(
    file: str | None,
    *,
    user: str | None,
    system: bool,
    timezone: str | None,
    category: str | None,
    output: str,
) -> int:
    """Show the jobs of a crontab FILE, of standard input (-) or of a user, and what became of each line.

    Nothing is sent anywhere: "-o document" prints what can be PUT, the imported jobs alone; "-o json" all
    jobs and the report. Exits 1 when a line needs a decision or is refused.
    """
    _check_zone(timezone)
    source = _read(file, user)
    name = _category(category or source.name)
    found = read_crontab(
        source.text, category=name, has_user=system or source.has_user, timezone=timezone or None
    )
    _print(found, name, output)
    _talk(found, user)
    return 0 if found.is_clean else 1


def _check_zone(name: str | None) -> None:
    if name is None:
        return
    try:
        zone.load(name)
    except ScheduleError as error:
        raise click.BadParameter(f"{error}; {error.hint}", param_hint="'--tz'") from None


def _category(name: str) -> str:
    try:
        return read_category_name(name)
    except Refused as refused:
        raise click.BadParameter(str(refused), param_hint="'--category'") from None


def _read(file: str | None, user: str | None) -> _Source:
    if (file is None) == (user is None):
        raise click.UsageError("name one crontab: a FILE, - for standard input, or --user NAME")
    if user is not None:
        return _Source(_text(_of_user(user)), user)
    if file is None or file == "-":
        return _Source(_text(sys.stdin.buffer.read(MAX_BODY_BYTES + 1)), "crontab")
    return _of_file(file)


def _of_file(file: str) -> _Source:
    try:
        with Path(file).open("rb") as opened:
            body = opened.read(MAX_BODY_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise click.BadParameter(f"{file!r} cannot be read: {said}", param_hint="'FILE'") from None
    # Not resolved: it is the place of a link that says what it is.
    folder, name = os.path.split(os.path.abspath(file))
    place = os.path.basename(folder)
    return _Source(_text(body), name, place == "cron.d" or (place, name) == ("etc", "crontab"))


def _of_user(name: str) -> bytes:
    try:
        done = subprocess.run(["crontab", "-l", "-u", name], capture_output=True, check=False)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise click.UsageError(f"crontab -l cannot be run on this host: {said}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"it exited with {done.returncode}"
        raise click.UsageError(f"crontab -l -u {name}: {said}")
    return done.stdout


def _text(body: bytes) -> str:
    """Bytes that are no UTF-8 stay visible as such, so that only their lines are refused."""
    if len(body) > MAX_BODY_BYTES:
        raise click.UsageError(f"the crontab is longer than {MAX_BODY_BYTES:,} bytes")
    return body.decode("utf-8-sig", errors="surrogateescape")


def _print(found: Crontab, category: str, output: str) -> None:
    if output == "table":
        click.echo(table([["LINE", "RESULT", "JOB", "WHEN", "REASON"], *map(_cells, found.rows)]))
        click.echo(_summary(found))
    elif output == "document":
        print_json({"category": category, "jobs": _definitions(found.jobs(Result.IMPORTED))})
    else:
        report = [_as_json(row) for row in found.rows]
        print_json({"category": category, "jobs": _definitions(found.jobs()), "report": report})


def _definitions(jobs: list[ImportedJob]) -> list[dict[str, str]]:
    return [job.definition() for job in jobs]


def _cells(row: Row) -> list[object]:
    job = row.job
    return [row.line, row.result, job and job.name, job and job.words, row.reason]


def _as_json(row: Row) -> dict[str, object]:
    return {
        "line": row.line,
        "result": row.result,
        "job": row.job and row.job.name,
        "words": row.job.words if row.job else "",
        "reason": row.reason,
    }


def _summary(found: Crontab) -> str:
    counts = Counter(row.result for row in found.rows)
    lines = ", ".join(f"{counts[result]} {words}" for result, words in _SUMMARY.items())
    jobs = len(found.jobs())
    return f"{jobs} {'job' if jobs == 1 else 'jobs'}; lines: {lines}"


def _talk(found: Crontab, user: str | None) -> None:
    if any(job.timezone is None for job in found.jobs()):
        click.echo(
            "no zone is named: cron goes by its host's, these jobs by UTC; name it with --tz", err=True
        )
    if user is not None and found.jobs():
        click.echo(f"cron ran them as {user}: let only runners of {user} serve their routing_key", err=True)

"""`cronq config`: what this process would use, and where each value comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import click

from cronq.domain.errors import ConfigError
from cronq.runtime.config import Described, describe, load, report
from cronq.runtime.settings import Settings
from cronq.runtime.table import SETTINGS

_MEANINGS = {s.name: s.meaning if s.is_used else f"not yet: {s.meaning}" for s in SETTINGS}


@click.group("config")
def config_group() -> None:
    """The settings of this environment."""


@config_group.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(output: str) -> None:
    """Print every setting, its value (secrets masked), where it comes from and what it means."""
    try:
        settings = load(os.environ)
    except ConfigError as error:
        raise SystemExit(report(error)) from None
    rows = describe(settings)
    click.echo(_as_json(rows) if output == "json" else _as_table(rows))
    _talk_about_notices(settings)


def _as_json(rows: Sequence[Described]) -> str:
    return json.dumps([{**row._asdict(), "meaning": _MEANINGS[row.name]} for row in rows], indent=2)


def _as_table(rows: Sequence[Described]) -> str:
    cells = [("NAME", "VALUE", "SOURCE", "MEANING")]
    cells += [(row.name, row.value or "-", row.source, _MEANINGS[row.name]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
        for line in cells
    )


def _talk_about_notices(settings: Settings) -> None:
    for notice in settings.notices:
        click.echo(f"notice: {notice}", err=True)

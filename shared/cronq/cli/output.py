"""What commands print: the API's objects as JSON, or plain aligned tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

# Names of fields, and above each column its heading.
Columns = Mapping[str, str]

output_option: Callable[[Any], Any] = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def print_list(items: Iterable[Mapping[str, Any]], output: str, columns: Columns) -> None:
    """A list in the form that `output` names."""
    found = list(items)
    if output == "json":
        print_json(found)
    else:
        click.echo(table([list(columns.values()), *([item.get(name) for name in columns] for item in found)]))


def print_fields(item: Mapping[str, Any], fields: Columns) -> None:
    """One object, a field a line."""
    width = max(len(heading) for heading in fields.values())
    for name, heading in fields.items():
        click.echo(f"{heading.ljust(width)}  {_cell(item.get(name))}")


def table(rows: Sequence[Sequence[object]]) -> str:
    """Aligned by columns; the last one is as long as it is."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in cells
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return " ".join(printable(str(value)).split())


def printable(text: str) -> str:
    """Text that no terminal obeys: control characters, from wherever they came, are written out."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()

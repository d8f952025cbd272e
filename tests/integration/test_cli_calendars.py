"""`cronq calendars` and `cronq windows` straight on a store: what they print, and how they exit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cronq.cli import USAGE, main
from cronq.store import Store, migrate, open_store
from tests.factories import definition, put


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Cronq = Callable[..., Done]
CHRISTMAS = {"timezone": "Europe/Berlin", "holidays": [{"date": "12-25", "name": "Christmas"}]}
ICAL = (
    "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Feast\nDTSTART:20200101\nRRULE:FREQ=YEARLY;BYDAY=FR\nEND:VEVENT\n"
)


@pytest.fixture
def db(sqlite_url: str) -> Store:
    made = open_store(sqlite_url)
    migrate.upgrade(made)
    return made


@pytest.fixture
def cronq(
    db: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cronq:
    """Runs the command line, which has the database in its environment."""
    for name in [name for name in os.environ if name.startswith("CRONQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(args=list(arguments))
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def document(tmp_path: Path) -> str:
    """The path of a calendar's document."""
    path = tmp_path / "de.json"
    path.write_text(json.dumps(CHRISTMAS))
    return str(path)


def test_a_calendar_is_put_listed_shown_and_dropped(cronq: Cronq, db: Store, document: str) -> None:
    assert cronq("calendars", "put", "de", document).out == (
        "de is at revision 1; 0 jobs go by it from now on\n"
    )
    assert cronq("calendars", "put", "de", document).out == "de is unchanged, at revision 1\n"
    put(db, definition(calendar="de"))

    [heading, row] = cronq("calendars", "ls").out.splitlines()
    assert heading.split() == ["NAME", "REVISION", "TIMEZONE", "CHANGED", "DESCRIPTION"]
    assert row.split()[:3] == ["de", "1", "Europe/Berlin"]
    shown = cronq("calendars", "show", "de").out
    assert "cat/job" in shown
    assert '"name": "Christmas"' in shown
    assert json.loads(cronq("calendars", "show", "de", "-o", "json").out)["document"] == CHRISTMAS

    refused = cronq("calendars", "drop", "de")
    assert (refused.code, refused.out) == (1, "")
    assert "cat/job" in refused.err
    put(db)
    assert cronq("calendars", "drop", "de").out == "de is dropped\n"


def test_an_icalendar_file_is_imported_and_what_is_cut_is_told(cronq: Cronq, tmp_path: Path) -> None:
    path = tmp_path / "feasts.ics"
    path.write_text(f"{ICAL}END:VCALENDAR\n")

    done = cronq("calendars", "put", "feasts", str(path), "--tz", "Asia/Tokyo")

    assert (done.code, done.out) == (0, "feasts is at revision 1; 0 jobs go by it from now on\n")
    assert done.err.startswith("warning: 1 event repeats without end: expanded until ")
    assert json.loads(cronq("calendars", "show", "feasts", "-o", "json").out)["timezone"] == "Asia/Tokyo"


def test_a_bad_file_is_refused_with_its_line(cronq: Cronq, tmp_path: Path) -> None:
    path = tmp_path / "feasts.ics"
    path.write_text(f"{ICAL}nonsense\n")
    done = cronq("calendars", "put", "feasts", str(path))
    assert (done.code, done.out) == (1, "")
    assert 'line 7: "nonsense" is no iCalendar property' in done.err

    other = tmp_path / "feasts.txt"
    other.write_text("")
    assert cronq("calendars", "put", "feasts", str(other)).code == USAGE


def test_a_check_says_why_an_instant_is_closed_and_exits_1(cronq: Cronq, document: str) -> None:
    cronq("calendars", "put", "de", document)

    closed = cronq("calendars", "check", "de", "2026-12-24T23:00:00Z")
    assert closed.code == 1
    assert dict(line.split(maxsplit=1) for line in closed.out.splitlines()[:3])["closed"] == "Christmas"
    is_open = cronq("calendars", "check", "de", "2026-12-24T22:59:59Z", "-o", "json")
    assert (is_open.code, json.loads(is_open.out)["closed"]) == (0, None)


def test_a_window_is_put_listed_and_dropped(cronq: Cronq) -> None:
    yearly = ("--schedule", "0 3 1 1 *", "--duration", "2h", "--reason", "the yearly move")
    done = cronq("windows", "put", "move", "--scope", "queue:gpu", *yearly)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("move is set: starts ")

    [heading, row] = cronq("windows", "ls").out.splitlines()
    assert heading.split() == ["NAME", "SCOPE", "ON", "UNTIL", "NEXT", "START", "REASON"]
    assert row.startswith("move  queue:gpu  -")
    assert row.endswith("the yearly move")
    assert cronq("windows", "drop", "move").out == "move is dropped\n"
    assert cronq("windows", "drop", "move").code == 1


def test_a_window_that_is_on_says_until_when(cronq: Cronq) -> None:
    done = cronq(
        "windows", "put", "move", "--from", "2020-01-01T00:00", "--to", "2199-01-01T00:00", "--tz", "UTC"
    )
    assert done.out == "move is set: on until 2199-01-01T00:00:00Z\n"
    wrong = cronq("windows", "put", "move", "--scope", "queue:gpu", "--from", "2020-01-01T00:00")
    assert (wrong.code, wrong.out) == (1, "")
    assert "either from and to are needed" in wrong.err

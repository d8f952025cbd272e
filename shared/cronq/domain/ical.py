"""iCalendar files (RFC 5545) as calendars: all-day events are holidays, the others blackouts.

What repeats is expanded from the year before the import to HORIZON_YEARS after it, except for one whole
day on the same date of every year, which has no end. Cancelled events are left out, and so is what an
event of its own replaces. Zones are those of the IANA database; VTIMEZONE is passed over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cronq.domain import zone
from cronq.domain.calendar_document import MAX_BLACKOUTS, MAX_DAYS
from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.ical_event import DAY, Event, read_event
from cronq.domain.ical_lines import Line, read_lines, refused
from cronq.domain.job_fields import MAX_DESCRIPTION
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.stretch_document import MAX_STRETCH_NAME
from cronq.domain.strict_json import shown

HORIZON_YEARS = 10
# The worst of them take half a second each.
MAX_RULES = 200


@dataclass(frozen=True)
class Imported:
    """A calendar's document, and sentences on what of the file it does not hold."""

    document: dict[str, object]
    warnings: tuple[str, ...] = ()


def read_ical(body: bytes, *, year: int, timezone: str | None = None) -> Imported:
    """The document of a file, as it is in this year.

    Times without a zone are in `timezone`, else in the file's X-WR-TIMEZONE, else in UTC. Raises
    InvalidInput at the first thing that is wrong, naming its line.
    """
    about, events = _split(list(read_lines(body)))
    _check_rules(events)
    first, end = datetime(year - 1, 1, 1), datetime(year + HORIZON_YEARS + 1, 1, 1)  # noqa: DTZ001 - local to each event
    holidays: dict[tuple[str, str], None] = {}
    blackouts: dict[tuple[str, str, str], None] = {}
    for event in _without_replaced(events):
        if event.start.is_day:
            holidays.update(dict.fromkeys(_holidays(event, first, end)))
        else:
            blackouts.update(dict.fromkeys(_blackouts(event, first, end)))
        _check_number(event, len(holidays), MAX_DAYS, "days")
        _check_number(event, len(blackouts), MAX_BLACKOUTS, "blackouts")
    document: dict[str, object] = {
        "description": about.get("X-WR-CALNAME", ""),
        "timezone": timezone or about.get("X-WR-TIMEZONE"),
        "holidays": [{"date": day, "name": name} for day, name in sorted(holidays)],
        "blackouts": [{"from": start, "to": to, "name": name} for start, to, name in sorted(blackouts)],
    }
    return Imported({key: value for key, value in document.items() if value}, tuple(_warnings(events, year)))


def _split(lines: Sequence[Line]) -> tuple[dict[str, str], list[Event]]:
    """What the file says of itself, and its events."""
    if not lines or (lines[0].name, lines[0].value.strip().upper()) != ("BEGIN", "VCALENDAR"):
        raise refused(lines[0].number if lines else 1, "an iCalendar file begins with BEGIN:VCALENDAR")
    about: dict[str, str] = {}
    events: list[Event] = []
    open_ones: list[Line] = []
    of_event: list[Line] = []
    for line in lines:
        inside = [each.value.strip().upper() for each in open_ones]
        if line.name == "BEGIN":
            open_ones.append(line)
        elif line.name == "END":
            _check_end(line, inside)
            begin = open_ones.pop()
            if inside == ["VCALENDAR", "VEVENT"]:
                events.append(read_event(of_event, begin))
                of_event = []
        elif inside == ["VCALENDAR", "VEVENT"]:
            of_event.append(line)
        elif inside == ["VCALENDAR"]:
            about.update(_about(line))
    if open_ones:
        raise open_ones[-1].refused(f"{shown(open_ones[-1].value)} has no END")
    return about, events


def _check_end(line: Line, inside: Sequence[str]) -> None:
    if not inside or line.value.strip().upper() != inside[-1]:
        expected = f"END:{inside[-1]}" if inside else "nothing more"
        raise line.refused(f"{shown(line.value)} ends what did not begin; expected {expected}")


def _about(line: Line) -> dict[str, str]:
    if line.name == "X-WR-CALNAME":
        return {line.name: line.text()[:MAX_DESCRIPTION]}
    if line.name != "X-WR-TIMEZONE":
        return {}
    try:
        zone.load(line.value.strip())
    except ScheduleError as error:
        raise line.refused(str(error), error.hint) from None
    return {line.name: line.value.strip()}


def _without_replaced(events: Iterable[Event]) -> Iterator[Event]:
    replaced: dict[str, set[datetime]] = {}
    for event in events:
        if event.replaces is not None:
            replaced.setdefault(event.uid, set()).add(event.replaces.seen_in(event.start.zone))
    for event in events:
        if event.is_cancelled:
            continue
        if event.replaces is None and event.uid in replaced:
            gone = event.excluded | replaced[event.uid]
            yield dataclasses.replace(event, excluded=frozenset(gone))
        else:
            yield event


def _holidays(event: Event, first: datetime, end: datetime) -> Iterator[tuple[str, str]]:
    name = event.name[:MAX_STRETCH_NAME]
    if event.is_each_year():
        yield f"{event.start.local:%m-%d}", name
        return
    for start in event.starts(end):
        for number in range(event.length // DAY):
            day = start + number * DAY
            if first <= day < end:
                yield f"{day:%Y-%m-%d}", name


def _blackouts(event: Event, first: datetime, end: datetime) -> Iterator[tuple[str, str, str]]:
    for start in event.starts(end):
        if first <= start < end:
            yield _shown(start, event), _shown(start + event.length, event), event.name[:MAX_STRETCH_NAME]


def _shown(local: datetime, event: Event) -> str:
    if event.start.zone is None:
        return f"{local:%Y-%m-%dT%H:%M:%S}"
    return f"{local.replace(tzinfo=event.start.zone).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _check_rules(events: Sequence[Event]) -> None:
    rules = [event.rule for event in events if event.rule is not None]
    if len(rules) > MAX_RULES:
        raise rules[MAX_RULES].refused(
            f"more than {MAX_RULES} events repeat, the most that one file may have"
        )


def _check_number(event: Event, number: int, most: int, what: str) -> None:
    if number > most:
        message = (
            f"line {event.line}: more than {most:,} {what} with this event, the most that a calendar has"
        )
        raise InvalidInput([Problem("too_many", "", message)])


def _warnings(events: Iterable[Event], year: int) -> Iterator[str]:
    cut = sum(event.is_endless() and not event.is_each_year() for event in events)
    if cut:
        repeat = "event repeats" if cut == 1 else "events repeat"
        until = year + HORIZON_YEARS
        yield f"{cut} {repeat} without end: expanded until {until}, import the file again by then"

"""The events of an iCalendar file: when each is, and when it is again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import islice

from dateutil.rrule import rrule, rrulestr

from cronq.domain import zone
from cronq.domain.duration import parse_period
from cronq.domain.ical_lines import Line, refused
from cronq.domain.schedule_error import ScheduleError
from cronq.domain.strict_json import shown

DAY = timedelta(days=1)
# An all-day event of more days is a mistake, and a blackout of a year too.
MOST_DAYS = 366
FIRST_YEAR = 1900
_MIDNIGHT = time()
_MOMENT = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_NOT_SUPPORTED = ("BYHOUR", "BYMINUTE", "BYSECOND")
# With these a rule can match no day at all, and the days until the year 9999 are looked at for seconds.
_NOT_OF_SHORT_ONES = ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS")


@dataclass(frozen=True)
class Moment:
    """A date (`is_day`, at midnight) or a date and time: of a zone, or local wherever it is read (None)."""

    local: datetime  # naive
    is_day: bool
    zone: tzinfo | None = None

    def seen_in(self, home: tzinfo | None) -> datetime:
        """The naive local time there; what has no zone is the same everywhere."""
        if self.zone is None or home is None:
            return self.local
        return self.local.replace(tzinfo=self.zone).astimezone(home).replace(tzinfo=None)


@dataclass(frozen=True)
class Event:
    """A VEVENT. `rule` repeats its start; `added` and `excluded` are single starts, in its own zone."""

    line: int
    name: str
    start: Moment
    length: timedelta
    uid: str = ""
    rule: Line | None = None
    added: frozenset[datetime] = frozenset()
    excluded: frozenset[datetime] = frozenset()
    replaces: Moment | None = None  # the start of one occurrence of the event with the same uid
    is_cancelled: bool = False

    def is_each_year(self) -> bool:
        """Whether it is one whole day, on the same date in every year for ever."""
        is_one_day = self.start.is_day and self.length == DAY
        parts = {} if self.rule is None else _parts(self.rule)
        return is_one_day and parts == {"FREQ": "YEARLY"} and not self.added and not self.excluded

    def starts(self, horizon: datetime) -> Iterator[datetime]:
        """Its starts before a naive local time, in its own zone. Raises InvalidInput for a bad rule."""
        found = {self.start.local} if self.rule is None else set(_repeated(self.start, self.rule, horizon))
        return iter(sorted((found | self.added) - self.excluded))

    def is_endless(self) -> bool:
        return self.rule is not None and not {"COUNT", "UNTIL"} & _parts(self.rule).keys()


def read_event(lines: Sequence[Line], begin: Line) -> Event:
    """The event of its properties; raises InvalidInput, naming the line."""
    one = {line.name: line for line in lines}
    if "DTSTART" not in one:
        raise refused(begin.number, "the event has no DTSTART")
    start = read_moment(one["DTSTART"])
    again = one.get("RECURRENCE-ID")
    if again is not None and "RANGE" in again.params:
        raise again.refused("RANGE is not supported", "give each occurrence that differs its own event")
    return Event(
        begin.number,
        one["SUMMARY"].text() if "SUMMARY" in one else "",
        start,
        _length(one, start, begin),
        one["UID"].value if "UID" in one else "",
        one.get("RRULE"),
        _several(lines, "RDATE", start),
        _several(lines, "EXDATE", start),
        None if again is None else read_moment(again),
        "STATUS" in one and one["STATUS"].value.upper() == "CANCELLED",
    )


def read_moment(line: Line, value: str | None = None) -> Moment:
    """A DATE or DATE-TIME, in the zone of Z or of TZID."""
    text = line.value if value is None else value
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        hint = "write 20261224 or 20261224T180000Z"
        raise line.refused(f"{shown(text)} is neither a date nor a date and time", hint)
    try:
        local = datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - its zone is another field
    except ValueError:
        raise line.refused(f"{shown(text)}: there is no such day or time") from None
    if local.year < FIRST_YEAR:
        raise line.refused(f"{shown(text)}: the year must be {FIRST_YEAR} or later")
    # The year 9999 means for ever, and leaves no room for a zone's offset.
    local = local.replace(year=min(local.year, 9998))
    if match[2] is None:
        return Moment(local, is_day=True)
    return Moment(local, is_day=False, zone=UTC if match[3] else _zone(line))


def _zone(line: Line) -> tzinfo | None:
    name = line.params.get("TZID")
    if name is None:
        return None
    try:
        return zone.load(name.removeprefix("/"))
    except ScheduleError as error:
        raise line.refused(f"TZID: {error}", error.hint) from None


def _length(one: Mapping[str, Line], start: Moment, begin: Line) -> timedelta:
    if "DTEND" in one:
        end = read_moment(one["DTEND"])
        if end.is_day != start.is_day:
            raise one["DTEND"].refused("must be a date if DTSTART is one, and a date and time if that is")
        length = end.seen_in(start.zone) - start.local
        source = one["DTEND"]
    elif "DURATION" in one:
        length, source = _duration(one["DURATION"]), one["DURATION"]
    elif start.is_day:
        return DAY
    else:
        raise refused(begin.number, "the event has neither DTEND nor DURATION, so that it takes no time")
    if length <= timedelta(0) or length > MOST_DAYS * DAY:
        raise source.refused(f"the event must take more than no time, and {MOST_DAYS} days at most")
    return max(length - length % DAY, DAY) if start.is_day else length


def _duration(line: Line) -> timedelta:
    try:
        period = parse_period(line.value.strip().removeprefix("+"))
    except ScheduleError as error:
        raise line.refused(str(error), error.hint) from None
    if period.months:
        raise line.refused(f"{shown(line.value)}: months and years have no fixed length")
    return timedelta(days=period.days, seconds=period.seconds)


def _several(lines: Sequence[Line], name: str, start: Moment) -> frozenset[datetime]:
    found: set[datetime] = set()
    for line in lines:
        if line.name == name:
            for value in line.value.split(","):
                found.add(_like(read_moment(line, value), start))
    return frozenset(found)


def _like(moment: Moment, start: Moment) -> datetime:
    """As a start of the event: at its time of day where only a date is given."""
    if moment.is_day:
        return datetime.combine(moment.local, start.local.time())
    local = moment.seen_in(start.zone)
    return datetime.combine(local, _MIDNIGHT) if start.is_day else local


def _parts(rule: Line) -> dict[str, str]:
    """What a rule says, WKST aside where it is the default."""
    parts: dict[str, str] = {}
    for part in rule.value.strip().strip(";").split(";"):
        name, _, value = part.partition("=")
        if not value:
            raise rule.refused(f"{shown(part)} is no part of a rule", "write FREQ=YEARLY;COUNT=3")
        parts[name.strip().upper()] = value.strip().upper()
    if parts.get("WKST") == "MO":
        del parts["WKST"]
    return parts


def _repeated(start: Moment, rule: Line, horizon: datetime) -> Iterator[datetime]:
    parts = _parts(rule)
    _check(parts, rule)
    until = min(_until(parts.pop("UNTIL"), start, rule), horizon) if "UNTIL" in parts else horizon
    count = _whole("COUNT", parts.pop("COUNT"), rule) if "COUNT" in parts else None
    text = ";".join(f"{name}={value}" for name, value in parts.items())
    try:
        # The end is always there: a rule that matches nothing would be followed to the year 9999.
        found = rrulestr(text, dtstart=start.local)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise rule.refused(f"{shown(rule.value)} is not understood: {error}") from None
    if not isinstance(found, rrule):
        raise rule.refused(f"{shown(rule.value)} is not understood")
    return islice(found.replace(until=until), count)


def _check(parts: Mapping[str, str], rule: Line) -> None:
    if parts.get("FREQ") not in _FREQUENCIES:
        raise rule.refused(
            f"FREQ {shown(parts.get('FREQ', ''))}: one of {', '.join(_FREQUENCIES)} is allowed"
        )
    is_short = parts["FREQ"] in ("DAILY", "WEEKLY")
    unsupported = (*_NOT_SUPPORTED, *_NOT_OF_SHORT_ONES) if is_short else _NOT_SUPPORTED
    if stray := [name for name in unsupported if name in parts]:
        raise rule.refused(f"{stray[0]} is not supported with FREQ={parts['FREQ']}")
    if "INTERVAL" in parts:
        _whole("INTERVAL", parts["INTERVAL"], rule)


def _whole(name: str, text: str, rule: Line) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", text):
        raise rule.refused(f"{name} {shown(text)} must be a whole number from 1 on")
    return int(text)


def _until(text: str, start: Moment, rule: Line) -> datetime:
    """The last start that there may be, itself included; a date is the whole day."""
    moment = read_moment(rule, text)
    if moment.is_day:
        return moment.local + DAY - timedelta(seconds=1)
    return moment.seen_in(start.zone) if start.zone else moment.local

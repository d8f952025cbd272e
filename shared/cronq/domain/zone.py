"""Time zone names: which are known, and what an unknown one probably meant."""

from __future__ import annotations

import difflib
import re
from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronq.domain.schedule_error import ScheduleError

# They stand for whatever the machine is set to, or for nothing.
_NOT_PLACES = frozenset({"localtime", "Factory", "posixrules"})
_ABBREVIATIONS = {
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "MDT": "America/Denver",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "EDT": "America/New_York",
    "AKST": "America/Anchorage",
    "AKDT": "America/Anchorage",
    "BST": "Europe/London",
    "IST": "Asia/Kolkata",
    "CEST": "Europe/Berlin",
    "EEST": "Europe/Athens",
    "WEST": "Europe/Lisbon",
    "MSK": "Europe/Moscow",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "SGT": "Asia/Singapore",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland",
    "NZDT": "Pacific/Auckland",
    "Z": "UTC",
}
_SHOWN = 100
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])0?([0-9]|1[0-4])(?::?00)?", re.IGNORECASE)


@lru_cache(maxsize=1024)
def load(name: str) -> tzinfo:
    """The zone of an IANA name such as Europe/Berlin; raises ScheduleError `unknown_zone`."""
    if name not in known_names():
        raise _unknown(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError("unknown_zone", f"time zone {name!r} cannot be read: {error}") from error


@lru_cache(maxsize=1)
def known_names() -> frozenset[str]:
    """Every time zone name that is accepted."""
    return frozenset(available_timezones() - _NOT_PLACES)


def is_fixed(zone: tzinfo) -> bool:
    """Whether its offset never changes, so that a day is always 24 hours."""
    return zone.utcoffset(None) is not None


def _unknown(name: str) -> ScheduleError:
    if not name.strip():
        return ScheduleError(
            "unknown_zone", "time zone is empty", "name one, as Europe/Berlin, or leave it out"
        )
    return ScheduleError("unknown_zone", f"unknown time zone {name[:_SHOWN]!r}", _meant(name))


def _meant(name: str) -> str:
    near = _nearest(name.strip())
    return f"did you mean {near}?" if near else "use a name of the IANA database, as Europe/Berlin"


def _nearest(name: str) -> str:
    if name.startswith(("/", ".")) or "\\" in name or len(name) > _SHOWN:
        return ""
    if name.upper() in _ABBREVIATIONS:
        return _ABBREVIATIONS[name.upper()]
    if offset := _OFFSET.fullmatch(name):
        return _etc_name(offset[1], int(offset[2]))
    return _similar(name)


def _etc_name(sign: str, hours: int) -> str:
    if hours == 0:
        return "UTC"
    # POSIX counts offsets westwards, so Etc/GMT-2 is two hours ahead of UTC.
    candidate = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
    return f"{candidate} (Etc names have the sign reversed)" if candidate in known_names() else ""


def _similar(name: str) -> str:
    wanted = name.replace(" ", "_").casefold()
    names = {known.casefold(): known for known in known_names()}
    if wanted in names:
        return names[wanted]
    cities = {known.rpartition("/")[2]: names[known] for known in sorted(names)}
    if wanted in cities:
        return cities[wanted]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75)
    return names[close[0]] if close else ""

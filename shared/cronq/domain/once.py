"""One-shots, `@at <instant>`, and how an instant is written: RFC 3339, or local in a job's timezone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cronq.domain import timeline, zone
from cronq.domain.iso8601_start import parse_start
from cronq.domain.recurrence import Schedule, at, epoch_second
from cronq.domain.schedule_error import ScheduleError


@dataclass(frozen=True)
class Once(Schedule):
    """`seconds` since the epoch are one, or two where the rule `both` meets repeated time."""

    text: str
    zone: tzinfo
    dst: str
    seconds: tuple[int, ...]

    def fixed_period(self) -> timedelta | None:
        return None

    def remarks(self, now: datetime) -> list[str]:
        if self.seconds[-1] > epoch_second(now):
            return []
        return [f"exhausted: its only occurrence was {at(self.seconds[-1]):%Y-%m-%dT%H:%M:%SZ}"]

    def describe(self) -> str:
        shown = at(self.seconds[0]).astimezone(self.zone)
        return f"once at {shown:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f", {self.zone}"

    def walls(self, low: int, high: int) -> Iterator[int]:
        moment = parse_start(self.text.split()[1], "instant")
        if moment.tzinfo is None:
            wall = epoch_second(moment.replace(tzinfo=UTC))
            yield from (wall,) if low <= wall < high else ()

    def seconds_after(self, second: int) -> Iterator[int]:
        return (instant for instant in self.seconds if instant > second)


def parse(text: str, *, timezone: str | None, dst: str) -> Once:
    """Reads `@at <instant>`, a local one in `timezone` by the DST rule; raises ScheduleError."""
    words = text.split()
    if len(words) != len(("@at", "instant")):
        raise ScheduleError(
            "invalid_schedule", "@at needs one instant after it", "write @at 2026-12-24T18:00:00Z"
        )
    home, seconds = instants(words[1], "instant", timezone=timezone, dst=dst)
    return Once(text, home, dst, seconds)


def instants(text: str, name: str, *, timezone: str | None, dst: str) -> tuple[tzinfo, tuple[int, ...]]:
    """(zone, seconds since the epoch) of a date and time that has an offset, or that `timezone` places.

    A local time may stand for two instants, where clocks are put back and the rule is `both`. `name`
    is what an error calls it. Raises ScheduleError.
    """
    moment = parse_start(text, name)
    if "T" not in text:
        raise _invalid(f"{name} {text} has no time of day", f"write {moment:%Y-%m-%dT%H:%M:%S}")
    named = zone.load(timezone) if timezone is not None else None
    if moment.tzinfo is not None:
        return named or moment.tzinfo, (epoch_second(moment),)
    if named is None:
        raise _invalid(f"{name} {text} has no offset", "add Z or +02:00, or name a timezone")
    found = timeline.instants(named, dst, epoch_second(moment.replace(tzinfo=UTC)))
    if not found:
        raise _invalid(f"{name} {text} does not exist in {named}: its clocks skip it")
    return named, found


def _invalid(message: str, hint: str = "") -> ScheduleError:
    return ScheduleError("invalid_schedule", message, hint)

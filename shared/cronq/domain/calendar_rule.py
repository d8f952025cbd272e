"""A job's `calendar`: which one it goes by, and what becomes of its occurrences in closed times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cronq.domain.calendar import BACKWARD, FORWARD, Calendar
from cronq.domain.shifted import Shift


class Rule(StrEnum):
    """What becomes of an occurrence where its calendar is closed.

    SKIP: it does not run. ONLY: it is the only one that runs, those in open times do not. NEXT and
    PREVIOUS: it moves to that business day, and is skipped if a blackout is there.
    """

    SKIP = "skip"
    ONLY = "only"
    NEXT = "next"
    PREVIOUS = "previous"


_DIRECTIONS = {Rule.NEXT: FORWARD, Rule.PREVIOUS: BACKWARD}


@dataclass(frozen=True)
class CalendarUse:
    """The name of a calendar, and the rule."""

    name: str
    rule: Rule = Rule.SKIP

    @property
    def shifts(self) -> bool:
        """Whether the calendar decides when the job is due, and not only what then happens."""
        return self.rule in _DIRECTIONS

    def definition(self) -> dict[str, str]:
        """As a document writes it."""
        return {"name": self.name, "rule": str(self.rule)}


@dataclass(frozen=True)
class JobCalendar:
    """The use that a job makes of a calendar, with the calendar as it is at a revision."""

    use: CalendarUse
    revision: int
    calendar: Calendar

    @property
    def timing(self) -> tuple[object, ...]:
        """What of it moves the job when it changes."""
        return (self.use, self.calendar if self.use.shifts else None)

    def shift(self) -> Shift | None:
        """How the occurrences move; None where the rule moves none."""
        use = self.use
        return Shift(use.name, self.calendar, _DIRECTIONS[use.rule]) if use.shifts else None

    def verdict(self, instant: datetime) -> str | None:
        """Why an occurrence at an aware instant, moved if the rule moves it, is skipped; None: it runs."""
        reason = self.calendar.closed(instant)
        if self.use.rule is Rule.ONLY:
            return None if reason else f"calendar {self.use.name}: open"
        return reason and f"calendar {self.use.name}: {reason}"

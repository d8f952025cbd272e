"""The one error of schedules, zones and durations."""

from __future__ import annotations

from cronq.domain.errors import CronqError


class ScheduleError(CronqError):
    """A schedule, time zone or duration that cannot be used.

    `code` is one of invalid_schedule, never_fires, overflow, unknown_zone, invalid_dst and
    invalid_duration; `hint` is the nearest right form, '' when there is none.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

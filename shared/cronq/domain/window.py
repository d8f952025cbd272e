"""Maintenance windows: while one is on, what it is for waits, and goes on when it ends.

    {"scope": "category:shop", "from": "2026-12-24T22:00", "to": "2026-12-25T02:00",
     "timezone": "Europe/Berlin", "reason": "the database moves"}
    {"scope": "queue:gpu", "schedule": "0 3 * * SUN", "duration": "2h"}

The scope is `all`, a category by its name, or a routing key. Times are written as a calendar's blackouts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cronq.domain.category import read_category_name
from cronq.domain.job_fields import READERS, Refused, read_calendar_name, read_text
from cronq.domain.reading import Reader, alone, read_object
from cronq.domain.recurrence import at, epoch_second
from cronq.domain.stretch import Recurring, Stretch
from cronq.domain.stretch_document import stretch_of, stretch_readers, zone_of
from cronq.domain.strict_json import loads, shown

MAX_BODY_BYTES = 64 * 1024
MAX_REASON = 200
ALL = "all"
# As a calendar's: both stand in the path of an URL.
read_window_name = read_calendar_name

_SCOPE = re.compile(r"(category|queue):(.+)", re.DOTALL)


@dataclass(frozen=True)
class Window:
    """`text` is its document in canonical form; `kind` is `all`, `category` or `queue`, then with a name."""

    text: str
    kind: str
    name: str
    stretch: Stretch | Recurring
    reason: str = ""

    def on_until(self, instant: datetime) -> datetime | None:
        """When the window that is on at an aware instant ends; None while none is."""
        second = epoch_second(instant)
        if isinstance(self.stretch, Recurring):
            found = self.stretch.around(second)
            return None if found is None else at(found.end)
        return at(self.stretch.end) if self.stretch.start <= second < self.stretch.end else None

    def next_start(self, instant: datetime) -> datetime | None:
        """When it is on the next time, strictly after an aware instant; None: never again."""
        if isinstance(self.stretch, Recurring):
            return self.stretch.schedule.next_after(instant)
        return at(self.stretch.start) if self.stretch.start > epoch_second(instant) else None


def parse_window(body: bytes) -> Window:
    """The window of a document as JSON; raises InvalidInput with every problem."""
    return read_window(loads(body, max_bytes=MAX_BODY_BYTES))


@lru_cache(maxsize=512)
def stored_window(text: str) -> Window:
    """The window of a document that was read before, as `text` of one has it."""
    return read_window(json.loads(text))


def read_window(value: object) -> Window:
    """The window of a decoded document; raises InvalidInput with every problem."""
    found = read_object(value, (), _readers(zone_of(value)), required=("scope",))
    kind, name = found["scope"]
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return Window(text, kind, name, stretch_of(found, ()), found.get("reason", ""))


def _readers(home: str) -> dict[str, Reader]:
    times = {key: read for key, read in stretch_readers(home).items() if key != "name"}
    return {
        "scope": alone(_scope),
        "timezone": alone(READERS["timezone"]),
        "reason": alone(lambda value: read_text(value, limit=MAX_REASON)),
        **times,
    }


def _scope(value: object) -> tuple[str, str]:
    if value == ALL:
        return ALL, ""
    match = _SCOPE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Refused(f"{shown(value)} is not allowed; all, category:NAME and queue:KEY are")
    read = read_category_name if match[1] == "category" else READERS["routing_key"]
    return match[1], str(read(match[2]))

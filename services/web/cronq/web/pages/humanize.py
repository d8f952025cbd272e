"""Instants, durations and sizes as people read them; the template filters of the pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from cronq.domain.duration import format_duration

MINUTE, HOUR, DAY = 60, 3_600, 86_400

# C0 and C1 controls, and what is invisible or turns the direction of text: names must not pass for others.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)

_RELATIVE = Markup('<time datetime="{}" title="{}" data-relative>{}</time>')
_ABSOLUTE = Markup('<time datetime="{}" title="{}">{}</time>')


def duration(seconds: float | None) -> str:
    """Two units at most: `0.3s`, `41.2s`, `1m 23s`, `2h 05m`, `3d 04h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0:
        return f"−{duration(-seconds)}"
    if seconds < MINUTE:
        return f"{seconds:.3f}s" if seconds < 0.1 else f"{int(seconds * 10) / 10:.1f}s"
    whole = int(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02d}s"
    if whole < DAY:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02d}m"
    return f"{whole // DAY}d {whole % DAY // HOUR:02d}h"


def relative(instant: datetime, now: datetime) -> str:
    """`just now`, `12s ago`, `in 3h`: one unit, rounded down. static/time.js says the same."""
    seconds = int((now - instant).total_seconds())
    if seconds == 0:
        return "just now"
    length = _one_unit(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def _one_unit(seconds: int) -> str:
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def absolute(instant: datetime) -> str:
    """`2026-03-01 14:03:22 UTC`."""
    return f"{instant:%Y-%m-%d %H:%M:%S} {instant.tzname()}"


def day(instant: datetime) -> str:
    """`Sun 2026-03-29`, as a calendar in its zone has it."""
    return f"{instant:%a %Y-%m-%d}"


def clock(instant: datetime) -> str:
    """`03:00 +02:00`, as a clock in its zone shows it; seconds where there are any, no offset for UTC."""
    offset = instant.isoformat()[-6:]
    shown = f"{instant:%H:%M:%S}".removesuffix(":00")
    return shown if offset == "+00:00" else f"{shown} {offset}"


def precise(instant: datetime) -> str:
    """The same with milliseconds."""
    return f"{instant:%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03d} {instant.tzname()}"


@pass_context
def when(context: Context, instant: datetime | None) -> Markup | str:
    """A `<time>`: relative to the page's `now`, absolute on hover; the page's script keeps it true."""
    if instant is None:
        return "–"
    return _RELATIVE.format(instant.isoformat(), absolute(instant), relative(instant, context["now"]))


@pass_context
def at(context: Context, instant: datetime | None) -> Markup | str:
    """A `<time>`: absolute to the millisecond, relative on hover."""
    if instant is None:
        return "–"
    return _ABSOLUTE.format(instant.isoformat(), relative(instant, context["now"]), precise(instant))


def size(count: int) -> str:
    """Bytes: `812 B`, `1.9 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def counted(count: int, noun: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def capitalize_first(text: str) -> str:
    """A message of ours as a sentence begins; the rest, with its names, stays as it is."""
    return text[:1].upper() + text[1:]


def visible(text: object) -> str:
    """The text with every control, invisible or direction-changing character shown as a picture of it."""
    return UNSEEN.sub(lambda match: picture(match[0]), str(text))


def visible_lines(text: object) -> str:
    """The same for text of several lines: line ends and tabs stay."""
    return "\n".join("\t".join(visible(cell) for cell in line.split("\t")) for line in str(text).split("\n"))


def picture(character: str) -> str:
    """As terminals write it: `^[` for an escape; `⟨U+202E⟩` for what is no ASCII control."""
    code = ord(character)
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"⟨U+{code:04X}⟩"


FILTERS: dict[str, Callable[..., object]] = {
    "duration": duration,
    "period": format_duration,
    "when": when,
    "at": at,
    "absolute": absolute,
    "day": day,
    "clock": clock,
    "size": size,
    "counted": counted,
    "capitalize_first": capitalize_first,
    "visible": visible,
    "visible_lines": visible_lines,
}

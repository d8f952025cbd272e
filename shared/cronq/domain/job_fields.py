"""The fields of a job as a document writes them: what each allows, and what is not here yet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from cronq.domain import zone
from cronq.domain.after import After, AfterError, read_after
from cronq.domain.calendar_rule import CalendarUse, Rule
from cronq.domain.duration import format_duration, parse_duration
from cronq.domain.errors import CronqError, Problem
from cronq.domain.misfire import MOST_LIMIT, Misfire
from cronq.domain.overlap import MOST as MOST_OVERLAP
from cronq.domain.overlap import parse_overlap
from cronq.domain.retry import Backoff, Guarantee
from cronq.domain.routing import is_reserved
from cronq.domain.schedule import DST_RULES, LONGEST_TEXT, Expressions, ScheduleError, to_column
from cronq.domain.strict_json import pointer, shown

MAX_NAME = 255
MAX_COMMAND_BYTES = 65_535
MAX_SCHEDULES = 20
MAX_INSTANT = 64
MAX_DESCRIPTION = 2_000
MAX_CALENDAR_NAME = 64
MAX_TAGS = 20
MAX_TAG = 64
MAX_TIMEOUT = timedelta(days=365)
MAX_KILL_GRACE = timedelta(days=1)
MAX_ATTEMPTS = 100
MAX_RETRY_DELAY = timedelta(days=7)
MAX_JITTER = timedelta(days=1)
MAX_START_DEADLINE = timedelta(days=365)
MAX_PRIORITY = 1_000
MAX_LOCKS = 20
MAX_LOCK_WEIGHT = 1_000

Path: TypeAlias = tuple[str | int, ...]

_CALENDAR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ROUTING_KEY = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_LOCK = re.compile(r"([A-Za-z0-9_.-]{1,64})(?::([0-9]{1,4}))?")
_NOT_FOR_A_SHELL = re.compile("[\0\ud800-\udfff]")
_LINE_ENDS_AND_TABS = dict.fromkeys(map(ord, "\n\r\t"), " ")


class Refused(CronqError):
    """A value its field does not allow: the text follows the field's name, `part` leads into the value."""

    def __init__(self, message: str, *, code: str = "invalid_value", hint: str = "", part: Path = ()) -> None:
        super().__init__(message)
        self.code, self.hint, self.part = code, hint, part

    def problem(self, *at: str | int) -> Problem:
        """As the problem of the field at this path."""
        field = shown(str(at[-1])).strip('"')
        return Problem(self.code, pointer(*at, *self.part), f"{field}: {self}", self.hint)


def read_text(value: object, *, limit: int, lines: bool = False) -> str:
    """Text of at most `limit` printable characters; with `lines`, line ends and tabs too."""
    text = _string(value)
    if len(text) > limit:
        raise Refused(f"{len(text):,} characters; at most {limit:,} are allowed")
    if bad := _first_unprintable(text.translate(_LINE_ENDS_AND_TABS) if lines else text):
        raise Refused(f"{shown(text)} has {bad}; only printable characters are allowed")
    return text


def read_name(value: object) -> str:
    """A name, unchanged: 1 to 255 printable characters without a space at either end; else `invalid_name`."""
    text = _string(value)
    try:
        return _trimmed(read_text(text, limit=MAX_NAME))
    except Refused as refused:
        raise Refused(str(refused), code="invalid_name", hint=refused.hint) from None


def read_field(name: str, value: object) -> dict[str, object]:
    """The value under its name. Raises Refused."""
    if name in READERS:
        return {name: READERS[name](value)}
    if name in LATER_FIELDS:
        raise later(name)
    hint = did_you_mean(name, [*READERS, *LATER_FIELDS])
    raise Refused("there is no such field", code="unknown_field", hint=hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to this one, or ''."""
    near = difflib.get_close_matches(word[:64].lower(), list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def later(name: str) -> Refused:
    """The refusal of something that only a later release has."""
    return Refused("this release does not have it yet", code="unsupported_field", hint=f"leave {name} out")


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"{shown(value)} must be text", code="invalid_type")
    return value


def _first_unprintable(text: str) -> str:
    if text.isprintable():
        return ""
    index = next(i for i, character in enumerate(text) if not character.isprintable())
    return f"U+{ord(text[index]):04X} as character {index + 1}"


def _trimmed(text: str) -> str:
    if not text:
        raise Refused("is empty; at least one character is needed")
    if text != text.strip():
        raise Refused(f"{shown(text)} begins or ends with a space", hint=f"write {shown(text.strip())}")
    return text


def _schedule(value: object) -> Expressions:
    """The text only: what it means depends on the job's zone and DST rule. A list of one is that one."""
    if not isinstance(value, list):
        return read_text(value, limit=LONGEST_TEXT)
    if not 1 <= len(value) <= MAX_SCHEDULES:
        raise Refused(f"{len(value):,} schedules; 1 to {MAX_SCHEDULES} are allowed")
    texts = tuple(_element(text, index, LONGEST_TEXT) for index, text in enumerate(value))
    size = len(to_column(texts) or "")
    if size > LONGEST_TEXT:
        raise Refused(f"{size:,} characters in all; at most {LONGEST_TEXT:,} are allowed")
    return texts[0] if len(texts) == 1 else texts


def _element(value: object, index: int, limit: int) -> str:
    try:
        return _trimmed(read_text(value, limit=limit))
    except Refused as refused:
        raise Refused(str(refused), code=refused.code, hint=refused.hint, part=(index,)) from None


def _bound(value: object) -> str | None:
    """The text only, as of a schedule."""
    return None if value is None else _trimmed(read_text(value, limit=MAX_INSTANT))


def _command(value: object) -> str:
    """Commands often hold passwords, so no error quotes one."""
    text = _string(value)
    if not text.strip():
        raise Refused("is empty; a command for the shell is needed")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_COMMAND_BYTES:
        hint = "put it into a script and call that"
        raise Refused(f"{size:,} bytes; at most {MAX_COMMAND_BYTES:,} are allowed", hint=hint)
    if bad := _NOT_FOR_A_SHELL.search(text):
        raise Refused(f"U+{ord(bad[0]):04X} as character {bad.start() + 1} cannot be given to a shell")
    return text


def _routing_key(value: object) -> str:
    if value is None:
        return "default"
    key = _string(value)
    if not _ROUTING_KEY.fullmatch(key):
        raise Refused(f"{shown(key)} is not allowed; 1 to 32 of A-Z, a-z, 0-9, _, . and - are")
    if is_reserved(key):
        raise Refused(f"{shown(key)} carries our own messages; any other key is allowed")
    return key


def _timezone(value: object) -> str | None:
    if value is None:
        return None
    name = _string(value)
    try:
        zone.load(name)
    except ScheduleError as error:
        raise Refused(str(error), code=error.code, hint=error.hint) from None
    return name


def _dst(value: object) -> str:
    return _one_of(value, DST_RULES, code="invalid_dst")


def _guarantee(value: object) -> str:
    return _one_of(value, tuple(Guarantee))


def _retry_backoff(value: object) -> str:
    return _one_of(value, tuple(Backoff))


def _one_of(value: object, allowed: Sequence[str], *, code: str = "invalid_value") -> str:
    word = _string(value)
    if word not in allowed:
        message = f"{shown(word)} is not allowed; one of {', '.join(allowed)} is"
        raise Refused(message, code=code, hint=did_you_mean(word, allowed))
    return word


def _max_attempts(value: object) -> int:
    return whole(value, 1, MAX_ATTEMPTS)


def whole(value: object, least: int, most: int) -> int:
    """A whole number from `least` to `most`. Raises Refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{shown(value)} must be a whole number", code="invalid_type")
    if not least <= value <= most:
        raise Refused(f"{shown(value)} is not allowed; {least} to {most} is")
    return value


def _retry_delay(value: object) -> timedelta:
    return _duration(value, timedelta(0), MAX_RETRY_DELAY)


def _overlap(value: object) -> str:
    text = _string(value)
    if parse_overlap(text) is None:
        hint = "did you mean queue(1)?" if text == "queue" else did_you_mean(text, OVERLAPS)
        message = (
            f"{shown(text)} is not allowed; one of {', '.join(OVERLAPS)} is, n from 1 to {MOST_OVERLAP:,}"
        )
        raise Refused(message, hint=hint)
    return text


def _misfire(value: object) -> str:
    return _one_of(value, tuple(Misfire))


def _misfire_limit(value: object) -> int:
    return whole(value, 1, MOST_LIMIT)


def _start_deadline(value: object) -> timedelta | None:
    return None if value is None else _duration(value, timedelta(seconds=1), MAX_START_DEADLINE)


def _jitter(value: object) -> timedelta:
    return _duration(value, timedelta(0), MAX_JITTER)


def _priority(value: object) -> int:
    return whole(value, -MAX_PRIORITY, MAX_PRIORITY)


def _locks(value: object) -> tuple[str, ...]:
    """Sorted, each lock once; a weight of 1 is not written."""
    if not isinstance(value, list):
        raise Refused(f'{shown(value)} must be a list such as ["db-main", "api:2"]', code="invalid_type")
    if len(value) > MAX_LOCKS:
        raise Refused(f"{len(value):,} locks; at most {MAX_LOCKS} are allowed")
    weights: dict[str, int] = {}
    for index, text in enumerate(value):
        name, weight = _lock(text, index)
        if name in weights:
            raise Refused(f"{shown(name)} stands there twice; each lock once", part=(index,))
        weights[name] = weight
    return tuple(name if weight == 1 else f"{name}:{weight}" for name, weight in sorted(weights.items()))


def _lock(value: object, index: int) -> tuple[str, int]:
    found = _LOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[2] or 1) <= MAX_LOCK_WEIGHT:
        allowed = (
            f"1 to 64 of A-Z, a-z, 0-9, _, . and -, then perhaps : and a weight of 1 to {MAX_LOCK_WEIGHT:,}"
        )
        raise Refused(f"{shown(value)} is not allowed; {allowed}, is", part=(index,))
    return found[1], int(found[2] or 1)


def _after(value: object) -> After:
    try:
        return read_after(value)
    except AfterError as error:
        raise Refused(str(error), code=error.code, hint=error.hint, part=error.part) from None


def _enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"{shown(value)} must be true or false, without quotes", code="invalid_type")
    return value


def _description(value: object) -> str:
    return read_text(value, limit=MAX_DESCRIPTION, lines=True)


def _timeout(value: object) -> timedelta | None:
    return None if value is None else _duration(value, timedelta(seconds=1), MAX_TIMEOUT)


def _kill_grace(value: object) -> timedelta:
    return _duration(value, timedelta(0), MAX_KILL_GRACE)


def _duration(value: object, least: timedelta, most: timedelta) -> timedelta:
    length = _any_duration(value)
    if not least <= length <= most:
        allowed = f"{format_duration(least)} to {format_duration(most)}"
        raise Refused(f"{shown(value)} is not allowed; {allowed} is")
    return length


def _any_duration(value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, str | int):
        message = f"{shown(value)} must be whole seconds or text such as 90s, 10m, 2h, 1d or PT1H30M"
        raise Refused(message, code="invalid_type")
    # Shortened first: the parser turns the digits into a number, which is slow beyond any sense.
    text = read_text(value if isinstance(value, str) else shown(value), limit=64)
    try:
        return parse_duration(text)
    except ScheduleError as error:
        raise Refused(str(error), code=error.code, hint=error.hint) from None


def _tags(value: object) -> tuple[str, ...]:
    """Sorted, each once: their order means nothing."""
    if not isinstance(value, list):
        raise Refused(f"{shown(value)} must be a list of texts", code="invalid_type")
    if len(value) > MAX_TAGS:
        raise Refused(f"{len(value):,} tags; at most {MAX_TAGS} are allowed")
    return tuple(sorted({_element(tag, index, MAX_TAG) for index, tag in enumerate(value)}))


def read_calendar_name(value: object) -> str:
    """The name of a calendar, unchanged. Raises Refused."""
    name = read_text(value, limit=MAX_CALENDAR_NAME)
    if not _CALENDAR_NAME.fullmatch(name):
        allowed = "1 to 64 of A-Z, a-z, 0-9, _, . and - are, the first a letter or a digit"
        raise Refused(f"{shown(name)} is not allowed; {allowed}", code="invalid_name")
    return name


def _calendar(value: object) -> CalendarUse | None:
    """A bare name is one with the rule skip."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return CalendarUse(read_calendar_name(value))
    for key in map(str, value):
        if key not in ("name", "rule"):
            hint = did_you_mean(key, ("name", "rule"))
            raise Refused("there is no such key", code="unknown_field", hint=hint, part=(key,))
    if "name" not in value:
        raise Refused("name is missing", code="missing_field", hint='write {"name": …, "rule": "skip"}')
    rule = _inside("rule", value.get("rule", Rule.SKIP), lambda given: _one_of(given, tuple(Rule)))
    return CalendarUse(_inside("name", value["name"], read_calendar_name), Rule(rule))


def _inside(key: str, value: object, read: Callable[[object], str]) -> str:
    try:
        return read(value)
    except Refused as refused:
        raise Refused(f"{key}: {refused}", code=refused.code, hint=refused.hint, part=(key,)) from None


READERS: Mapping[str, Callable[[object], object]] = {
    "name": read_name,
    "schedule": _schedule,
    "command": _command,
    "routing_key": _routing_key,
    "timezone": _timezone,
    "dst": _dst,
    "start": _bound,
    "end": _bound,
    "enabled": _enabled,
    "description": _description,
    "timeout": _timeout,
    "kill_grace": _kill_grace,
    "tags": _tags,
    "guarantee": _guarantee,
    "max_attempts": _max_attempts,
    "retry_delay": _retry_delay,
    "retry_backoff": _retry_backoff,
    "overlap": _overlap,
    "misfire": _misfire,
    "misfire_limit": _misfire_limit,
    "start_deadline": _start_deadline,
    "jitter": _jitter,
    "priority": _priority,
    "locks": _locks,
    "calendar": _calendar,
    "after": _after,
}
OVERLAPS = ("allow", "allow(n)", "skip", "queue(n)", "replace")
_LATER = """
argv call cwd env id limits notify output_limit previous_name script shell
stdin success_codes target user where
"""
# Fields of later releases.
LATER_FIELDS = frozenset(_LATER.split())

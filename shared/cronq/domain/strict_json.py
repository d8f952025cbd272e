"""JSON read strictly: what the standard library lets pass or cannot place is refused with its place."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from typing import TypeAlias

from cronq.domain.errors import InvalidInput, Problem

MAX_DIGITS = 30
MAX_PROBLEMS = 100

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_MAYBE_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# The standard library's words, which say what was expected but not always in a sentence.
_EXPECTED = {
    "Expecting value": "expected a value",
    "Expecting ',' delimiter": "expected ',' or the closing bracket",
    "Expecting ':' delimiter": "expected ':' after the key",
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Extra data": "expected the end of the document",
    "Unterminated string starting at": "expected another double quote where this text ends",
    "Invalid control character at": "expected an escape such as \\n instead of a bare control character",
}

_Path: TypeAlias = tuple[str | int, ...]


class _Suspect(Exception):
    """The fast decoder met a number or a key that the careful one has to place."""


class _BadNumber(str):
    """A number that is refused, as it was written."""


class _Doubled(list[tuple[str, object]]):
    """The pairs of an object in which a key is repeated."""


def loads(body: bytes, *, max_bytes: int, max_depth: int = 16) -> object:
    """Read one JSON document.

    Raises InvalidInput: `too_large`, `too_deep`, `invalid_json` (also for a BOM, for bytes that are not UTF-8
    and for half a surrogate pair), `duplicate_key`, `invalid_number`.
    """
    if len(body) > max_bytes:
        raise _refused("too_large", f"{len(body):,} bytes; at most {max_bytes:,} are allowed")
    text = _text(body)
    if _deeper_than(max_depth, body):
        raise _refused("too_deep", f"lists and objects lie deeper than {max_depth} levels in each other")
    try:
        value: object = _FAST.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(error) from None
    except _Suspect:
        raise InvalidInput(_place(text)) from None
    if _MAYBE_LONE_SURROGATE.search(body) and (problems := _first(_walk(value, ()))):
        raise InvalidInput(problems)
    return value


def pointer(*tokens: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these keys and indexes; a monstrous key is shortened."""
    return "".join("/" + _escaped(str(token)) for token in tokens)


def shown(value: object, limit: int = 60) -> str:
    """A value as an error may quote it: one short printable line, whatever the value is."""
    if isinstance(value, str):
        return f'"{printable(_cut(value, limit))}"'
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**MAX_DIGITS else f"a number of more than {MAX_DIGITS} digits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "an object"
    return f"a {type(value).__name__}"


def printable(text: str) -> str:
    """The text with everything that could disturb a terminal or a log line written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _text(body: bytes) -> str:
    if body.startswith(_BOMS):
        raise _refused(
            "invalid_json", "line 1 column 1: begins with a byte order mark; send UTF-8 without one"
        )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        where = f"line {line} byte {column}: the byte 0x{body[error.start]:02x}"
        raise _refused("invalid_json", f"{where} is not UTF-8; only UTF-8 is allowed") from None


def _deeper_than(max_depth: int, body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return False
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = re.sub(rb'"[^"]*"?', b"", unescaped.translate(None, _NO_STRUCTURE))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > max_depth


def _not_json(error: json.JSONDecodeError) -> InvalidInput:
    expected = _EXPECTED.get(error.msg, error.msg)
    found = shown(error.doc[error.pos]) if error.pos < len(error.doc) else "the end of the document"
    return _refused("invalid_json", f"line {error.lineno} column {error.colno}: found {found}, {expected}")


def _refused(code: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(code, "", message)])


def _is_bad_number(written: str) -> bool:
    return len(written.lstrip("-")) > MAX_DIGITS or not math.isfinite(float(written))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Suspect
    return found


def _int(written: str) -> int:
    if len(written) > MAX_DIGITS and _is_bad_number(written):
        raise _Suspect
    return int(written)


def _float(written: str) -> float:
    if _is_bad_number(written):
        raise _Suspect
    return float(written)


def _constant(written: str) -> object:
    raise _Suspect


def _unique_or_doubled(pairs: list[tuple[str, object]]) -> object:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubled(pairs)


def _bad_or_zero(written: str) -> object:
    return _BadNumber(written) if _is_bad_number(written) else 0


_FAST = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_int, parse_float=_float, parse_constant=_constant
)
_CAREFUL = json.JSONDecoder(
    object_pairs_hook=_unique_or_doubled,
    parse_int=_bad_or_zero,
    parse_float=_bad_or_zero,
    parse_constant=_BadNumber,
)


def _place(text: str) -> list[Problem]:
    try:
        value: object = _CAREFUL.decode(text)
    except json.JSONDecodeError as error:
        return list(_not_json(error).problems)
    return _first(_walk(value, ()))


def _first(problems: Iterator[Problem]) -> list[Problem]:
    return list(islice(problems, MAX_PROBLEMS))


def _walk(value: object, at: _Path) -> Iterator[Problem]:
    if isinstance(value, _BadNumber):
        allowed = f"only finite numbers of at most {MAX_DIGITS} digits"
        yield Problem("invalid_number", pointer(*at), f"{_cut(value, 40)} is not allowed; {allowed}")
    elif isinstance(value, str):
        yield from _half_characters(value, at)
    elif isinstance(value, _Doubled):
        yield from _doubled_keys(value, at)
        yield from _walk_pairs(value, at)
    elif isinstance(value, dict):
        yield from _walk_pairs(value.items(), at)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, (*at, index))


def _walk_pairs(pairs: Iterable[tuple[str, object]], at: _Path) -> Iterator[Problem]:
    for key, item in pairs:
        yield from _half_characters(key, at)
        if isinstance(item, (str, list, dict)):
            yield from _walk(item, (*at, key))


def _doubled_keys(pairs: _Doubled, at: _Path) -> Iterator[Problem]:
    counts = Counter(key for key, _ in pairs)
    for key in (key for key, count in counts.items() if count > 1):
        message = f"the key {shown(key)} stands {counts[key]} times in one object"
        yield Problem("duplicate_key", pointer(*at), message)


def _half_characters(text: str, at: _Path) -> list[Problem]:
    found = None if text.isascii() else _LONE_SURROGATE.search(text)
    if found is None:
        return []
    half = f"\\u{ord(found[0]):04x}"
    message = f"{half} is half of a surrogate pair; only whole characters are allowed"
    return [Problem("invalid_json", pointer(*at), message)]


def _escaped(token: str) -> str:
    sendable = _cut(token, 300).encode("utf-8", "backslashreplace").decode("utf-8")
    return sendable.replace("~", "~0").replace("/", "~1")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

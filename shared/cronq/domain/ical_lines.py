"""The lines of an iCalendar file (RFC 5545, section 3.1), unfolded, with the numbers that errors name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.strict_json import shown

MAX_ICAL_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9-]+")
_PARAM = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^";:,]*)((?:,(?:"[^"]*"|[^";:,]*))*)')
_LINE_END = re.compile(r"\r\n|\n|\r")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": " ", "N": " "}


@dataclass(frozen=True)
class Line:
    """One property: `params` have upper-case names and the first value of each."""

    number: int
    name: str
    value: str
    params: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Its value as text on one line, without escapes and what cannot be printed."""
        plain = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), self.value)
        return "".join(c if c.isprintable() else " " for c in plain).strip()

    def refused(self, message: str, hint: str = "") -> InvalidInput:
        return refused(self.number, f"{self.name}: {message}", hint)


def refused(number: int, message: str, hint: str = "") -> InvalidInput:
    return InvalidInput([Problem("invalid_ical", "", f"line {number}: {message}", hint)])


def read_lines(body: bytes) -> Iterator[Line]:
    """The properties of a file in order; raises InvalidInput at the first line that is none."""
    if len(body) > MAX_ICAL_BYTES:
        message = f"{len(body):,} bytes; at most {MAX_ICAL_BYTES:,} are allowed"
        raise InvalidInput([Problem("too_large", "", message)])
    for number, text in _unfolded(_decoded(body)):
        yield _line(number, text)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = body[: error.start].count(b"\n") + 1
        raise refused(
            number, f"the byte 0x{body[error.start]:02x} is not UTF-8; only UTF-8 is allowed"
        ) from None


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """A line that begins with a space or a tab goes on with the one before."""
    parts: list[str] = []
    began = 1
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if line[:1] in (" ", "\t") and parts:
            parts.append(line[1:])
        else:
            if parts and any(parts):
                yield began, "".join(parts)
            parts, began = [line], number
    if any(parts):
        yield began, "".join(parts)


def _line(number: int, text: str) -> Line:
    name = _NAME.match(text)
    if name is None:
        raise refused(number, f"{shown(text)} is no iCalendar property", "write NAME:value")
    params: dict[str, str] = {}
    at = name.end()
    while match := _PARAM.match(text, at):
        params[match[1].upper()] = match[2].strip('"')
        at = match.end()
    if text[at : at + 1] != ":":
        raise refused(number, f"{shown(text)} is no iCalendar property: there is no : where its value begins")
    return Line(number, name[0].upper(), text[at + 1 :], params)

"""Terminal output as safe HTML: escaped first, then colours become spans and controls pictures.

Of ECMA-48 the select-graphic-rendition codes of 16 colours are honoured, except concealment, which
would hide text; sequences that move the cursor or erase are left out; anything else stays visible.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from cronq.web.pages.humanize import UNSEEN, picture

_CODE = re.compile("[0-9;:]{0,100}")
_TOKEN = re.compile(
    rf"\x1b\[(?P<sgr>{_CODE.pattern})m"
    r"|(?P<moves>\x1b\[[0-9;?]*[A-HJKSTfhlsu])"
    r"|(?P<line>\r*\n)"
    r"|(?P<tab>\t)"
    rf"|(?P<control>{UNSEEN.pattern})"
)
# What a piece may end with and still become one token with the next piece.
_UNFINISHED = re.compile(rb"(?:\x1b(?:\[[0-9;:?]{0,40})?|\r+)\Z")


@dataclass(frozen=True)
class Style:
    """What the codes so far add up to; colours are 0 to 15."""

    foreground: int | None = None
    background: int | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False

    @property
    def classes(self) -> str:
        """Classes of the style sheet, '' for plain text."""
        flags = [name for name in ("bold", "dim", "italic", "underline") if getattr(self, name)]
        if self.inverse:
            colours = [_colour("fg", self.background, "fg-page"), _colour("bg", self.foreground, "bg-text")]
        else:
            colours = [_colour("fg", self.foreground), _colour("bg", self.background)]
        return " ".join(filter(None, flags + colours))

    @property
    def code(self) -> str:
        """The parameters that make this style of plain text."""
        flags = [code for code, name in _ON.items() if getattr(self, name)]
        if self.foreground is not None:
            flags.append(self.foreground + (30 if self.foreground < 8 else 82))
        if self.background is not None:
            flags.append(self.background + (40 if self.background < 8 else 92))
        return ";".join(map(str, flags))

    def after(self, code: str) -> Style:
        """The style after one code's parameters, as `1;31`; unknown ones change nothing."""
        style = self
        if not _CODE.fullmatch(code):
            return style
        for number in _numbers(code):
            style = style._after_one(number)
        return style

    def _after_one(self, number: int) -> Style:
        if number == 0:
            return PLAIN
        if number in _ON:
            return replace(self, **{_ON[number]: True})
        if number in _OFF:
            return replace(self, **dict.fromkeys(_OFF[number], False))
        if number in _COLOURS:
            is_front, colour = _COLOURS[number]
            return replace(self, foreground=colour) if is_front else replace(self, background=colour)
        return self


def _colour(kind: str, number: int | None, default: str = "") -> str:
    return default if number is None else f"{kind}{number}"


PLAIN = Style()
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse"}
_OFF = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",)}
_COLOURS: dict[int, tuple[bool, int | None]] = {39: (True, None), 49: (False, None)}  # (of text?, which)
for _n in range(8):
    _COLOURS |= {
        30 + _n: (True, _n),
        90 + _n: (True, 8 + _n),
        40 + _n: (False, _n),
        100 + _n: (False, 8 + _n),
    }
_EXTENDED = {38: 30, 48: 40}  # 256 colours or RGB: only the first 16 of them have an equal here


def _numbers(code: str) -> Iterator[int]:
    numbers = [int(part[:9] or 0) for part in re.split("[;:]", code)]
    while numbers:
        number = numbers.pop(0)
        if number not in _EXTENDED:
            yield number
            continue
        kind = numbers.pop(0) if numbers else 0
        given = [numbers.pop(0) for _ in range({5: 1, 2: 3}.get(kind, 0)) if numbers]
        if kind == 5 and given and given[0] < 16:
            yield _EXTENDED[number] + given[0] + (0 if given[0] < 8 else 52)


def render(text: str, style: Style = PLAIN) -> tuple[Markup, Style]:
    """The text as HTML, begun in `style`, and the style that it ends in."""
    opened = style

    def replaced(match: re.Match[str]) -> str:
        nonlocal style
        if match["sgr"] is not None:
            before, style = style, style.after(match["sgr"])
            return _closing(before) + _opening(style)
        if match["line"] or match["tab"]:
            return match[0].lstrip("\r")
        return "" if match["moves"] else _control(match["control"])

    # Escaping leaves every token as it is, so from here on only our own markup is added.
    body = _TOKEN.sub(replaced, str(escape(text)))
    return Markup(_opening(opened) + body + _closing(style)), style  # noqa: S704  # escaped just above


def _opening(style: Style) -> str:
    return f'<span class="{style.classes}">' if style.classes else ""


def _closing(style: Style) -> str:
    return "</span>" if style.classes else ""


def _control(character: str) -> str:
    # A lone carriage return overwrites the line on a terminal; here each version has its own line.
    end = "\n" if character == "\r" else ""
    return f'<span class="control">{picture(character)}</span>{end}'


def plain(text: str) -> str:
    """The text without colours and cursor movements; other controls stay."""
    return _TOKEN.sub(lambda m: m["line"] or m["tab"] or m["control"] or "", text)


def finished_length(data: bytes | bytearray) -> int:
    """How many bytes of a growing output can be rendered now: no torn character, no torn sequence."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    end = len(data) - len(decoder.getstate()[0])
    unfinished = _UNFINISHED.search(data, max(0, end - 44), end)
    return unfinished.start() if unfinished else end

"""Text from the environment into values: each kind knows its parser and how to say what is allowed.

A parser refuses with a ValueError whose text is a predicate ("is not a number") and never quotes the
value: the loader puts the variable and the masked value before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)
N = TypeVar("N", int, float)

LEAST_SECRET_KEY = 16
NEW_SECRET_KEY = "python3 -c 'import secrets; print(secrets.token_hex(32))'"

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})
# float() and int() alone would also take 1_000, nan, inf, 1e9 and the digits of other scripts.
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_.-]+")
_WEAK_WORDS = (
    "changeme",
    "changethis",
    "replaceme",
    "password",
    "yoursecret",
    "secretkey",
    "insecure",
    "example",
)
_LEAST_DISTINCT = 5
_LINK_FIELDS = frozenset({"job_id", "run_id", "start_time", "end_time"})
_MOST_QUEUE_BYTES = 255  # an AMQP short string


def _no_remark(_text: str) -> str | None:
    return None


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """One kind of value: its parser, what it allows in words, and a remark on a legal but odd text."""

    parse: Callable[[str], T_co]
    allowed: str
    remark: Callable[[str], str | None] = _no_remark


def whole(least: int, most: int) -> Kind[int]:
    """A whole number from `least` to `most`, both included."""

    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError("is not a whole number")
        return _within(int(text), least, most)

    return Kind(parse, f"a whole number from {least} to {most}")


def number(least: float, most: float) -> Kind[float]:
    """A decimal number from `least` to `most`, both included."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise ValueError("is not a number")
        return _within(float(text), least, most)

    return Kind(parse, f"a number from {least:g} to {most:g}")


def _within(value: N, least: N, most: N) -> N:
    if value < least:
        raise ValueError("is too small")
    if value > most:
        raise ValueError("is too large")
    return value


def choice(*names: str) -> Kind[str]:
    """One of these lower-case words, written in any case."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError("is none of the allowed words")
        return text.lower()

    return Kind(parse, ", ".join(names))


def or_off(kind: Kind[T_co]) -> Kind[T_co | None]:
    """The same kind, or the word off, which is None."""

    def parse(text: str) -> T_co | None:
        return None if text.lower() == "off" else kind.parse(text)

    return Kind(parse, f"{kind.allowed}, or off", kind.remark)


def _flag(text: str) -> bool:
    if text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    raise ValueError("is neither on nor off")


def _queue_names(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        _check_queue_name(name)
    return tuple(dict.fromkeys(names))


def _check_queue_name(name: str) -> None:
    if not name:
        raise ValueError("has an empty name")
    if not name.isprintable():
        raise ValueError("has a name with a control character")
    if len(name.encode(errors="surrogateescape")) > _MOST_QUEUE_BYTES:
        raise ValueError(f"has a name longer than {_MOST_QUEUE_BYTES} bytes")
    if name.startswith("amq."):
        raise ValueError("has a name that starts with amq., which the broker keeps for itself")


def _folder(text: str) -> Path:
    if "\0" in text:
        raise ValueError("holds a NUL")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home folder that is not known") from None


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError("has a blank or a character that a header cannot carry")
    return text


def _remark_on_token(text: str) -> str | None:
    if len(text) >= LEAST_SECRET_KEY:
        return None
    return f"a token shorter than {LEAST_SECRET_KEY} characters can be guessed"


def _secret_key(text: str) -> str:
    if len(text) < LEAST_SECRET_KEY:
        raise ValueError(f"has only {len(text)} characters")
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    if any(word in letters for word in _WEAK_WORDS) or len(set(text)) < _LEAST_DISTINCT:
        raise ValueError("is a placeholder that anybody can guess")
    return text


def _opaque(text: str) -> str:
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("is not an address or a host name")
    return text.strip("[]")


def _link_template(text: str) -> str:
    if not re.match(r"https?://|/(?!/)", text):
        raise ValueError("is not a web address")
    try:
        fields = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError:
        raise ValueError("has a brace without its pair") from None
    if not fields <= _LINK_FIELDS:
        raise ValueError("has a field that is not known")
    return text


FLAG = Kind(_flag, "1, true, yes or on; 0, false, no or off")
QUEUE_NAMES = Kind(_queue_names, "queue names separated by commas")
FOLDER = Kind(_folder, "a folder")
TOKEN = Kind(_token, "printable ASCII without blanks", _remark_on_token)
SECRET_KEY = Kind(
    _secret_key, f"at least {LEAST_SECRET_KEY} random characters, made for example with: {NEW_SECRET_KEY}"
)
OPAQUE = Kind(_opaque, "any text")
HOST = Kind(_host, "an address or a host name to listen on")
LINK_TEMPLATE = Kind(
    _link_template, "an http(s) address with {job_id}, {run_id}, {start_time} or {end_time} in it"
)

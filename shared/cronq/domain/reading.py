"""Reading the objects and lists of a document: the allowed values, and every problem with its pointer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from cronq.domain.errors import InvalidInput, Problem
from cronq.domain.job_fields import Path, Refused, did_you_mean
from cronq.domain.strict_json import pointer, shown

Value = TypeVar("Value")
# Reads a value at a path; raises InvalidInput with pointers from the document's root, or Refused.
Reader = Callable[[object, Path], Any]
MAX_KEYS = 50


def alone(read: Callable[[object], Any]) -> Reader:
    """A reader of a value that does not care where it stands."""
    return lambda value, _: read(value)


def read_object(
    value: object, at: Path, readers: Mapping[str, Reader], *, required: Collection[str] = ()
) -> dict[str, Any]:
    """The values of an object's keys; raises InvalidInput with every problem of theirs."""
    if not isinstance(value, dict):
        message = f"{_name(at)}{shown(value)} must be an object with {', '.join(readers)}"
        raise InvalidInput([Problem("invalid_type", pointer(*at), message)])
    missing = [
        Problem("missing_field", pointer(*at), f"{name}: is missing")
        for name in required
        if name not in value
    ]
    if len(value) > MAX_KEYS:
        message = f"{_name(at)}{len(value):,} keys; at most {MAX_KEYS} are allowed"
        raise InvalidInput([Problem("too_many", pointer(*at), message)])
    found: dict[str, Any] = {}
    problems = list(missing)
    for key, given in value.items():
        try:
            found[key] = _reader(str(key), readers)(given, (*at, str(key)))
        except Refused as refused:
            problems.append(refused.problem(*at, str(key)))
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return found


def list_of(read: Callable[[object, Path], Value], *, most: int, what: str) -> Reader:
    """A reader of lists of at most so many of what `read` reads; what is given there, in a word or two."""

    def read_list(value: object, at: Path) -> tuple[Value, ...]:
        if not isinstance(value, list):
            raise Refused(f"{shown(value)} must be a list of {what}", code="invalid_type")
        if len(value) > most:
            raise Refused(f"{len(value):,} {what}; at most {most:,} are allowed", code="too_many")
        return _elements(value, at, read)

    return read_list


def _elements(value: list[object], at: Path, read: Callable[[object, Path], Value]) -> tuple[Value, ...]:
    found: list[Value] = []
    problems: list[Problem] = []
    for index, given in enumerate(value):
        try:
            found.append(read(given, (*at, index)))
        except Refused as refused:
            named = Refused(str(refused), code=refused.code, hint=refused.hint, part=(index, *refused.part))
            problems.append(named.problem(*at))
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def _reader(key: str, readers: Mapping[str, Reader]) -> Reader:
    if key not in readers:
        hint = did_you_mean(key, readers)
        raise Refused("there is no such key", code="unknown_field", hint=hint)
    return readers[key]


def _name(at: Path) -> str:
    return f"{at[-1]}: " if at and isinstance(at[-1], str) else ""

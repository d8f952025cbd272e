"""Every error that some caller catches; nothing else is an exception of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CronqError(Exception):
    """The base of all our errors; its text names what, which value, and what is allowed."""


class ConfigError(CronqError):
    """A setting is missing or wrong: the process says so in one line and exits 78."""


class Unavailable(CronqError):
    """The store or the bus did not answer now; the same call may work later."""


class NotFound(CronqError):
    """No category, job, run or runner of that name or id."""


class Conflict(CronqError):
    """The request is well formed, but what it meets forbids it (finished run, removal guard)."""


class PreconditionFailed(CronqError):
    """The caller's If-Match or If-None-Match does not hold."""


class BadMessage(CronqError):
    """A message that can never be applied: it goes to `cronq_dead` once, with this text."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in an input.

    `pointer` is a JSON Pointer into the document ('' is the whole), `message` says which value and
    what is allowed, `hint` the nearest right form ('' when there is none).
    """

    code: str
    pointer: str
    message: str
    hint: str = ""


class InvalidInput(CronqError):
    """An input that breaks rules; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.pointer or 'document'}: {p.message}" for p in self.problems))

"""What becomes of a run whose job has another one that has not ended: one rule for every way to start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MOST = 1_000
_FORM = re.compile(r"(allow|queue)\(([0-9]{1,4})\)")


class Rule(StrEnum):
    """The rules; `allow` and `queue` can have a number."""

    ALLOW = "allow"  # both run; allow(n): n at once, the others wait
    SKIP = "skip"  # the later one never runs
    QUEUE = "queue"  # queue(n): one at a time, n wait at most
    REPLACE = "replace"  # the earlier one is killed, the later one runs when it has ended


@dataclass(frozen=True, slots=True)
class Overlap:
    """`capacity` runs of the job at once, None: any number; `waiting` more may wait, None: any number."""

    rule: Rule
    capacity: int | None = None
    waiting: int | None = None

    @property
    def supersedes(self) -> bool:
        """Whether an occurrence makes an older one that still waits pointless."""
        return self.rule is Rule.ALLOW


def parse_overlap(text: str) -> Overlap | None:
    """`allow`, `allow(n)`, `skip`, `queue(n)` or `replace`; None where it is none of these."""
    if text == Rule.ALLOW:
        return Overlap(Rule.ALLOW)
    if text in (Rule.SKIP, Rule.REPLACE):
        return Overlap(Rule(text), 1, 0 if text == Rule.SKIP else None)
    found = _FORM.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= MOST:
        return None
    number = int(found[2])
    return Overlap(Rule.ALLOW, number) if found[1] == Rule.ALLOW else Overlap(Rule.QUEUE, 1, number)

"""Whether a run gets another attempt after one that did not end well, and when.

An attempt that is proved never to have started is none of this: it is followed by another whatever
the job says (see `run`), and does not count as a try.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

# However long a backoff has grown; a longer `retry_delay` counts as it is.
LONGEST_BACKOFF = timedelta(hours=1)
# Of a run that gets lost again and again: perhaps it is what kills its host.
MOST_LOST = 10
# Runs that failed together must not come back together.
JITTER = 0.2


class Guarantee(StrEnum):
    """What is done about a run whose end nobody knows."""

    AT_MOST_ONCE = "at_most_once"  # it stays lost
    AT_LEAST_ONCE = "at_least_once"  # another attempt
    HOLD = "hold"  # a person decides


class Backoff(StrEnum):
    """How the wait before an attempt grows with their number."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"  # doubled each time


@dataclass(frozen=True, slots=True)
class Policy:
    """What a job asks for. `max_attempts` counts the first try too."""

    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    max_attempts: int = 1
    retry_delay: timedelta = timedelta(seconds=5)
    backoff: Backoff = Backoff.CONSTANT

    def retries_failure(self, retries: int) -> bool:
        """Whether a try that failed after this many retries is followed by another."""
        return retries + 1 < self.max_attempts

    def retries_loss(self, retries: int) -> bool:
        """Whether a try that got lost after this many retries is followed by another."""
        most = max(self.max_attempts, MOST_LOST)
        return self.guarantee is Guarantee.AT_LEAST_ONCE and retries + 1 < most

    def wait(self, retries: int, seed: str) -> timedelta:
        """How long to wait after this many retries; up to a fifth longer, by the seed, where it grows."""
        if self.backoff is Backoff.CONSTANT:
            return self.retry_delay
        longest = max(LONGEST_BACKOFF, self.retry_delay)
        grown = min(self.retry_delay * (1 << min(retries, 30)), longest)
        luck = zlib.crc32(f"{seed}:{retries}".encode()) / 2**32
        return grown * (1 + JITTER * luck)


ONCE = Policy()

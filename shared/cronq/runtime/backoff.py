"""How long to wait before trying again: exponential with full jitter and a cap."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_MOST_DOUBLINGS = 32  # far past any cap, and 2.0**n stays finite


@dataclass
class Backoff:
    """Waits drawn evenly from nothing up to a ceiling that doubles with each failure.

    Full jitter spreads a crowd that failed at the same instant:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    rng: random.Random
    base_s: float = 0.1
    cap_s: float = 5.0
    failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """Count one more failure and return the seconds to wait after it."""
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        return self.rng.uniform(0.0, ceiling_s)

    def reset(self) -> None:
        """Forget the failures: it worked."""
        self.failures = 0

"""Spreading what is due at one instant: the release of a run is moved, `scheduled_for` is not."""

from __future__ import annotations

import hashlib
from datetime import timedelta


def jittered(most: timedelta, seed: str) -> timedelta:
    """A delay from 0 to `most`, even over seeds and the same for one seed, in whole milliseconds."""
    drawn = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) / 2**64
    return timedelta(milliseconds=int(drawn * (most / timedelta(milliseconds=1))))

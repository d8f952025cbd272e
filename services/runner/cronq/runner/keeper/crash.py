"""The keeper's crash points, as in `cronq.runtime.crash`, which it can't import."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The runner, which hands the variable on, has checked it.
_point, _, _nth = os.environ.get("CRONQ_CRASH_POINT", "").partition(":")
_left = int(_nth or 1) if _point.startswith("keeper.") else 0


def reach(point: str, first: Callable[[], object] | None = None) -> None:
    """Die here by SIGKILL if asked to, after `first`: what would else be done at the end of the turn."""
    global _left  # noqa: PLW0603 one look at it is all that this costs
    if not _left or point != _point:
        return
    _left -= 1
    if not _left:
        if first is not None:
            first()
        os.write(2, f"crash point {point}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

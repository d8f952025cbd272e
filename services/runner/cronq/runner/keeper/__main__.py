"""`python -I -S <this file> <runner's folder>`: runs the keeper without site-packages."""

from __future__ import annotations

import os
import sys
import types


def _make_importable() -> None:
    """Let `cronq.runner.…` be found next to this file, without running the packages' own `__init__`.

    `cronq.runner` itself leads to the whole runner, whose dependencies can't be imported here.
    """
    runner = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name, folder in (("cronq", os.path.dirname(runner)), ("cronq.runner", runner)):
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package


def _close_inherited() -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (0, 1, 2):
            os.closerange(int(name), int(name) + 1)


if __name__ == "__main__":
    _close_inherited()
    _make_importable()
    from cronq.runner.keeper.boot import main

    sys.exit(main(sys.argv[1:]))

"""`python -m tests.soak`: faults for some minutes, on servers of its own; exit code 1 on a violation."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import MariaDB, RabbitMQ
from tests.soak.check import CALM_S
from tests.soak.report import report
from tests.soak.soak import Size, soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--starts-per-s", type=float, default=20.0)
    parser.add_argument("--report", type=Path, help="write the report there too")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cronq-soak-"))
    print(f"seed {given.seed}, logs in {folder}", file=sys.stderr)
    with ExitStack() as ends:
        mariadb, rabbitmq = MariaDB(), RabbitMQ()
        for server in (mariadb, rabbitmq):
            ends.callback(server.close)
            server.start()
        size = Size(
            60 * given.minutes, given.jobs, given.starts_per_s, longest_fault_s=15, calm_s=CALM_S + 30
        )
        outcome = soak(folder, mariadb, rabbitmq, size, given.seed)
    text = report(outcome)
    print(text)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    if outcome.verdict.violations or outcome.audit["holes"] or outcome.audit["doubles"]:
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

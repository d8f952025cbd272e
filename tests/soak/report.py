"""The report of a soak, as Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections import Counter

from tests.soak.soak import Outcome


def report(outcome: Outcome) -> str:
    """What was injected, and what came out."""
    size, verdict = outcome.size, outcome.verdict
    injected = Counter(window.name for window in outcome.faults)
    when = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [
        "# Reliability",
        "",
        "The last soak (`make soak`), by the program that ran it. The checker knows only the lines that the",
        "jobs themselves wrote, what was asked for, and the API.",
        "",
        (
            f"{when}, commit {_commit()}, {os.cpu_count()} cores, Python {platform.python_version()}, seed"
            f" {outcome.seed}: {size.seconds / 60:g} minutes of faults, {size.jobs} jobs, two injectors, two"
            " results, two runners, one MariaDB, one RabbitMQ; meanwhile"
            f" {outcome.puts} PUTs (other commands, jobs removed and added), {outcome.requests} runs by hand."
        ),
        "",
        "| injected | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(injected.items())),
        "",
        "| came out | |",
        "|---|---|",
        f"| occurrences that were due | {verdict.expected:,} |",
        f"| of them started, each by one run and once per attempt | {verdict.started:,} |",
        *(f"| runs that are `{state}` | {count:,} |" for state, count in sorted(verdict.states.items())),
        f"| `cronq audit`: expected, found, holes, doubles | {_audit(outcome)} |",
        f"| violations | {len(verdict.violations)} |",
        "",
    ]
    return "\n".join(lines + [f"- {text}" for text in verdict.violations])


def _audit(outcome: Outcome) -> str:
    found = outcome.audit
    return f"{found['expected']:,}, {found['found']:,}, {len(found['holes'])}, {len(found['doubles'])}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"

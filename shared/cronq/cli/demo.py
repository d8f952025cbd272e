"""The sample jobs of `cronq up --demo`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from cronq.domain.category import parse_value
from cronq.domain.run import Trigger
from cronq.runtime.config import load

if TYPE_CHECKING:
    from cronq.store import Store

HEARTBEAT = 'echo "alive on $CRONQ_HOST at $(date -u +%T), due $CRONQ_SCHEDULED_FOR"'
FLAKY = 'if [ $(($(date +%s) % 5)) -lt 2 ]; then echo "connection reset by peer" >&2; exit 1; fi; echo ok'
FAILING = 'echo "reading invoices"; sleep 1; echo "deadlock found when trying to get lock" >&2; exit 3'
SLOW = 'for i in $(seq 1 45); do echo "copied $i of 45 files ($((i * 100 / 45)) %)"; sleep 1; done; echo done'
COLOURS = (
    'for i in $(seq 1 400); do printf "\\033[3%dm%03d\\033[0m the quick brown fox \\033[1mjumps\\033[0m '
    'over \\033[4%dm the lazy dog \\033[0m\\n" $((i % 8)) $i $((i % 7)); done'
)
REPORT = 'echo "rows: $(awk "BEGIN{srand(); print int(rand() * 9000)}")"; sleep 2; echo "report written"'

DOCUMENTS: dict[str, list[dict[str, object]]] = {
    "demo": [
        {
            "name": "heartbeat",
            "schedule": "R/2024-01-01T00:00:00Z/PT5S",
            "command": HEARTBEAT,
            "description": "Every 5 seconds: proof of life.",
        },
        {
            "name": "flaky",
            "schedule": "R/2024-01-01T00:00:07Z/PT20S",
            "command": FLAKY,
            "description": "Fails two times in five.",
        },
        {
            "name": "always failing",
            "schedule": "* * * * *",
            "command": FAILING,
            "description": "Exit code 3, once a minute.",
        },
        {
            "name": "slow copy",
            "schedule": "*/2 * * * *",
            "command": SLOW,
            "routing_key": "slow",
            "description": "45 seconds, with progress in its output: watch it live.",
        },
        {
            "name": "colourful",
            "schedule": "*/3 * * * *",
            "command": COLOURS,
            "description": "A long output in colours.",
        },
    ],
    "reports": [
        {
            "name": "hourly report",
            "schedule": "0 * * * *",
            "timezone": "Europe/Berlin",
            "command": REPORT,
            "routing_key": "slow",
            "description": "Press “Run now” to see it before the hour.",
        },
    ],
    "gpu": [
        {
            "name": "train model",
            "schedule": "R/2024-01-01T00:00:00Z/PT1M",
            "command": "echo training",
            "routing_key": "gpu",
            "description": "No runner serves the queue of key gpu: the run says so.",
        },
    ],
}


def seed(db: Store) -> int:
    """Put the sample categories; the same again changes nothing. Returns how many jobs there are.

    Each job is asked to run once, so that there is something to see before its first due instant.
    """
    from cronq import store
    from cronq.store import categories, jobs, requests

    author = categories.Author("put", "demo")
    for name, samples in DOCUMENTS.items():
        document = parse_value({"category": name, "jobs": samples}, url_name=name)
        with db.begin() as tx:
            now = store.now(tx)
            if categories.replace(tx, document, author, categories.Conditions(), now).changed:
                for job in jobs.listed(tx, category=name):
                    requests.request_run(tx, requests.Wish(job.id, Trigger.MANUAL, "demo"), now)
    return sum(len(samples) for samples in DOCUMENTS.values())


@click.command("demo-jobs", hidden=True)
@click.option("--print", "only_print", is_flag=True, help="Print the documents, change nothing.")
def seed_command(only_print: bool) -> None:
    """Put the sample jobs into the database."""
    if only_print:
        click.echo(json.dumps(DOCUMENTS, indent=2, ensure_ascii=False))
        return
    from cronq import store

    click.echo(f"{seed(store.open_store(load(os.environ).require_database()))} sample jobs")

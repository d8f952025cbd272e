"""`cronq doctor`: is everything reachable and set up as it must be?"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

import click

from cronq import bus
from cronq.bus.topology import shared_queues
from cronq.domain.errors import ConfigError, Unavailable
from cronq.runtime import log
from cronq.runtime.config import load
from cronq.runtime.settings import Settings

Finding = tuple[str, str, str]


@click.command("doctor", short_help="Is everything reachable and set up as it must be?")
def doctor_command() -> int:
    """Check versions, reachability, isolation, binlog, migrations and queues; exit 1 if anything is wrong."""
    settings = load(os.environ)
    log.configure("error", settings.log_format, "doctor")  # what warnings tell is among the findings
    wrong = 0
    for what, found, fix in _findings(settings):
        wrong += bool(fix)
        click.echo(f"{'✗' if fix else '✓'} {what}: {found}{f' → {fix}' if fix else ''}")
    return 1 if wrong else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield "cronq", f"{version('cronq')} on Python {platform.python_version()}", ""
    for notice in settings.notices:
        yield "setting", notice, ""
    yield from _database(settings)
    yield from _broker(settings)


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        from cronq import store
        from cronq.store.inspection import inspect

        yield from (
            (f"database {what}", found, fix)
            for what, found, fix in inspect(store.open_store(settings.require_database()))
        )
    except ModuleNotFoundError:
        yield "database", "this host has the runner only", ""
    except ConfigError as error:
        yield "database", "not set up", str(error)
    except Unavailable as error:
        yield "database", "not reachable", str(error)


def _broker(settings: Settings) -> Iterator[Finding]:
    try:
        connection = bus.open(settings.require_bus(), name="doctor")
    except ConfigError as error:
        yield "broker", "not set up", str(error)
        return
    except Unavailable as error:
        yield "broker", "not reachable", str(error)
        return
    try:
        for queue in shared_queues():
            stats = connection.stats(queue.name)
            fix = "" if stats else "start an injector: it declares the queue"
            found = f"{stats.ready} messages, {stats.consumers} consumers" if stats else "absent"
            yield f"queue {queue.name}", found, fix
    except Unavailable as error:
        yield "broker", "not reachable", str(error)
    finally:
        connection.close()

"""The results service."""

from __future__ import annotations

import os
import socket

import click

from cronq import bus, store
from cronq.results.service import Results
from cronq.runtime import service
from cronq.runtime.config import load
from cronq.runtime.settings import Settings
from cronq.store import migrate


def build(settings: Settings) -> Results:
    """Open store and bus; the tables must be this release's."""
    database_url, bus_url = settings.require_database(), settings.require_bus()
    db = store.open_store(database_url)
    migrate.require_current(db)
    owner = f"{socket.gethostname()}.{os.getpid()}"
    return Results(settings, db, bus.open(bus_url, name=f"results {owner}"))


@click.command()
def command() -> None:
    """Grant claims and write down what runners tell."""
    raise SystemExit(service.main("results", build, load(os.environ)))

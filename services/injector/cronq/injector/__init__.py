"""The injector service."""

from __future__ import annotations

import os
import socket

import click
import structlog

from cronq import bus, store
from cronq.injector.service import Injector
from cronq.runtime import service
from cronq.runtime.config import load
from cronq.runtime.settings import Settings
from cronq.store import migrate

log = structlog.get_logger()


def build(settings: Settings) -> Injector:
    """Open store and bus, and bring the tables up to date when they are behind."""
    database_url, bus_url = settings.require_database(), settings.require_bus()
    db = store.open_store(database_url)
    if migrate.upgrade(db):
        log.info("store.migrated", revision=migrate.head())
    owner = f"{socket.gethostname()}.{os.getpid()}"[:64]
    return Injector(settings, db, bus.open(bus_url, name=f"injector {owner}"), owner)


@click.command()
def command() -> None:
    """Publish due jobs to the bus."""
    raise SystemExit(service.main("injector", build, load(os.environ)))

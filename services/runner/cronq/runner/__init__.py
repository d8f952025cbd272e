"""The runner service: executes runs on this host, and lets them outlive it."""

from __future__ import annotations

import os

import click

from cronq import bus
from cronq.runner.folder import open_folder
from cronq.runner.options import Options, job_queues
from cronq.runner.service import Runner
from cronq.runtime import service
from cronq.runtime.config import load
from cronq.runtime.settings import Settings

__all__ = ["Options", "build", "command"]


def build(settings: Settings, options: Options | None = None) -> Runner:
    """Take a folder of the state folder and open the bus. Raises ConfigError for a name in use."""
    options = options or Options()
    url, queues = settings.require_bus(), job_queues(settings, options)
    folder = open_folder(settings.state_dir, options.name)
    name = f"runner {folder.name} {os.getpid()}"
    return Runner(settings, options, bus=bus.open(url, name=name), folder=folder, queues=queues)


@click.command()
@click.option("--queue", "keys", multiple=True, metavar="KEY", help="Routing key to serve; repeatable.")
@click.option("--slots", type=click.IntRange(1, 10_000), help="Runs at once [CRONQ_SLOTS, or the cores].")
@click.option("--name", help="Name of this runner, unique among all; default: host and number.")
def command(keys: tuple[str, ...], slots: int | None, name: str | None) -> None:
    """Execute runs on this host."""
    options = Options(keys, name, slots)
    raise SystemExit(service.main("runner", lambda s: build(s, options), load(os.environ)))

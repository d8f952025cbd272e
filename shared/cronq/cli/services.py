"""The services as commands, found by their entry points: a worker node has only the runner's."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from cronq.domain.errors import ConfigError

GROUP = "cronq.services"
SERVER_EXTRA = frozenset({"sqlalchemy", "flask", "alembic", "dateutil", "gunicorn", "pymysql", "flask_wtf"})
HELP = {
    "injector": "Turn due jobs into runs and publish them.",
    "results": "Grant claims and write down what runners tell.",
    "runner": "Execute runs on this host.",
    "web": "Serve the pages and the JSON API.",
}


def names() -> list[str]:
    return sorted(entry_points(group=GROUP).names)


def module(name: str) -> Any:
    """The module of a service; it has `command`, and `build` where it can run in a thread.

    Raises ConfigError where what it needs is not installed.
    """
    [entry] = entry_points(group=GROUP, name=name)
    return _loaded(entry)


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in SERVER_EXTRA:
            raise not_installed(f"`cronq {entry.name}`", error) from error
        raise


def not_installed(what: str, error: ModuleNotFoundError) -> ConfigError:
    """What to say on a host that has the runner only."""
    return ConfigError(
        f"{what} needs {error.name}, which is not installed here; "
        "install CronQ with its extra `server`: pip install '.[server]' in its source folder"
    )


def run_service(name: str) -> click.Command:
    command: click.Command = module(name).command
    return command


class LazyService(click.Command):
    """A service's command that is imported only when it is used, help included."""

    def __init__(self, name: str) -> None:
        super().__init__(name, short_help=HELP.get(name, f"Run the {name} service."))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Everything belongs to the service's own command.
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> Any:
        assert self.name is not None
        return run_service(self.name).main(
            list(ctx.args),
            prog_name=ctx.command_path,
            standalone_mode=False,
            help_option_names=["-h", "--help"],
        )


def add_services(group: click.Group) -> None:
    """Add a command for each service that is installed."""
    for name in names():
        group.add_command(LazyService(name))

"""`cronq-web`: the web application under gunicorn, one worker process with threads."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from cronq.domain.errors import ConfigError
from cronq.runtime import config, log
from cronq.runtime.backoff import Backoff
from cronq.runtime.secrets import describe_os_error
from cronq.runtime.settings import Settings
from cronq.web import health
from cronq.web.context import KEY
from cronq.web.factory import create_app

DEFAULT_HOST = "127.0.0.1"
THREADS = 16
BACKLOG = 1_024

_logger = log.get_logger()


@click.command()
def command() -> None:
    """Serve the web admin and the JSON API."""
    raise SystemExit(main())


def main() -> int:
    """Serve until SIGTERM; returns 78 where a setting is wrong, and exits 0 at the end."""
    try:
        settings = config.load(os.environ)
        log.configure(settings.log_level, settings.log_format, "web")
        settings.require_secret_key()
        settings.require_database()
        listener = listen(settings)
    except ConfigError as error:
        return config.report(error)
    for notice in settings.notices:
        _logger.warning("config.notice", notice=notice)
    Server(settings, listener).run()
    return 0


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on; raises ConfigError where it cannot be had.

    Here and not in gunicorn, which tries a taken port for five seconds before it says so.
    """
    host = settings.require_safe_host(settings.listen_interface or DEFAULT_HOST)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"PORT: cannot listen on {host} port {settings.port}: {describe_os_error(error)};"
            " allowed: a free port on an address of this host (LISTEN_INTERFACE)"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    _logger.info("web.listening", url=f"http://{shown}:{listener.getsockname()[1]}/")
    return listener


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn on a socket that listens already; the application, and its store, begin in the worker."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener.detach()
        super().__init__()

    def load_config(self) -> None:
        for name, value in _options(self._settings, self._listener).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self._settings)


def _options(settings: Settings, listener: int) -> dict[str, Any]:
    return {
        "bind": f"fd://{listener}",
        "backlog": BACKLOG,
        "workers": 1,
        "worker_class": "gthread",
        "threads": THREADS,
        "graceful_timeout": 10,
        "control_socket_disable": True,
        "logger_class": _Log,
        "loglevel": settings.log_level,
        "post_worker_init": _announce,
    }


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


def _announce(worker: Worker) -> None:
    """Once for the whole life of the server, and only when requests can be answered."""
    if worker.age == 1:
        threading.Thread(target=_say_ready, args=(worker.wsgi,), name="ready", daemon=True).start()


def _say_ready(app: Flask) -> None:
    backoff = Backoff(random.Random())
    pause = threading.Event()
    while any(health.checks(app.extensions[KEY].db).values()):
        pause.wait(backoff.next_s())
    print("ready web", file=sys.stderr, flush=True)  # noqa: T201 - the ready line is no log

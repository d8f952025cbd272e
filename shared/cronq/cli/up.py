"""`cronq up`: every service on this host, by one command.

Without RABBITMQ_URL the bus is in memory: injector, results and runner are threads of this process.
With it each is a process of its own. The web is always one: it needs only the store.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import click
import structlog

from cronq import bus
from cronq.bus.topology import RESULTS_QUEUE
from cronq.cli.child import Child, ChildRefused, stop_all
from cronq.cli.demo import seed
from cronq.cli.services import module
from cronq.cli.threads import ServiceThread
from cronq.domain.errors import ConfigError
from cronq.runtime import crash
from cronq.runtime import log as logs
from cronq.runtime.config import load
from cronq.runtime.service import Stop
from cronq.runtime.settings import Settings
from cronq.runtime.stop import stop_on_signals
from cronq.runtime.urls import MEMORY_BUS

log = structlog.get_logger()

FIRST_PORT = 8080
KEYS = ("default", "slow")
READY_WITHIN_S = 60.0
DRAIN_WITHIN_S = 5.0


@click.command("up", short_help="Run every service on this host, without any server if need be.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the web listens on.")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any. Default: 8080 or the next free one.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder; default: CRONQ_STATE_DIR.")
@click.option("--demo", is_flag=True, help="Put sample jobs; Ctrl-C kills what runs.")
def up_command(host: str, port: int | None, state: Path | None, demo: bool) -> int:
    """Run every service on this host: embedded, unless DATABASE_URL or RABBITMQ_URL say otherwise."""
    began = time.monotonic()
    environ = dict(os.environ)
    if state is not None:
        environ["CRONQ_STATE_DIR"] = str(state.resolve())
    settings = load(environ).embedded()
    settings.require_safe_host(host)
    lock = _locked(settings.state_dir)
    if settings.secret_key is None:
        settings = replace(settings, secret_key=_kept_key(settings.state_dir / "secret_key"))
    level = "warning" if demo and "CRONQ_LOG_LEVEL" not in environ else settings.log_level
    settings = replace(settings, log_level=level)
    logs.configure(settings.log_level, settings.log_format, "up")
    crash.arm(settings.crash_point)
    port = _chosen_port(host, port)
    up = _Up(settings, environ, host, port, demo=demo)
    try:
        with stop_on_signals(up.stop):
            up.run(lambda: _say_ready(settings, host, port, began, demo=demo))
    except ChildRefused:
        return os.EX_CONFIG
    finally:
        lock.close()
    return 0


class _Up:
    """The services and their life together."""

    def __init__(
        self, settings: Settings, environ: dict[str, str], host: str, port: int, *, demo: bool
    ) -> None:
        self.stop = Stop()
        self._settings = settings
        self._demo = demo
        self._url = f"http://{_bracketed(host)}:{port}/healthz"
        self._environ = _child_environ(environ, settings, host, port)
        self._refused: ConfigError | None = None
        self._embedded = (settings.rabbitmq_url or "").startswith(MEMORY_BUS)
        self._children = [Child(["web"], self._environ)]
        self._threads: list[ServiceThread] = []

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start, say when all is ready, and go on until stopped; blocks."""
        try:
            self._prepare_store()
            if self._embedded:
                self._start_threads()
            else:
                self._add_children()
            self._watch(on_ready)
        finally:
            self._close()
        if self._refused is not None:
            raise self._refused

    def _prepare_store(self) -> None:
        from cronq import store
        from cronq.store import doorbells, migrate

        db = store.open_store(self._settings.require_database())
        migrate.upgrade(db)
        if self._embedded:  # our bus is new and empty
            db.transact(lambda tx: doorbells.ring_again(tx, store.now(tx)))
        if self._demo:
            seed(db)
        db.close()

    def _start_threads(self) -> None:
        injector, results, runner = (module(n) for n in ("injector", "results", "runner"))
        on_term = "kill" if self._demo else self._settings.on_term
        services = [
            injector.build(self._settings),
            results.build(self._settings),
            runner.build(replace(self._settings, on_term=on_term), runner.Options(keys=self._keys())),
        ]
        self._threads = [ServiceThread(service, self._settings.poll_s, self._refuse) for service in services]

    def _refuse(self, error: ConfigError) -> None:
        self._refused = error
        self.stop.set("configuration")

    def _keys(self) -> tuple[str, ...]:
        return () if "CRONQ_QUEUE" in self._environ else KEYS

    def _add_children(self) -> None:
        environ = dict(self._environ)
        if self._demo:
            environ |= {"CRONQ_ON_TERM": "wait", "CRONQ_DRAIN_S": "0"}
        queues = [part for key in self._keys() for part in ("--queue", key)]
        for args in (["injector"], ["results"], ["runner", *queues]):
            self._children.append(Child(args, environ))

    def _watch(self, on_ready: Callable[[], None]) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        is_ready = False
        while not self.stop.is_set():
            for child in self._children:
                child.watch(time.monotonic())
            if not is_ready and (self._is_ready() or time.monotonic() > deadline):
                is_ready = True
                on_ready()
            self.stop.wait(0.1 if not is_ready else 0.5)

    def _is_ready(self) -> bool:
        if any(problem for t in self._threads for problem in t.service.is_ready().values()):
            return False
        try:
            with urllib.request.urlopen(self._url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _close(self) -> None:
        """The runner before results, which has to write down what it still tells: the bus forgets it."""
        self.stop.set("end")
        ends = {thread.service.name: thread.end for thread in self._threads}
        if ends:
            ends["injector"]()
            ends["runner"]()
            self._drain_results()
            ends["results"]()
        stop_all(self._children)

    def _drain_results(self) -> None:
        connection = bus.open(self._settings.require_bus(), name="up")
        deadline = time.monotonic() + DRAIN_WITHIN_S
        while (stats := connection.stats(RESULTS_QUEUE)) and stats.ready and time.monotonic() < deadline:
            time.sleep(0.01)
        connection.close()


def _child_environ(environ: dict[str, str], settings: Settings, host: str, port: int) -> dict[str, str]:
    """The operator's environment, with what `up` decided; other ways to say the same are taken out."""
    decided = {
        "DATABASE_URL": settings.require_database(),
        "CRONQ_STATE_DIR": str(settings.state_dir),
        "CRONQ_SECRET_KEY": settings.require_secret_key(),
        "CRONQ_LOG_LEVEL": settings.log_level,
        "LISTEN_INTERFACE": host,
        "PORT": str(port),
    }
    replaced = {f"{name}_FILE" for name in decided} | {"CRONQ_MYSQL", "SECRET_KEY"}
    return {k: v for k, v in environ.items() if k not in replaced} | decided


def _locked(state_dir: Path) -> IO[str]:
    """One `cronq up` on a state folder at a time: its bus is in its memory."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "up.lock").open("w")
    except OSError as error:
        raise ConfigError(f"CRONQ_STATE_DIR: {state_dir}: {error.strerror}; give --state DIR") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"CRONQ_STATE_DIR: {state_dir} is in use by another `cronq up`") from None
    return lock


def _kept_key(path: Path) -> str:
    """A secret made once, readable by its owner only."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        key = secrets.token_hex(32)
        file.write(key + "\n")
    return key


def _chosen_port(host: str, port: int | None) -> int:
    """The port asked for, 0 being any. Raises ConfigError where the web could not listen."""
    try:
        return _free_port(host) if port is None else _any_port(host, port)
    except OSError as error:
        what = f"--port: {port} of {host}" if port else f"--host: {host!r}"
        raise ConfigError(
            f"{what} can't be listened on: {error.strerror}; allowed: a free port on an address of this host"
        ) from error


def _free_port(host: str) -> int:
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        if _is_free(host, port):
            return port
    return _any_port(host)


def _is_free(host: str, port: int) -> bool:
    try:
        _any_port(host, port)
    except OSError:
        return False
    return True


def _any_port(host: str, port: int = 0) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say_ready(settings: Settings, host: str, port: int, began: float, *, demo: bool) -> None:
    url = f"http://{_bracketed(host)}:{port}/"
    click.echo(f"ready {url}  after {time.monotonic() - began:.1f} s · state in {settings.state_dir}")
    if settings.api_token:
        from cronq.web.enter import one_time_link

        link = one_time_link(settings.require_secret_key())
        click.echo(f"  log in, once, within 15 minutes: {url.rstrip('/')}{link}")
    if demo:
        token = ' -H "Authorization: Bearer $CRONQ_API_TOKEN"' if settings.api_token else ""
        click.echo(
            "  sample jobs run now: open the address above; Ctrl-C stops everything and kills what runs\n"
            f"  try: curl -f -XPUT {url}api/category/example{token} -H 'content-type: application/json'"
            ' -d \'{"category": "example", "jobs": [{"name": "Test Job", "schedule":'
            ' "R/2013-05-29T00:00:00/PT1M", "command": "sleep 10", "routing_key": "slow"}]}\''
        )

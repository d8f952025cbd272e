"""`/healthz`, `/readyz`, `/metrics`: their bodies, and a small server for what is not the web."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from socketserver import TCPServer

from cronq.domain.errors import ConfigError
from cronq.runtime import log
from cronq.runtime.secrets import describe_os_error, mask_text

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_JSON_TYPE = "application/json"
_logger = log.get_logger()


def liveness() -> dict[str, str]:
    """The body of `/healthz`: the process answers, whatever it depends on."""
    return {"status": "ok"}


def readiness(checks: Mapping[str, str | None]) -> tuple[int, dict[str, object]]:
    """Status (200 or 503) and body of `/readyz`; a check is None when fine, else the problem in words."""
    is_ready = not any(checks.values())
    shown = {name: mask_text(problem) if problem else "ok" for name, problem in checks.items()}
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return status.value, {"status": "ready" if is_ready else "not ready", "checks": shown}


def series(name: str, /, **labels: str) -> str:
    """The name of one series as Prometheus writes it: `name{label="value"}`, labels in order of name."""
    if not labels:
        return name
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics_text(counters: Mapping[str, float]) -> str:
    """The body of `/metrics`: our build and these series; a name in `_total` is a counter, others gauges.

    The format is https://prometheus.io/docs/instrumenting/exposition_formats/, whose families must
    each be one block.
    """
    values = {series("cronq_build_info", version=_version()): 1.0, **counters}
    lines: list[str] = []
    for family, members in groupby(sorted(values, key=lambda name: (_family(name), name)), key=_family):
        lines.append(f"# TYPE {family} {'counter' if family.endswith('_total') else 'gauge'}")
        lines += [f"{name} {values[name]:.17g}" for name in members]
    return "\n".join(lines) + "\n"


def _family(name: str) -> str:
    return name.partition("{")[0]


@cache
def _version() -> str:
    try:
        return version("cronq")
    except PackageNotFoundError:  # run from a folder, not installed
        return "unknown"


class HealthServer:
    """Answers the three paths from its own threads, until closed.

    `checks` and `counters` are called from those threads at each request and must not block.
    Raises ConfigError when it cannot listen.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        checks: Callable[[], Mapping[str, str | None]],
        counters: Callable[[], Mapping[str, float]],
    ) -> None:
        try:
            self._server = _Server(host, port, checks, counters)
        except OSError as error:
            raise ConfigError(
                f"CRONQ_HEALTH_PORT: cannot listen on {host} port {port}: {describe_os_error(error)}; "
                "allowed: a free port on an address of this host (LISTEN_INTERFACE)"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on; another than asked for only when that was 0."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        host: str,
        port: int,
        checks: Callable[[], Mapping[str, str | None]],
        counters: Callable[[], Mapping[str, float]],
    ) -> None:
        self.address_family = _family_of(host)
        self.checks = checks
        self.counters = counters
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's full name here, which can hang on a bad resolver.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, _request: object, client_address: object) -> None:
        _logger.debug("health.request_failed", client=str(client_address), exc_info=True)  # noqa: LOG014 - socketserver calls this inside its handler


def _family_of(host: str) -> socket.AddressFamily:
    try:
        is_v6 = ipaddress.ip_address(host).version == 6
    except ValueError:
        is_v6 = False
    return socket.AF_INET6 if is_v6 else socket.AF_INET


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "cronq"
    sys_version = ""
    timeout = 5  # seconds for a client that sends nothing

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._reply_json(HTTPStatus.OK, liveness())
        elif self.path == "/readyz":
            self._reply_json(*readiness(self.server.checks()))
        elif self.path == "/metrics":
            self._reply(HTTPStatus.OK, METRICS_TYPE, metrics_text(self.server.counters()))
        else:
            self._reply_json(HTTPStatus.NOT_FOUND, {"status": "not found: /healthz, /readyz, /metrics"})

    do_HEAD = do_GET

    def _reply_json(self, status: int, body: Mapping[str, object]) -> None:
        self._reply(status, _JSON_TYPE, json.dumps(body) + "\n")

    def _reply(self, status: int, content_type: str, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, _format: str, *_arguments: object) -> None:
        """Probes come every few seconds; nobody wants them in the log."""

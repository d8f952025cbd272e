"""RABBITMQ_URL: which hosts, as whom, in which virtual host, and how to check their certificates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from cronq.domain.errors import ConfigError

_MOST = 65535  # of a port, and of a heartbeat: 16 bits
_PORTS = {"amqp": 5672, "amqps": 5671}
_URL = re.compile(
    r"(?P<scheme>amqps?)://((?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]*)(?P<path>(/[^?#]*)?)(\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]+)(?::(?P<port>\d{1,5}))?")
_FILES = ("cacertfile", "certfile", "keyfile")
_OPTIONS = ("heartbeat", *_FILES)


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files: the authorities to trust (the system's if None), and our own certificate."""

    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True)
class Server:
    """One broker host and how to log in there."""

    host: str
    port: int
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    heartbeat_s: int | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def servers(url: str) -> tuple[Server, ...]:
    """The hosts of `amqp[s]://user:password@host1,host2:port/vhost?heartbeat=N`, or of several such URLs.

    A host without a port has the one after the last host. No path, `/` and `/%2F` are the virtual host
    `/`. Options: heartbeat (seconds, 0 is off), and cacertfile, certfile, keyfile for `amqps`.
    Raises ConfigError, without the password in its text.
    """
    parts = re.split(r",(?=amqps?://)", url.strip())
    return tuple(server for part in parts for server in _servers_of_one(part))


def _servers_of_one(url: str) -> list[Server]:
    match = _URL.fullmatch(url)
    if not match or "@" in url[match.start("path") :]:  # nothing is shown: it may be half a password
        raise ConfigError(
            "bus URL can't be read; allowed is amqp[s]://user:password@host[,host]:port/vhost, "
            "with / ? # @ inside a part written as %2F %3F %23 %40"
        )
    scheme, login, hosts, path, query = match.group("scheme", "login", "hosts", "path", "query")
    options = _options(query or "", scheme)
    user, _, password = (login or "guest:guest").partition(":")
    template = Server(
        host="",
        port=_PORTS[scheme],
        user=unquote(user),
        password=unquote(password),
        vhost=unquote(path[1:]) or "/",
        heartbeat_s=_heartbeat(options.get("heartbeat")),
        tls=Tls(**{name: options.get(name) for name in _FILES}) if scheme == "amqps" else None,
    )
    return [replace(template, host=host, port=port) for host, port in _hosts(hosts, template.port)]


def _hosts(text: str, default_port: int) -> list[tuple[str, int]]:
    matches = [_HOST.fullmatch(part.strip()) for part in text.split(",")]
    if not all(matches):
        raise ConfigError(f"bus URL has hosts {text!r}; allowed is host[:port], separated by commas")
    found = [(match["host"].strip("[]"), match["port"]) for match in matches if match]
    common = int(found[-1][1] or default_port)
    hosts = [(host, int(port or common)) for host, port in found]
    for _, port in hosts:
        if not 0 < port <= _MOST:
            raise ConfigError(f"bus URL has port {port}; allowed is 1 to 65535")
    return hosts


def _options(query: str, scheme: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    allowed = _OPTIONS if scheme == "amqps" else ("heartbeat",)
    for name in options:
        if name not in allowed:
            raise ConfigError(f"bus URL has option {name!r}; {scheme} allows {', '.join(allowed)}")
    return options


def _heartbeat(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > _MOST:
        raise ConfigError(f"bus URL has heartbeat={text!r}; allowed are seconds from 0 (off) to 65535")
    return int(text)

"""The addresses a service is given: of the database, of the bus, of the API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qs, quote, urlsplit

from cronq.runtime.parsing import Kind

MEMORY_BUS = "memory:"

_LAST_PORT = 65535
_MYSQL = re.compile(r"mysql(\+\w+)?://", re.IGNORECASE)
_MYSQL_PARTS = re.compile(
    r"(?:(?P<user>.*)@)?(?P<host>\[[^\]]+\]|[^:/?@]*)(?::(?P<port>[^/?]*))?/(?P<database>[^?]+)"
)
_MEMORY = re.compile(rf"{MEMORY_BUS}[\w.-]*")
_AMQP = re.compile(r"amqps?://(?:[^/?#]*@)?(?P<hosts>[^@/?#]+)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_AMQP_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/@?#\[\]]+)(?::(?P<port>.*))?")


def _database_url(text: str) -> str:
    if text.startswith("sqlite:///"):
        return _sqlite_url(text)
    scheme = _MYSQL.match(text)
    if not scheme:
        raise ValueError("is of another kind")
    rest = text[scheme.end() :]
    _check_mysql(rest)
    return f"mysql+pymysql://{rest}"


def _sqlite_url(text: str) -> str:
    path = text.removeprefix("sqlite:///").partition("?")[0]
    if not path or path == ":memory:":
        raise ValueError("names no file, and several processes must see one database")
    return text


def _check_mysql(rest: str) -> None:
    parts = _MYSQL_PARTS.fullmatch(rest.partition("?")[0])
    if not parts:
        raise ValueError("names no database")
    if "@" in (parts["user"] or ""):
        raise ValueError("has a second @: in a user or password it is written %40")
    if parts["port"]:
        _check_port(parts["port"])


def _check_port(text: str) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _LAST_PORT:
        raise ValueError(f"has a port that is not a number from 1 to {_LAST_PORT}")


def _remark_on_driver(text: str) -> str | None:
    scheme = _MYSQL.match(text)
    if not scheme or scheme[0] == "mysql+pymysql://":
        return None
    return f"{scheme[0]} is read as mysql+pymysql://"


def _bus_url(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        for url in re.split(r",(?=amqps?://)", text):
            _check_amqp(url)
    return text


def _check_amqp(url: str) -> None:
    parts = _AMQP.fullmatch(url)
    if not parts or "@" in (parts["path"] or ""):
        raise ValueError("is no such address; within a part / is written %2F, ? %3F, # %23 and @ %40")
    for host in parts["hosts"].split(","):
        _check_amqp_host(host.strip())
    _check_heartbeat(parts["query"] or "")


def _check_amqp_host(host: str) -> None:
    parts = _AMQP_HOST.fullmatch(host)
    if not parts:
        raise ValueError("has an empty or malformed host")
    if parts["port"] is not None:
        _check_port(parts["port"])


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip() for host in text.split(","))
    for host in hosts:
        _check_amqp_host(host)
    return hosts


def _check_heartbeat(query: str) -> None:
    for seconds in parse_qs(query, keep_blank_values=True).get("heartbeat", []):
        if not re.fullmatch(r"[0-9]{1,5}", seconds):
            raise ValueError("has a heartbeat that is not a whole number of seconds")


def compose_bus_url(*, hosts: Sequence[str], port: int, user: str, password: str, vhost: str) -> str:
    """The address that the ancestor's single variables amount to; user, password and vhost are plain text.

    Each host gets its port, because one port after a list of hosts counts for all of them.
    """
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    places = ",".join(host if _has_port(host) else f"{host}:{port}" for host in hosts)
    return f"amqp://{credentials}@{places}/{quote(vhost, safe='')}"


def _has_port(host: str) -> bool:
    return re.search(r":[0-9]+$", host) is not None and not host.endswith("]")


def _web_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError("is not a web address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("is not a web address")
    return text.rstrip("/")


DATABASE_URL = Kind(
    _database_url,
    "mysql+pymysql://user:password@host/database (mysql:// is accepted) or sqlite:///path",
    _remark_on_driver,
)
BUS_URL = Kind(
    _bus_url,
    "amqp(s)://user:password@host[:port][,host…]/vhost[?heartbeat=seconds], or memory: within `cronq up`",
)
HOSTS = Kind(_hosts, "hosts separated by commas, each host or host:port")
WEB_URL = Kind(_web_url, "http(s)://host[:port][/path]")

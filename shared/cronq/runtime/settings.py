"""The values of all settings, built once by `config.load` and passed on."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from cronq.domain.errors import ConfigError
from cronq.runtime import crash
from cronq.runtime.parsing import NEW_SECRET_KEY
from cronq.runtime.urls import MEMORY_BUS

_EMBEDDED = "default of `cronq up`"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment asks for. Names ending in `_s` are seconds; None means not set.

    `sources` tells for each variable's name where its value came from; `notices` are remarks for the
    operator: old names, ignored variables, probable typing errors.
    """

    database_url: str | None = field(repr=False)
    rabbitmq_url: str | None = field(repr=False)
    state_dir: Path
    queues: tuple[str, ...]
    plain_queues: tuple[str, ...]
    slots: int
    window: int
    catch_up_rate: int
    heartbeat_s: float
    lease_s: float
    republish_s: float
    poll_s: float
    auth: str
    auth_none_anywhere: bool
    api_token: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    signing_key: str | None = field(repr=False)
    trusted_keys: str | None = field(repr=False)
    on_term: str
    drain_s: float
    port: int
    listen_interface: str | None
    health_port: int | None
    url: str | None = field(repr=False)
    token: str | None = field(repr=False)
    log_level: str
    log_format: str
    log_path: Path | None
    runner_log_to_stdout: bool
    log_url_template: str | None
    crash_point: crash.Target | None
    one_process: bool = False
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    notices: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def require_database(self) -> str:
        """The database's URL; raises ConfigError when there is none."""
        if self.database_url is None:
            raise ConfigError(
                "DATABASE_URL is not set; allowed: mysql+pymysql://user:password@host/database "
                "or sqlite:///path (DATABASE_URL_FILE and the old name CRONQ_MYSQL also do)"
            )
        return self.database_url

    def require_bus(self) -> str:
        """The bus's URL; raises ConfigError when there is none, or it cannot reach another process."""
        if self.rabbitmq_url is None:
            raise ConfigError(
                "RABBITMQ_URL is not set; allowed: amqp://user:password@host/vhost "
                "(RABBITMQ_URL_FILE and the old RABBITMQ_HOST, _USER, _PASS also do)"
            )
        if self.rabbitmq_url.startswith(MEMORY_BUS) and not self.one_process:
            raise ConfigError(
                f"RABBITMQ_URL: {self.rabbitmq_url!r} is for one process only, that of `cronq up`; "
                "allowed here: amqp://user:password@host/vhost"
            )
        return self.rabbitmq_url

    def require_secret_key(self) -> str:
        """The key of sessions and secrets; raises ConfigError with the command that makes one."""
        if self.secret_key is None:
            raise ConfigError(f"CRONQ_SECRET_KEY is not set; make one with: {NEW_SECRET_KEY}")
        return self.secret_key

    def require_safe_host(self, host: str) -> str:
        """The host to listen on; raises ConfigError when anybody could reach it without a login."""
        if self.auth == "none" and not self.auth_none_anywhere and not _is_loopback(host):
            raise ConfigError(
                f"CRONQ_AUTH: 'none' is allowed on a loopback address only, and {host!r} is none; "
                "set CRONQ_AUTH=on, or CRONQ_AUTH_NONE_ANYWHERE=1 if nobody else can reach it"
            )
        return host

    def embedded(self) -> Settings:
        """The same for one process of all services: SQLite and the in-memory bus where nothing is set."""
        found: dict[str, str] = {}
        database_url, rabbitmq_url = self.database_url, self.rabbitmq_url
        if database_url is None:
            database_url = f"sqlite:///{self.state_dir}/cronq.db"
            found["DATABASE_URL"] = _EMBEDDED
        if rabbitmq_url is None:
            rabbitmq_url = MEMORY_BUS
            found["RABBITMQ_URL"] = _EMBEDDED
        sources = MappingProxyType({**self.sources, **found})
        return replace(
            self, database_url=database_url, rabbitmq_url=rabbitmq_url, one_process=True, sources=sources
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

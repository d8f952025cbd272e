"""The table of settings: it drives reading, `config show`, the search for typing errors, and the docs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cronq.domain.errors import ConfigError
from cronq.runtime import crash
from cronq.runtime.parsing import (
    FLAG,
    FOLDER,
    HOST,
    LINK_TEMPLATE,
    OPAQUE,
    QUEUE_NAMES,
    SECRET_KEY,
    TOKEN,
    Kind,
    choice,
    number,
    or_off,
    whole,
)
from cronq.runtime.secrets import hide, mask_url
from cronq.runtime.urls import BUS_URL, DATABASE_URL, HOSTS, WEB_URL

_DAY_S = 86_400
_SYSTEM_STATE = Path("/var/lib/cronq")
_SYSTEM_LOGS = Path("/var/log/cronq")


@dataclass(frozen=True)
class Setting:
    """One variable. `default` is text as an operator would write it, or words when `fallback` computes it.

    `show` makes a text fit to be seen; where it changes anything the setting is a secret and can also
    be given as NAME_FILE, the path of a file that holds it.
    """

    name: str
    field: str
    kind: Kind[object]
    meaning: str
    default: str = ""
    fallback: Callable[[Mapping[str, str]], object] | None = None
    old: tuple[str, ...] = ()
    show: Callable[[str], str] = str
    is_used: bool = True  # by this release; the others are checked, so that a later one finds them right

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be seen whole."""
        return self.show is not str

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        return self.kind.allowed

    def default_value(self, environ: Mapping[str, str]) -> object:
        """The value when nothing is set; looks at the host where the default depends on it."""
        if self.fallback:
            return self.fallback(environ)
        return self.kind.parse(self.default) if self.default else None


def _cores(_environ: Mapping[str, str]) -> int:
    return os.cpu_count() or 1


def _state_dir(environ: Mapping[str, str]) -> Path:
    if os.access(_SYSTEM_STATE, os.W_OK | os.X_OK):
        return _SYSTEM_STATE
    return _home(environ) / ".local/state/cronq"


def _home(environ: Mapping[str, str]) -> Path:
    if environ.get("HOME"):
        return Path(environ["HOME"]).absolute()
    try:
        return Path("~").expanduser()
    except RuntimeError:
        raise ConfigError(
            "CRONQ_STATE_DIR is not set and there is no home folder; allowed: a folder"
        ) from None


def _log_path(_environ: Mapping[str, str]) -> Path | None:
    return _SYSTEM_LOGS if os.access(_SYSTEM_LOGS, os.W_OK | os.X_OK) else None


def _none(_environ: Mapping[str, str]) -> None:
    return None


def _no_queues(_environ: Mapping[str, str]) -> tuple[str, ...]:
    return ()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "DATABASE_URL",
        "database_url",
        DATABASE_URL,
        "the database",
        default="none; `cronq up`: cronq.db in CRONQ_STATE_DIR",
        fallback=_none,
        old=("CRONQ_MYSQL",),
        show=mask_url,
    ),
    Setting(
        "RABBITMQ_URL",
        "rabbitmq_url",
        BUS_URL,
        "the bus",
        default="none; `cronq up`: memory:",
        fallback=_none,
        show=mask_url,
    ),
    Setting(
        "CRONQ_STATE_DIR",
        "state_dir",
        FOLDER,
        "what a service keeps on disk",
        default="/var/lib/cronq if writable, else ~/.local/state/cronq",
        fallback=_state_dir,
    ),
    Setting(
        "CRONQ_QUEUE",
        "queues",
        QUEUE_NAMES,
        "the literal queue names of a runner without --queue",
        default="cronq_jobs",
    ),
    Setting(
        "CRONQ_PLAIN_QUEUES",
        "plain_queues",
        QUEUE_NAMES,
        "queues whose runners know only the ancestor's messages; nothing is published twice there",
        default="none",
        fallback=_no_queues,
    ),
    Setting(
        "CRONQ_SLOTS",
        "slots",
        whole(1, 10_000),
        "runs at once per runner",
        default="the number of cores",
        fallback=_cores,
    ),
    Setting(
        "CRONQ_WINDOW",
        "window",
        whole(1, 1_000_000),
        "most unclaimed runs on the bus per queue; the rest waits in the database, in its order",
        default="2000",
    ),
    Setting(
        "CRONQ_CATCH_UP_RATE",
        "catch_up_rate",
        whole(1, 1_000_000),
        "occurrences more than a minute late that are let out in a second, as after an outage",
        default="100",
    ),
    Setting(
        "CRONQ_HEARTBEAT_S",
        "heartbeat_s",
        number(1, 60),
        "seconds between a runner's signs of life",
        default="10",
    ),
    Setting(
        "CRONQ_LEASE_S",
        "lease_s",
        number(3, 3600),
        "seconds for which a silent runner is believed alive; three heartbeats or more",
        default="60",
    ),
    Setting(
        "CRONQ_REPUBLISH_S",
        "republish_s",
        number(1, 600),
        "seconds after which an unclaimed run is published again; doubles up to 600",
        default="60",
    ),
    Setting(
        "CRONQ_POLL_S",
        "poll_s",
        number(0.01, 5),
        "seconds a service sleeps when there is nothing to do",
        default="0.1",
    ),
    Setting(
        "CRONQ_AUTH",
        "auth",
        choice("on", "none"),
        "none: no login and no tokens, on loopback only",
        default="on",
    ),
    Setting(
        "CRONQ_AUTH_NONE_ANYWHERE",
        "auth_none_anywhere",
        FLAG,
        "CRONQ_AUTH=none on every address: whoever reaches the port can run commands",
        default="off",
    ),
    Setting("CRONQ_API_TOKEN", "api_token", TOKEN, "one bootstrap token with every right", show=hide),
    Setting(
        "CRONQ_SECRET_KEY",
        "secret_key",
        SECRET_KEY,
        "protects sessions and stored secrets; `cronq up` makes one",
        old=("SECRET_KEY",),
        show=hide,
    ),
    Setting(
        "CRONQ_SIGNING_KEY",
        "signing_key",
        OPAQUE,
        "signs what runners are allowed to run",
        show=hide,
        is_used=False,
    ),
    Setting(
        "CRONQ_TRUSTED_KEYS",
        "trusted_keys",
        OPAQUE,
        "the keys whose signatures a runner accepts",
        show=hide,
        is_used=False,
    ),
    Setting(
        "CRONQ_ON_TERM",
        "on_term",
        choice("leave", "wait"),
        "what a runner does with its jobs on SIGTERM: leave them running, or wait for them",
        default="leave",
    ),
    Setting(
        "CRONQ_DRAIN_S",
        "drain_s",
        number(0, _DAY_S),
        "seconds to wait with CRONQ_ON_TERM=wait before jobs are killed",
        default="30",
    ),
    Setting("PORT", "port", whole(0, 65535), "where the web listens; 0 is any free port", default="5000"),
    Setting(
        "LISTEN_INTERFACE",
        "listen_interface",
        HOST,
        "the address to listen on, of the web and of CRONQ_HEALTH_PORT (there: 127.0.0.1 without it)",
    ),
    Setting(
        "CRONQ_HEALTH_PORT",
        "health_port",
        or_off(whole(1, 65535)),
        "where a service that is not the web answers /healthz, /readyz, /metrics",
        default="off",
    ),
    Setting(
        "CRONQ_URL",
        "url",
        WEB_URL,
        "the web that the command line talks to; without it and with DATABASE_URL, the database",
        show=mask_url,
    ),
    Setting(
        "CRONQ_TOKEN",
        "token",
        TOKEN,
        "the token that the command line shows to CRONQ_URL",
        show=hide,
    ),
    Setting(
        "CRONQ_LOG_LEVEL",
        "log_level",
        choice("debug", "info", "warning", "error"),
        "the least level that is logged",
        default="info",
    ),
    Setting(
        "CRONQ_LOG_FORMAT",
        "log_format",
        choice("auto", "console", "json"),
        "the form of log lines; auto is console on a terminal, else json",
        default="auto",
    ),
    Setting(
        "LOG_PATH",
        "log_path",
        FOLDER,
        "where a runner writes one file of output per job",
        default="/var/log/cronq if writable, else none",
        fallback=_log_path,
        is_used=False,
    ),
    Setting(
        "CRONQ_RUNNER_LOG_TO_STDOUT",
        "runner_log_to_stdout",
        FLAG,
        "a runner repeats the output of its jobs on its own stdout",
        default="off",
        is_used=False,
    ),
    Setting(
        "CRONQ_LOG_URL_TEMPLATE",
        "log_url_template",
        LINK_TEMPLATE,
        "where the web links to for the logs of a run",
        is_used=False,
    ),
    Setting(
        "CRONQ_CRASH_POINT",
        "crash_point",
        Kind(crash.parse, "a name in cronq.runtime.crash, or one with :n for the nth time"),
        "tests only: where the process kills itself",
        default="none",
        fallback=_none,
    ),
)

# What RABBITMQ_URL is composed of when it is not set itself.
BUS_PARTS: tuple[Setting, ...] = (
    Setting(
        "RABBITMQ_HOSTS",
        "hosts",
        HOSTS,
        "brokers, before RABBITMQ_HOST",
        default="localhost",
        old=("RABBITMQ_HOST",),
    ),
    Setting("RABBITMQ_PORT", "port", whole(1, 65535), "port of the hosts that name none", default="5672"),
    Setting("RABBITMQ_USER", "user", OPAQUE, "user", default="guest"),
    Setting("RABBITMQ_PASS", "password", OPAQUE, "password", default="guest", show=hide),
    Setting("RABBITMQ_VHOST", "vhost", OPAQUE, "virtual host", default="/"),
)

# Names that other programs use too: an odd value of these is remarked on and never stops a process.
SHARED_NAMES = frozenset({"SECRET_KEY", "DEBUG"})

# The ancestor's flags that now are a level of the log.
DEBUG_FLAGS = ("LOGGING_VERBOSE", "DEBUG")

IGNORED: Mapping[str, str] = {
    "LOGGING_FILE_CONFIG": "the log goes to stderr; see CRONQ_LOG_LEVEL and CRONQ_LOG_FORMAT",
    "SENTRY_DSN": "errors are in the log and in /metrics",
    "BUGSNAG_API_KEY": "errors are in the log and in /metrics",
}

# What a job finds in its environment; a `cronq` started by a job sees them too.
JOB_VARIABLES = frozenset(
    {
        "CRONQ_JOB",
        "CRONQ_CATEGORY",
        "CRONQ_RUN_ID",
        "CRONQ_ATTEMPT",
        "CRONQ_SCHEDULED_FOR",
        "CRONQ_TRIGGER",
        "CRONQ_FENCE",
        "CRONQ_HOST",
        "CRONQ_REVISION",
    }
)


def known_names() -> frozenset[str]:
    """Every variable that means something to us."""
    settings = SETTINGS + BUS_PARTS
    names = {name for setting in settings for name in (setting.name, *setting.old)}
    files = {
        f"{name}_FILE" for setting in settings if setting.is_secret for name in (setting.name, *setting.old)
    }
    return JOB_VARIABLES.union(names, files, DEBUG_FLAGS, IGNORED)

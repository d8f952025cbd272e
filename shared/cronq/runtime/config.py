"""Reads the environment into `Settings`, or says in one line which variable is wrong and what is allowed."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cronq.domain.errors import ConfigError
from cronq.runtime.parsing import FLAG, OPAQUE
from cronq.runtime.secrets import MASK
from cronq.runtime.settings import Settings
from cronq.runtime.sources import DEFAULT, Environment, Found, is_service_link
from cronq.runtime.table import BUS_PARTS, DEBUG_FLAGS, IGNORED, SETTINGS, SHARED_NAMES, Setting, known_names
from cronq.runtime.urls import compose_bus_url

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h

_HEARTBEATS_PER_LEASE = 3
_MOST_SHOWN = 80


class Described(NamedTuple):
    """One setting as it may be shown: secrets are masked in `value`."""

    name: str
    value: str
    source: str


def load(environ: Mapping[str, str]) -> Settings:
    """All settings; raises ConfigError at the first variable that is wrong.

    Besides `environ` it reads the `_FILE`s and looks which default folders are writable.
    """
    return _Loader(environ).load()


def describe(settings: Settings) -> list[Described]:
    """Every setting with its masked value ('' when there is none) and where it came from."""
    return [
        Described(setting.name, _shown_value(setting, settings), settings.sources.get(setting.name, DEFAULT))
        for setting in SETTINGS
    ]


def report(error: ConfigError) -> int:
    """Say it in one line on stderr; returns the exit code, 78."""
    print("cronq: " + " ".join(str(error).split("\n")), file=sys.stderr)
    return EXIT_CONFIG


class _Loader:
    """One reading of one environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.notices: dict[str, None] = {}  # in order, each once
        self.sources: dict[str, str] = {}
        self.variables = Environment(environ, self.notice)

    def notice(self, text: str) -> None:
        self.notices.setdefault(text)

    def load(self) -> Settings:
        # Any: the table pairs each field with the parser of its type, which a checker cannot follow.
        values: dict[str, Any] = {setting.field: self.value(setting) for setting in SETTINGS}
        if values["rabbitmq_url"] is None:
            values["rabbitmq_url"] = self.bus_from_parts()
        else:
            self.ignore_parts()
        if self.wants_debug() and "CRONQ_LOG_LEVEL" not in self.sources:
            values["log_level"] = "debug"
            self.sources["CRONQ_LOG_LEVEL"] = f"environment {' or '.join(DEBUG_FLAGS)} (old names)"
        self.check_lease(values["heartbeat_s"], values["lease_s"])
        self.remark_on_ignored()
        self.remark_on_unknown()
        return Settings(**values, sources=MappingProxyType(self.sources), notices=tuple(self.notices))

    def find(self, setting: Setting) -> Found | None:
        return self.variables.first((setting.name, *setting.old), with_file=setting.is_secret)

    def value(self, setting: Setting) -> object:
        found = self.find(setting)
        if found is None:
            return setting.default_value(self.environ)
        is_old = found.name.removesuffix("_FILE") in setting.old
        try:
            value = _parsed(setting, found)
        except ConfigError as error:
            if found.name.removesuffix("_FILE") not in SHARED_NAMES:
                raise
            self.notice(f"not used as {setting.name}: {error}")
            return setting.default_value(self.environ)
        self.sources[setting.name] = found.source + (" (old name)" if is_old else "")
        self.remark(setting, found, is_old=is_old)
        return value

    def remark(self, setting: Setting, found: Found, *, is_old: bool) -> None:
        if is_old:
            self.notice(f"{found.name} is an old name of {setting.name}")
        if not setting.is_used:
            self.notice(f"{found.name}: this release does nothing with it yet")
        remark = setting.kind.remark(found.text)
        if remark:
            self.notice(f"{found.name}: {remark}")

    def bus_from_parts(self) -> str | None:
        found = {part: self.find(part) for part in BUS_PARTS}
        used = [each.name for each in found.values() if each]
        if not used:
            return None
        self.sources["RABBITMQ_URL"] = f"environment {', '.join(used)} (old names)"
        self.notice(f"{', '.join(used)}: old names; RABBITMQ_URL is the present one")
        parts: dict[str, Any] = {
            part.field: _parsed(part, each) if each else part.default_value(self.environ)
            for part, each in found.items()
        }
        return compose_bus_url(**parts)

    def ignore_parts(self) -> None:
        for name in _part_names():
            if self.environ.get(name) and not is_service_link(name, self.environ[name]):
                self.notice(f"{name} is ignored, because RABBITMQ_URL is set")

    def wants_debug(self) -> bool:
        # A list, not a generator: each flag is looked at, so that each odd one gets its notice.
        flags = [self.debug_flag(name) for name in DEBUG_FLAGS]
        return any(flags)

    def debug_flag(self, name: str) -> bool:
        setting = Setting(name, "", FLAG, "")
        found = self.variables.read(name, with_file=False)
        if found is None:
            return False
        try:
            is_on = bool(_parsed(setting, found))
        except ConfigError as error:
            if name not in SHARED_NAMES:
                raise
            self.notice(f"ignored: {error}")
            return False
        self.notice(f"{name} is an old name of CRONQ_LOG_LEVEL=debug and does nothing else")
        return is_on

    def check_lease(self, heartbeat_s: float, lease_s: float) -> None:
        if lease_s < _HEARTBEATS_PER_LEASE * heartbeat_s:
            raise ConfigError(
                f"CRONQ_LEASE_S: {lease_s:g} ({self.source('CRONQ_LEASE_S')}) is under three times "
                f"CRONQ_HEARTBEAT_S: {heartbeat_s:g} ({self.source('CRONQ_HEARTBEAT_S')}); "
                f"allowed: a lease of {_HEARTBEATS_PER_LEASE * heartbeat_s:g} or more, or a shorter heartbeat"
            )

    def source(self, name: str) -> str:
        return self.sources.get(name, DEFAULT)

    def remark_on_ignored(self) -> None:
        for name, advice in IGNORED.items():
            if self.environ.get(name):
                self.notice(f"{name} is ignored: {advice}")

    def remark_on_unknown(self) -> None:
        known = known_names()
        for name in sorted(self.environ):
            if (
                name.startswith("CRONQ_")
                and name not in known
                and not is_service_link(name, self.environ[name])
            ):
                self.notice(f"{name} is not a setting{_suggestion(name, known)}")


def _parsed(setting: Setting, found: Found) -> object:
    text = found.text if setting.kind is OPAQUE else found.text.strip()  # a password may end in a blank
    try:
        return setting.kind.parse(text)
    except ValueError as refusal:
        shown = _shown_text(setting, text)
        raise ConfigError(f"{found.name}: {shown} {refusal}; allowed: {setting.allowed}") from None


def _shown_text(setting: Setting, text: str) -> str:
    shown = setting.show(text)
    if len(shown) > _MOST_SHOWN:
        shown = shown[:_MOST_SHOWN] + "…"
    return shown if shown == MASK else repr(shown)


def _suggestion(name: str, known: frozenset[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _part_names() -> Sequence[str]:
    return [name for part in BUS_PARTS for name in (part.name, *part.old)]


def _shown_value(setting: Setting, settings: Settings) -> str:
    return setting.show(_as_text(getattr(settings, setting.field)))


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value)
    return str(value)

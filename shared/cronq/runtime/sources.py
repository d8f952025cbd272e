"""Where a value comes from: the variable, its `_FILE`, or a name that it had before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cronq.domain.errors import ConfigError
from cronq.runtime.secrets import read_secret

DEFAULT = "default"

# Kubernetes gives each pod one such variable per Service of its namespace:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://.*")
_SERVICE_LINK_NAME = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")


@dataclass(frozen=True)
class Found:
    """One text, the variable an error about it must name, and the words `config show` uses for its source."""

    name: str
    text: str = field(repr=False)
    source: str


@dataclass(frozen=True)
class Environment:
    """The variables of a process; `notice` gets each remark on how they are read."""

    variables: Mapping[str, str] = field(repr=False)
    notice: Callable[[str], None]

    def first(self, names: Sequence[str], *, with_file: bool) -> Found | None:
        """The first of these names that is set, the present name before its older ones.

        Raises ConfigError when a name and its `_FILE` are both set, or the file cannot be used.
        """
        found = [each for name in names if (each := self.read(name, with_file=with_file))]
        for ignored in found[1:]:
            self.notice(f"{ignored.name} is ignored, because {found[0].name} is set")
        return found[0] if found else None

    def read(self, name: str, *, with_file: bool) -> Found | None:
        """What `name` or `name`_FILE holds; an empty variable counts as not set."""
        text, path = self._text(name), self._text(f"{name}_FILE") if with_file else ""
        if text and path:
            raise ConfigError(f"{name} and {name}_FILE are both set; allowed: one of them")
        if path:
            return self._from_file(f"{name}_FILE", path)
        return Found(name, text, f"environment {name}") if text else None

    def _text(self, name: str) -> str:
        text = self.variables.get(name, "").rstrip("\r\n")
        if name.endswith("_PORT") and _SERVICE_LINK_VALUE.fullmatch(text):
            self.notice(f"{name} is ignored: its value is a Kubernetes service link")
            return ""
        return text if text.strip() else ""

    def _from_file(self, variable: str, path: str) -> Found:
        text, remark = read_secret(variable, path)
        if remark:
            self.notice(remark)
        return Found(variable, text, f"file {path} ({variable})")


def is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes, not an operator, put this variable there."""
    return bool(_SERVICE_LINK_NAME.fullmatch(name) or _SERVICE_LINK_VALUE.fullmatch(text))

"""The environment that a job sees: the runner's, without the runner's own settings, and its run's."""

from __future__ import annotations

from collections.abc import Mapping

from cronq.runtime.table import SETTINGS

OWN_PREFIXES = ("CRONQ_", "RABBITMQ_")
OWN = frozenset(name for s in SETTINGS for name in (s.name, *s.old) if s.is_secret)


def base_environment(environ: Mapping[str, str], host: str) -> dict[str, str]:
    """Nothing that opens a door of the runner reaches a job: no URL, no key, no token."""
    kept = {k: v for k, v in environ.items() if not _is_own(k)}
    return kept | {"CRONQ_HOST": host}


def _is_own(name: str) -> bool:
    return name.startswith(OWN_PREFIXES) or name.removesuffix("_FILE") in OWN

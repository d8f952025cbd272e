"""What a runner serves, and what it is called."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass

from cronq.bus.interface import Queue
from cronq.bus.topology import job_queue, named_queue
from cronq.domain.errors import ConfigError
from cronq.runner.folder import Folder
from cronq.runtime.settings import Settings


@dataclass(frozen=True)
class Options:
    """What the command line adds to the settings: routing keys (default: the settings' queues), name."""

    keys: tuple[str, ...] = ()
    name: str | None = None
    slots: int | None = None


def job_queues(settings: Settings, options: Options) -> list[Queue]:
    """What the command line names, else the settings. Raises ConfigError that says which of them it was."""
    source = "--queue" if options.keys else "CRONQ_QUEUE"
    try:
        return [job_queue(key) for key in options.keys] or [named_queue(name) for name in settings.queues]
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def new_instance(folder: Folder) -> str:
    """32 hex digits; those of a later process on the same folder sort after ours, whatever the clock does."""
    return f"{folder.count_process():016x}{secrets.token_hex(8)}"


def host_name() -> str:
    """The full name, as the ancestor told it; where that is only `localhost`, the short one."""
    full = socket.getfqdn()
    return socket.gethostname() if full.startswith("localhost") else full

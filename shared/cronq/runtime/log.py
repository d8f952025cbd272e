"""How events become log lines on stderr: JSON or console, one pipeline for ours and for the libraries'.

Code emits named events with fields: `log.get_logger().info("run.started", run_id=…)`. What is bound by
`structlog.contextvars.bind_contextvars` in a thread is in all its lines.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from cronq.runtime.secrets import mask_value

_CHATTY = ("pika", "alembic", "urllib3", "werkzeug")
_MULTILINE = frozenset({"exception", "stack"})


def configure(level: str, fmt: str, service: str, stream: TextIO | None = None) -> None:
    """Send all logging of this process to stderr (or `stream`); calling it again replaces the first call.

    `level` is debug, info, warning or error; `fmt` is console, json, or auto: console on a terminal.
    Lines say `service` where no thread bound another one.
    """
    stream = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_processors(service)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _set_root(_handler(stream, shared, _renderers(fmt, stream)), least)


def get_logger() -> FilteringBoundLogger:
    """A logger; cheap to keep in a module, because it looks up the configuration at each call."""
    return cast(FilteringBoundLogger, structlog.get_logger())


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from those that a test or a library added."""


def _handler(stream: TextIO, shared: Iterable[Processor], renderers: Iterable[Processor]) -> _Handler:
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    return handler


def _set_root(handler: _Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(
            max(level, logging.INFO) if level < logging.INFO else logging.WARNING
        )


def _shared_processors(service: str) -> list[Processor]:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _renderers(fmt: str, stream: TextIO) -> list[Processor]:
    is_terminal = stream.isatty()
    if fmt == "json" or (fmt == "auto" and not is_terminal):
        return [mask_secrets, structlog.processors.JSONRenderer(default=str)]
    console = structlog.dev.ConsoleRenderer(
        colors=is_terminal and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [mask_secrets, escape_controls, console]


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: fields named like secrets, and credentials inside any text, become the mask."""
    return {name: mask_value(name, value) for name, value in event.items()}


def escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: no text can move the cursor of a terminal, or begin a line that looks like another."""
    return {
        name: _escaped(value, keep="\n" if name in _MULTILINE else "") if isinstance(value, str) else value
        for name, value in event.items()
    }


def _escaped(text: str, *, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)

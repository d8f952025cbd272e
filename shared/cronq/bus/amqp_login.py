"""How we introduce ourselves to a broker, and what its refusal means in words."""

from __future__ import annotations

import getpass
import os
import re
import socket
import ssl
from functools import cache

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorPhaseErrorBase
from pika.exceptions import (
    AMQPConnectionError,
    ConnectionBlockedTimeout,
    ConnectionClosed,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from cronq.bus.amqp_url import Server, Tls
from cronq.domain.errors import ConfigError

HEARTBEAT_S = 15
_CONNECT_TIMEOUT_S = 5  # TCP alone
_STACK_TIMEOUT_S = 10  # TCP, TLS and AMQP together
_BLOCKED_TIMEOUT_S = 10


def parameters(server: Server, *, name: str, role: str) -> pika.ConnectionParameters:
    """What the client library needs to connect once to this server."""
    tls = pika.SSLOptions(tls_context(server.tls), server.host) if server.tls else None
    return pika.ConnectionParameters(
        host=server.host,
        port=server.port,
        virtual_host=server.vhost,
        credentials=pika.PlainCredentials(server.user, server.password),
        heartbeat=HEARTBEAT_S if server.heartbeat_s is None else server.heartbeat_s,
        ssl_options=tls,
        connection_attempts=1,
        socket_timeout=_CONNECT_TIMEOUT_S,
        stack_timeout=_STACK_TIMEOUT_S,
        blocked_connection_timeout=_BLOCKED_TIMEOUT_S,
        client_properties={
            "connection_name": name,
            "product": "CronQ",
            "role": role,
            "user": _user(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        },
    )


@cache
def tls_context(tls: Tls) -> ssl.SSLContext:
    """A context that checks the certificate and its host name. Raises ConfigError for a bad file."""
    try:
        context = ssl.create_default_context(cafile=tls.cacertfile)
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"bus URL: {tls} can't be read: {error}") from None
    return context


def explain(error: BaseException, server: Server) -> str:
    """Why there is no connection, in one line without the password."""
    text = _reason(error, server)
    return text.replace(server.password, "***") if server.password not in ("", server.user) else text


def _reason(error: BaseException, server: Server) -> str:
    error = _innermost(error)
    text = _text(error)
    if isinstance(error, ProbableAuthenticationError):
        return f"{server} refuses user {server.user!r}: {text}"
    if isinstance(error, ProbableAccessDeniedError):
        return f"{server} refuses virtual host {server.vhost!r} to user {server.user!r}: {text}"
    if isinstance(error, ConnectionBlockedTimeout):
        return f"{server} took no messages for {_BLOCKED_TIMEOUT_S} s"
    return f"{server}: {text}"


def _innermost(error: BaseException) -> BaseException:
    """The library wraps what went wrong up to three times."""
    inner: object = None
    if isinstance(error, AMQPConnectionWorkflowFailed):
        inner = error.exceptions[-1]
    elif isinstance(error, AMQPConnectorPhaseErrorBase):
        inner = error.exception
    elif isinstance(error, AMQPConnectionError) and error.args:
        inner = error.args[0]
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _text(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        return f"{error.reply_code} {error.reply_text}"
    # Some causes come as their repr only: ConnectionClosedByBroker: (403) 'ACCESS_REFUSED…'
    quoted = re.search(r"\((\d{3})\) (['\"])(.*?)\2", str(error))
    if quoted:
        return f"{quoted[1]} {quoted[3]}"
    return str(error) or type(error).__name__


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())

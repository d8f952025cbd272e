"""Secrets: read from files, recognised by their names, and never shown."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from cronq.domain.errors import ConfigError

MASK = "***"

_MOST_BYTES = 64 * 1024
# Bounded, so that a long text without an @ costs no quadratic search.
_USER_AND_PASSWORD = re.compile(r"(?P<head>://[^\s:/@]{0,100}):\S{0,500}@")
_WEB_USER = re.compile(r"(?P<head>https?://)[^\s/@]{1,500}@", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<head>[?&](?:password|passwd|pwd|secret|token|api_key|access_token|key)=)[^&\s]+", re.IGNORECASE
)
_BEARER = re.compile(r"(?P<head>\bBearer\s+)\S+", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

_SECRET_ANYWHERE = frozenset(
    {
        "password",
        "passwords",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "secrets",
        "authorization",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "apikey",
        "material",
    }
)
_SECRET_AT_END = frozenset({"pass", "token", "tokens", "dsn", "env", "environ"})
_SECRET_KEYS = frozenset(
    {"api", "signing", "private", "access", "trusted", "encryption", "master", "session"}
)


def hide(text: str) -> str:
    """The mask, whatever the text."""
    return MASK if text else ""


def mask_url(url: str) -> str:
    """The URL with its user but without passwords, tokens and the like; for one URL, well formed or not."""
    # Greedy to the last @: a password may itself hold a raw @, / or blank.
    without_password = re.sub(r"(://[^:/@]*):.*@", rf"\1:{MASK}@", url, flags=re.DOTALL)
    return mask_text(without_password)


def mask_text(text: str) -> str:
    """Any text with the credentials in its URLs and bearer headers masked."""
    text = _USER_AND_PASSWORD.sub(rf"\g<head>:{MASK}@", text)
    text = _WEB_USER.sub(rf"\g<head>{MASK}@", text)
    text = _PARAMETER.sub(rf"\g<head>{MASK}", text)
    return _BEARER.sub(rf"\g<head>{MASK}", text)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `api_token` does, `routing_key` and `token_id` don't."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if words[-1] in ("key", "keys") and _SECRET_KEYS.intersection(words):
        return True
    return words[-1] in _SECRET_AT_END or bool(_SECRET_ANYWHERE.intersection(words))


def mask_value(name: str, value: object) -> object:
    """The value as a log may show it: numbers stay, a secret becomes the mask, containers are searched."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret_name(name):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {key: mask_value(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value("", inner) for inner in value]
    return value


def read_secret(variable: str, path: str) -> tuple[str, str | None]:
    """The text of a secret's file without its trailing newline, and a remark about its rights or None.

    Raises ConfigError naming `variable`, the path and the errno. A file that everybody can read is
    only remarked on, because Docker and Kubernetes mount secrets so; one that everybody can write
    is refused.
    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {describe_os_error(error)}") from None
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{variable}: {path} is writable by every user (mode {mode:04o}); allowed: 0600")
    return _decode(variable, path, content), _remark_on(variable, path, mode)


def describe_os_error(error: OSError) -> str:
    """What the system said, with number and name: `Permission denied (errno 13, EACCES)`."""
    number = error.errno or 0
    return f"{error.strerror or error} (errno {number}, {errno.errorcode.get(number, 'unknown')})"


def _decode(variable: str, path: str, content: bytes) -> str:
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{variable}: {path} is longer than {_MOST_BYTES} bytes")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{variable}: {path} is not UTF-8 text") from None
    if not text:
        raise ConfigError(f"{variable}: {path} is empty")
    return text


def _remark_on(variable: str, path: str, mode: int) -> str | None:
    if not mode & stat.S_IROTH:
        return None
    return f"{variable}: {path} is readable by every user (mode {mode:04o}); chmod 600 keeps it to its owner"

"""A crontab's settings in front of a command: what makes `/bin/sh -c` see them as cron's shell does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

# What cron goes by itself, or sets whatever a crontab says.
CRONS_OWN = frozenset(
    {"CRON_TZ", "MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING", "LOGNAME"}
)
PLAIN_SHELL = "/bin/sh"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A shell takes these from nowhere but itself, or only when it starts: an export comes too late or fails.
_SHELLS = frozenset(
    [
        *("BASHOPTS", "BASH_ENV", "ENV", "EUID", "HISTCMD", "IFS", "LINENO", "OLDPWD", "OPTIND"),
        *("PPID", "PS4", "PWD", "RANDOM", "SECONDS", "SHELLOPTS", "UID", "_"),
    ]
)


def cannot_be_exported(name: str) -> str:
    """Why an export in front of a command is not the same as having had the variable; '' if it is."""
    if not _NAME.fullmatch(name):
        return "no shell can set a variable of that name"
    if name in _SHELLS or name.startswith("LD_"):
        return "the shell goes by it when it starts, before the command could set it"
    if name.startswith("CRONQ_"):
        return "CronQ sets such variables itself"
    return ""


def with_environment(command: str, environment: Mapping[str, str]) -> str:
    """The command preceded by exports of these variables, and run by their SHELL if that is another.

    `not_exported` names those that it leaves out though a command might miss them.
    """
    left_out = CRONS_OWN.union(not_exported(environment))
    wanted = {name: value for name, value in environment.items() if name not in left_out}
    shell = wanted.get("SHELL", PLAIN_SHELL)
    if shell == PLAIN_SHELL:
        wanted.pop("SHELL", None)
    else:
        command = f"exec {shlex.quote(shell)} -c {shlex.quote(command)}"
    if not wanted:
        return command
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items())
    # cron starts a job in its HOME.
    home = 'cd "$HOME"; ' if "HOME" in wanted else ""
    return f"export {exports}; {home}{command}"


def not_exported(environment: Iterable[str]) -> list[str]:
    """The variables of which an export would not come to the same."""
    return [name for name in environment if name not in CRONS_OWN and cannot_be_exported(name)]

"""The name of a job by the command that a crontab gives: the basename of the program that does the work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from posixpath import basename
from typing import NamedTuple

from cronq.domain.job import name_key

_NAMELESS = "job"
_LONGEST = 100
# Characters of a command: Debian's cron allows no more.
_LOOKED_AT = 1_000
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.@+-]+")
_SEPARATOR = re.compile(r"[();|&]+|[{}!]|if|then|elif|else|while|until|do")
_REDIRECTION = re.compile(r"[&<>|]*[<>][&<>|]*")
# They prepare or guard what comes after them.
_BEFORE = frozenset(
    [
        *("cd", "test", "[", "[[", ":", "true", "sleep", "command", "which", "type"),
        *("export", "unset", "set", "umask", "ulimit", ".", "source"),
    ]
)
_INTERPRETER = re.compile(r"(?:ba|da|z|k)?sh|(?:python|perl|ruby|php|lua)[0-9.]*|node|java")
_LINE_FOLLOWS = re.compile(r"-[a-z]*c")
_CODE_FOLLOWS = ("-c", "-e", "-r")


class _Wrapper(NamedTuple):
    """A program that runs another: its options that take a value, and its own operands before that."""

    valued: tuple[str, ...] = ()
    operands: int = 0


_WRAPPERS = {
    "chronic": _Wrapper(),
    "env": _Wrapper(("-u",)),
    "exec": _Wrapper(),
    "flock": _Wrapper(("-w", "-E"), operands=1),
    "ionice": _Wrapper(("-c", "-n")),
    "nice": _Wrapper(("-n",)),
    "nohup": _Wrapper(),
    "run-parts": _Wrapper(("-a", "-u")),
    "setsid": _Wrapper(),
    "sudo": _Wrapper(("-u", "-g")),
    "time": _Wrapper(),
    "timeout": _Wrapper(("-k", "-s"), operands=1),
}


class Names:
    """Gives each command a name of its own, the same each time that the same commands come in this order."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def name(self, command: str) -> str:
        base = readable_name(command)
        number = self._counts.get(base, 0)
        name = base
        while number == 0 or name_key(name) in self._taken:
            number += 1
            name = base if number == 1 else f"{base}-{number}"
        self._counts[base] = number
        self._taken.add(name_key(name))
        return name


def readable_name(command: str) -> str:
    """`backup.sh` of `cd /srv && nice -n 10 ./backup.sh --all`; `job` where no program is to be seen."""
    for words in _simple_commands(command):
        program = _program(words)
        if program and program not in _BEFORE:
            name = _NOT_IN_A_NAME.sub("-", program).strip("-.")[:_LONGEST]
            if name:
                return name
    return _NAMELESS


def _simple_commands(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    tokens = iter(_tokens(command[:_LOOKED_AT]))
    for token in tokens:
        if _REDIRECTION.fullmatch(token):
            next(tokens, "")
            if words and words[-1].isdecimal():  # of 2>&1
                words.pop()
        elif _SEPARATOR.fullmatch(token):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def _tokens(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return command.split()


def _program(words: Sequence[str]) -> str:
    """The basename of what a simple command runs, behind assignments, wrappers and interpreters."""
    wrapper = ""
    while words := _behind_assignments(words):
        program, rest = basename(words[0]), words[1:]
        if program not in _WRAPPERS:
            return _script(program, rest) or program
        wrapper = wrapper or program
        words = _operands(rest, _WRAPPERS[program])
    return wrapper


def _behind_assignments(words: Sequence[str]) -> Sequence[str]:
    index = 0
    while index < len(words) and _ASSIGNMENT.fullmatch(words[index]):
        index += 1
    return words[index:]


def _operands(words: Sequence[str], wrapper: _Wrapper) -> Sequence[str]:
    """What a wrapper runs: the words behind its options and its own operands."""
    behind = _behind_options(words, wrapper)[wrapper.operands :]
    return _behind_options(behind, wrapper) if wrapper.operands else behind


def _behind_options(words: Sequence[str], wrapper: _Wrapper) -> Sequence[str]:
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in wrapper.valued else 1
    return words[index:]


def _script(program: str, words: Sequence[str]) -> str:
    """What an interpreter is given, a script, a module or a shell's line; '' where that has no name."""
    if not _INTERPRETER.fullmatch(program):
        return ""
    for index, word in enumerate(words):
        if program.endswith("sh") and _LINE_FOLLOWS.fullmatch(word):
            inner = readable_name(" ".join(words[index + 1 : index + 2]))
            return "" if inner == _NAMELESS else inner
        if word in _CODE_FOLLOWS:
            return ""
        if not word.startswith("-"):
            return basename(word)
    return ""

"""`cronq import crontab` on files, on a user's crontab, and what a shell makes of the commands it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cronq.cli import USAGE, main
from cronq.domain.crontab_env import with_environment


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str

    @property
    def printed(self) -> Any:
        return json.loads(self.out)


Import = Callable[..., Done]


@pytest.fixture
def imported(capsys: pytest.CaptureFixture[str]) -> Import:
    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(args=["import", "crontab", *map(str, arguments), "-o", "json"])
        return Done(ended.value.code, *capsys.readouterr())

    return run


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("place", "user"),
    [
        ("etc/cron.d/backup", "root"),
        ("cron.d/backup", "root"),
        ("etc/crontab", "root"),
        ("home/crontab", None),
        ("spool/crontabs/root", None),
        ("etc/backup", None),
    ],
)
def test_the_place_of_a_file_says_whether_it_has_a_user_column(
    place: str, user: str | None, tmp_path: Path, imported: Import
) -> None:
    found = imported(written(tmp_path / place, "@daily root x\n")).printed
    assert found["jobs"][0].get("user") == user
    assert found["category"] == Path(place).name


def test_a_place_is_known_from_inside_of_it(
    tmp_path: Path, imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written(tmp_path / "etc/crontab", "@daily root x\n").parent)
    assert imported("crontab").printed["jobs"][0]["user"] == "root"


@pytest.mark.parametrize("name", ["nothing", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_wrong_usage(
    name: str, tmp_path: Path, imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = imported(name)
    assert (done.code, done.out) == (USAGE, "")
    assert "cannot be read" in done.err


def test_a_crontab_beyond_all_sense_is_wrong_usage(
    tmp_path: Path, imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cronq.cli.import_crontab.MAX_BODY_BYTES", 10)
    done = imported(written(tmp_path / "long", "@daily x\n# 3456\n"))
    assert done.code == USAGE
    assert "longer than 10 bytes" in done.err


@pytest.fixture
def crontab_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for crontab(1) that knows one user."""
    refusal = '{ echo "no crontab for $3" >&2; exit 1; }'
    script = f'#!/bin/sh\n[ "$*" = "-l -u www-data" ] || {refusal}\necho "@daily x"\n'
    written(tmp_path / "bin/crontab", script).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")


@pytest.mark.usefixtures("crontab_command")
def test_a_users_crontab_is_the_one_that_crontab_lists(imported: Import) -> None:
    done = imported("--user", "www-data", "--tz", "UTC")
    assert (done.code, done.printed["category"]) == (0, "www-data")
    assert done.printed["jobs"] == [{"name": "x", "schedule": "@daily", "command": "x", "timezone": "UTC"}]
    assert "only runners of www-data" in done.err


@pytest.mark.usefixtures("crontab_command")
def test_a_user_without_a_crontab_is_told_in_the_words_of_crontab(imported: Import) -> None:
    done = imported("--user", "nobody")
    assert (done.code, done.out) == (USAGE, "")
    assert "crontab -l -u nobody: no crontab for nobody" in done.err


def test_a_host_without_crontab_is_told(
    tmp_path: Path, imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = imported("--user", "root")
    assert done.code == USAGE
    assert "cannot be run on this host" in done.err


def by_cron(command: str, environment: Mapping[str, str], folder: Path) -> tuple[int, bytes]:
    """As cron runs it: the settings in its environment, in its HOME, by its SHELL."""
    shell = environment.get("SHELL", "/bin/sh")
    done = subprocess.run(
        [shell, "-c", command],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd=environment.get("HOME", folder),
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout


def by_runner(command: str, folder: Path) -> tuple[int, bytes]:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout


ENVIRONMENTS: list[dict[str, str]] = [
    {"A": "it's 1 $HOME `id`", "B": "x  y"},
    {"HOME": "/usr", "A": ""},
    {"SHELL": "/bin/bash", "A": "'\"\\", "LANG": "C"},
    {"SHELL": "/bin/bash", "HOME": "/", "PATH": "/bin"},
]
COMMANDS = [
    'printf "%s|" "$A" "$B" "$HOME" "$PATH"; pwd',
    "A=other; echo $A; exit 3",
    "echo $A && sh -c 'echo \"$A\"' | cat",
    'false || (echo "it\'s $A"; pwd) # a comment',
    "echo 'not closed",
    "&& echo x",
    "cd /tmp && pwd; kill -9 $$",
    'echo "${A:-none}" "${0##*/}"; echo $#',
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_exports_does_what_it_did_under_cron(
    command: str, environment: dict[str, str], tmp_path: Path
) -> None:
    expected = by_cron(command, environment, tmp_path)
    assert by_runner(with_environment(command, environment), tmp_path) == expected

"""What gets installed: the files, the commands, and the versions that `constraints.txt` pins."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
NAMESPACES = sorted(ROOT.glob("shared/cronq")) + sorted(ROOT.glob("services/*/cronq"))
PORTIONS = [folder for namespace in NAMESPACES for folder in namespace.iterdir() if any(folder.glob("*.py"))]
SERVER_LIBRARIES = (
    "alembic", "cryptography", "dateutil", "flask", "flask_wtf", "gunicorn", "pymysql", "sqlalchemy",
)  # fmt: skip


def _relative(paths: list[Path]) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in paths}


def _requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [
        Requirement(line)
        for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    ]


def _pins() -> dict[str, str]:
    lines = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in lines}


def _imports(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_the_wheel_packs_every_folder_of_the_namespace() -> None:
    assert set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == _relative(NAMESPACES)


def test_an_editable_install_sees_every_folder_of_the_namespace() -> None:
    parents = [namespace.parent for namespace in NAMESPACES]

    assert set(PYPROJECT["tool"]["hatch"]["build"]["dev-mode-dirs"]) == _relative(parents)


def test_type_checking_sees_every_folder_of_the_namespace() -> None:
    roots = {path.removeprefix("$MYPY_CONFIG_FILE_DIR/") for path in PYPROJECT["tool"]["mypy"]["mypy_path"]}

    assert roots >= _relative([namespace.parent for namespace in NAMESPACES])


def test_the_namespace_itself_is_no_package() -> None:
    """One __init__.py there would hide the subpackages of the other folders."""
    assert [namespace for namespace in NAMESPACES if (namespace / "__init__.py").exists()] == []


@pytest.mark.parametrize("portion", PORTIONS, ids=lambda portion: portion.name)
def test_a_subpackage_is_a_package_that_says_it_is_typed(portion: Path) -> None:
    assert {"__init__.py", "py.typed"} <= {path.name for path in portion.iterdir()}


def test_every_file_of_a_subpackage_is_in_the_wheel() -> None:
    packed = {file.path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    present = [path for portion in PORTIONS for path in portion.rglob("*") if path.is_file()]

    assert {str(path) for path in present if path.suffix != ".pyc"} == packed


@pytest.mark.parametrize("target", PROJECT["scripts"].values(), ids=PROJECT["scripts"].keys())
def test_a_console_script_leads_to_a_function(target: str) -> None:
    module, _, function = target.partition(":")

    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("module", PROJECT["entry-points"]["cronq.services"].values())
def test_a_service_brings_its_command(module: str) -> None:
    assert isinstance(importlib.import_module(module).command, click.Command)


def test_a_worker_node_needs_no_server_library() -> None:
    hidden = f"import sys; sys.modules.update(dict.fromkeys({SERVER_LIBRARIES}))"
    script = f"{hidden}; import cronq.runner, cronq.cli; cronq.cli.main()"

    ran = subprocess.run(
        [sys.executable, "-c", script, "runner", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr


def test_only_modules_named_amqp_speak_to_the_amqp_client() -> None:
    speakers = {
        module for portion in PORTIONS for module in portion.rglob("*.py") if "pika" in _imports(module)
    }

    assert speakers
    assert [module for module in speakers if not module.name.startswith("amqp")] == []


def test_each_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    pins = _pins()
    wrong = [
        str(wanted)
        for wanted in _requirements()
        if not wanted.specifier.contains(pins.get(canonicalize_name(wanted.name), "0"), prereleases=True)
    ]

    assert wrong == []
    assert {canonicalize_name(wanted.name) for wanted in _requirements()} <= pins.keys()


def test_cronq_does_not_pin_itself() -> None:
    assert "cronq" not in _pins()

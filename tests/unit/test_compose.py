"""docker-compose.yml and the Dockerfile: valid, and true to what the services expect."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cronq.runtime.table import SETTINGS, known_names

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
VARIABLE = re.compile(r"\$\{(\w+)(:[?-])?")
SECRET = re.compile(r"PASS|KEY|TOKEN|SECRET|DATABASE_URL")


def _environment(service: str) -> dict[str, str | None]:
    return dict(SERVICES[service].get("environment", {}))


def _conditions(wanted: str) -> set[str]:
    return {
        target
        for service in SERVICES.values()
        for target, needed in service.get("depends_on", {}).items()
        if needed["condition"] == wanted
    }


def _seconds(duration: object) -> float:
    units = {"s": 1, "m": 60}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)([sm])", str(duration)))


def test_the_file_follows_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_service_runs_a_pinned_image_or_our_own() -> None:
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]

    assert [image for image in foreign if not re.fullmatch(r"[\w/.-]+:\d+\.\d+[\w.-]*", image)] == []
    assert {service["build"]["dockerfile"] for service in OURS.values()} == {"deploy/Dockerfile"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_depends_on_services_that_exist(name: str) -> None:
    assert SERVICES[name].get("depends_on", {}).keys() <= SERVICES.keys()


@pytest.mark.parametrize("name", sorted(_conditions("service_healthy")))
def test_what_must_be_healthy_says_whether_it_is(name: str) -> None:
    assert "healthcheck" in SERVICES[name]


@pytest.mark.parametrize("name", sorted(_conditions("service_completed_successfully")))
def test_what_must_complete_is_not_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_settings_that_exist(name: str) -> None:
    assert _environment(name).keys() <= known_names()


@pytest.mark.parametrize("name", OURS)
def test_a_setting_has_a_value_that_its_service_accepts(name: str) -> None:
    kinds = {setting.name: setting.kind for setting in SETTINGS}
    written = {key: value for key, value in _environment(name).items() if value and "${" not in value}

    for key in written.keys() & kinds.keys():
        kinds[key].parse(str(written[key]))


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_one_of_our_commands(name: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert SERVICES[name]["command"][0] in scripts


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_file(name: str) -> None:
    secrets = {key: value for key, value in _environment(name).items() if SECRET.search(key)}
    allowed = ("MARIADB_RANDOM_ROOT_PASSWORD",)

    assert [
        key
        for key, value in secrets.items()
        if value is not None and ":?" not in value and key not in allowed
    ] == []


def test_the_command_at_the_head_makes_every_secret_that_is_required() -> None:
    text = FILE.read_text()
    required = {name for name, kind in VARIABLE.findall(text) if kind == ":?"}
    made = re.search(r"for name in ([A-Z_ ]+); do", text)

    assert made
    assert set(made[1].split()) == required


def test_the_runner_knows_no_database_and_the_web_no_broker() -> None:
    assert [key for key in _environment("runner") if "DATABASE" in key] == []
    assert [key for key in _environment("web") if "RABBITMQ" in key] == []


def test_the_runner_has_time_to_drain_before_it_is_killed() -> None:
    runner = SERVICES["runner"]

    assert runner["environment"]["CRONQ_ON_TERM"] == "wait"
    assert _seconds(runner["stop_grace_period"]) > float(runner["environment"]["CRONQ_DRAIN_S"])


def test_only_the_web_is_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"web": ["127.0.0.1:${WEB_PORT:-5000}:5000"]}


def test_every_named_volume_is_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]

    assert {mount.partition(":")[0] for mount in mounts} == COMPOSE["volumes"].keys()


def test_the_image_copies_what_exists_and_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    users = [line for line in lines if line.startswith("USER ")]

    assert [path for paths in copied for path in paths if not (ROOT / path).exists()] == []
    assert users == ["USER 10001"]

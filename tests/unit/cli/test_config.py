from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner, Result

from cronq.cli.config import config_group
from cronq.runtime.table import SETTINGS, known_names


def show(*arguments: str, **environ: str) -> Result:
    elsewhere = {name: None for name in os.environ if name in known_names() or name.startswith("CRONQ_")}
    return CliRunner().invoke(config_group, ["show", *arguments], env={**elsewhere, **environ})


def test_table_has_a_line_for_every_setting() -> None:
    result = show(CRONQ_SLOTS="3")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["NAME", "VALUE", "SOURCE", "MEANING"]
    assert [line.split()[0] for line in lines[1:]] == [setting.name for setting in SETTINGS]
    slots = next(line for line in lines if line.startswith("CRONQ_SLOTS"))
    assert slots.split(maxsplit=4) == [
        "CRONQ_SLOTS",
        "3",
        "environment",
        "CRONQ_SLOTS",
        "runs at once per runner",
    ]


def test_json_has_name_value_source_and_meaning() -> None:
    rows = json.loads(show("-o", "json", DATABASE_URL="mysql+pymysql://u:hunter2@h/d").stdout)
    assert rows[0] == {
        "name": "DATABASE_URL",
        "value": "mysql+pymysql://u:***@h/d",
        "source": "environment DATABASE_URL",
        "meaning": "the database",
    }


@pytest.mark.parametrize("form", ["table", "json"])
def test_secrets_are_masked_in_both_forms(form: str) -> None:
    result = show("-o", form, CRONQ_API_TOKEN="hunter2-hunter2-hunter2", RABBITMQ_URL="amqp://u:hunter2@h/")
    assert result.exit_code == 0
    assert "hunter2" not in result.output


def test_notices_are_talk_on_stderr() -> None:
    result = show("-o", "json", CRONQ_HEARTBEAT="3")
    assert json.loads(result.stdout)
    assert result.stderr == "notice: CRONQ_HEARTBEAT is not a setting; did you mean CRONQ_HEARTBEAT_S?\n"


def test_wrong_setting_exits_78_with_one_line() -> None:
    result = show(CRONQ_AUTH="maybe")
    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr == "cronq: CRONQ_AUTH: 'maybe' is none of the allowed words; allowed: on, none\n"

"""A short soak: random faults of every kind, and every occurrence accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import MariaDB, RabbitMQ
from tests.soak.report import report
from tests.soak.soak import Size, soak

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


def test_fault_06_34_35_a_minute_of_faults_loses_and_doubles_nothing(
    tmp_path: Path, private_mariadb: MariaDB, private_rabbitmq: RabbitMQ
) -> None:
    size = Size(seconds=60, jobs=60, starts_per_s=6, longest_fault_s=5)

    outcome = soak(tmp_path, private_mariadb, private_rabbitmq, size, seed=1)

    assert outcome.verdict.violations == [], report(outcome)
    assert (outcome.audit["holes"], outcome.audit["doubles"]) == ([], [])
    assert outcome.verdict.started > 100
    assert len(outcome.faults) > 8

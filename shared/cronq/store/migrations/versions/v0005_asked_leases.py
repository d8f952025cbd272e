"""Leases whose runner was asked stand apart from those of the others, in the index that finds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cronq.store.migrations.steps import index

revision = "0005"
down_revision = "0004"

LEASE = ["asked_at", "lease_until"]


def upgrade() -> None:
    """The name stays: the release before forces this index, and may still be running."""
    found = {i["name"]: i["column_names"] for i in sa.inspect(op.get_bind()).get_indexes("runs")}
    if found.get("ix_runs_lease") not in (None, LEASE):
        op.drop_index("ix_runs_lease", "runs")
    index("ix_runs_lease", "runs", LEASE)

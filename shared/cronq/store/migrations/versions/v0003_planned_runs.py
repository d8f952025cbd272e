"""Where each job stands by our own plan: a `next_run` written with SQL is seen by it, and kept as an edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cronq.store.columns import Instant
from cronq.store.migrations.steps import add

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    add("jobs", sa.Column("planned_run", Instant(0)))
    add("job_revisions", sa.Column("replaced_run", Instant(0)))
    op.execute("UPDATE jobs SET planned_run = next_run WHERE revision > 0 AND removed_at IS NULL")

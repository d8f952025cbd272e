"""Attempts that wait for their time, decisions on lost runs, grants of an epoch, and dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from cronq.store.columns import Instant, ascii_char, free_text
from cronq.store.migrations.steps import add, create, index

revision = "0002"
down_revision = "0001"

WAITING = ["state", "release_at", "routing_key", "priority", "run_id", "retries"]


def upgrade() -> None:
    add(
        "runs",
        sa.Column("release_at", Instant()),
        sa.Column("retries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("needs_decision", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("decided_by", free_text(255)),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="1"),
    )
    _widen_waiting()
    create(
        "dead_letters",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("message_id", ascii_char(32), nullable=False),
        sa.Column("queue", free_text(190), nullable=False),
        sa.Column("reason", free_text(1024), nullable=False),
        sa.Column("body", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("retry_requested_at", Instant()),
        sa.Column("requested_by", free_text(255)),
        sa.UniqueConstraint("message_id", name="ux_dead_letters_message"),
        indexes={"ix_dead_letters_retry": ["retry_requested_at"], "ix_dead_letters_queue": ["queue"]},
    )


def _widen_waiting() -> None:
    """An attempt that waits for its time must not stand in the way of those that can go at once."""
    found = {i["name"]: i["column_names"] for i in sa.inspect(op.get_bind()).get_indexes("runs")}
    if found.get("ix_runs_waiting") not in (None, WAITING):
        op.drop_index("ix_runs_waiting", "runs")
    index("ix_runs_waiting", "runs", WAITING)

"""What waiting runs wait for: limits, overlap, pauses, rates; chains, calendars and maintenance windows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cronq.store.columns import Instant, ascii_char, free_text, long_text, name_text
from cronq.store.migrations.steps import add, create, index

revision = "0004"
down_revision = "0003"

WAITING = ["state", "release_at", "routing_key", "category_id", "priority", "turn", "run_id", "retries"]


def upgrade() -> None:
    add(
        "runs",
        sa.Column("category_id", sa.Integer, nullable=False, server_default="0"),
        sa.Column("caused_by", ascii_char(32)),
        sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
    )
    _widen_waiting()
    _create_gates()
    _create_pauses()
    _create_chains()
    _create_calendars()


def _widen_waiting() -> None:
    """Categories take turns, so the first of each must be found without reading the others."""
    found = {i["name"]: i["column_names"] for i in sa.inspect(op.get_bind()).get_indexes("runs")}
    if found.get("ix_runs_waiting") not in (None, WAITING):
        op.drop_index("ix_runs_waiting", "runs")
    index("ix_runs_waiting", "runs", WAITING)


def _create_gates() -> None:
    create(
        "gates",
        sa.Column("name", ascii_char(96), primary_key=True),
        sa.Column("capacity", sa.Integer),
        sa.Column("rate", sa.Integer),
        sa.Column("rate_period_s", sa.Double),
        sa.Column("next_at", Instant()),
        sa.Column("actor", free_text(255)),
        sa.Column("origin", ascii_char(8)),
        sa.Column("changed_at", Instant()),
    )
    create(
        "holds",
        sa.Column("gate", ascii_char(96), primary_key=True),
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        indexes={"ix_holds_run": ["run_id"]},
    )
    create(
        "parked",
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("gate", ascii_char(96), nullable=False),
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        indexes={"ix_parked_gate": ["gate", "priority", "turn", "run_id"]},
    )
    create("resting", sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False))
    create(
        "deadlines",
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("expires_at", Instant(), nullable=False),
        indexes={"ix_deadlines_expires": ["expires_at"]},
    )


def _create_pauses() -> None:
    create(
        "pauses",
        sa.Column("subject", ascii_char(96), primary_key=True),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant()),
        sa.Column("reason", free_text(255), nullable=False, server_default=""),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        indexes={"ix_pauses_until": ["until"]},
    )
    create(
        "skips",
        sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("remaining", sa.Integer, nullable=False),
        sa.Column("reason", free_text(255), nullable=False, server_default=""),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        sa.Column("at", Instant(), nullable=False),
    )


def _create_chains() -> None:
    create(
        "chains",
        sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("upstream_category", name_text(255), nullable=False),
        sa.Column("upstream_name", name_text(255), nullable=False),
        sa.Column("outcome", ascii_char(8), nullable=False),
        sa.Column("joined", sa.Boolean, nullable=False, server_default="0"),
        indexes={"ix_chains_upstream": ["upstream_category", "upstream_name"]},
    )
    create(
        "followed",
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("job_id", sa.Integer, nullable=False),
    )
    create(
        "joins",
        sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("scheduled_for", Instant(), primary_key=True),
        sa.Column("due_at", Instant(), nullable=False),
        indexes={"ix_joins_due": ["due_at"]},
    )
    create(
        "causes",
        sa.Column("cause_id", ascii_char(32), primary_key=True),
        sa.Column("run_id", ascii_char(32), primary_key=True),
    )


def _create_calendars() -> None:
    create(
        "calendars",
        sa.Column("name", free_text(64), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("document", long_text(), nullable=False),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        sa.Column("at", Instant(), nullable=False),
    )
    create(
        "calendar_revisions",
        sa.Column("name", free_text(64), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document", long_text()),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        sa.Column("at", Instant(), nullable=False),
    )
    create(
        "windows",
        sa.Column("name", ascii_char(64), primary_key=True),
        sa.Column("subject", ascii_char(96), nullable=False),
        sa.Column("document", long_text(), nullable=False),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        sa.Column("at", Instant(), nullable=False),
    )

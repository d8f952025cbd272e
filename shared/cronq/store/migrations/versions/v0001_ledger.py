"""The ancestor's tables, upgraded by adding, and the ledger of runs.

A database of the ancestor's 0.27 keeps every row and column; text becomes utf8mb4. On an empty
database the ancestor's tables are made first, so both end alike.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from cronq.store.columns import Instant, ascii_char, free_text, long_text
from cronq.store.dialect import DUE_AT
from cronq.store.migrations.steps import add, columns, create, index

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Each step looks whether it was done: MySQL commits every one, and an upgrade may break off."""
    dialect = op.get_bind().dialect.name
    _create_categories()
    _create_jobs()
    _create_events()
    if dialect == "mysql":
        _convert_text()
    _extend_categories()
    _extend_jobs(dialect)
    _extend_events()
    _create_job_revisions()
    _create_runs()
    _create_run_output()
    _create_runners()
    _create_alerts()
    _create_the_rest()


def _create_categories() -> None:
    create(
        "categories",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.CHAR(255)),
        sa.UniqueConstraint("name", name="name"),
    )


def _create_jobs() -> None:
    create(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.CHAR(255)),
        sa.Column("interval", Instant(0)),
        sa.Column("next_run", Instant(0)),
        sa.Column("last_run_start", Instant(0)),
        sa.Column("last_run_stop", Instant(0)),
        sa.Column("last_run_status", sa.CHAR(32)),
        sa.Column("current_status", sa.CHAR(32)),
        sa.Column("routing_key", sa.CHAR(32)),
        sa.Column("command", sa.Text),
        sa.Column("run_now", sa.Integer),
        sa.Column("locked_by", sa.CHAR(64)),
        sa.Column("category_id", sa.Integer, sa.ForeignKey("categories.id", name="jobs_category_id")),
        sa.UniqueConstraint("category_id", "name", name="category_id"),
    )


def _create_events() -> None:
    create(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", name="events_job_id")),
        sa.Column("datetime", Instant(0)),
        sa.Column("run_id", sa.CHAR(32)),
        sa.Column("type", sa.CHAR(32)),
        sa.Column("host", sa.CHAR(255)),
        sa.Column("return_code", sa.Integer),
    )


def _convert_text() -> None:
    """Text becomes utf8mb4; keys of 255 such characters need a row format that old servers did not use."""
    # Of itself the conversion widens TEXT to MEDIUMTEXT; 65,535 bytes stay the limit of a command.
    command = ", MODIFY command TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    for table, more in (("categories", ""), ("jobs", command), ("events", "")):
        if not _is_converted(table):
            op.execute(
                f"ALTER TABLE {table} ROW_FORMAT=DYNAMIC,"
                f" CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin{more}"
            )


def _is_converted(table: str) -> bool:
    other = sa.text(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
        " AND table_name = :t AND collation_name NOT IN ('utf8mb4_bin', 'ascii_bin')"
    )
    return int(op.get_bind().execute(other, {"t": table}).scalar_one()) == 0


def _extend_categories() -> None:
    add("categories", sa.Column("revision", sa.Integer, nullable=False, server_default="0"))


def _extend_jobs(dialect: str) -> None:
    add(
        "jobs",
        sa.Column("schedule", free_text(1024)),
        sa.Column("timezone", ascii_char(64)),
        sa.Column("dst", ascii_char(8)),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default="1"),
        sa.Column("removed_at", Instant()),
        sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
        sa.Column("definition", long_text()),
        sa.Column("definition_hash", ascii_char(64)),
    )
    if "due_at" not in columns("jobs"):
        op.execute(DUE_AT[dialect])
    index("ix_jobs_due", "jobs", ["due_at"])
    # Revision 0: written by hand, not seen yet.
    index("ix_jobs_revision", "jobs", ["revision"])


def _extend_events() -> None:
    add(
        "events",
        sa.Column("attempt", sa.Integer),
        sa.Column("seq", sa.Integer),
        sa.Column("payload", long_text()),
    )
    # NULLs never collide: the ancestor's rows, without attempt and seq, are outside of it.
    index("ux_events_seq", "events", ["run_id", "attempt", "seq"], unique=True)
    index("ix_events_job", "events", ["job_id", "id"])


def _create_job_revisions() -> None:
    create(
        "job_revisions",
        sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("origin", ascii_char(8), nullable=False),
        sa.Column("actor", free_text(255), nullable=False, server_default=""),
        sa.Column("provenance", long_text()),
        sa.Column("document", long_text(), nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("next_run", Instant(0)),
    )


def _create_runs() -> None:
    # No foreign key to jobs: its check would lock the job's row for every insert of a run.
    create(
        "runs",
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("kind", ascii_char(8), nullable=False),
        sa.Column("scheduled_for", Instant(), nullable=False),
        sa.Column("request", ascii_char(64), nullable=False, server_default=""),
        sa.Column("triggered_by", ascii_char(16), nullable=False),
        sa.Column("actor", free_text(255)),
        sa.Column("state", ascii_char(16), nullable=False),
        sa.Column("reason", free_text(255)),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("routing_key", ascii_char(32), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("queued_at", Instant()),
        sa.Column("publish_at", Instant()),
        sa.Column("publishes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("published_at", Instant()),
        sa.Column("expires_at", Instant()),
        sa.Column("claimed_at", Instant()),
        sa.Column("runner", free_text(190)),
        sa.Column("lineage", ascii_char(32)),
        sa.Column("instance", ascii_char(32)),
        sa.Column("lease_until", Instant()),
        sa.Column("asked_at", Instant()),
        sa.Column("host", free_text(255)),
        sa.Column("pid", sa.BigInteger),
        sa.Column("started_at", Instant()),
        sa.Column("finished_at", Instant()),
        sa.Column("recorded_at", Instant()),
        sa.Column("return_code", sa.Integer),
        sa.Column("signal", sa.Integer),
        sa.Column("duration_s", sa.Double),
        sa.Column("recovered", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("cancel_requested_at", Instant()),
        sa.Column("cancelled_by", free_text(255)),
        sa.Column("output_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("revision", sa.Integer),
        sa.Column("commit", free_text(64)),
        sa.Column("last_scheduled_for", Instant()),
        sa.Column("missed_count", sa.Integer),
        sa.UniqueConstraint("job_id", "kind", "scheduled_for", "request", name="ux_runs_occurrence"),
        indexes={
            "ix_runs_waiting": ["state", "routing_key", "priority", "run_id"],
            "ix_runs_state": ["state", "run_id"],
            "ix_runs_job": ["job_id", "run_id"],
            "ix_runs_job_state": ["job_id", "state"],
            "ix_runs_publish": ["publish_at"],
            "ix_runs_lease": ["lease_until"],
        },
    )


def _create_run_output() -> None:
    create(
        "run_output",
        sa.Column("run_id", ascii_char(32), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), nullable=False),
    )


def _create_runners() -> None:
    create(
        "runners",
        sa.Column("name", free_text(190), primary_key=True),
        sa.Column("lineage", ascii_char(32), nullable=False),
        sa.Column("instance", ascii_char(32), nullable=False),
        sa.Column("host", free_text(255), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("version", free_text(64), nullable=False),
        sa.Column("queues", long_text(), nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("control_key", ascii_char(64), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("heartbeat_at", Instant(), nullable=False),
        sa.Column("clock_skew_s", sa.Double),
        indexes={
            "ix_runners_lineage": ["lineage"],
        },
    )


def _create_alerts() -> None:
    create(
        "alerts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", ascii_char(32), nullable=False),
        sa.Column("subject", free_text(190), nullable=False),
        sa.Column("message", free_text(1024), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("cleared_at", Instant()),
        sa.Column("closing", ascii_char(20), nullable=False, server_default=""),
        sa.UniqueConstraint("kind", "subject", "closing", name="ux_alerts_open"),
        indexes={
            "ix_alerts_cleared": ["cleared_at"],
        },
    )


def _create_the_rest() -> None:
    create(
        "queues",
        sa.Column("name", free_text(190), primary_key=True),
        sa.Column("ready", sa.Integer, nullable=False),
        sa.Column("consumers", sa.Integer, nullable=False),
        sa.Column("measured_at", Instant(), nullable=False),
    )
    create(
        "idempotency_keys",
        sa.Column("key", free_text(190), primary_key=True),
        sa.Column("fingerprint", ascii_char(64), nullable=False),
        sa.Column("run_id", ascii_char(32), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        indexes={
            "ix_idempotency_created": ["created_at"],
        },
    )
    create(
        "cronq_facts",
        sa.Column("name", ascii_char(64), primary_key=True),
        sa.Column("value", free_text(255), nullable=False),
        sa.Column("at", Instant(), nullable=False),
    )

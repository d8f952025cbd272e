"""Every table and column, as the migrations leave them.

`categories`, `jobs` and `events` are the ancestor's, with our columns added; rows written into them
by hand must keep working. All instants are UTC.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from cronq.store.columns import Instant, ascii_char, free_text, long_text, name_text

metadata = sa.MetaData()

categories = sa.Table(
    "categories",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", name_text(255)),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", name_text(255)),
    sa.Column("interval", Instant(0)),  # 1970-01-01 + the period, as the ancestor wrote it
    sa.Column("next_run", Instant(0)),
    sa.Column("last_run_start", Instant(0)),
    sa.Column("last_run_stop", Instant(0)),
    sa.Column("last_run_status", sa.CHAR(32)),
    sa.Column("current_status", sa.CHAR(32)),
    sa.Column("routing_key", sa.CHAR(32)),
    sa.Column("command", sa.Text),
    sa.Column("run_now", sa.Integer),
    sa.Column("locked_by", sa.CHAR(64)),
    sa.Column("category_id", sa.Integer),
    sa.Column("schedule", free_text(1024)),  # wins over `interval` when set
    sa.Column("timezone", ascii_char(64)),
    sa.Column("dst", ascii_char(8)),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default="1"),
    sa.Column("removed_at", Instant()),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("definition", long_text()),  # JSON of what has no column of its own
    sa.Column(
        "definition_hash", ascii_char(64)
    ),  # of the last revision, NULL if that removed it: tells edits by hand
    sa.Column("planned_run", Instant(0)),  # `next_run` as we left it: tells one that somebody wrote
    # In the past exactly when the job is due, NULL while it is disabled or removed (generated).
    sa.Column("due_at", Instant(0), sa.Computed("NULL")),
)

job_revisions = sa.Table(
    "job_revisions",
    metadata,
    sa.Column("job_id", sa.Integer, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("at", Instant(), nullable=False),
    sa.Column("origin", ascii_char(8), nullable=False),  # put, web, api, sql, calendar
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
    sa.Column("provenance", long_text()),  # JSON: repo, ref, commit …
    sa.Column("document", long_text(), nullable=False),  # JSON: the whole definition from then on
    sa.Column("removed", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("next_run", Instant(0)),
    sa.Column("replaced_run", Instant(0)),  # where the revision before stood: all before that has rows
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", ascii_char(32), primary_key=True),  # ascends with its time of making
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
    sa.Column("publish_at", Instant()),  # when to (re)publish; NULL unless queued
    sa.Column("publishes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("published_at", Instant()),
    sa.Column("expires_at", Instant()),
    sa.Column("claimed_at", Instant()),
    sa.Column("runner", free_text(190)),
    sa.Column("lineage", ascii_char(32)),
    sa.Column("instance", ascii_char(32)),
    sa.Column("lease_until", Instant()),  # NULL unless claimed or running
    sa.Column("asked_at", Instant()),  # the reaper asked the runner about it
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
    sa.Column("last_scheduled_for", Instant()),  # a summary row: the last of `missed_count`
    sa.Column("missed_count", sa.Integer),
    # While scheduled: not to be let out before, NULL once it stands in line, `gates.NEVER` while parked.
    sa.Column("release_at", Instant()),
    sa.Column("retries", sa.Integer, nullable=False, server_default="0"),  # attempts after a failure or loss
    sa.Column("needs_decision", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("decided_by", free_text(255)),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="1"),  # of the grant
    sa.Column("category_id", sa.Integer, nullable=False, server_default="0"),  # the job's; 0: none
    sa.Column("caused_by", ascii_char(32)),  # the run whose end started this one
    # Its place among those of its priority: when it was made (ms since 1970), or that of the run it replaced.
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Integer),
    sa.Column("datetime", Instant(0)),
    sa.Column("run_id", sa.CHAR(32)),
    sa.Column("type", sa.CHAR(32)),
    sa.Column("host", sa.CHAR(255)),
    sa.Column("return_code", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("seq", sa.Integer),
    sa.Column("payload", long_text()),
)

run_output = sa.Table(
    "run_output",
    metadata,
    sa.Column("run_id", ascii_char(32), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("data", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), nullable=False),
)

runners = sa.Table(
    "runners",
    metadata,
    sa.Column("name", free_text(190), primary_key=True),
    sa.Column("lineage", ascii_char(32), nullable=False),
    sa.Column("instance", ascii_char(32), nullable=False),
    sa.Column("host", free_text(255), nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("version", free_text(64), nullable=False),
    sa.Column("queues", long_text(), nullable=False),  # JSON list
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("running", sa.Integer, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("control_key", ascii_char(64), nullable=False),
    sa.Column("started_at", Instant(), nullable=False),
    sa.Column("heartbeat_at", Instant(), nullable=False),
    sa.Column("clock_skew_s", sa.Double),
)

queues = sa.Table(
    "queues",
    metadata,
    sa.Column("name", free_text(190), primary_key=True),
    sa.Column("ready", sa.Integer, nullable=False),
    sa.Column("consumers", sa.Integer, nullable=False),
    sa.Column("measured_at", Instant(), nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", ascii_char(32), nullable=False),
    sa.Column("subject", free_text(190), nullable=False),
    sa.Column("message", free_text(1024), nullable=False),
    sa.Column("since", Instant(), nullable=False),
    sa.Column("seen_at", Instant(), nullable=False),
    sa.Column("cleared_at", Instant()),
    # '' while it is open, its id once cleared: one open alert for each (kind, subject).
    sa.Column("closing", ascii_char(20), nullable=False, server_default=""),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", free_text(190), primary_key=True),
    sa.Column("fingerprint", ascii_char(64), nullable=False),
    sa.Column("run_id", ascii_char(32), nullable=False),
    sa.Column("created_at", Instant(), nullable=False),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("message_id", ascii_char(32), nullable=False),  # the same for copies of one message
    sa.Column("queue", free_text(190), nullable=False),
    sa.Column("reason", free_text(1024), nullable=False),
    sa.Column("body", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
    sa.Column("at", Instant(), nullable=False),
    sa.Column("retry_requested_at", Instant()),
    sa.Column("requested_by", free_text(255)),
)

facts = sa.Table(
    "cronq_facts",
    metadata,
    sa.Column("name", ascii_char(64), primary_key=True),
    sa.Column("value", free_text(255), nullable=False),
    sa.Column("at", Instant(), nullable=False),
)

# -- what waiting runs wait for; `gate` and `subject` are names of domain/gate.py

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("name", ascii_char(96), primary_key=True),
    sa.Column("capacity", sa.Integer),  # NULL: what the gate's kind has by default
    sa.Column("rate", sa.Integer),  # so many starts in `rate_period_s`
    sa.Column("rate_period_s", sa.Double),
    sa.Column("next_at", Instant()),  # when the next start is free to go, by the rate
    sa.Column("actor", free_text(255)),
    sa.Column("origin", ascii_char(8)),  # put: a category's document set it; api: somebody else did
    sa.Column("changed_at", Instant()),
)

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("gate", ascii_char(96), primary_key=True),
    sa.Column("run_id", ascii_char(32), primary_key=True),
    sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
)

parked = sa.Table(
    "parked",
    metadata,
    sa.Column("run_id", ascii_char(32), primary_key=True),
    sa.Column("gate", ascii_char(96), nullable=False),
    sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("at", Instant(), nullable=False),
)

resting = sa.Table(
    "resting",
    metadata,
    sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
)

deadlines = sa.Table(
    "deadlines",
    metadata,
    sa.Column("run_id", ascii_char(32), primary_key=True),
    sa.Column("expires_at", Instant(), nullable=False),
)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("subject", ascii_char(96), primary_key=True),
    sa.Column("since", Instant(), nullable=False),
    sa.Column("until", Instant()),
    sa.Column("reason", free_text(255), nullable=False, server_default=""),
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
)

skips = sa.Table(
    "skips",
    metadata,
    sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("remaining", sa.Integer, nullable=False),
    sa.Column("reason", free_text(255), nullable=False, server_default=""),
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
    sa.Column("at", Instant(), nullable=False),
)

# What a job comes after, by the names in its definition: an upstream that is not there yet binds when it is.
chains = sa.Table(
    "chains",
    metadata,
    sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("upstream_category", name_text(255), nullable=False),
    sa.Column("upstream_name", name_text(255), nullable=False),
    sa.Column("outcome", ascii_char(8), nullable=False),  # success, failure, end
    sa.Column("joined", sa.Boolean, nullable=False, server_default="0"),
)

# Runs whose end may start others, until they have ended.
followed = sa.Table(
    "followed",
    metadata,
    sa.Column("run_id", ascii_char(32), primary_key=True),
    sa.Column("job_id", sa.Integer, nullable=False),
)

# Slots of a join that has begun, is not complete, and must not start after `due_at`.
joins = sa.Table(
    "joins",
    metadata,
    sa.Column("job_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("scheduled_for", Instant(), primary_key=True),
    sa.Column("due_at", Instant(), nullable=False),
)

# Which ends made which runs; `runs.caused_by` has the one that came last.
causes = sa.Table(
    "causes",
    metadata,
    sa.Column("cause_id", ascii_char(32), primary_key=True),
    sa.Column("run_id", ascii_char(32), primary_key=True),
)

calendars = sa.Table(
    "calendars",
    metadata,
    sa.Column("name", free_text(64), primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("document", long_text(), nullable=False),
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
    sa.Column("at", Instant(), nullable=False),
)

calendar_revisions = sa.Table(
    "calendar_revisions",
    metadata,
    sa.Column("name", free_text(64), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", long_text()),  # NULL: dropped
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
    sa.Column("at", Instant(), nullable=False),
)

windows = sa.Table(
    "windows",
    metadata,
    sa.Column("name", ascii_char(64), primary_key=True),
    sa.Column("subject", ascii_char(96), nullable=False),
    sa.Column("document", long_text(), nullable=False),
    sa.Column("actor", free_text(255), nullable=False, server_default=""),
    sa.Column("at", Instant(), nullable=False),
)

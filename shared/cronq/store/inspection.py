"""What `cronq doctor` asks the database about itself."""

from __future__ import annotations

import sqlalchemy as sa

from cronq.store import dialect, epoch, migrate
from cronq.store.engine import Store, Tx

# A finding: what, what was found, and the fix ('' when it is as it should be).
Finding = tuple[str, str, str]


def inspect(store: Store) -> list[Finding]:
    """Version, durability, isolation, binlog, clock and tables. Raises Unavailable."""
    with store.read() as tx:
        findings = _sqlite(tx) if store.is_sqlite() else _mysql(tx)
        findings.append(("clock", dialect.now(tx).isoformat(), ""))
        behind = migrate.current_in(tx) != migrate.head()
        held = None if behind else epoch.held(tx)
    if held:
        fix = "see what it lacks, then run: cronq accept-failover"
        findings.append(("contents", f"older than what was committed to it: {held}", fix))
    found = migrate.current(store)
    fix = "" if found == migrate.head() else "run: cronq db upgrade"
    return [*findings, ("tables", f"revision {found or 'none'} of {migrate.head()}", fix)]


def _sqlite(tx: Tx) -> list[Finding]:
    version = str(tx.execute(sa.text("SELECT sqlite_version()")).scalar_one())
    journal = str(tx.exec_driver_sql("PRAGMA journal_mode").scalar_one())
    fix = "" if journal == "wal" else "put the file on a local disk: write-ahead logging is not possible"
    return [("version", f"SQLite {version}", ""), ("journal", journal, fix)]


def _mysql(tx: Tx) -> list[Finding]:
    found: dict[str, str] = dict(tx.exec_driver_sql("SHOW VARIABLES").all())
    version = found["version"]
    isolation = tx.exec_driver_sql("SELECT @@tx_isolation" if "MariaDB" in version else
                                   "SELECT @@transaction_isolation").scalar_one()  # fmt: skip
    flush = found["innodb_flush_log_at_trx_commit"]
    return [
        ("version", version, _version_fix(version)),
        ("isolation of our sessions", isolation, "" if isolation == "READ-COMMITTED" else "READ COMMITTED"),
        ("durability", f"innodb_flush_log_at_trx_commit={flush}", "" if flush == "1" else "set it to 1"),
        ("binlog", *_binlog(found)),
    ]


def _version_fix(version: str) -> str:
    major, minor = (int(part) for part in version.split(".")[:2])
    if "MariaDB" in version:
        return "" if (major, minor) >= (10, 6) else "MariaDB 10.6 or newer is needed (SKIP LOCKED)"
    return "" if major >= 8 else "MySQL 8 or newer is needed (SKIP LOCKED)"


def _binlog(found: dict[str, str]) -> tuple[str, str]:
    if found["log_bin"] != "ON":
        return "off", ""
    text = f"binlog_format={found['binlog_format']} sync_binlog={found['sync_binlog']}"
    if found["binlog_format"] == "STATEMENT":
        return text, "set binlog_format to ROW or MIXED: SKIP LOCKED is unsafe with STATEMENT"
    return text, "" if found["sync_binlog"] == "1" else "set sync_binlog=1, or a crash loses commits"

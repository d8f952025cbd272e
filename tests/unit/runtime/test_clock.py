from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronq.runtime.clock import utc_now


def test_now_is_aware_and_utc() -> None:
    before = datetime.now(UTC)
    now = utc_now()
    assert now.utcoffset() == timedelta(0)
    assert before <= now <= datetime.now(UTC)

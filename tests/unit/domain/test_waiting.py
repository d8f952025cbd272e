"""What a run waits for, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronq.domain.gate import Limit
from cronq.domain.waiting import Known, Pause, at_gate, at_queue, for_time, in_line

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KNOWN = Known(
    limits={
        "category:7": Limit(5),
        "queue:gpu": Limit(3, 100, timedelta(minutes=1)),
        "lock:api": Limit(4),
        "rate:catch-up": Limit(None, 10, timedelta(seconds=1)),
    },
    pauses={
        "category:7": Pause(NOON, None, "ana", "broken disk"),
        "queue:gpu": Pause(NOON, NOON + timedelta(hours=1)),
        "all": Pause(NOON, None, "ana"),
    },
    categories={7: "billing"},
    overlaps={3: "queue(1)"},
)


@pytest.mark.parametrize(
    ("gate", "weight", "words"),
    [
        ("lock:db-main", 1, "lock db-main (1 at once)"),
        ("lock:api", 2, "lock api (4 at once, it takes 2)"),
        ("category:7", 1, "category billing (5 at once)"),
        ("category:8", 1, "category 8"),
        ("queue:gpu", 1, "queue gpu (3 at once)"),
        ("rate:queue:gpu", 1, "the start rate of queue gpu (100/1m)"),
        ("rate:queue:slow", 1, "the start rate of queue slow"),
        ("rate:catch-up", 1, "its turn after an outage (10/1s)"),
        ("job:3", 1, "another run of its job (overlap queue(1))"),
        ("host:db1", 1, "host db1"),
        ("window:patching", 1, "the end of maintenance window patching"),
        (
            "pause:category:7",
            1,
            "category billing, paused by ana since 2026-11-21T12:00:00Z: broken disk",
        ),
        (
            "pause:queue:gpu",
            1,
            "queue gpu, paused since 2026-11-21T12:00:00Z until 2026-11-21T13:00:00Z",
        ),
        ("pause:all", 1, "everything, paused by ana since 2026-11-21T12:00:00Z"),
        ("pause:job:3", 1, "the end of a pause of its job"),
    ],
)
def test_every_gate_has_its_words(gate: str, weight: int, words: str) -> None:
    assert at_gate(gate, KNOWN, weight) == words


def test_what_is_no_gate_has_words_too() -> None:
    assert in_line("gpu") == "its turn in the line of key gpu"
    assert at_queue("gpu", is_published=True, reason=None) == "a runner of key gpu"
    assert at_queue("gpu", is_published=False, reason=None) == "its message to queue gpu"
    unroutable = at_queue("gpu", is_published=False, reason="no_queue")
    assert unroutable == "a runner of key gpu: no queue takes that key"
    assert for_time(NOON, attempt=2, is_retry=True) == "its time: attempt 2 at 2026-11-21T12:00:00Z"
    assert for_time(NOON, attempt=1, is_retry=False) == "its time: 2026-11-21T12:00:00Z, by jitter"

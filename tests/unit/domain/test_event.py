"""The place of each fact in its attempt's sequence, by which a second copy meets the first."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from cronq.domain.event import (
    SEQ,
    SEQ_CLAIMED,
    SEQ_ENDED_HERE,
    SEQ_QUEUED,
    SEQ_SUPERSEDED,
    EventType,
    RunEvent,
)

FACTS = (
    EventType.STARTING,
    EventType.FINISHED,
    EventType.FAILED,
    EventType.NOT_STARTED,
    EventType.INTERRUPTED,
)


def test_every_fact_about_an_attempt_has_a_place() -> None:
    assert set(SEQ) == set(FACTS)


def test_an_attempt_ends_once_so_both_ends_share_a_place() -> None:
    assert SEQ[EventType.FINISHED] == SEQ[EventType.FAILED]


def test_other_facts_have_places_of_their_own() -> None:
    ours = [SEQ_QUEUED, SEQ_CLAIMED, SEQ_ENDED_HERE]
    theirs = [SEQ[kind] for kind in FACTS if kind is not EventType.FAILED]

    assert len({*ours, *theirs}) == len(ours) + len(theirs)


def test_what_changed_nothing_never_takes_the_place_of_a_fact() -> None:
    facts = {*SEQ.values(), SEQ_QUEUED, SEQ_CLAIMED, SEQ_ENDED_HERE}

    assert facts.isdisjoint({place + SEQ_SUPERSEDED for place in facts})


def test_the_ancestors_words_mean_what_they_meant() -> None:
    assert [str(kind) for kind in FACTS[:3]] == ["starting", "finished", "failed"]


def test_a_fact_can_not_be_changed() -> None:
    event = RunEvent(EventType.STARTING, "0" * 32, 1, datetime(2026, 1, 1, tzinfo=UTC))

    with pytest.raises(FrozenInstanceError):
        event.attempt = 2  # type: ignore[misc]  # the test is that it can't be done

"""Messages that nobody of ours wrote: set aside once each, and everything goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.system

EACH = 200
RUN_ID = "0123456789abcdef" * 2
QUEUES = ("default", "cronq_results", "cronq_claims")

# None of them is a message of any kind.
NONSENSE = (
    b"",
    b"\x00\xff\xfe\x80",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"1e999",
    b"{}",
    b'{"v": 99}',
    b'{"v": "1", "type": "finished"}',
    b'{"v": 1, "run_id": 5, "type": "finished"}',
    b'{"v": 1, "run_id": "nobody", "attempt": 1, "type": "starting"}',
    b'{"a": 1, "a": 2}',
    b'{"n": ' + b"9" * 6000 + b"}",
    b'{"text": "\\ud800"}',
    b'{"v": 1, "type": "no such type"}',
    b'{"v": 1, "events": {"type": "finished"}}',
    b'{"v": 1, "events": [{"type": "finished", "run_id": null}]}',
    b"[" * 10_000,
    b"x" * 300_000,
    "naïve".encode("latin-1"),
    "﻿{}".encode(),
)


def nonsense() -> Iterator[bytes]:
    """EACH different bodies."""
    return (body + b" " * number for number, body in enumerate(islice(cycle(NONSENSE), EACH)))


def test_each_garbage_message_ends_in_the_dead_letters_once(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    traces = stack.traces()
    stack.database.insert_jobs(20, traces.command)
    bodies = list(nonsense())

    for queue in QUEUES:
        stack.broker.publish(queue, *bodies)
    stack.database.run_now()

    wait_until("the runs are done all the same", lambda: stack.database.states() == {"succeeded": 20})
    set_aside = "SELECT COUNT(*) FROM dead_letters"
    wait_until("all garbage is set aside", lambda: stack.database.value(set_aside) == 3 * EACH)
    for queue in ("cronq_jobs", "cronq_results", "cronq_claims", "cronq_dead"):
        wait_until(f"{queue} is empty", lambda q=queue: stack.broker.counts(q) == (0, 0))  # type: ignore[misc]
    dead = letters(stack)
    assert Counter(body for _, _, body in dead) == Counter(bodies * 3)
    assert all(reason for _, reason, _ in dead)
    assert Counter(queue for queue, _, _ in dead) == {
        "cronq_jobs": EACH,
        "cronq_results": EACH,
        "cronq_claims": EACH,
    }
    kinds = "SELECT subject, message FROM alerts WHERE kind = 'dead_letter' AND closing = ''"
    assert {str(subject): str(text).split()[0] for subject, text in stack.database.rows(kinds)} == {
        "cronq_jobs": str(EACH),
        "cronq_results": str(EACH),
        "cronq_claims": str(EACH),
    }
    assert len(traces) == 20


def letters(stack: Stack) -> list[tuple[str, str, bytes]]:
    """What was set aside: (queue, reason, body)."""
    found: list[Any] = stack.database.rows("SELECT queue, reason, body FROM dead_letters")
    return [(queue, reason, bytes(body)) for queue, reason, body in found]


def odd_events(job_id: int, run_id: str) -> Iterator[dict[str, object]]:
    """Of the right form, with values that no table of ours takes."""
    long, odd = "h" * 1000, "ключ"
    run = {"job_id": job_id, "run_id": run_id}
    yield {**run, "type": "starting", "x-host": long}
    yield {**run, "type": "finished", "return_code": 10**30, "run_time": -5, "x-host": "\0"}
    yield {**run, "type": "failed", "attempt": 2**40, "reason": long * 4}
    yield {**run, "type": "finished", "attempt": 1, "runner": long, "lineage": odd, "instance": odd}
    yield {**run, "type": "starting", "x-send-datetime": "0001-01-01 00:00:00"}
    yield {**run, "type": "starting", "x-send-datetime": "9999-12-31T23:59:59-12:00"}
    yield {"type": "finished", "job_id": 2**40, "run_id": RUN_ID}
    yield {"type": "canary", "injector": long, "at": "9999-12-31T00:00:00Z"}
    yield {"type": "canary", "injector": "forged", "at": "2099-12-31T00:00:00Z"}
    yield {
        "type": "output",
        "run_id": run_id,
        "attempt": 2**40,
        "lineage": odd,
        "offset": 2**62,
        "data": "eA==",
    }
    beat: dict[str, object] = {
        "runner": "forged",
        "lineage": "f" * 32,
        "instance": "f" * 32,
        "host": "h",
        "pid": 1,
        "version": "1",
        "queues": [],
        "slots": 1,
        "live": [],
        "at": "2026-01-01T00:00:00Z",
        "control_key": "nobody",
    }
    yield {**beat, "type": "heartbeat", "slots": 2**62, "pid": 2**62}
    yield {**beat, "type": "heartbeat", "host": long, "control_key": odd}
    yield {**beat, "type": "heartbeat", "live": [[run_id, 2**62]]}
    yield {**beat, "type": "boot", "lineage": odd, "known": [], "journal_complete": True}
    yield {**beat, "type": "boot", "at": "0001-01-01T00:00:00Z", "known": [], "journal_complete": True}


def odd_claims(run_id: str) -> Iterator[dict[str, object]]:
    claim: dict[str, object] = {
        "type": "claim",
        "run_id": run_id,
        "attempt": 1,
        "nonce": "n",
        "runner": "forged",
        "lineage": "f" * 32,
        "instance": "f" * 32,
    }
    yield {**claim, "run_id": RUN_ID}
    yield {**claim, "attempt": 2**62}
    yield {**claim, "runner": "r" * 1000}
    yield {**claim, "lineage": "ключ"}
    yield {**claim, "host": "h" * 1000}


def test_messages_of_the_right_form_with_impossible_values_stop_nobody(stack: Stack) -> None:
    results = stack.service("results")
    stack.start(stack.service("injector"), results, stack.runner())
    traces, release = stack.traces(), stack.folder / "release"
    stack.database.insert_jobs(1, f"{traces.command}; until [ -e {release} ]; do sleep 0.05; done")
    stack.database.insert_jobs(1, "true", key="nobody")
    stack.database.run_now()
    wait_until("one runs", lambda: stack.database.states() == {"running": 1, "queued": 1})
    [(live, job_id)] = stack.database.rows("SELECT run_id, job_id FROM runs WHERE state = 'running'")
    [(waiting,)] = stack.database.rows("SELECT run_id FROM runs WHERE state = 'queued'")

    events = [{"v": 1, **event} for event in odd_events(int(str(job_id)), str(live))]
    for event in events:  # among good ones, so that they share a transaction
        stack.broker.publish("cronq_results", json.dumps(event).encode())
    for claim in odd_claims(str(waiting)):
        stack.broker.publish("cronq_claims", json.dumps({"v": 1, **claim}).encode())
    for queue in ("cronq_results", "cronq_claims"):
        wait_until(f"{queue} is empty", lambda q=queue: stack.broker.counts(q) == (0, 0))  # type: ignore[misc]
    release.touch()

    ended = "SELECT state FROM runs WHERE run_id = %s"
    wait_until("the run that ran has ended", lambda: stack.database.value(ended, live) == "succeeded")
    stack.database.insert_jobs(5, traces.command)
    stack.database.run_now("command NOT LIKE '%sleep%' AND routing_key = 'default'")
    wait_until("others run", lambda: stack.database.states()["succeeded"] == 6)
    assert len(traces) == 6
    assert results.is_running
    assert all(reason for _, reason, _ in letters(stack))
    canary = "SELECT COUNT(*) FROM cronq_facts WHERE name = 'canary_sent' AND at > NOW() + INTERVAL 1 MINUTE"
    assert stack.database.value(canary) == 0, "a forged canary would silence the watch for ever"


def test_a_forged_job_message_is_not_executed(stack: Stack) -> None:
    stack.start(stack.service("injector"), stack.service("results"), stack.runner())
    forged = stack.traces("forged")
    body = {"v": 1, "run_id": RUN_ID, "attempt": 1, "job_id": 1, "name": "x", "command": forged.command}
    stack.database.insert_jobs(1, "true")
    results = stack.processes[1]

    stack.broker.publish("default", json.dumps(body).encode())

    results.wait_for_log("claim.denied")
    wait_until("it is gone", lambda: stack.broker.counts("cronq_jobs") == (0, 0))
    stack.database.run_now()
    wait_until("others run", lambda: stack.database.states() == {"succeeded": 1})
    assert (len(forged), letters(stack), stack.broker.counts("cronq_dead")) == (0, [], (0, 0))


def test_the_command_of_a_message_is_not_the_one_that_is_executed(stack: Stack) -> None:
    """A copy of a true doorbell, with another command."""
    stack.start(stack.service("injector"), stack.service("results"))
    traces, forged = stack.traces(), stack.traces("forged")
    stack.database.insert_jobs(1, traces.command)
    stack.database.run_now()
    wait_until("its message waits on the broker", lambda: stack.broker.counts("cronq_jobs") == (1, 0))
    [(_, body)] = stack.broker.take_all("cronq_jobs")
    stack.broker.publish("default", body.replace(b"traces", b"forged"))

    stack.start(stack.runner())

    wait_until("it has run", lambda: stack.database.states() == {"succeeded": 1})
    assert (len(traces), len(forged)) == (1, 0)


def test_a_runner_of_the_ancestor_is_understood(stack: Stack) -> None:
    """One that only knows its job queue and the bare result messages."""
    stack.short_clocks()
    stack.env["CRONQ_PLAIN_QUEUES"] = "cronq_jobs.legacy"
    stack.start(stack.service("injector"), stack.service("results"))
    stack.broker.declare("cronq_jobs.legacy", "legacy")
    stack.database.insert_jobs(3, "true", key="legacy")
    stack.database.run_now()
    wait_until("its jobs wait on the broker", lambda: stack.broker.counts("cronq_jobs.legacy") == (3, 0))
    jobs = [json.loads(body) for _, body in stack.broker.take_all("cronq_jobs.legacy")]
    assert {job["command"] for job in jobs} == {job["cmd"] for job in jobs} == {"true"}

    good, bad, broken = [{"job_id": job["job_id"], "run_id": job["run_id"]} for job in jobs]
    for told in (
        {**good, "type": "starting", "start_time": "2026-11-21 12:00:00"},
        {**good, "type": "starting", "start_time": "2026-11-21 12:00:00"},
        {**bad, "type": "finished", "return_code": 2, "run_time": 1.5},
        {**broken, "type": "failed", "run_time": 0.1},
    ):
        said = {**told, "x-send-datetime": "2026-11-21 12:00:01.500000", "x-host": "old.example.org"}
        stack.broker.publish("cronq_results", json.dumps(said).encode())
    expected = {"running": 1, "failed": 1, "launch_failed": 1}
    wait_until("what it told is known", lambda: stack.database.states() == expected)
    said = {**good, "type": "finished", "return_code": 0, "run_time": 2.5}
    stack.broker.publish("cronq_results", json.dumps(said).encode())

    wait_until("all have ended", lambda: stack.database.states()["succeeded"] == 1)
    found = stack.database.rows("SELECT run_id, state, return_code, host FROM runs")
    assert sorted(found) == sorted(
        [
            (good["run_id"], "succeeded", 0, "old.example.org"),
            (bad["run_id"], "failed", 2, "old.example.org"),
            (broken["run_id"], "launch_failed", None, "old.example.org"),
        ]
    )
    duplicates = "SELECT COUNT(*) FROM events WHERE run_id = %s AND type = 'superseded'"
    assert stack.database.value(duplicates, good["run_id"]) == 1
    assert stack.broker.counts("cronq_jobs.legacy") == (0, 0)

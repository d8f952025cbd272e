"""The messages as bytes: what is written is read back, and whatever is read raises BadMessage or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cronq.bus.messages import (
    MAX_BYTES,
    Denied,
    Event,
    Grant,
    JobMessage,
    Order,
    decode_claim,
    decode_events,
    decode_job,
    decode_reply,
    encode_claim,
    encode_events,
    encode_job,
    encode_order,
    encode_reply,
    split_events,
)
from cronq.domain.errors import BadMessage
from cronq.domain.event import Boot, Canary, EventType, Heartbeat, OutputChunk, RunEvent
from cronq.domain.run import Claim, Owner

RUN = "0192f0c0a1b27c3d8e4f5a6b7c8d9e0f"
AT = datetime(2026, 11, 21, 10, 0, 0, 123_456, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DECODERS: tuple[Callable[[bytes], object], ...] = (
    decode_job,
    decode_claim,
    decode_reply,
    decode_events,
    split_events,
)

hex_digits = st.text("0123456789abcdef", min_size=32, max_size=32)
attempts = st.integers(1, 2**31 - 1)
ids = st.integers(0, 2**31 - 1)
instants = st.integers(0, 7_258_118_399_999_999).map(lambda us: EPOCH + timedelta(microseconds=us))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
seconds = st.floats(0, 10**9)
facts = st.sampled_from(
    [EventType.STARTING, EventType.FINISHED, EventType.FAILED, EventType.NOT_STARTED, EventType.INTERRUPTED]
)
run_events = st.builds(
    RunEvent,
    facts,
    hex_digits,
    ids,
    instants,
    attempt=st.none() | attempts,
    runner=words,
    lineage=st.just("") | hex_digits,
    instance=st.just("") | hex_digits,
    host=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60),
    pid=st.none() | st.integers(0, 2**31),
    return_code=st.none() | st.integers(-255, 65_535),
    signal=st.none() | st.integers(0, 255),
    run_time_s=st.none() | seconds,
    started_at=st.none() | instants,
    finished_at=st.none() | instants,
    why=st.sampled_from([None, "timeout", "cancelled"]),
    reason=st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200),
)
chunks = st.builds(
    OutputChunk, hex_digits, attempts, hex_digits, st.integers(0, 2**60), st.binary(max_size=300)
)
pairs = st.lists(st.tuples(hex_digits, attempts), max_size=3).map(tuple)
beats = st.builds(
    Heartbeat,
    words,
    hex_digits,
    hex_digits,
    words,
    ids,
    words,
    st.lists(words, max_size=3).map(tuple),
    ids,
    pairs,
    instants,
    hex_digits.map("cronq_runner.{}".format),
    st.booleans(),
)
boots = st.builds(Boot, beats, pairs, st.booleans(), st.none() | instants)
canaries = st.builds(Canary, words, instants)
events: st.SearchStrategy[Event] = st.one_of(run_events, chunks, beats, boots, canaries)
owners = st.builds(Owner, words, hex_digits, hex_digits)
claims = st.builds(Claim, hex_digits, attempts, owners, hex_digits, words, words)
grants = st.builds(
    Grant,
    hex_digits,
    attempts,
    hex_digits,
    hex_digits,
    words,
    st.dictionaries(words, words, max_size=3),
    st.none() | seconds,
    seconds,
    st.floats(0.001, 10**6),
)


# -- what is written is read back


@settings(max_examples=200)
@given(st.lists(events, max_size=4))
def test_events_come_back_as_they_were(told: list[Event]) -> None:
    assert decode_events(encode_events(told)) == told


@given(claims)
def test_a_claim_comes_back_as_it_was(claim: Claim) -> None:
    assert decode_claim(encode_claim(claim)) == claim


@given(grants)
def test_a_grant_comes_back_as_it_was(grant: Grant) -> None:
    assert decode_reply(encode_reply(grant)) == grant


@given(st.builds(Denied, hex_digits, attempts, hex_digits, words))
def test_a_denial_comes_back_as_it_was(denied: Denied) -> None:
    assert decode_reply(encode_reply(denied)) == denied


@given(st.builds(Order, st.sampled_from(["kill", "report"]), hex_digits, attempts, words))
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert decode_reply(encode_order(order)) == order


@given(
    st.builds(
        JobMessage,
        hex_digits,
        attempts,
        ids,
        words,
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=2_000),
    )
)
def test_a_job_comes_back_as_it_was(job: JobMessage) -> None:
    assert decode_job(encode_job(job)) == job


@given(st.lists(events, max_size=4))
def test_a_batch_can_be_split_into_messages_of_one_event_each(told: list[Event]) -> None:
    assert [decode_events(one) for one in split_events(encode_events(told))] == [[event] for event in told]


@pytest.mark.parametrize("zone", [timedelta(hours=2), timedelta(hours=-9, minutes=-30)])
def test_instants_are_written_in_utc(zone: timedelta) -> None:
    told = Canary("i", AT.astimezone(timezone(zone)))

    assert decode_events(encode_events([told])) == [Canary("i", AT)]
    assert b'"2026-11-21T10:00:00.123456Z"' in encode_events([told])


# -- the ancestor's shapes


def bare(**fields: object) -> bytes:
    return json.dumps({"job_id": 7, "run_id": RUN, "x-host": "old.example.org", **fields}).encode()


def only_event(body: bytes) -> RunEvent:
    [event] = decode_events(body)
    assert isinstance(event, RunEvent)
    return event


def test_the_job_message_holds_the_ancestors_four_keys_with_their_types() -> None:
    written = json.loads(encode_job(JobMessage(RUN, 1, 7, "nightly", "echo hi")))

    assert (written["run_id"], written["job_id"], written["cmd"], written["name"]) == (
        RUN,
        7,
        "echo hi",
        "nightly",
    )
    assert (written["id"], written["command"], written["attempt"], written["v"]) == (7, "echo hi", 1, 1)


def test_the_ancestors_job_message_is_read() -> None:
    body = json.dumps({"run_id": RUN, "job_id": 7, "cmd": "true", "name": "nightly"}).encode()

    assert decode_job(body) == JobMessage(RUN, 1, 7, "nightly", "")


@pytest.mark.parametrize(
    "sent", ["2026-11-21 10:00:00.123456", "2026-11-21T10:00:00.123456Z", 1795255200.123456]
)
def test_the_ancestors_starting_is_read(sent: object) -> None:
    event = only_event(bare(type="starting", start_time=sent, **{"x-send-datetime": "2026-11-21 10:00:01"}))

    assert event == RunEvent(
        EventType.STARTING,
        RUN,
        7,
        datetime(2026, 11, 21, 10, 0, 1, tzinfo=UTC),
        host="old.example.org",
        started_at=AT,
    )


@pytest.mark.parametrize("code", [0, 1, 127, -9])
def test_the_ancestors_finished_is_read(code: int) -> None:
    sent = {"x-send-datetime": "2026-11-21 10:00:00.123456"}

    event = only_event(bare(type="finished", return_code=code, run_time=12.5, **sent))

    assert event == RunEvent(
        EventType.FINISHED, RUN, 7, AT, host="old.example.org", return_code=code, run_time_s=12.5
    )


def test_the_ancestors_failed_is_read() -> None:
    event = only_event(
        bare(type="failed", run_time=0.01, **{"x-send-datetime": "2026-11-21 10:00:00.123456"})
    )

    assert (event.type, event.return_code, event.at) == (EventType.FAILED, None, AT)


def test_a_run_id_with_dashes_or_capitals_is_the_same_run() -> None:
    dashed = f"{RUN[:8]}-{RUN[8:12]}-{RUN[12:16]}-{RUN[16:20]}-{RUN[20:]}".upper()

    assert only_event(bare(type="finished", run_id=dashed)).run_id == RUN


def test_an_event_without_the_instant_of_its_sending_is_taken_as_sent_now() -> None:
    before = datetime.now(UTC)

    assert before <= only_event(bare(type="finished", return_code=0)).at <= datetime.now(UTC)


# -- versions and sizes


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("version", [0, 2, -1, "1", True, None, [1], {}])
def test_another_version_is_refused_by_name(decode: Callable[[bytes], object], version: object) -> None:
    body = json.dumps({"v": version, "type": "starting", "run_id": RUN, "events": []}).encode()

    with pytest.raises(BadMessage, match=r"^v: .* is not supported, this release reads 1; upgrade it$"):
        decode(body)


@pytest.mark.parametrize("decode", DECODERS)
def test_a_message_that_is_too_large_is_refused_before_it_is_read(decode: Callable[[bytes], object]) -> None:
    with pytest.raises(BadMessage, match="at most"):
        decode(b"[" * (MAX_BYTES + 1))


def test_fields_of_a_later_release_are_ignored() -> None:
    told = Canary("i", AT)
    written = json.loads(encode_events([told]))
    written["mood"] = written["events"][0]["colour"] = {"deep": [1, 2]}

    assert decode_events(json.dumps(written).encode()) == [told]


@pytest.mark.parametrize("kind", ["nonsense", "", "STARTING", "heartbeat "])
def test_an_unknown_event_is_refused_with_the_known_ones(kind: str) -> None:
    with pytest.raises(BadMessage, match=r"is not one of starting, finished, failed, not_started"):
        decode_events(bare(type=kind))


# -- wrong values


def spoilt(message: bytes, **fields: object) -> bytes:
    """The message with some fields of its first event, or its own, replaced."""
    written = json.loads(message)
    inner = written["events"][0] if "events" in written else written
    inner.update({name.replace("_", "-") if name.startswith("x_") else name: v for name, v in fields.items()})
    return json.dumps(written).encode()


STARTING = encode_events([RunEvent(EventType.STARTING, RUN, 7, AT, attempt=1, lineage="a", host="h", pid=3)])
OUTPUT = encode_events([OutputChunk(RUN, 1, "a", 0, b"x")])
CANARY = encode_events([Canary("i", AT)])
BEAT = Heartbeat("r", "a", "b", "h", 1, "1.0", ("default",), 2, ((RUN, 1),), AT, "cronq_runner.b")
HEARTBEAT = encode_events([BEAT])
BOOT = encode_events([Boot(BEAT, ((RUN, 1),), True, AT)])
CLAIM = encode_claim(Claim(RUN, 1, Owner("r", "a", "b"), "n"))
GRANT = encode_reply(Grant(RUN, 1, "b", "n", "true"))
SHORT_HEX, LONG = "abc", "x" * 5_000


WRONG: list[tuple[Callable[[bytes], object], bytes, str, tuple[object, ...]]] = [
    (decode_events, STARTING, "run_id", (None, 7, SHORT_HEX, "g" * 32, "", RUN + "0")),
    (decode_events, STARTING, "attempt", (0, -1, 1.5, "1", True, 2**31, 2**63)),
    (decode_events, STARTING, "job_id", (-1, "7", 7.0, 2**31, True)),
    (decode_events, STARTING, "lineage", ("é", "a b", "a" * 33, 7)),
    (decode_events, STARTING, "runner", ("r" * 191, 7)),
    (decode_events, OUTPUT, "data", ("not base64!", "YQ=", 7, None)),
    (decode_events, OUTPUT, "offset", (-1, 0.5, 2**63 - 1, "0")),
    (decode_events, OUTPUT, "attempt", (None, 0, 2**31)),
    (decode_events, CANARY, "at", (None, "soon", [], "0001-01-01T00:00:00Z", 1e18)),
    (decode_events, CANARY, "injector", (None, 7, LONG)),
    (decode_events, HEARTBEAT, "lineage", ("", None, "é", "a" * 33)),
    (decode_events, HEARTBEAT, "runner", ("r" * 191, None)),
    (decode_events, HEARTBEAT, "host", ("h" * 256, None)),
    (decode_events, HEARTBEAT, "control_key", ("k" * 65, "clé", "")),
    (decode_events, HEARTBEAT, "slots", (-1, 2**31, "2", None)),
    (decode_events, HEARTBEAT, "pid", (-1, 2**63, None)),
    (decode_events, HEARTBEAT, "queues", ("default", [1], None, {})),
    (decode_events, HEARTBEAT, "live", ("x", [RUN], [[RUN]], [[RUN, 0]], [[1, 1]], {})),
    (decode_events, BOOT, "known", ("x", [[RUN, "1"]], [[RUN, 1, 1]])),
    (decode_claim, CLAIM, "lineage", ("", None, "é", "a" * 33)),
    (decode_claim, CLAIM, "instance", ("", None, " ", "a" * 33)),
    (decode_claim, CLAIM, "runner", ("r" * 191, None, 7)),
    (decode_claim, CLAIM, "host", ("h" * 256, 7)),
    (decode_claim, CLAIM, "nonce", ("n" * 65, None)),
    (decode_claim, CLAIM, "attempt", (None, 0, 2**31)),
    (decode_reply, GRANT, "type", ("given", None, 7)),
    (decode_reply, GRANT, "env", ([], {"A": 1}, "A=1", None)),
    (decode_reply, GRANT, "timeout_s", (-1, "5", True, 1e11)),
]


@pytest.mark.parametrize(
    ("decode", "message", "name", "value"), [(d, m, name, v) for d, m, name, values in WRONG for v in values]
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    decode: Callable[[bytes], object], message: bytes, name: str, value: object
) -> None:
    with pytest.raises(BadMessage, match=rf"^{name}: "):
        decode(spoilt(message, **{name: value}))


ODD: dict[str, tuple[object, ...]] = {
    "pid": (-1, 2**31 + 1, "7", 1.5, True),
    "return_code": (-256, 65_536, "0", 3_221_225_786, []),
    "signal": (-1, 256, "9"),
    "run_time": (-0.1, "1", 1e11, {}),
    "start_time": ("yesterday", 1e30, [], True, "0999-01-01", "9999-12-31T23:59:59-14:00"),
    "end_time": ("", -1, "2200-01-01T00:00:00Z"),
    "x_send_datetime": ("now", 1e30, "0001-01-01T00:00:00+14:00"),
    "x_host": (7, "h" * 256),
    "reason": (7, LONG),
    "why": (7, LONG),
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in ODD.items() for v in values])
def test_a_wrong_value_that_only_annotates_is_noted_and_the_event_still_counts(
    name: str, value: object
) -> None:
    event = only_event(spoilt(STARTING, **{name: value}))

    assert len(event.notes) == 1
    assert event.notes[0].startswith(f"{name.replace('_', '-') if name.startswith('x_') else name}: ")
    assert len(event.notes[0]) < 200
    assert (event.type, event.run_id, event.attempt) == (EventType.STARTING, RUN, 1)


def test_a_text_that_is_too_long_is_cut_and_kept() -> None:
    event = only_event(spoilt(STARTING, reason=LONG, x_host="h" * 300))

    assert (event.reason, event.host) == ("x" * 4096, "h" * 255)


# -- whatever the bytes


def raises_only_bad_message(decode: Callable[[bytes], object], body: bytes) -> None:
    with suppress(BadMessage):
        decode(body)


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"{}")
@example(b'"text"')
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"v":1' + b',"a":[' * 5_000)
@example(b'{"type":"starting","type":"finished"}')
@example(b'{"attempt":' + b"9" * 5_000 + b"}")
@example(b'{"type":"output","data":"\\ud800"}')
@example(b'{"v":NaN}')
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for decode in DECODERS:
        raises_only_bad_message(decode, body)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=40)
    | st.sampled_from(
        [RUN, 2**31, 2**63, -1, 1e300, "2026-11-21T10:00:00Z", "9999-12-31T23:59:59.999999-23:59"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
NAMES = sorted({n for m in (STARTING, OUTPUT, HEARTBEAT, BOOT) for n in json.loads(m)["events"][0]})


@settings(max_examples=400)
@given(
    st.sampled_from([STARTING, OUTPUT, CANARY, HEARTBEAT, BOOT, CLAIM, GRANT]),
    st.dictionaries(
        st.sampled_from([*NAMES, "v", "events", "env", "nonce", "command", "timeout_s"]), values, max_size=3
    ),
)
def test_a_message_with_any_values_in_its_fields_is_read_or_refused(
    message: bytes, fields: dict[str, object]
) -> None:
    for decode in DECODERS:
        raises_only_bad_message(decode, spoilt(message, **fields))


@settings(max_examples=200)
@given(st.sampled_from([STARTING, OUTPUT, HEARTBEAT, BOOT, CLAIM, GRANT]), st.data())
def test_a_message_with_any_byte_changed_is_read_or_refused(message: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(message) - 1))
    spoiled = message[:place] + data.draw(st.binary(max_size=2)) + message[place + 1 :]

    for decode in DECODERS:
        raises_only_bad_message(decode, spoiled)


@pytest.mark.parametrize("body", [b"{}", b'{"events": {}}', b'{"events": 7}', b"[]", b"\x00"])
def test_what_is_no_batch_can_not_be_split(body: bytes) -> None:
    with pytest.raises(BadMessage):
        split_events(body)


def test_splitting_keeps_events_that_can_not_be_read() -> None:
    bodies = split_events(b'{"v":1,"events":[{"type":"new"},7,{"a":"\\u00e9"}]}')

    assert [json.loads(b)["events"] for b in bodies] == [[{"type": "new"}], [7], [{"a": "é"}]]


def test_a_grant_holds_for_the_instance_and_nonce_of_its_claim() -> None:
    grant = Grant(RUN, 1, "b", "n", "true", {"A": "1"}, None, 10.0, 30.0)

    assert decode_reply(encode_reply(grant)) == grant
    assert decode_reply(encode_reply(replace(grant, nonce="m"))) != grant

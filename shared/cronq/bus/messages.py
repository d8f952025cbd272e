"""The messages on the bus, as bytes and as values.

Every message has a version `v`; a reader accepts this release's and the one before, and refuses the
rest by name. Unknown fields are ignored, so that the next release may add some. The ancestor's three
bare result shapes (no `v`, no `attempt`) are accepted as events.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cronq.bus import fields as read
from cronq.bus.fields import Fields
from cronq.domain.errors import BadMessage
from cronq.domain.event import Boot, Canary, EventType, Heartbeat, OutputChunk, RunEvent
from cronq.domain.run import Claim, Owner

VERSION = 1
MAX_BYTES = 4 * 1024 * 1024  # an event batch; other messages are far smaller
MAX_COMMAND = 200_000

# Lengths of columns: what is longer could not be written down.
MOST_RUNNER = 190
MOST_HOST = 255
Event = RunEvent | OutputChunk | Heartbeat | Boot | Canary


@dataclass(frozen=True)
class JobMessage:
    """The doorbell: our runner uses only `run_id` and `attempt` of it."""

    run_id: str
    attempt: int
    job_id: int
    name: str
    command: str


@dataclass(frozen=True)
class Grant:
    """The permission to execute one attempt, and all that it takes.

    It holds for the claim's instance and nonce, and for a start within `start_within_s` of the
    sending of that claim.
    """

    run_id: str
    attempt: int
    instance: str
    nonce: str
    command: str
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    kill_grace_s: float = 10.0
    start_within_s: float = 30.0


@dataclass(frozen=True)
class Denied:
    """The claim is refused: the delivery is to be acked and forgotten."""

    run_id: str
    attempt: int
    nonce: str
    reason: str


Reply = Grant | Denied


@dataclass(frozen=True)
class Order:
    """An order to a runner: `kill` an attempt, or `report` what became of it."""

    verb: str
    run_id: str
    attempt: int
    asked_by: str = ""


# -- encoding


def encode(fields: Fields) -> bytes:
    return json.dumps({"v": VERSION, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def encode_job(job: JobMessage) -> bytes:
    """Both the documented and the real field names of the ancestor, for runners of any age."""
    return encode(
        {
            "run_id": job.run_id,
            "attempt": job.attempt,
            "id": job.job_id,
            "job_id": job.job_id,
            "name": job.name,
            "command": job.command,
            "cmd": job.command,
        }
    )


def encode_claim(claim: Claim) -> bytes:
    return encode(
        {
            "type": "claim",
            "run_id": claim.run_id,
            "attempt": claim.attempt,
            "nonce": claim.nonce,
            "host": claim.host,
            "queue": claim.queue,
            **_owner(claim.owner.runner, claim.owner.lineage, claim.owner.instance),
        }
    )


def encode_reply(reply: Reply) -> bytes:
    kind = "granted" if isinstance(reply, Grant) else "denied"
    return encode({"type": kind, **{k: v for k, v in vars(reply).items() if v is not None}})


def encode_order(order: Order) -> bytes:
    return encode({"type": "order", **vars(order)})


def encode_events(events: Iterable[Event]) -> bytes:
    return encode({"events": [_event(e) for e in events]})


def _owner(runner: str, lineage: str, instance: str) -> dict[str, object]:
    return {"runner": runner, "lineage": lineage, "instance": instance}


def _event(event: Event) -> dict[str, object]:
    if isinstance(event, RunEvent):
        return _run_event(event)
    if isinstance(event, OutputChunk):
        return {
            "type": EventType.OUTPUT,
            "run_id": event.run_id,
            "attempt": event.attempt,
            "lineage": event.lineage,
            "offset": event.offset,
            "data": base64.b64encode(event.data).decode(),
        }
    if isinstance(event, Canary):
        return {"type": EventType.CANARY, "injector": event.injector, "at": _text(event.at)}
    if isinstance(event, Heartbeat):
        return {"type": EventType.HEARTBEAT, **_heartbeat(event)}
    since = event.journal_since
    return {
        "type": EventType.BOOT,
        **_heartbeat(event.heartbeat),
        "known": [list(k) for k in event.known],
        "journal_complete": event.journal_complete,
        "journal_since": None if since is None else _text(since),
    }


def _run_event(event: RunEvent) -> dict[str, object]:
    fields: dict[str, object | None] = {
        "type": event.type,
        "job_id": event.job_id,
        "run_id": event.run_id,
        "attempt": event.attempt,
        "return_code": event.return_code,
        "signal": event.signal,
        "run_time": event.run_time_s,
        "pid": event.pid,
        "why": event.why,
        "reason": event.reason,
        "start_time": None if event.started_at is None else _text(event.started_at),
        "end_time": None if event.finished_at is None else _text(event.finished_at),
        "x-host": event.host,
        "x-send-datetime": event.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        **_owner(event.runner, event.lineage, event.instance),
    }
    return {k: v for k, v in fields.items() if v is not None}


def _heartbeat(beat: Heartbeat) -> dict[str, object]:
    return {
        **vars(beat),
        "queues": list(beat.queues),
        "live": [list(k) for k in beat.live],
        "at": _text(beat.at),
    }


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# -- decoding; each raises BadMessage with what is wrong, and never anything else


def decode_job(body: bytes) -> JobMessage:
    f = _fields(body, max_bytes=512 * 1024)
    return JobMessage(
        run_id=read.run_id(f),
        attempt=read.whole(f, "attempt", low=1, default=1),
        job_id=read.whole(f, "job_id", default=0),
        name=read.text(f, "name", default="UNKNOWN"),
        command=read.text(f, "command", default="", most=MAX_COMMAND),
    )


def decode_claim(body: bytes) -> Claim:
    f = _fields(body, max_bytes=64 * 1024)
    return Claim(
        run_id=read.run_id(f),
        attempt=read.whole(f, "attempt", low=1),
        owner=Owner(
            read.text(f, "runner", most=MOST_RUNNER), read.token(f, "lineage"), read.token(f, "instance")
        ),
        nonce=read.text(f, "nonce", most=64),
        host=read.text(f, "host", default="", most=MOST_HOST),
        queue=read.text(f, "queue", default=""),
    )


def decode_reply(body: bytes) -> Reply | Order:
    """What arrives on a runner's own queue."""
    f = _fields(body, max_bytes=512 * 1024)
    kind = read.text(f, "type")
    if kind not in ("granted", "denied", "order"):
        raise BadMessage(f"type: {read.shown(kind)} is not granted, denied or order")
    run_id, attempt = read.run_id(f), read.whole(f, "attempt", low=1)
    if kind == "order":
        return Order(read.text(f, "verb"), run_id, attempt, read.text(f, "asked_by", default=""))
    if kind == "denied":
        return Denied(run_id, attempt, read.text(f, "nonce"), read.text(f, "reason"))
    return _grant(f, run_id, attempt)


def _grant(f: Fields, run_id: str, attempt: int) -> Grant:
    env = f.get("env", {})
    if not isinstance(env, dict) or not all(isinstance(v, str) for v in env.values()):
        raise BadMessage("env: not an object of texts")
    return Grant(
        run_id=run_id,
        attempt=attempt,
        instance=read.text(f, "instance"),
        nonce=read.text(f, "nonce"),
        command=read.text(f, "command", most=MAX_COMMAND),
        env=env,
        timeout_s=read.number(f, "timeout_s"),
        kill_grace_s=read.number(f, "kill_grace_s") or 0.0,
        start_within_s=read.number(f, "start_within_s") or 30.0,
    )


def decode_events(body: bytes) -> list[Event]:
    """One event, or a batch: `{"v": 1, "events": […]}`."""
    f = _fields(body, max_bytes=MAX_BYTES)
    if f.get("events") is None:
        return [_decode_event(f)]
    return [_decode_event(read.an_object(e, f"events[{i}]")) for i, e in enumerate(_batch(f))]


def split_events(body: bytes) -> list[bytes]:
    """A batch as messages of one event each, whether those can be read or not."""
    return [encode({"events": [event]}) for event in _batch(_fields(body, max_bytes=MAX_BYTES))]


def join_events(bodies: Iterable[bytes]) -> bytes:
    """The reverse of `split_events`."""
    return encode({"events": [event for body in bodies for event in json.loads(body)["events"]]})


def _batch(f: Fields) -> list[object]:
    batch = f.get("events")
    if not isinstance(batch, list):
        raise BadMessage("events: not a list")
    return batch


def _decode_event(f: Fields) -> Event:
    kind = read.text(f, "type")
    if kind not in set(EventType):
        raise BadMessage(f"type: {read.shown(kind)} is not one of {', '.join(EventType)}")
    if kind in (EventType.HEARTBEAT, EventType.BOOT):
        return _decode_beat(f, kind)
    if kind == EventType.OUTPUT:
        return _decode_output(f)
    if kind == EventType.CANARY:
        return Canary(read.text(f, "injector"), read.instant(f, "at"))
    return _decode_run_event(f, EventType(kind))


def _decode_run_event(f: Fields, kind: EventType) -> RunEvent:
    notes: list[str] = []
    return RunEvent(
        type=kind,
        run_id=read.run_id(f),
        job_id=read.whole(f, "job_id", default=0),
        at=read.noted_instant(f, "x-send-datetime", notes) or datetime.now(UTC),
        attempt=None if f.get("attempt") is None else read.whole(f, "attempt", low=1),
        runner=read.text(f, "runner", default="", most=MOST_RUNNER),
        lineage=read.token(f, "lineage", default=""),
        instance=read.token(f, "instance", default=""),
        host=read.noted_text(f, "x-host", MOST_HOST, notes),
        pid=read.noted_whole(f, "pid", 0, 2**31, notes),
        return_code=read.noted_whole(f, "return_code", -255, 65_535, notes),
        signal=read.noted_whole(f, "signal", 0, 255, notes),
        run_time_s=read.noted_number(f, "run_time", notes),
        started_at=read.noted_instant(f, "start_time", notes),
        finished_at=read.noted_instant(f, "end_time", notes),
        why=read.noted_text(f, "why", 32, notes),
        reason=read.noted_text(f, "reason", 4096, notes),
        notes=tuple(notes),
    )


def _decode_output(f: Fields) -> OutputChunk:
    try:
        data = base64.b64decode(read.text(f, "data", most=MAX_BYTES), validate=True)
    except (ValueError, binascii.Error):
        raise BadMessage("data: not base64") from None
    return OutputChunk(
        run_id=read.run_id(f),
        attempt=read.whole(f, "attempt", low=1),
        lineage=read.token(f, "lineage"),
        offset=read.whole(f, "offset", high=read.MOST_BIG),
        data=data,
    )


def _decode_beat(f: Fields, kind: str) -> Heartbeat | Boot:
    beat = Heartbeat(
        runner=read.text(f, "runner", most=MOST_RUNNER),
        lineage=read.token(f, "lineage"),
        instance=read.token(f, "instance"),
        host=read.text(f, "host", most=MOST_HOST),
        pid=read.whole(f, "pid", high=read.MOST_BIG),
        version=read.text(f, "version", most=64),
        queues=read.texts(f, "queues"),
        slots=read.whole(f, "slots"),
        live=read.pairs(f, "live"),
        at=read.instant(f, "at"),
        control_key=read.token(f, "control_key", most=64),
        draining=f.get("draining") is True,
    )
    if kind == EventType.HEARTBEAT:
        return beat
    complete = f.get("journal_complete") is True
    since = read.noted_instant(f, "journal_since", [])
    return Boot(beat, read.pairs(f, "known"), complete, since)


def _fields(body: bytes, *, max_bytes: int) -> Fields:
    return read.read(body, max_bytes=max_bytes, version=VERSION)

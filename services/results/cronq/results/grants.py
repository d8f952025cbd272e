"""What a claim is answered with."""

from __future__ import annotations

from cronq.bus.interface import Message
from cronq.bus.messages import Denied, Grant, Reply, encode_reply
from cronq.domain.run import Claim, Denial
from cronq.store.claims import Granted

START_WITHIN_S = 30.0
# The runner asks again; an answer older than that is of no use.
EXPIRES_MS = 60_000


def reply_message(key: str, claim: Claim, answer: Granted | Denial) -> Message:
    """The reply as a message to the runner's own queue."""
    return Message(key, encode_reply(_reply(claim, answer)), persistent=False, expiration_ms=EXPIRES_MS)


def _reply(claim: Claim, answer: Granted | Denial) -> Reply:
    if isinstance(answer, Denial):
        return Denied(claim.run_id, claim.attempt, claim.nonce, answer.reason)
    spec = answer.job.spec
    return Grant(
        run_id=claim.run_id,
        attempt=claim.attempt,
        instance=claim.owner.instance,
        nonce=claim.nonce,
        command=spec.command,
        env=_environment(answer),
        timeout_s=spec.timeout.total_seconds() if spec.timeout else None,
        kill_grace_s=spec.kill_grace.total_seconds(),
        start_within_s=START_WITHIN_S,
    )


def _environment(answer: Granted) -> dict[str, str]:
    """What a job is told of its run; the runner adds the host."""
    claim = answer.claim
    return {
        "CRONQ_JOB": answer.job.spec.name,
        "CRONQ_CATEGORY": answer.category,
        "CRONQ_RUN_ID": claim.run_id,
        "CRONQ_ATTEMPT": str(claim.attempt),
        "CRONQ_SCHEDULED_FOR": answer.scheduled_for.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CRONQ_TRIGGER": answer.triggered_by,
        "CRONQ_FENCE": f"{claim.run_id}:{claim.attempt}",
        "CRONQ_REVISION": str(answer.job.revision),
    }

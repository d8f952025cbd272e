"""Orders to pause, resume and skip, from the page of a job; and to resume everything, from any page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from cronq import store
from cronq.domain import gate
from cronq.domain.errors import Conflict, InvalidInput, NotFound
from cronq.domain.pause import Pause, Skip
from cronq.store import jobs, pauses
from cronq.store.pauses import Resumed
from cronq.store.rows import JobRecord
from cronq.web import pausing
from cronq.web.auth import actor
from cronq.web.pages.humanize import counted
from cronq.web.pausing import Find, Held

LARGEST_ID = 2**31 - 1
WHOSE = {"job": "It", "category": "Its category", "queue": "Its queue", "all": "Everything"}


@dataclass(frozen=True)
class Standing:
    """What holds a job back, as its page says it."""

    own: Pause | None
    pauses: Sequence[tuple[str, Pause]]  # whose it is, the nearest first
    held: int
    skip: Skip | None


def standing_of(tx: store.Tx, job: JobRecord) -> Standing:
    held = Held.of(tx, [job], {})
    found = held.pauses_of(job)
    return Standing(
        own=held.found.get(gate.of_job(job.id)),
        pauses=[(WHOSE[pause.subject.partition(":")[0]], pause) for pause in found],
        held=pauses.held_of_job(tx, job.id) if found else 0,
        skip=held.skips.get(job.id),
    )


def pause_job(job_id: int) -> Response:
    """POST with `reason`, and `for` where it is to end by itself."""
    given = _given("reason", "for")
    with_end = " for " + given["for"] if "for" in given else ""
    try:
        pausing.pause(_job(job_id), given, actor(request), must_end=_is_snooze())
    except (InvalidInput, Conflict) as error:
        return _refused(job_id, error)
    flash(f"Paused{with_end}.", "good")
    return _back(job_id)


def resume_job(job_id: int) -> Response:
    """POST."""
    flash(_resumed(pausing.resume(_job(job_id, is_removed_too=True), actor(request))), "good")
    return _back(job_id)


def skip_job(job_id: int) -> Response:
    """POST with `count`, 0 to cancel, and `reason`."""
    given: dict[str, object] = {**_given("reason"), "count": request.form.get("count", type=int)}
    try:
        done = pausing.skip(_job(job_id), given, actor(request)).skip
    except InvalidInput as error:
        return _refused(job_id, error)
    what = counted(done.remaining, "occurrence")
    flash(f"The next {what} will be skipped." if done.remaining else "None will be skipped.", "good")
    return _back(job_id)


def resume_all() -> Response:
    """POST: what pauses everything ends; jobs that are paused themselves stay so."""
    flash(_resumed(pausing.resume(lambda _tx: gate.ALL, actor(request))), "good")
    return redirect(url_for("pages.jobs"))


def _is_snooze() -> bool:
    return request.form.get("must_end") == "1"


def _given(*names: str) -> dict[str, str]:
    """The fields of the form that somebody filled in."""
    filled = {name: request.form.get(name, "").strip() for name in names}
    return {name: value for name, value in filled.items() if value}


def _job(job_id: int, *, is_removed_too: bool = False) -> Find:
    def find(tx: store.Tx) -> str:
        job = jobs.by_id(tx, job_id) if job_id <= LARGEST_ID else None
        if job is None or (job.removed_at is not None and not is_removed_too):
            raise NotFound(f"there is no job {str(job_id)[:40]}")
        return gate.of_job(job_id)

    return find


def _resumed(done: Resumed) -> str:
    if done.pause is None:
        return "It was not paused."
    total = done.total
    held = f" {counted(total.still_held, 'run')} held by another pause." if total.still_held else ""
    least = "" if done.is_whole else "at least "
    return (
        f"Resumed: {counted(total.going_on, 'held run')} let go;"
        f" {least}{counted(total.missed, 'occurrence')} missed and {total.skipped} skipped meanwhile.{held}"
    )


def _refused(job_id: int, error: InvalidInput | Conflict) -> Response:
    said = error.problems[0].message if isinstance(error, InvalidInput) else str(error)
    flash(said, "bad")
    return _back(job_id)


def _back(job_id: int) -> Response:
    return redirect(url_for("pages.job", job_id=job_id))

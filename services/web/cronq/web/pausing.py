"""Pausing, resuming and skipping, as the API and the pages do it: one transaction, and a line in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from cronq import store
from cronq.domain import gate
from cronq.domain.pause import Pause, Skip, read_pause, read_skip
from cronq.store import jobs, pauses, skips
from cronq.store.pauses import Resumed, Share
from cronq.store.rows import JobRecord
from cronq.web.context import web
from cronq.web.present import NO_CATEGORY, Json, instant

log = structlog.get_logger()

# Finds the subject that a request names, in the transaction; raises NotFound.
Find = Callable[[store.Tx], str]


def pause(find: Find, value: object, by: str, *, must_end: bool = False) -> Pause:
    """Hold it back, as `read_pause` reads the value. Raises InvalidInput, NotFound, Conflict."""

    def work(tx: store.Tx) -> Pause:
        now = store.now(tx)
        wanted = read_pause(value, now, must_end=must_end)
        return pauses.pause(tx, Pause(find(tx), now, wanted.until, wanted.reason, by), now)

    done = web().db.transact(work)
    log.info("pause.began", **_logged(done))
    return done


def resume(find: Find, by: str) -> Resumed:
    """Lift a pause; where there is none, nothing is done. Raises NotFound."""
    done = web().db.transact(lambda tx: pauses.resume(tx, find(tx), store.now(tx)))
    if done.pause is not None:
        total = done.total
        log.info(
            "pause.lifted",
            **_logged(done.pause),
            lifted_by=by,
            going_on=total.going_on,
            missed=total.missed,
            skipped=total.skipped,
        )
    return done


def _logged(found: Pause) -> dict[str, object]:
    return {
        "subject": found.subject,
        "since": instant(found.since),
        "until": instant(found.until),
        "reason": found.reason,
        "by": found.by,
    }


@dataclass(frozen=True)
class Skipped:
    """What was said of the next occurrences of so many jobs."""

    skip: Skip
    jobs: int


def skip(find: Find, value: object, by: str) -> Skipped:
    """Of each job that the subject stands for skip as many as `read_skip` reads. Raises as `pause` does."""
    count, reason = read_skip(value)

    def work(tx: store.Tx) -> tuple[str, Skipped]:
        now, subject = store.now(tx), find(tx)
        job_ids = pauses.jobs_of(tx, subject)
        wanted = Skip(count, reason, by, now)
        skips.put(tx, job_ids, wanted, now)
        return subject, Skipped(wanted, len(job_ids))

    subject, done = web().db.transact(work)
    log.info("skip.set", subject=subject, count=count, reason=reason, by=by, jobs=done.jobs)
    return done


# -- what is in force


@dataclass(frozen=True)
class Held:
    """Of some jobs: the pauses that hold each back, the nearest first, and what each skips."""

    found: Mapping[str, Pause]
    skips: Mapping[int, Skip]
    categories: Mapping[int, str]

    @classmethod
    def of(cls, tx: store.Tx, records: Sequence[JobRecord], categories: Mapping[int, str]) -> Held:
        subjects = {gate.ALL}
        for record in records:
            subjects |= {gate.of_job(record.id), gate.of_queue(record.key)}
            subjects.add(gate.of_category(record.category_id or 0))
        found = {each.subject: each for each in pauses.listed(tx, store.now(tx), subjects)}
        return cls(found, skips.of_jobs(tx, [record.id for record in records]), categories)

    def pauses_of(self, record: JobRecord) -> list[Pause]:
        return pauses.nearest(self.found, record.id, record.category_id, record.key)

    def told(self, record: JobRecord) -> Json:
        """What the API says of a job."""
        nearest = self.pauses_of(record)
        left = self.skips.get(record.id)
        names = {gate.of_job(record.id): _job_name(record, self.categories)}
        return {
            "paused": told(nearest[0], names | _names_of(self.categories)) if nearest else None,
            "skip_next": None if left is None else told_skip(left),
        }


def told(found: Pause, names: Mapping[str, str]) -> Json:
    """A pause: `subject` is how we call what it holds, `name` how people do."""
    kind, _, key = found.subject.partition(":")
    return {
        "subject": found.subject,
        "kind": kind,
        "name": None if kind == gate.ALL else names.get(found.subject, key),
        "since": instant(found.since),
        "until": instant(found.until),
        "reason": found.reason,
        "by": found.by,
    }


def told_skip(left: Skip) -> Json:
    return {"remaining": left.remaining, "reason": left.reason, "by": left.by, "at": instant(left.at)}


def told_resumed(subject: str, done: Resumed, names: Mapping[str, str], told_jobs: Sequence[Json]) -> Json:
    """What a resume did; `changed` is whether there was a pause."""
    return {
        "changed": done.pause is not None,
        "subject": subject,
        "pause": None if done.pause is None else told(done.pause, names),
        **told_share(done.total),
        "jobs": told_jobs,
        "is_whole": done.is_whole,
    }


def told_share(share: Share) -> Json:
    return {
        "going_on": share.going_on,
        "still_held": share.still_held,
        "missed": share.missed,
        "skipped": share.skipped,
    }


def names(tx: store.Tx, subjects: Iterable[str]) -> dict[str, str]:
    """How people call these subjects, where they are jobs or categories."""
    categories = jobs.category_names(tx)
    ids = [int(subject[4:]) for subject in subjects if subject.startswith("job:")]
    records = jobs.by_ids(tx, ids) if ids else {}
    of_jobs = {gate.of_job(job_id): _job_name(record, categories) for job_id, record in records.items()}
    return of_jobs | _names_of(categories)


def _names_of(categories: Mapping[int, str]) -> dict[str, str]:
    return {gate.of_category(category_id): name for category_id, name in categories.items()}


def _job_name(record: JobRecord, categories: Mapping[int, str]) -> str:
    return f"{categories.get(record.category_id or 0) or NO_CATEGORY}/{record.spec.name}"

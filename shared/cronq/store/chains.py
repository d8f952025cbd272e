"""Chains: the edges that documents write, and the runs that the end of a run gives rise to.

An edge has the upstream's names, as the definition has: it binds to whichever job bears them, also one
that appears later.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cronq.domain import chain
from cronq.domain.after import JobName, On
from cronq.domain.category import CategoryDocument
from cronq.domain.chain import End
from cronq.domain.run import Kind, Trigger
from cronq.domain.strict_json import shown
from cronq.store import dialect, followed, runs
from cronq.store.engine import Tx
from cronq.store.followed import IS_UPSTREAM
from cronq.store.tables import categories, causes, chains, facts, jobs, joins
from cronq.store.tables import runs as runs_table

MOST_EDGES = 100_000
MOST_SHOWN = 100
_LOCK = "chains"  # the fact whose row is locked while edges are written
_IS_VALID = chains.c.outcome.in_(tuple(On))

# -- writing


def examine(tx: Tx, wanted: CategoryDocument, removed: Collection[str]) -> list[str]:
    """Warnings about chains from and to other categories, where the document removes these jobs.

    Raises InvalidInput for a circle over several categories.
    """
    graph = _graph_of(wanted)
    if graph:
        _refuse_circles(tx, wanted, graph)
    return [*_not_there(tx, wanted.name, graph), *_left_alone(tx, wanted.name, removed)][:MOST_SHOWN]


def write(tx: Tx, wanted: CategoryDocument, category_id: int, now: datetime) -> None:
    """Make the edges of a category's jobs those of the document, whose jobs are there by now.

    The last thing that a PUT does: from here to its end, others wait. Raises InvalidInput where another
    document closed a circle in the meantime.
    """
    graph = _graph_of(wanted)
    of_category = sa.select(jobs.c.id).where(jobs.c.category_id == category_id)
    had_edges = sa.select(chains.c.job_id).where(chains.c.job_id.in_(of_category)).limit(1)
    if not graph and tx.execute(had_edges).first() is None:
        return
    _lock(tx, now)
    _refuse_circles(tx, wanted, graph)
    former = tx.execute(sa.select(chains.c.job_id).where(chains.c.job_id.in_(of_category))).scalars()
    tx.execute(sa.delete(chains).where(chains.c.job_id.in_(sorted(set(former)))))
    ids = dict(tx.execute(sa.select(jobs.c.name, jobs.c.id).where(jobs.c.category_id == category_id)).all())
    dialect.insert_new(tx, chains, list(_edges(wanted, ids)))
    followed.note_open(tx, [ids[job.name] for job in graph])


def _graph_of(wanted: CategoryDocument) -> dict[JobName, list[JobName]]:
    names = {job.name for job in wanted.jobs}
    return {
        JobName(wanted.name, job.name): [u.resolved(wanted.name, names) for u in job.after.upstreams]
        for job in wanted.jobs
        if job.after is not None
    }


def _edges(wanted: CategoryDocument, ids: Mapping[str, int]) -> Iterator[dict[str, object]]:
    names = {job.name for job in wanted.jobs}
    for job in wanted.jobs:
        for position, upstream in enumerate(job.after.upstreams if job.after else ()):
            name = upstream.resolved(wanted.name, names)
            yield {
                "job_id": ids[job.name],
                "position": position,
                "upstream_category": name.category,
                "upstream_name": name.name,
                "outcome": str(upstream.on),
                "joined": int(job.after is not None and job.after.joined),
            }


def _lock(tx: Tx, now: datetime) -> None:
    """Two documents that together make a circle must see each other."""
    dialect.insert_new(tx, facts, [{"name": _LOCK, "value": "", "at": now}])
    tx.execute(sa.select(facts.c.name).where(facts.c.name == _LOCK).with_for_update()).one()


def _refuse_circles(tx: Tx, wanted: CategoryDocument, graph: Mapping[JobName, list[JobName]]) -> None:
    query = (
        sa.select(categories.c.name, jobs.c.name, chains.c.upstream_category, chains.c.upstream_name)
        .join(jobs, jobs.c.id == chains.c.job_id)
        .join(categories, categories.c.id == jobs.c.category_id)
        .where(categories.c.name != wanted.name)
        .limit(MOST_EDGES)
    )
    whole: dict[JobName, list[JobName]] = defaultdict(list, graph)
    for category, name, *upstream in tx.execute(query):
        whole[JobName(category, name)].append(JobName(*upstream))
    wanted.refuse(chain.cycle_faults(wanted.name, whole))


def _not_there(tx: Tx, category: str, graph: Mapping[JobName, list[JobName]]) -> Iterator[str]:
    """Two repositories that name each other's jobs must be able to come in any order: no error."""
    foreign = {name for upstreams in graph.values() for name in upstreams if name.category != category}
    if not foreign:
        return
    known = _names_in(tx, {name.category for name in foreign})
    for job, upstreams in graph.items():
        for name in upstreams:
            if name in foreign and name not in known:
                near = difflib.get_close_matches(str(name)[:128], [str(k) for k in known], n=1)
                hint = f"; did you mean {shown(near[0], 200)}?" if near else ""
                what = f"there is no job {shown(str(name), 200)} to come after, until somebody makes it"
                yield f"job {shown(job.name)}: {what}{hint}"


def _names_in(tx: Tx, wanted: Collection[str]) -> set[JobName]:
    found = tx.execute(
        sa.select(categories.c.name, jobs.c.name)
        .join(jobs, jobs.c.category_id == categories.c.id)
        .where(categories.c.name.in_(sorted(wanted)), jobs.c.removed_at.is_(None))
        .limit(MOST_EDGES)
    )
    return {JobName(category, name or "") for category, name in found}


def _left_alone(tx: Tx, category: str, removed: Collection[str]) -> Iterator[str]:
    if not removed:
        return
    found = tx.execute(
        sa.select(chains.c.upstream_name, categories.c.name, jobs.c.name)
        .join(jobs, jobs.c.id == chains.c.job_id)
        .join(categories, categories.c.id == jobs.c.category_id)
        .where(chains.c.upstream_category == category, categories.c.name != category)
        .order_by(chains.c.job_id)
        .limit(MOST_EDGES)
    )
    for upstream, *job in found:
        if upstream in removed:
            yield f"job {shown(upstream)} is removed, and {shown(str(JobName(*job)), 200)} comes after it"


# -- reading


class Edge(NamedTuple):
    """One job after another, by their ids; `upstream_id` is None while there is no such job."""

    job_id: int
    upstream: JobName
    upstream_id: int | None
    on: On
    joined: bool


def _query(of_upstreams: sa.ColumnElement[bool] | None = None) -> sa.Select[Any]:
    is_outer = of_upstreams is None
    query = (
        sa.select(
            chains.c.job_id,
            chains.c.upstream_category,
            chains.c.upstream_name,
            jobs.c.id,
            chains.c.outcome,
            chains.c.joined,
        )
        .select_from(chains)
        .join(categories, categories.c.name == chains.c.upstream_category, isouter=is_outer)
        .join(jobs, (jobs.c.category_id == categories.c.id) & IS_UPSTREAM, isouter=is_outer)
        .where(_IS_VALID)
        .order_by(chains.c.job_id, chains.c.position)
        .limit(MOST_EDGES)
    )
    return query if of_upstreams is None else query.where(of_upstreams)


def _read(tx: Tx, query: sa.Select[Any]) -> list[Edge]:
    return [
        Edge(job_id, JobName(category, name), upstream_id, On(outcome), bool(joined))
        for job_id, category, name, upstream_id, outcome, joined in tx.execute(query)
    ]


def edges_from(tx: Tx, upstream_ids: Iterable[int]) -> list[Edge]:
    """Those that lead on from these jobs (ix_chains_upstream)."""
    wanted = sorted(set(upstream_ids))
    return _read(tx, _query(jobs.c.id.in_(wanted))) if wanted else []


def edges_to(tx: Tx, job_ids: Iterable[int]) -> list[Edge]:
    """Those that lead to these jobs, each job's in the order of its definition."""
    wanted = sorted(set(job_ids))
    return _read(tx, _query().where(chains.c.job_id.in_(wanted))) if wanted else []


class Follower(NamedTuple):
    """A job that comes after another one."""

    job_id: int
    job: JobName
    on: On
    joined: bool


def followers(tx: Tx, job_ids: Iterable[int]) -> dict[int, list[Follower]]:
    """Those of each of these jobs, by id (ix_chains_upstream)."""
    job, category = jobs.alias("follower"), categories.alias("its_category")
    query = (
        sa.select(jobs.c.id, job.c.id, category.c.name, job.c.name, chains.c.outcome, chains.c.joined)
        .select_from(jobs)
        .join(categories, categories.c.id == jobs.c.category_id)
        .join(chains, IS_UPSTREAM)
        .join(job, job.c.id == chains.c.job_id)
        .join(category, category.c.id == job.c.category_id)
        .where(jobs.c.id.in_(sorted(set(job_ids))), _IS_VALID)
        .order_by(job.c.id)
        .limit(MOST_EDGES)
    )
    found: dict[int, list[Follower]] = defaultdict(list)
    for upstream_id, job_id, of_category, name, outcome, joined in tx.execute(query):
        follower = Follower(job_id, JobName(of_category, name or ""), On(outcome), bool(joined))
        found[upstream_id].append(follower)
    return found


Slot = tuple[int, datetime]  # a job, and the `scheduled_for` that its runs share


def runs_of_slots(tx: Tx, slots: Collection[Slot]) -> dict[Slot, list[End]]:
    """The runs that count for joins, of each of these, the oldest first (ux_runs_occurrence).

    Those are occurrences, and what chains started. What somebody asked for has no slot.
    """
    counts = (runs_table.c.kind == Kind.SLOT) | (runs_table.c.triggered_by == Trigger.CHAIN)
    query = (
        sa.select(runs_table)
        .where(
            runs_table.c.job_id.in_(sorted({job_id for job_id, _ in slots})),
            runs_table.c.kind.in_(tuple(Kind)),
            runs_table.c.scheduled_for.in_(sorted({at for _, at in slots})),
            counts,
        )
        .order_by(runs_table.c.run_id)
    )
    found: dict[Slot, list[End]] = defaultdict(list)
    for row in tx.execute(query):
        found[row.job_id, row.scheduled_for].append(end_of(row))
    return {slot: found[slot] if slot in found else _summary(tx, *slot) for slot in slots}


def _summary(tx: Tx, job_id: int, slot: datetime) -> list[End]:
    """After a long outage one row stands for many missed occurrences."""
    row = tx.execute(
        sa.select(runs_table)
        .where(
            runs_table.c.job_id == job_id,
            runs_table.c.kind == Kind.SLOT,
            runs_table.c.scheduled_for < slot,
        )
        .order_by(runs_table.c.scheduled_for.desc())
        .limit(1)
    ).first()
    is_there = row is not None and row.last_scheduled_for is not None and row.last_scheduled_for >= slot
    return [end_of(row)] if is_there else []


def end_of(row: Any) -> End:
    """A run's row as those see it that come after its job."""
    return End.of(
        row.run_id,
        row.state,
        started_at=row.started_at,
        recorded_at=row.recorded_at,
        needs_decision=bool(row.needs_decision),
    )


# -- starting


# The `request` of a run that the end of one started, and of what a join gave rise to: each but once.
def after_run(run_id: str) -> str:
    return f"after:{run_id}"


AFTER_ALL = "after-all"
# A start that an end forbade which may turn out to have been another one, after a loss.
NOT_AFTER_ALL = "after-all:no"


class Start(NamedTuple):
    """A run to be made, as its row, and the runs whose ends made it, that which came last being the last."""

    row: dict[str, object]
    causes: Sequence[str]


def start(tx: Tx, starts: Sequence[Start], now: datetime) -> list[str]:
    """Insert runs that are new by their `request`; returns the ids of those."""
    if not starts:
        return []
    runs.insert(tx, [each.row for each in starts], now)
    ids = [str(each.row["run_id"]) for each in starts]
    made = set(tx.execute(sa.select(runs_table.c.run_id).where(runs_table.c.run_id.in_(ids))).scalars())
    rows = [
        {"cause_id": cause, "run_id": each.row["run_id"]}
        for each in starts
        if each.row["run_id"] in made
        for cause in sorted(set(each.causes))
    ]
    dialect.insert_new(tx, causes, rows)
    return [run_id for run_id in ids if run_id in made]


def caused_by(tx: Tx, run_ids: Collection[str]) -> dict[str, list[str]]:
    """The runs that the ends of these made, the oldest first."""
    found: dict[str, list[str]] = defaultdict(list)
    query = sa.select(causes).where(causes.c.cause_id.in_(sorted(run_ids))).order_by(causes.c.run_id)
    for cause, run_id in tx.execute(query):
        found[cause].append(run_id)
    return found


def names_of(tx: Tx, run_ids: Collection[str]) -> dict[str, JobName]:
    """The jobs of these runs."""
    query = (
        sa.select(runs_table.c.run_id, categories.c.name, jobs.c.name)
        .join(jobs, jobs.c.id == runs_table.c.job_id)
        .join(categories, categories.c.id == jobs.c.category_id)
        .where(runs_table.c.run_id.in_(sorted(run_ids)))
    )
    return {run_id: JobName(category, name or "") for run_id, category, name in tx.execute(query)}


# -- joins with a deadline


def promise(tx: Tx, slots: Mapping[Slot, datetime]) -> None:
    """These have begun: each is to be started, or accounted for, by its instant."""
    rows = [
        {"job_id": job_id, "scheduled_for": at, "due_at": due_at}
        for (job_id, at), due_at in sorted(slots.items())
    ]
    dialect.insert_new(tx, joins, rows)


def settle(tx: Tx, slots: Collection[Slot]) -> None:
    """They are accounted for."""
    for job_id, at in sorted(slots):
        tx.execute(sa.delete(joins).where(joins.c.job_id == job_id, joins.c.scheduled_for == at))


def overdue(tx: Tx, now: datetime, limit: int) -> list[Slot]:
    """Those whose instant has passed, locked (ix_joins_due)."""
    found = tx.execute(
        sa.select(joins.c.job_id, joins.c.scheduled_for)
        .where(joins.c.due_at < now)
        .order_by(joins.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    return sorted((row.job_id, row.scheduled_for) for row in found)


def has_overdue(tx: Tx, now: datetime) -> bool:
    """Whether there is any (ix_joins_due)."""
    return tx.execute(sa.select(joins.c.job_id).where(joins.c.due_at < now).limit(1)).first() is not None

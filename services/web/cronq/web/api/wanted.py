"""Which jobs, or which runs, a list's query asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cronq import store
from cronq.domain.run import State
from cronq.store import categories, jobs, runs
from cronq.store.rows import JobRecord
from cronq.web.api.params import MAX_ID, Params

MOST_PAGES = 1_000_000
SORTS = tuple(f"{field}.{order}" for field in jobs.SORTS for order in ("asc", "desc"))


@dataclass(frozen=True, kw_only=True)
class WantedJobs:
    """A page of jobs: the ancestor's `page` and `per_page`, or what comes after the job `cursor`."""

    job_id: int | None
    category_id: int | None
    category: str | None
    sort: str
    page: int
    limit: int
    cursor: int | None
    by_cursor: bool

    @classmethod
    def of(cls, params: Params) -> WantedJobs:
        """Raises InvalidInput."""
        page, per_page = params.whole("page", 0, MOST_PAGES), params.whole("per_page", 1, 100)
        limit, cursor = params.whole("limit", 1, 100), params.whole("cursor", 1, MAX_ID)
        sort = params.choice("sort", SORTS)
        by_cursor = limit is not None or cursor is not None
        if by_cursor and (page, per_page, sort) != (None, None, None):
            params.problem("limit and cursor go by id: page, per_page and sort are not allowed with them")
        wanted = cls(
            job_id=params.whole("id", 1, MAX_ID),
            category_id=params.whole("category.id", 1, MAX_ID),
            category=params.text("category.name"),
            sort=sort or "id.asc",
            page=page or 0,
            limit=limit or per_page or (100 if by_cursor else 10),
            cursor=cursor,
            by_cursor=by_cursor,
        )
        params.done()
        return wanted

    def find(self, tx: store.Tx) -> list[JobRecord]:
        """The page, and one job more where there is a next page."""
        field, _, order = self.sort.partition(".")
        return jobs.listed(
            tx,
            job_id=self.job_id,
            category_id=self.category_id,
            category=self.category,
            sort=field,
            descending=order == "desc",
            after_id=self.cursor,
            offset=self.page * self.limit,
            limit=self.limit + 1,
        )


@dataclass(frozen=True, kw_only=True)
class WantedRuns:
    """A page of runs, the newest first; `cursor` is the run that the page before ended with."""

    job_id: int | None
    category: str | None
    states: frozenset[State]
    since: datetime | None
    until: datetime | None
    limit: int
    cursor: str | None

    @classmethod
    def of(cls, params: Params) -> WantedRuns:
        """Raises InvalidInput."""
        since, until = params.instant("since"), params.instant("until")
        if since and until and since > until:
            params.problem("since: is after until")
        wanted = cls(
            job_id=params.whole("job.id", 1, MAX_ID),
            category=params.text("category"),
            states=params.states("state"),
            since=since,
            until=until,
            limit=params.whole("limit", 1, 500) or 50,
            cursor=params.run_id("cursor"),
        )
        params.done()
        return wanted

    def find(self, tx: store.Tx) -> list[dict[str, Any]]:
        """The page, and one run more where there is a next page."""
        category_id = None
        if self.category is not None:
            row = categories.by_name(tx, self.category)
            if row is None:
                return []
            category_id = row["id"]
        return runs.listed(
            tx,
            job_id=self.job_id,
            category_id=category_id,
            states=self.states,
            since=self.since,
            until=self.until,
            before=self.cursor,
            limit=self.limit + 1,
        )

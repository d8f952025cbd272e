"""The JSON API."""

from __future__ import annotations

from cronq.web.api import audit, categories, dead_letters, failover, fleet, jobs, pauses, runs

BLUEPRINTS = (
    categories.blueprint,
    jobs.blueprint,
    runs.blueprint,
    fleet.blueprint,
    dead_letters.blueprint,
    audit.blueprint,
    failover.blueprint,
    pauses.blueprint,
)

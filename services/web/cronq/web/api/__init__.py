"""The JSON API."""

from __future__ import annotations

from cronq.web.api import (
    audit,
    calendars,
    categories,
    dead_letters,
    failover,
    fleet,
    forecast,
    jobs,
    limits,
    missed,
    occurrences,
    pauses,
    preview,
    runs,
    why,
    windows,
)

BLUEPRINTS = (
    categories.blueprint,
    calendars.blueprint,
    jobs.blueprint,
    runs.blueprint,
    fleet.blueprint,
    dead_letters.blueprint,
    audit.blueprint,
    missed.blueprint,
    failover.blueprint,
    windows.blueprint,
    preview.blueprint,
    occurrences.blueprint,
    forecast.blueprint,
    limits.blueprint,
    why.blueprint,
    pauses.blueprint,
)

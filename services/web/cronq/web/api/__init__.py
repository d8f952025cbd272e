"""The JSON API."""

from __future__ import annotations

from cronq.web.api import categories, fleet, jobs, runs

BLUEPRINTS = (categories.blueprint, jobs.blueprint, runs.blueprint, fleet.blueprint)

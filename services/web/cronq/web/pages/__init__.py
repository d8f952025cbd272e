"""The HTML pages: their addresses, and what every template can use."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint

from cronq.web.pages.alerts import show_alerts
from cronq.web.pages.failures import show_failures
from cronq.web.pages.frame import curl_url
from cronq.web.pages.humanize import FILTERS
from cronq.web.pages.job import order_run, show_job
from cronq.web.pages.jobs import show_jobs
from cronq.web.pages.ledger import ended_at, seconds_run
from cronq.web.pages.pausing import pause_job, resume_all, resume_job, skip_job
from cronq.web.pages.run import cancel_run, decide_run, let_out_run, more_output, show_run
from cronq.web.pages.run_facts import ending
from cronq.web.pages.runners import show_runners
from cronq.web.pages.states import sign

blueprint = Blueprint("pages", __name__)

blueprint.add_url_rule("/", "jobs", show_jobs)
blueprint.add_url_rule("/job/<int:job_id>", "job", show_job)
blueprint.add_url_rule("/job/<int:job_id>", "order_run", order_run, methods=["POST"])
blueprint.add_url_rule("/job/<int:job_id>/pause", "pause_job", pause_job, methods=["POST"])
blueprint.add_url_rule("/job/<int:job_id>/resume", "resume_job", resume_job, methods=["POST"])
blueprint.add_url_rule("/job/<int:job_id>/skip", "skip_job", skip_job, methods=["POST"])
blueprint.add_url_rule("/resume", "resume_all", resume_all, methods=["POST"])
blueprint.add_url_rule("/run/<run_id>", "run", show_run)
blueprint.add_url_rule("/run/<run_id>/output", "more_output", more_output)
blueprint.add_url_rule("/run/<run_id>/cancel", "cancel_run", cancel_run, methods=["POST"])
blueprint.add_url_rule("/run/<run_id>/let-out", "let_out_run", let_out_run, methods=["POST"])
blueprint.add_url_rule("/run/<run_id>/decide", "decide_run", decide_run, methods=["POST"])
blueprint.add_url_rule("/failures", "failures", show_failures)
blueprint.add_url_rule("/runners", "runners", show_runners)
blueprint.add_url_rule("/alerts", "alerts", show_alerts)

_OF_RUNS: dict[str, Callable[..., object]] = {"sign": sign, "ending": ending, "ended_at": ended_at}
for _name, _filter in (FILTERS | _OF_RUNS).items():
    blueprint.add_app_template_filter(_filter, _name)
blueprint.add_app_template_global(seconds_run)
blueprint.add_app_template_global(curl_url)

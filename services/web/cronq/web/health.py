"""Whether the service lives and is ready, and what the codes of errors mean."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, render_template

from cronq.domain.errors import Unavailable
from cronq.runtime import log
from cronq.runtime.health import liveness, readiness
from cronq.store import Store, migrate
from cronq.web.context import web
from cronq.web.errors import MEANINGS

blueprint = Blueprint("health", __name__)

_logger = log.get_logger()


@blueprint.get("/_status")
def show_status() -> Response:
    """The ancestor's."""
    return jsonify({"status": "OK"})


@blueprint.get("/healthz")
def show_liveness() -> Response:
    return jsonify(liveness())


@blueprint.get("/readyz")
def show_readiness() -> tuple[Response, int]:
    status, body = readiness(checks(web().db))
    return jsonify(body), status


@blueprint.get("/docs/errors/<code>")
def show_meaning(code: str) -> str:
    """Where the type of a problem leads."""
    if code not in MEANINGS:
        abort(404)
    return render_template("meaning.html", code=code, meaning=MEANINGS[code])


def checks(db: Store) -> dict[str, str | None]:
    """Each thing that this service depends on: None if that is fine, else the problem."""
    try:
        found, needed = migrate.current(db), migrate.head()
    except Unavailable as error:
        return {"database": str(error), "migrations": "the database does not answer"}
    except Exception as error:
        _logger.warning("web.not_ready", exc_info=error)
        return {"database": f"{type(error).__name__}; see the log", "migrations": "not known"}
    if found != needed:
        return {
            "database": None,
            "migrations": f"at {found or 'none'}, {needed} is needed: `cronq db upgrade`",
        }
    return {"database": None, "migrations": None}

"""Putting the web application together."""

from __future__ import annotations

import os
from datetime import timedelta

from flask import Flask, request
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect

from cronq.domain.category import MAX_BODY_BYTES
from cronq.runtime import config, crash, log
from cronq.runtime.settings import Settings
from cronq.store import Store, open_store
from cronq.web import api, enter, errors, headers, health
from cronq.web.auth import refuse_unasked
from cronq.web.context import KEY, Web
from cronq.web.pages import blueprint as pages

_SESSION_LASTS = timedelta(days=7)


def create_app(settings: Settings | None = None, db: Store | None = None) -> Flask:
    """The WSGI application; without settings, those of the environment. Connects to nothing yet.

    Raises ConfigError where a setting is wrong, or the database or CRONQ_SECRET_KEY is not set.
    """
    if settings is None:
        settings = config.load(os.environ)
        log.configure(settings.log_level, settings.log_format, "web")
    crash.arm(settings.crash_point)
    app = Flask("cronq.web", root_path=os.path.dirname(__file__))
    _configure(app, settings)
    app.extensions[KEY] = Web(db or open_store(settings.require_database()), settings)
    errors.install(app)
    headers.install(app)
    _guard(app)
    for blueprint in (*api.BLUEPRINTS, health.blueprint, enter.blueprint, pages):
        app.register_blueprint(blueprint)
    return app


class _Sessions(SecureCookieSessionInterface):
    def get_cookie_secure(self, _app: Flask) -> bool:
        """Over TLS the cookie stays there; a demo on http://127.0.0.1 must work too."""
        return bool(request.is_secure)


class _Json(DefaultJSONProvider):
    sort_keys = False
    ensure_ascii = False


def _configure(app: Flask, settings: Settings) -> None:
    app.secret_key = settings.require_secret_key()
    app.session_interface = _Sessions()
    app.config.update(
        # One byte more than is allowed: a body in chunks is cut off here, and must be seen to be too large.
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES + 1,
        SESSION_COOKIE_NAME="cronq_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=_SESSION_LASTS,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session, or a page left open could not be used
    )
    app.json = _Json(app)
    app.url_map.merge_slashes = False


def _guard(app: Flask) -> None:
    """A form without its CSRF token is refused first, whoever sends it."""
    csrf = CSRFProtect(app)
    for blueprint in api.BLUEPRINTS:
        csrf.exempt(blueprint)

    @app.before_request
    def guard() -> None:
        refusal = refuse_unasked()
        if refusal:
            raise errors.refused(refusal)

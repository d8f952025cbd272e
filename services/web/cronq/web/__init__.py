"""The web admin and the JSON API: a WSGI application that needs the database only.

gunicorn 'cronq.web:create_app()'    gunicorn cronq.web:app
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cronq.web.factory import create_app
from cronq.web.serve import command

if TYPE_CHECKING:
    from flask import Flask

    app: Flask

__all__ = ["app", "command", "create_app", "make_application"]

make_application = create_app


def __getattr__(name: str) -> object:
    """`app` is made when it is first asked for, so that importing this needs no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = create_app()
    return made

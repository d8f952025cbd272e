"""What a view needs besides its request: the store and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from cronq.runtime.settings import Settings
from cronq.store import Store

KEY = "cronq"


@dataclass(frozen=True)
class Web:
    """In `app.extensions` under `KEY`."""

    db: Store
    settings: Settings


def web() -> Web:
    """That of the application which serves this request."""
    found: Web = current_app.extensions[KEY]
    return found

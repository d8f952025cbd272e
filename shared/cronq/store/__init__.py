"""All SQL. A caller opens a transaction and passes it to functions named for facts."""

from __future__ import annotations

from cronq.store.dialect import now
from cronq.store.engine import Refused, Store, Tx, open_store

__all__ = ["Refused", "Store", "Tx", "now", "open_store"]

"""Letting a missed or held occurrence out, as the API and the page of a run do."""

from __future__ import annotations

from datetime import timedelta

from cronq import store
from cronq.domain import gate as gates
from cronq.domain.gate import Limit
from cronq.domain.missed import Action, Order, Which
from cronq.store import limits, missed_orders
from cronq.store.missed_orders import Done
from cronq.web.context import web


def pace(tx: store.Tx) -> Limit:
    """How fast a backlog is let out: as somebody set it, or else as the settings say."""
    limit = limits.all_limits(tx).get(gates.CATCH_UP, Limit())
    return limit if limit.rate else Limit(rate=web().settings.catch_up_rate, period=timedelta(seconds=1))


def let_out(tx: store.Tx, run_id: str, by: str) -> Done:
    """Let one out now; of a row that stands for many the latest. Raises NotFound, Conflict."""
    order = Order(action=Action.RUN, actor=by, which=Which.LATEST)
    return missed_orders.carry_out_on(tx, order, [run_id], store.now(tx), pace(tx))

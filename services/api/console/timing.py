"""What a page cost: statements sent to the database and the time they took, told in `Server-Timing`."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class Cost:
    """The statements of one request so far."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.queries = 0
        self.database_s = 0.0

    def header(self) -> str:
        """The value of `Server-Timing`; durations in milliseconds."""
        total = (time.perf_counter() - self.began) * 1000
        return f'db;dur={self.database_s * 1000:.1f};desc="{self.queries} queries", total;dur={total:.1f}'


_cost: ContextVar[Cost | None] = ContextVar("page_cost", default=None)


def begin() -> Cost:
    """Count from here on, in this request."""
    cost = Cost()
    _cost.set(cost)
    return cost


def watch(engine: AsyncEngine) -> None:
    """Count the statements of this engine. `SET TRANSACTION` asks for nothing and is left out."""

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        context.ebbtide_began = time.perf_counter()

    def after(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        cost = _cost.get()
        if cost is not None and not statement.startswith("SET "):
            cost.queries += 1
            cost.database_s += time.perf_counter() - context.ebbtide_began

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)

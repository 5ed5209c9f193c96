"""Panels of a page that are read apart, so that one that cannot be read leaves the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from services.api.database import Connection
from services.common.problems import Problem


class Panel[T](Struct):
    """What one panel shows, or why it cannot."""

    found: T | None = None
    failed: str | None = None


async def panel[T](request: Request, read: Callable[[AsyncConnection], Awaitable[T]]) -> Panel[T]:
    """Read for one panel in a transaction of its own. What the database cannot answer fails only this panel."""
    try:
        async with Connection(request) as connection:
            return Panel(await read(connection))
    except Problem as problem:
        if problem.status < 500:
            raise
        return Panel(failed=problem.detail)

"""Panels of a page that are read apart, so that one that cannot be read leaves the others."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from services.api.database import Connection
from services.common.problems import Problem

log = structlog.get_logger()


class Panel[T](Struct):
    """What one panel shows, or why it cannot and what to do."""

    found: T | None = None
    failed: str | None = None


async def panel[T](request: Request, read: Callable[[AsyncConnection], Awaitable[T]]) -> Panel[T]:
    """Read for one panel in a transaction of its own. What goes wrong there fails only this panel.

    What was asked wrongly (a problem below 500) is raised: the whole page would be another one.
    """
    try:
        async with Connection(request) as connection:
            return Panel(await read(connection))
    except Problem as problem:
        if problem.status < 500:
            raise
        return Panel(
            failed=f"{problem.detail[:1].upper()}{problem.detail[1:]}. The rest of the page is as it should be."
        )
    except Exception:
        # A defect in one panel must not take from people what the others know; the log has where it is.
        request_id = secrets.token_hex(4)
        log.exception("panel_failed", request_id=request_id, path=request.url.path)
        return Panel(
            failed=f"This is a defect, kept in the log as {request_id}: tell that to whoever runs Ebbtide if it stays."
            " The rest of the page is as it should be."
        )

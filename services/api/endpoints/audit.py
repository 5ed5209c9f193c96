"""`/v1/audit`: what was done to the service itself, and by whom."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from schemas.db.people import AuditEntry
from services.api import cursors
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection
from services.api.parameters import AuditFilter
from services.api.people_answers import AuditPage

router = APIRouter(prefix="/v1/audit", tags=["people"], dependencies=[Depends(require("admin"))])

ORDER = "audit"


@router.get("", responses={200: {"model": AuditPage}})
async def list_audit(request: Request, wanted: Annotated[AuditFilter, Query()]) -> Response:
    """The audit trail, newest first: keys, people, pools, webhooks, replays, erasures."""
    async with Connection(request) as connection:
        items, cursor = await _entries(connection, wanted)
    return answer(page(items, cursor))


async def _entries(connection: AsyncConnection, wanted: AuditFilter) -> tuple[list[dict[str, Any]], str | None]:
    statement = select(*AuditEntry.__table__.columns)
    for column, value in (
        (AuditEntry.actor, wanted.actor),
        (AuditEntry.action, wanted.action),
        (AuditEntry.subject, wanted.subject),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditEntry.at < wanted.until)
    if wanted.cursor is not None:
        statement = statement.where(AuditEntry.entry < cursors.decode(wanted.cursor, cursors.ByEntry, ORDER).entry)
    rows = (await connection.execute(statement.order_by(AuditEntry.entry.desc()).limit(wanted.limit + 1))).all()
    shown = [dict(row._mapping) for row in rows[: wanted.limit]]
    cursor = cursors.encode(cursors.ByEntry(ORDER, shown[-1]["entry"])) if len(rows) > wanted.limit else None
    return shown, cursor

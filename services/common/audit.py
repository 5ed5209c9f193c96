"""What was done to the service itself, by whom: keys, people, pools, webhooks, replays, erasures."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.people import AuditEntry


async def record(
    connection: AsyncConnection, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None
) -> None:
    """Keep an entry, in the transaction of what it tells of. `action` is `noun.verb`, such as `webhook.created`.

    `detail` is JSON and holds no secret.
    """
    await connection.execute(
        insert(AuditEntry).values(actor=actor, action=action, subject=subject, detail=detail or {})
    )
